"""Names of the files in an export's directory: each leads to one file, and none out of the directory. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mirror.errors import BadRequest
from mirror.storage.files.unit_path import is_plain

if TYPE_CHECKING:
    from mirror.services.exports.jobs import JobFile
    from mirror.services.exports.planning import Plan
    from mirror.services.exports.segment_files import RequestedFile

LINKED = "link via "


def told_apart(plan: Plan, files: Sequence[RequestedFile], names: Sequence[str]) -> list[tuple[RequestedFile, str]]:
    """The files with their names, after those of linked segments whose name is that of one of the record's own.

    Recorded: as-is exports tell the record's own file twice then. In FITS exports the linked file gets the
    name of its segment, so that none takes the other's place.
    """
    linked = {s.name for s in plan.series.segments if s.protocol.startswith(LINKED)}
    pairs = list(zip(files, names, strict=True))
    own = {(w.owner.recnum, name): w for w, name in pairs if w.segment not in linked}

    def apart(wanted: RequestedFile, name: str) -> tuple[RequestedFile, str]:
        same = own.get((wanted.owner.recnum, name), wanted)
        if same is wanted:
            return wanted, name
        if plan.request.protocol.as_is:
            return same, name
        before, _, after = name.rpartition(wanted.file)
        return wanted, f"{before}{wanted.segment}.fits{after}" if before or after else f"{wanted.segment}.fits"

    return [apart(*pair) for pair in pairs]


def check_names(template: str, names: Sequence[str]) -> None:
    """BadRequest for a name that would lie elsewhere than in the export's directory."""
    for name in names:
        if not is_plain(name):
            raise BadRequest(f"filenamefmt {template!r} makes the name {name!r}; expected one of a file, without folders")


def check_files(template: str, files: Sequence[JobFile]) -> None:
    """BadRequest if one file would take another's place."""
    known: dict[str, JobFile] = {}
    for file in files:
        first = known.setdefault(file.name, file)
        if file.sha256 and (first.sha256, first.front) != (file.sha256, file.front):
            raise BadRequest(
                f"filenamefmt {template!r} makes the name {file.name!r} for {first.record} and for {file.record}; "
                f"expected names that differ, by {{recnum:%d}} for example"
            )
