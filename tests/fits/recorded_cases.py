"""Recorded exports: archived file, record, and the file that the real exporter made of them.

The recording server kept its texts in UTF-8 and the exporter works on bytes, so texts come here as one
character a byte, which is also how answers of the real server are decoded.
"""

import base64
import gzip
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mirror.drms.series import Series
from mirror.fits import RecordValues
from mirror.wire.structure import decode_series_struct
from tests.recorded import DATA

#: Maps a keyword to NAXIS. The real exporter wrote a file that nothing opens; we refuse.
BREAKS_THE_FILE = 96
#: Their HEADSUM covers scratch cards that no reader sees, and of which the recordings tell nothing.
HEADSUM_OPEN = {40, 41}


def load(name: str) -> Any:
    with gzip.open(DATA / "fits" / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def as_bytes(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode().decode("latin-1")
    if isinstance(value, dict):
        return {name: as_bytes(item) for name, item in value.items()}
    return value


@dataclass(frozen=True)
class Case:
    number: int
    record: str
    segment: str
    series: Series
    path: str
    failure: str | None
    printed: dict[str, str]
    exact: dict[str, str]
    archived: bytes | None
    exported: bytes | None

    @property
    def values(self) -> RecordValues:
        return RecordValues(int(self.exact["*recnum*"]), self.exact)

    @property
    def export_time(self) -> datetime:
        cards = cards_of(self.exported)
        return datetime.fromisoformat(next(c for c in cards if c.startswith("CHECKSUM"))[54:73])


def cards_of(data: bytes) -> list[str]:
    """All header cards of the first HDU that has data, END left out."""
    cards = [data[i : i + 80].decode("latin-1") for i in range(0, len(data), 80)]
    end = cards.index("END".ljust(80))
    dummy = cards[2] == "NAXIS   =                    0 / number of data axes".ljust(80)
    return cards_of(data[2880:]) if dummy else cards[:end]


def structures() -> dict[str, Series]:
    return {
        name: decode_series_struct(json.dumps(answer, ensure_ascii=False).encode(), name_hint=name)
        for name, answer in load("structures").items()
    }


def cases() -> list[Case]:
    known = structures()
    return [_case(item, known) for item in load("cases")]


def _case(item: dict[str, Any], known: dict[str, Series]) -> Case:
    files = {k: item[k] and base64.b64decode(item[k]) for k in ("archived", "exported")}
    texts = {k: as_bytes(item[k]) for k in ("printed", "exact")}
    plain = {k: item[k] for k in ("number", "record", "segment", "path", "failure")}
    return Case(**plain, **texts, **files, series=known[item["record"].partition("[")[0]])
