"""A data set as a folder that is both an RO-Crate (1.1) and a BagIt (1.0) bag.

    ro-crate-metadata.json  CITATION.cff  citation.bib        what it is, for programs and for papers
    bagit.txt  bag-info.txt  manifest-sha256.txt  tagmanifest-sha256.txt
    data/dataset.json                                         records and files with their hashes, and the statement
    data/keywords/<series>.parquet                            all keywords of its records, with types
    data/files/<sha256>.fits                                  its files, if requested

A crate is read from ``data/dataset.json`` alone, once all bytes in it are found to match its manifests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.parquet as pq

from mirror.api.contract import LARGEST
from mirror.errors import BadRequest, StorageError, UnknownName, explained
from mirror.humanize import counted, in_words, stamp, utc
from mirror.services.datasets.tables import Contents, KeptFile
from mirror.storage.disk import digest_of, is_sha256
from mirror.wire.paths import unit_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from mirror.storage.files.table import Blob

METADATA, CONTENTS = "ro-crate-metadata.json", "data/dataset.json"
_MANIFESTS = ("manifest-sha256.txt", "tagmanifest-sha256.txt")
_JSOC, _CREDIT = "http://jsoc.stanford.edu/", "NASA/SDO and the AIA, EVE, and HMI science teams"
_RULES = "https://sdo.gsfc.nasa.gov/data/rules.php"
_LARGEST = 1 << 30
#: Characters of a record's name.
_LONGEST = 1000
_LINE = re.compile(r"([0-9a-f]{64}) +\*?(.+)")


@dataclass(frozen=True, slots=True)
class ReadCrate:
    """The contents of a crate, and the paths of its files by their hashes."""

    contents: Contents
    files: Mapping[str, Path]


# ---- what is cited -----------------------------------------------------------------------------------


def bibtex(found: Contents) -> str:
    """The BibTeX entry of the data set."""
    when = utc(found.created)
    return (
        f"@misc{{{re.sub(r'[^A-Za-z0-9]', '', found.name)}{when.year},\n"
        f"  title = {{{_title(found)}}},\n"
        f"  author = {{{{{_CREDIT}}}}},\n"
        f"  year = {{{when.year}}},\n"
        f"  howpublished = {{JSOC, Stanford University, \\url{{{_JSOC}}}}},\n"
        f"  note = {{{_described(found)}. sha256:{found.sha256}}}\n"
        "}\n"
    )


def _citation(found: Contents) -> str:
    """CITATION.cff, version 1.2; JSON is YAML."""
    quoted = json.dumps
    return (
        "cff-version: 1.2.0\nmessage: Please cite this data set as below.\ntype: dataset\n"
        f"title: {quoted(_title(found))}\nauthors:\n  - name: {quoted(_CREDIT)}\n"
        f"date-released: {stamp(found.created)[:10]}\nurl: {_JSOC}\nabstract: {quoted(_described(found))}\n"
        f"identifiers:\n  - type: other\n    value: sha256:{found.sha256}\n    description: of all its records and files\n"
    )


def _title(found: Contents) -> str:
    text = found.title or f"{', '.join(found.keywords)}: data set {found.name}"
    return text.replace("{", "(").replace("}", ")")


def _described(found: Contents) -> str:
    files = f", {counted(len(found.files), 'file')} of {in_words(sum(f.size for f in found.files))}" if found.files else ""
    return f"{counted(len(found.records), 'record')} of {', '.join(found.keywords)}{files}, made by {found.software}"


# ---- writing -----------------------------------------------------------------------------------------


def fresh_folder(to: Path, root: Path) -> None:
    """BadRequest unless a crate may be written there: to a new or empty folder outside the store at ``root``."""
    store = root.absolute()
    if not to.is_absolute() or to.is_relative_to(store) or store.is_relative_to(to):
        raise BadRequest(f"{to} cannot be a crate; expected an absolute path outside the store {store}")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadRequest(f"{to} is there already; expected a new or an empty folder")


def write_crate(
    to: Path,
    found: Contents,
    tables: Mapping[str, pa.Table],
    blobs: Mapping[str, Blob],
    reading: Callable[[Blob], AbstractContextManager[Path]],
) -> tuple[int, int]:
    """Write a crate into the folder ``to``; how many files it has, and their bytes.

    ``blobs`` are the contents to include. The folder gets its name once everything is in it.
    """
    part = to.with_name(f".{to.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        for folder in ("data/keywords", *(["data/files"] if blobs else [])):
            (part / folder).mkdir(parents=True)
        (part / CONTENTS).write_bytes(_encoded(found))
        for series, table in tables.items():
            pq.write_table(table, part / f"data/keywords/{series}.parquet", compression="zstd")
        for blob in blobs.values():
            with reading(blob) as source:
                shutil.copyfile(source, part / _place(blob.sha256))
        count, size = _bag(part, found, {f.sha256: f for f in found.files})
        if to.exists():
            to.rmdir()
        part.rename(to)
    except OSError as error:
        raise StorageError(f"cannot write {to}: {explained(error)}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count, size


def _bag(folder: Path, found: Contents, files: Mapping[str, KeptFile]) -> tuple[int, int]:
    """Write what describes the payload: manifests, metadata and citations."""
    payload = {name: digest_of(folder / name) for name in sorted(_under(folder))}
    for sha256 in files:
        if payload.get(_place(sha256), (sha256, 0))[0] != sha256:
            raise StorageError(f"the file {sha256} is damaged in the store; `mirror check` repairs it")
    when = stamp(found.created)[:10]
    size = sum(bytes_ for _, bytes_ in payload.values())
    texts = {
        METADATA: json.dumps(_metadata(found, payload, files), indent=2, ensure_ascii=False) + "\n",
        "CITATION.cff": _citation(found),
        "citation.bib": bibtex(found),
        "bagit.txt": "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": f"Bagging-Date: {when}\nExternal-Identifier: sha256:{found.sha256}\n"
        f"External-Description: {_described(found)}\nPayload-Oxum: {size}.{len(payload)}\n",
        _MANIFESTS[0]: "".join(f"{sha256}  {name}\n" for name, (sha256, _) in payload.items()),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    tags = "".join(f"{digest_of(folder / name)[0]}  {name}\n" for name in texts)
    (folder / _MANIFESTS[1]).write_text(tags, encoding="utf-8")
    return len(payload), size


def _place(sha256: str) -> str:
    return f"data/files/{sha256}.fits"


def _under(folder: Path) -> Iterator[str]:
    """The files of the payload, as manifests name them."""
    for base, _, names in os.walk(folder / "data"):
        for name in names:
            yield (Path(base) / name).relative_to(folder).as_posix()


def _metadata(found: Contents, payload: Mapping[str, tuple[str, int]], files: Mapping[str, KeptFile]) -> dict[str, Any]:
    """The JSON-LD of RO-Crate 1.1."""
    kinds = {".json": "application/json", ".parquet": "application/vnd.apache.parquet", ".fits": "application/fits"}
    parts = []
    for name, (sha256, size) in payload.items():
        part = {
            "@id": name, "@type": "File", "name": Path(name).name, "contentSize": str(size), "sha256": sha256,
            "encodingFormat": kinds[Path(name).suffix],
        }  # fmt: skip
        if (file := files.get(sha256)) is not None:
            part |= {
                "name": f"{file.segment} of record {file.recnum} of {file.series}",
                "url": _JSOC.rstrip("/") + file.path,
            }
        parts.append(part)
    root = {
        "@id": "./", "@type": "Dataset", "name": _title(found), "description": _described(found),
        "identifier": f"sha256:{found.sha256}", "datePublished": stamp(found.created),
        "license": {"@id": _RULES}, "author": {"@id": "#teams"}, "publisher": {"@id": _JSOC},
        "creditText": f"Courtesy of {_CREDIT}.", "keywords": ", ".join(found.keywords),
        "hasPart": [{"@id": part["@id"]} for part in parts], "mentions": {"@id": "#made"},
    }  # fmt: skip
    made = {
        "@id": "#made", "@type": "CreateAction", "name": "The records were chosen", "endTime": stamp(found.created),
        "instrument": {"@id": "#software"}, "result": {"@id": "./"}, "description": found.sql or "\n".join(found.ds),
    }  # fmt: skip
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {
                "@id": METADATA, "@type": "CreativeWork", "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
                "about": {"@id": "./"},
            },
            root, made,
            {"@id": "#software", "@type": "SoftwareApplication", "name": found.software.partition(" ")[0],
             "version": found.software.partition(" ")[2]},
            {"@id": "#teams", "@type": "Organization", "name": _CREDIT},
            {"@id": _JSOC, "@type": "Organization", "name": "Joint Science Operations Center, Stanford University"},
            {"@id": _RULES, "@type": "CreativeWork", "name": "Data rights and rules of SDO"},
            *parts,
        ],
    }  # fmt: skip


def _encoded(found: Contents) -> bytes:
    return msgspec.json.format(msgspec.json.encode({"version": 1, "sha256": found.sha256, "dataset": found}), indent=1)


# ---- reading -----------------------------------------------------------------------------------------


class _Version(msgspec.Struct, frozen=True):
    version: int


class _Written(msgspec.Struct, frozen=True):
    version: int
    sha256: str
    dataset: Contents


def read_crate(folder: Path) -> ReadCrate:
    """A crate, once every byte of it matches its manifests. StorageError names what does not."""
    if not folder.is_dir() or not (folder / METADATA).is_file() or not (folder / _MANIFESTS[1]).is_file():
        unpacked = "; unpack it first, if it is one" if folder.is_file() else ""
        raise UnknownName(f"{folder} is not a crate; expected a folder made by `mirror dataset export`{unpacked}")
    try:
        tags = _checked(folder, _MANIFESTS[1])
        if lacking := [name for name in (METADATA, _MANIFESTS[0]) if name not in tags]:
            raise StorageError(f"{folder} was edited: {lacking[0]} is not in {_MANIFESTS[1]}")
        listed = {**tags, **_checked(folder, _MANIFESTS[0])}
        if unlisted := sorted(set(_under(folder)) - listed.keys()):
            raise StorageError(f"{folder} was edited: {unlisted[0]} is not in {_MANIFESTS[0]}")
        if unlisted := sorted({path.name for path in folder.iterdir() if not path.is_dir()} - listed.keys() - {_MANIFESTS[1]}):
            raise StorageError(f"{folder} was edited: {unlisted[0]} is not in {_MANIFESTS[1]}")
        if CONTENTS not in listed or (folder / CONTENTS).stat().st_size > _LARGEST:
            raise StorageError(f"{folder} was edited: it has no {CONTENTS}")
        data = (folder / CONTENTS).read_bytes()
        if (version := msgspec.json.decode(data, type=_Version).version) != 1:
            raise StorageError(f"{folder} was made by a newer program: version {version}; expected 1")
        written = msgspec.json.decode(data, type=_Written)
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {explained(error)}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StorageError(f"{folder} is damaged: {CONTENTS} cannot be read: {error}") from error
    found = written.dataset
    if wrong := _wrong(found):
        raise StorageError(f"{folder} is damaged: {CONTENTS}: {wrong}")
    if written.sha256 != found.sha256:
        raise StorageError(f"{folder} was edited: its records are not those of sha256:{written.sha256[:64]}")
    places = {f.sha256: folder / _place(f.sha256) for f in found.files}
    return ReadCrate(found, {sha256: path for sha256, path in places.items() if _place(sha256) in listed})


def _checked(folder: Path, manifest: str) -> dict[str, str]:
    """The files of a manifest, with their hashes, each of which was compared."""
    found: dict[str, str] = {}
    inside = folder.resolve()
    if not _lies_in(inside, folder / manifest) or (folder / manifest).stat().st_size > _LARGEST:
        raise StorageError(f"{folder} was edited: {manifest} is no manifest")
    for line in (folder / manifest).read_text(encoding="utf-8").splitlines():
        parts = _LINE.fullmatch(line)
        if parts is None or Path(parts[2]).is_absolute() or ".." in Path(parts[2]).parts:
            raise StorageError(f"{folder} was edited: {manifest} has the line {line[:100]!r}")
        sha256, name = parts[1], parts[2]
        path = folder / name
        if not _lies_in(inside, path):
            raise StorageError(f"{folder} was edited: {name} is missing")
        if (now := digest_of(path)[0]) != sha256:
            raise StorageError(f"{folder} was edited: {name} has the sha256 {now}; expected {sha256}, as {manifest} says")
        found[name] = sha256
    return found


def _lies_in(folder: Path, path: Path) -> bool:
    """True for a file below a folder, and none that a link leads to from there."""
    return path.is_file() and not path.is_symlink() and path.resolve().is_relative_to(folder)


def _wrong(found: Contents) -> str:
    """What cannot be in a data set that `mirror dataset create` made; "" if nothing."""
    if not found.records:
        return "it has no records"
    owners = {(r.series, r.recnum) for r in found.records}
    if len(owners) < len(found.records):
        return "it has a record twice"
    for r in found.records:
        if r.series not in found.keywords:
            return f"it names no keywords of {r.series[:100]!r}"
        if not 0 < r.recnum <= LARGEST or len(r.record) > _LONGEST or not r.record.isprintable():
            return f"the record {r.record[:100]!r} has recnum {r.recnum}; expected the name of a record, and a number above 0"
    for f in found.files:
        if not is_sha256(f.sha256) or not 0 <= f.size <= LARGEST or (f.path and unit_file(f.path) is None):
            return f"the file {f.path[:100]!r} has {f.size} bytes and sha256 {f.sha256[:64]!r}; expected a path of a storage unit"
        if (f.series, f.recnum) not in owners:
            return f"the file {f.path[:100]!r} is of no record of it"
    return ""

