"""The directory of a finished export as it is served: index files, keywords, products, tar file."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from mirror.drms.export import IN_FITS_FILES
from mirror.simulator.exports.contents import Chained, Content, Part, Whole
from mirror.wire.export_index import encode_index_html, encode_index_json, encode_index_txt
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from mirror.drms.export import Finished
    from mirror.simulator.exports.planning import Plan, Records
    from mirror.simulator.exports.products import Directory

_RECORD = tarfile.BLOCKSIZE


def index_files(index: Finished, plan: Plan) -> dict[str, bytes]:
    """The files beside the products; the keywords are only there if the products do not have them."""
    files = {
        "index.txt": encode_index_txt(index),
        "index.json": encode_index_json(index),
        "index.html": encode_index_html(index),
    }
    if index.keywords != IN_FITS_FILES:
        files[f"{index.request_id}.keywords.txt"] = keywords_text(plan)
    return files


def keywords_text(plan: Plan) -> bytes:
    """A table: names, types, then the values of each record."""
    lines = [line for at, part in enumerate(plan.parts) for line in _keyword_lines(part, titled=at == 0)]
    return ("\n".join(lines) + "\n").encode("latin-1", "replace")


def _keyword_lines(records: Records, *, titled: bool) -> Iterator[str]:
    keywords = [k for k in records.series.keywords if k.name not in records.series.implicit]
    if titled:
        yield "\t".join(["query", *(k.name for k in keywords)])
        yield "\t".join(["string", *(k.type for k in keywords)])
    columns = [records.rows.printed(k.name, False) for k in keywords]
    for name, *values in zip(records.names, *columns, strict=True):
        yield "\t".join([name, *map(from_wire, values)])


def content(directory: Directory, name: str, made_at: float) -> Content | None:
    """A file of the directory by name, None if there is none; "" is its index. ``made_at`` in Unix time."""
    if name in ("", "/"):
        name = "index.html"
    if directory.index.tarfile and name == directory.index.tarfile.rpartition("/")[2]:
        return tar(directory, made_at)
    # The products of a tar export are only in the tar file.
    packed = directory.index.tarfile is not None and any(name == f.filename for f in directory.index.files)
    make = None if packed else directory.files.get(name)
    return None if make is None else Whole(make())


def tar(directory: Directory, made_at: float) -> Content:
    """Every file of the directory, packed; each is made twice: for its size, and when it is sent."""
    parts = [
        part for name, make in directory.files.items() for part in _member(name, len(make()), make, made_at)
    ]
    return Chained([*parts, Part(2 * _RECORD, partial(bytes, 2 * _RECORD))])


def _member(name: str, size: int, make: object, made_at: float) -> list[Part]:
    info = tarfile.TarInfo(f"./{name}")
    info.size, info.mtime, info.mode = size, int(made_at), 0o644
    head = info.tobuf(tarfile.GNU_FORMAT)
    assert callable(make)
    return [
        Part(len(head), partial(bytes, head)),
        Part(size, make),
        Part(-size % _RECORD, partial(bytes, -size % _RECORD)),
    ]
