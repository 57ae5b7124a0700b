"""The file ``<request id>.keywords.txt`` of an as-is export: a table of all keywords, tab-separated.

Three lines of head (names, types, printf formats), then one line a record. The column ``query`` comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirror.errors import UpstreamBroken


@dataclass(frozen=True, slots=True)
class KeywordColumn:
    """A keyword: ``type`` as in series_struct, TBD if it is linked; ``format`` as the series prints it."""

    name: str
    type: str = "string"
    format: str = "%s"


QUERY = KeywordColumn("query")
_UNPRINTABLE = str.maketrans("\t\n\r", "   ")


@dataclass(frozen=True, slots=True)
class KeywordTable:
    """``columns`` without ``query``; ``records`` are record queries, ``rows`` their values as printed."""

    columns: tuple[KeywordColumn, ...]
    records: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def encode_keywords(table: KeywordTable) -> bytes:
    """The file, in Latin-1; a tab or new line inside a value becomes a blank."""
    columns = (QUERY, *table.columns)
    head = [[getattr(column, part) for column in columns] for part in ("name", "type", "format")]
    body = [[record, *values] for record, values in zip(table.records, table.rows, strict=True)]
    lines = ["\t".join(cell.translate(_UNPRINTABLE) for cell in line) for line in (*head, *body)]
    return ("\n".join(lines) + "\n").encode("latin-1", "replace")


def decode_keywords(data: bytes) -> KeywordTable:
    """The table in ``data``; UpstreamBroken if its lines have different numbers of cells."""
    lines = [line.split("\t") for line in data.decode("latin-1").split("\n")[:-1]]
    if len(lines) < 3 or any(len(line) != len(lines[0]) for line in lines):
        raise UpstreamBroken(f"not a table of keywords: {_shape(lines)}")
    columns = tuple(KeywordColumn(*parts) for parts in zip(*lines[:3], strict=True))
    rows = tuple(tuple(line[1:]) for line in lines[3:])
    return KeywordTable(columns[1:], tuple(line[0] for line in lines[3:]), rows)


def _shape(lines: Sequence[Sequence[str]]) -> str:
    return f"{len(lines)} lines of {sorted({len(line) for line in lines})} cells"
