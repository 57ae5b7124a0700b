"""Dynamic links of a recorded world, followed again.

The recording of a whole series has wrong values behind dynamic links: for hundreds of linked records in one request the
real server prints empty ones. For a few it follows them, and that is what nearly every recorded answer shows. The
recording does show which records have a link at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mirror.drms.series import Link, Segment, Series

Answer = Mapping[str, Any]
Recording = tuple[Series, Answer]

_NO_KEYWORD, _NO_SEGMENT, _NO_LINK = "Invalid KeyLink", "BadSegLink", "Invalid_Link"
_EMPTY = "[-4712."  # in the name of an empty record: the missing time


def with_dynamic_links(recordings: Mapping[str, Recording]) -> dict[str, Recording]:
    """Recordings by series name, with dynamic links followed if the world has the target."""
    return {name: _followed(recording, recordings) for name, recording in recordings.items()}


def _followed(recording: Recording, recordings: Mapping[str, Recording]) -> Recording:
    series, answer = recording
    for link in series.links:
        if link.kind == "DYNAMIC" and link.target in recordings and answer["count"]:
            answer = _Following(series, answer, link, *recordings[link.target]).answer()
    return series, answer


@dataclass(frozen=True)
class _Following:
    """One link of one recording, and the recording of its target."""

    series: Series
    recorded: Answer
    link: Link
    target: Series
    target_recorded: Answer

    def answer(self) -> Answer:
        """The recording with everything behind the link replaced."""
        positions = self._positions()
        return {
            **self.recorded,
            "keywords": [self._keyword(column, positions) for column in self.recorded["keywords"]],
            "segments": [self._segment(column, positions) for column in self.recorded["segments"]],
            "links": [self._link(column, positions) for column in self.recorded["links"]],
        }

    def _positions(self) -> list[int | None]:
        """Where each record's link leads among the target's records; None if nowhere."""
        newest = {info["name"]: at for at, info in enumerate(self.target_recorded["recinfo"])}
        return [newest.get(name) if name is not None else None for name in self._names()]

    def _names(self) -> list[str | None]:
        """The target's record name for each record that has a link.

        A prime key is the record's own keyword of that name, or the same in all links: names that were recorded
        correctly show which.
        """
        links = next(c["values"] for c in self.recorded["links"] if c["name"] == self.link.name)
        at, good = next((i, name) for i, name in enumerate(links) if name != _NO_LINK and _EMPTY not in name)
        told = good.partition("[")[2].removesuffix("]").split("][")
        own = {c["name"]: c["values"] for c in self.recorded["keywords"]}
        columns = []
        for key, value in zip(self.target.primekeys, told, strict=True):
            same = key.name in own and own[key.name][at] == value
            columns.append(own[key.name] if same else [value] * len(links))
        names = [self.target.name + "".join(f"[{v}]" for v in row) for row in zip(*columns, strict=True)]
        return [name if there else None for name, there in zip(names, self._has_link(), strict=True)]

    def _has_link(self) -> list[bool]:
        segment = next(s for s in self.series.segments if self._is_behind(s))
        paths = next(c["values"] for c in self.recorded["segments"] if c["name"] == segment.name)
        return [path != _NO_SEGMENT for path in paths]

    def _is_behind(self, segment: Segment) -> bool:
        return segment.protocol == f"link via {self.link.name}"

    def _keyword(self, column: Mapping[str, Any], positions: Sequence[int | None]) -> Mapping[str, Any]:
        keyword = self.series.keyword(column["name"])
        link, _, name = ("", "", "") if keyword is None else (keyword.linkinfo or "").partition("->")
        if link != self.link.name:
            return column
        values = next(c["values"] for c in self.target_recorded["keywords"] if c["name"] == name)
        return {**column, "values": [_NO_KEYWORD if at is None else values[at] for at in positions]}

    def _segment(self, column: Mapping[str, Any], positions: Sequence[int | None]) -> Mapping[str, Any]:
        segment = self.series.segment(column["name"])
        if segment is None or not self._is_behind(segment):
            return column
        at_target = self._target_segment(segment)
        paths = [_NO_SEGMENT if at is None else at_target["values"][at] for at in positions]
        dims = ["NA" if at is None else at_target["dims"][at] for at in positions]
        cparms = [at_target["cparms"][at] for at in positions if at is not None]
        return {**column, "values": paths, "dims": dims, "cparms": cparms}

    def _target_segment(self, segment: Segment) -> Mapping[str, Any]:
        """The one of the same name, else the first: no structure tells which it is."""
        columns: Sequence[Mapping[str, Any]] = self.target_recorded["segments"]
        return next((c for c in columns if c["name"] == segment.name), columns[0])

    def _link(self, column: Mapping[str, Any], positions: Sequence[int | None]) -> Mapping[str, Any]:
        if column["name"] != self.link.name:
            return column
        names = [info["name"] for info in self.target_recorded["recinfo"]]
        return {**column, "values": [_NO_LINK if at is None else names[at] for at in positions]}
