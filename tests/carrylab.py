"""Asking a mirror in a lab for backups, bundles and imports, as the command line does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Lab

#: Questions whose answers tell nearly everything that a mirror knows of a record set.
EVERYTHING = {"seg": "**ALL**", "link": "**ALL**", "R": "1"}


class Refusal(Exception):
    """What the mirror said instead of doing it."""


async def task(lab: Lab, path: str, **body: Any) -> Any:
    """What a long task comes to; Refusal with the error if it fails."""
    answer = await lab.request("POST", path, json=body)
    last = json.loads(answer.body.splitlines()[-1])
    if "error" in last:
        raise Refusal(last["error"])
    return last["done"]


async def bundle(lab: Lab, to: Path, *recordsets: str, **more: Any) -> Any:
    return await task(lab, "/api/bundle", recordsets=list(recordsets), to=str(to), **more)


async def take(lab: Lab, folder: Path) -> Any:
    return await task(lab, "/api/import", bundle=str(folder))


async def told(lab: Lab, ds: str) -> Any:
    """Everything that the mirror answers of a record set, as the bytes of the archive's server but the time."""
    answers = [
        await lab.ask(ds, "**ALL**", **EVERYTHING),
        await lab.ask(ds, "T_REC,*recnum*,*sunum*"),
        await lab.ask(ds, op="rs_summary"),
        await lab.ask(ds.partition("[")[0], op="series_struct"),
    ]
    return [
        b"\n".join(x for x in a.body.split(b"\n") if b"runtime" not in x) if b"\n" in a.body else a.told
        for a in answers
    ]
