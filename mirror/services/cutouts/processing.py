"""Processing steps of exports that are made here where the configuration says so: im_patch, and rebin.

What a step asks for that is not done here (other units, registering, blanking off the limb, other ways of averaging) goes to
JSOC like all other processing. A file that is made here says so in its HISTORY, and the job in its notes.
"""

from __future__ import annotations

import logging
import math
import re
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror import __version__
from mirror.drms.times import parse_time
from mirror.errors import SyntaxProblem
from mirror.services.cutouts.cutouts import moved, time_of
from mirror.services.quicklook.cutout import Units, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.drms.export import ExportRequest, ProcessStep
    from mirror.services.exports.content import ReplacedHeader
    from mirror.services.exports.planning import Plan
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.services.quicklook.process import RenderProcess
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.table import Blob

log = logging.getLogger(__name__)

#: The steps that can be made here.
STEPS = ("im_patch", "rebin")
_OF_PATCH = {"x", "y", "width", "height", "locunits", "boxunits", "t", "t_ref", "r", "c"}
_OFF = (None, "", "0")
_LEAST_SCALE = 1 / 1024


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is to be done with each image; ``since``: its centre is where it was then, and moves with the Sun."""

    window: Window
    since: float | None
    text: str


class Processing:
    """Makes the processing ``steps`` that are named."""

    def __init__(self, steps: Iterable[str], blobs: Blobs, renderer: RenderProcess) -> None:
        self._steps = frozenset(steps)
        self._blobs = blobs
        self._renderer = renderer

    def makes(self, request: ExportRequest) -> bool:
        """Whether the files of a request are made here."""
        named = {step.name for step in request.process.steps}
        if not named or not named <= self._steps or request.protocol.name != "fits":
            return False
        return recipe(request.process.steps) is not None

    async def file(self, plan: Plan, wanted: RequestedFile, archived: Blob, front: ReplacedHeader) -> Blob:
        """The processed file of a segment, kept in the store: the same bytes whenever it is made.

        BadRequest for what cannot be cut out, such as a place that is behind the limb by then.
        """
        made = recipe(plan.request.process.steps)
        assert made is not None, "makes() is asked first"
        assert front.packed is not None, "a front that was just made has its bytes"
        head, window = zlib.decompress(front.packed), made.window
        if made.since is not None:
            row = next(row for row in plan.rows if row.recnum == wanted.owner.recnum)
            window = moved(window, time_of(plan.series, row), head, made.since)
        name = f"{wanted.record}{{{wanted.segment}}}"
        history = f"jsoc-mirror {__version__} made this of {name} in the place of JSOC, as process={made.text}"
        with self._blobs.reading(archived) as path:
            data = await self._renderer.cutout(path, head, window, history, archived.kept_at)
        async with self._blobs.incoming(len(data)) as sink:
            await sink.write(data)
            blob = await sink.keep(size=len(data))
        log.info("processed here record=%s segment=%s process=%s", wanted.record, wanted.segment, made.text)
        return blob


def recipe(steps: tuple[ProcessStep, ...]) -> Recipe | None:
    """What these steps mean: im_patch, rebin, or both in this order; None if something of it is not done here."""
    text = "|".join(_text(step) for step in steps)
    names = tuple(step.name for step in steps)
    if names not in (("im_patch",), ("rebin",), ("im_patch", "rebin")):
        return None
    found = Recipe(Window(), None, text)
    for step in steps:
        arguments = {name.lower(): value for name, value in step.arguments}
        try:
            changed = _patched(arguments, found) if step.name == "im_patch" else _rebinned(arguments, found)
        except (ValueError, SyntaxProblem):
            return None
        if changed is None:
            return None
        found = changed
    return found


def _patched(arguments: Mapping[str, str | None], before: Recipe) -> Recipe | None:
    location, box = arguments.get("locunits"), arguments.get("boxunits")
    if arguments.keys() - _OF_PATCH or arguments.get("r") not in _OFF or arguments.get("c") not in _OFF:
        return None
    if (location, box) not in (("arcsec", "arcsec"), ("arcsec", "pixels"), ("pixels", "pixels")):
        return None
    x, y, width, height = (_number(arguments.get(name)) for name in ("x", "y", "width", "height"))
    if width <= 0 or height <= 0:
        return None
    follows = arguments.get("t") in _OFF
    reference = arguments.get("t_ref")
    if follows and (location != "arcsec" or not reference):
        return None
    units: Units = "arcsec" if location == "arcsec" else "pixels"
    window = Window((x, y), (width, height), units, rigid=True, box="pixels" if box == "pixels" else "arcsec")
    return replace(before, window=window, since=parse_time(str(reference)) if follows else None)


def _rebinned(arguments: Mapping[str, str | None], before: Recipe) -> Recipe | None:
    if arguments.keys() - {"scale", "method"} or arguments.get("method") not in (None, "boxcar"):
        return None
    scale = _number(arguments.get("scale"))
    every = round(1 / scale) if _LEAST_SCALE <= scale <= 1 else 0
    return replace(before, window=replace(before.window, scale=every)) if every and math.isclose(every * scale, 1) else None


def _number(text: str | None) -> float:
    found = float(text or "")
    if not math.isfinite(found):
        raise ValueError(text)
    return found


def _text(step: ProcessStep) -> str:
    """A step as it was asked for, without what a header cannot have."""
    words = [step.name, *(name if value is None else f"{name}={value}" for name, value in step.arguments)]
    return re.sub(r"[^\x20-\x7e]", "?", ",".join(words))

