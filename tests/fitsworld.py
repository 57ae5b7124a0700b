"""The recorded FITS exports as a world of the simulator: their records, at full precision, and archived files."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from mirror.simulator.exports.recorded import RecordedExports
from mirror.simulator.world import load_world
from tests.fits.recorded_cases import cases, load

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.simulator.base import SeriesData


def fits_world(folder: Path) -> tuple[list[SeriesData], RecordedExports]:
    """The series of the recorded cases, and their files, both written below ``folder``."""
    (folder / "files").mkdir()
    for case in cases():
        if case.archived and case.path.startswith("/SUM"):
            file = folder / "files" / case.path.split("/", 2)[2]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(case.archived)
    for name, structure in load("structures").items():
        items = [item for item in load("cases") if item["record"].partition("[")[0] == name]
        if items:
            world = json.dumps(_world(name, structure, items), ensure_ascii=False)
            (folder / f"{name}.json.gz").write_bytes(gzip.compress(world.encode(), 1))
    return list(load_world(folder)), RecordedExports(files=folder / "files")


def _world(name: str, structure: dict[str, Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    rows = {int(item["printed"]["*recnum*"]): item for item in items}
    shown = next(iter(rows.values()))["printed"]["*spec*"].partition("[")[0]
    # What lies behind a link was recorded with the record: nobody has to follow it.
    still = [{**link, "kind": "STATIC"} for link in structure["links"]]
    answer = {
        "count": len(rows),
        "keywords": [
            _column(key, [row["printed"][key] for row in rows.values()]) for key in items[0]["printed"]
        ],
        "segments": [_segment(s, items, list(rows)) for s in structure["segments"]],
        "links": [_column(link["name"], ["Invalid_Link"] * len(rows)) for link in still],
        "recinfo": [{"name": row["printed"]["*spec*"], "online": 1} for row in rows.values()],
        "status": 0,
    }
    precise = {
        key: [row["exact"][key] for row in rows.values()]
        for key in items[0]["exact"]
        if not key.startswith("*")
    }
    # The exporter was run on each file itself, without the filter of exports that needs a column QUALITY.
    keywords = [
        {k: v for k, v in key.items() if k != "linkinfo" or key["name"] != "QUALITY"}
        for key in structure["keywords"]
    ]
    told = json.dumps({**structure, "keywords": keywords, "links": still}, ensure_ascii=False)
    return {"series": shown or name, "series_struct": told, "answer": answer, "precise": precise}


def _column(name: str, values: list[Any]) -> dict[str, Any]:
    return {"name": name, "values": values}


def _segment(segment: dict[str, Any], items: list[dict[str, Any]], recnums: list[int]) -> dict[str, Any]:
    paths = {
        int(i["printed"]["*recnum*"]): i["path"]
        for i in items
        if i["segment"].lower() == segment["name"].lower()
    }
    return _column(segment["name"], [paths.get(n, "NoDataDirectory") for n in recnums])
