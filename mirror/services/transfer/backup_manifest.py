"""What a backup says of itself: ``manifest.json``, and ``SHA256SUMS`` as ``sha256sum -c`` reads it. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mirror.errors import StorageError
from mirror.storage.disk import is_sha256

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT, VERSION = "jsoc-mirror backup", 1
MANIFEST, SUMS, INDEX, POOL = "manifest.json", "SHA256SUMS", "index.duckdb", "blobs"
#: How a backup's folder is called: its time in UTC, and a number where there are several of one second.
NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(?:-\d+)?")
_LINE = re.compile(r"([0-9a-f]{64})  (?:\.\./blobs/[0-9a-f]{2}/([0-9a-f]{64})|index\.duckdb)")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A backup: when it was made, by which program, of which schema; ``files`` and ``size`` of its blobs.

    ``sums`` is the sha256 of the file SHA256SUMS; ``index_only``: the files are not in it.
    """

    made_at: str
    program: str
    schema: int
    files: int
    size: int
    index_only: bool
    sums: str


def encode_manifest(manifest: Manifest) -> bytes:
    """``manifest.json``."""
    return json.dumps({"format": FORMAT, "version": VERSION, **asdict(manifest)}, indent=2).encode() + b"\n"


def decode_manifest(data: bytes, where: str) -> Manifest:
    """The inverse; StorageError, which names ``where``, for anything else."""
    try:
        given: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{where} is no JSON: {error}") from error
    if not isinstance(given, dict) or given.pop("format", None) != FORMAT:
        raise StorageError(f"{where} is not that of a backup; expected a folder that `mirror backup` made")
    version = given.pop("version", None)
    if version != VERSION or isinstance(version, bool):
        raise StorageError(f"{where} has version {version!r}, this program knows {VERSION}; use a newer one")
    return _manifest(given, where)


def _manifest(given: dict[str, Any], where: str) -> Manifest:
    kinds = {
        "made_at": str,
        "program": str,
        "schema": int,
        "files": int,
        "size": int,
        "index_only": bool,
        "sums": str,
    }
    right = given.keys() == kinds.keys() and all(
        isinstance(value, kinds[name]) and isinstance(value, bool) == (kinds[name] is bool)
        for name, value in given.items()
    )
    if not right or not is_sha256(given["sums"]) or min(given["schema"], given["files"], given["size"]) < 0:
        raise StorageError(f"{where} is damaged; expected the members {', '.join(kinds)}")
    return Manifest(**given)


def encode_sums(index: str, blobs: Iterable[str]) -> bytes:
    """``SHA256SUMS``: the hash of the index, and those of the files, each in the pool beside the backup."""
    lines = [f"{index}  {INDEX}", *(f"{x}  ../{POOL}/{x[:2]}/{x}" for x in sorted(blobs))]
    return ("\n".join(lines) + "\n").encode()


def decode_sums(data: bytes, where: str) -> tuple[str, list[str]]:
    """The inverse; StorageError for anything else."""
    index, blobs = "", []
    for number, line in enumerate(data.decode(errors="replace").removesuffix("\n").split("\n"), start=1):
        found = _LINE.fullmatch(line)
        if found is None or (found[2] is None) != (number == 1) or found[2] not in (None, found[1]):
            raise StorageError(f"{where} is damaged in line {number}: {line[:100]!r}")
        if found[2] is None:
            index = found[1]
        else:
            blobs.append(found[1])
    return index, blobs
