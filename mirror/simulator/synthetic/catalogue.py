"""All synthetic series, put together: which keywords, records and times belong to which.

A series begins in May 2010, MDI's in 1996, IRIS's in 2013, and ends some days before now, as definitive
data do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from mirror.simulator.base import SeriesData
from mirror.simulator.synthetic import aia, hmi, iris, mdi, response
from mirror.simulator.synthetic.columns import Frame, load_suite_facts
from mirror.simulator.synthetic.design import Design, Target
from mirror.simulator.synthetic.ephemeris import DAY, Ephemeris
from mirror.simulator.synthetic.harps import Harps, make_harps
from mirror.simulator.synthetic.noise import Floats, Ints
from mirror.simulator.synthetic.population import Population, Strands, Stretches
from mirror.simulator.synthetic.selecting import Axis, Shifted
from mirror.simulator.synthetic.series import ListedSeries, SyntheticSeries
from mirror.simulator.synthetic.sharp import sharp_columns
from mirror.simulator.synthetic.structure import Blueprint, load, load_facts
from mirror.simulator.synthetic.workshop import FOREVER, LAG, REDONE, Functions, Workshop

_ONE_CAMERA = ((2,), (hmi.FIRST_LIGHT, FOREVER))
_TWO_CAMERAS = ((1, 3), (hmi.FIRST_LIGHT, hmi.BOTH_CAMERAS, FOREVER))
_OBSERVABLES = {
    "hmi.V_45s": ({**hmi.FAST_OBSERVABLE, **hmi.VELOCITY}, _ONE_CAMERA),
    "hmi.M_45s": (hmi.FAST_OBSERVABLE, _ONE_CAMERA),
    "hmi.Ic_45s": (hmi.FAST_OBSERVABLE, _ONE_CAMERA),
    "hmi.M_720s": (hmi.SLOW_OBSERVABLE, _TWO_CAMERAS),
    "hmi.Ic_720s": (hmi.SLOW_OBSERVABLE, _TWO_CAMERAS),
    "hmi.B_720s": (hmi.FULL_DISK_FIELD, ((), (hmi.FIRST_LIGHT, FOREVER))),
}
_MODES = {"hmi.v_sht_modes": response.MODES, "hmi.v_sht_2drls": response.ROTATION}
_MDI = {"mdi.fd_V": {**mdi.MDI_COLUMNS, **mdi.VELOCITY}, "mdi.fd_M_lev182": mdi.MDI_COLUMNS}


def synthetic_series(now: Callable[[], float]) -> list[SeriesData]:
    """Every series; ``now`` tells the time in seconds after 1977.01.01_TAI, and may go on."""
    designs = {design.blueprint.series.name: design for design in _designs(now)}
    held: list[SeriesData] = [SyntheticSeries(design) for design in designs.values()]
    return [*held, *_listed(designs)]


def _designs(now: Callable[[], float]) -> Iterator[Design]:
    shop = Workshop(now, Ephemeris(), load_suite_facts())
    for name, (functions, (cameras, ends)) in _OBSERVABLES.items():
        yield _observable(shop, load(name), functions, cameras, ends)
    harps = make_harps(shop.facts, load("hmi.sharp_720s").axis)
    yield _sharp(shop, load("hmi.sharp_720s"), harps, cea=False)
    yield _sharp(shop, load("hmi.sharp_cea_720s"), harps, cea=True)
    for name, keys in _MODES.items():
        yield _mode_series(shop, load(name), keys)
    yield from _aia(shop)
    yield _iris(shop, load("iris.lev1"))
    for name, functions in _MDI.items():
        yield _mdi(shop, load(name), functions)
    yield _response(shop, load("aia.response"))


def _listed(designs: Mapping[str, Design]) -> Iterator[SeriesData]:
    """Series that hold no records: another one's structure under their own name."""
    for name, told in load_facts("names")["series"].items():
        design = designs[told["like"]]
        yield ListedSeries(replace(design, blueprint=design.blueprint.named(name, told["note"])))


# ---- HMI ------------------------------------------------------------------------------------------


def _observable(
    shop: Workshop,
    blueprint: Blueprint,
    functions: Functions,
    cameras: tuple[int, ...],
    ends: tuple[float, ...],
) -> Design:
    """One camera after the other, the first from ends[0] to ends[1] and so on."""
    slots = np.array([blueprint.axis.slot(time) for time in ends])
    keys = {"camera": np.array(cameras)} if cameras else {}
    strands = Strands(slots[:-1], slots[1:], keys, interleaved=True)
    return shop.gridded(
        blueprint, {**functions, **_camera(strands)}, _hmi_population(shop, blueprint, strands)
    )


def _camera(strands: Strands) -> Functions:
    """CAMERA where it is a prime key, and so cannot go by the time."""
    if "camera" not in strands.keys:
        return {}
    return {"CAMERA": lambda frame: strands.keys["camera"][frame.strand]}


def _hmi_population(shop: Workshop, blueprint: Blueprint, strands: Strands) -> Population:
    """Gaps and newer versions are the same for all series of one cadence."""
    day = round(DAY / blueprint.axis.step)
    gaps = shop.stretches(f"hmi gaps {day}", blueprint, share=0.12, longest=max(3, day // 60))
    redone = shop.stretches(f"hmi redone {day}", blueprint, share=0.02, longest=max(2, day // 40))
    return Population(strands, gaps, shop.end(blueprint), redone, generation=REDONE)


def _sharp(shop: Workshop, blueprint: Blueprint, harps: Harps, *, cea: bool) -> Design:
    strands = Strands(harps.first, harps.stop, {"harpnum": harps.numbers}, interleaved=False)
    population = _hmi_population(shop, blueprint, strands)
    axis = blueprint.axis

    def timing(strand: Ints, slot: Ints) -> tuple[Floats, Ints]:
        return axis.epoch + slot.astype(np.float64) * axis.step, slot + (strand << 32)

    return shop.gridded(blueprint, sharp_columns(harps, population, cea=cea), population, timing)


def _mode_series(shop: Workshop, blueprint: Blueprint, keys: Mapping[str, Ints]) -> Design:
    first, stop = (np.full(len(keys["lmin"]), blueprint.axis.slot(time)) for time in (response.FIRST, FOREVER))
    strands = Strands(first, stop, keys, interleaved=True, every=response.LENGTH_DAYS)
    population = Population(strands, _no_gaps(), shop.end(blueprint, response.LAG_DAYS * DAY))
    return shop.gridded(blueprint, response.mode_columns(keys), population)


# ---- AIA ------------------------------------------------------------------------------------------


def _aia(shop: Workshop) -> Iterator[Design]:
    lev1, euv, uv = (load(f"aia.lev1{name}") for name in ("", "_euv_12s", "_uv_24s"))
    gaps = shop.stretches("aia gaps", uv, share=0.2, longest=40)  # in the 24 s that all have in common
    source = _lev1(shop, lev1, gaps.scaled(aia.PLACES))
    yield source
    yield _aia_slots(shop, euv, aia.EUV, gaps.scaled(2), source)
    yield _aia_slots(shop, uv, aia.UV, gaps, source)


def _lev1(shop: Workshop, blueprint: Blueprint, gaps: Stretches) -> Design:
    first, stop = (aia.cycle(time) * aia.PLACES for time in (hmi.FIRST_LIGHT, FOREVER))
    strands = Strands(np.array([first]), np.array([stop]), {}, interleaved=True)
    population = Population(strands, gaps, lambda: aia.cycle(shop.now() - LAG) * aia.PLACES)
    axes: dict[str, Axis] = {**aia.axes(blueprint.axis), "fsn": Shifted(aia.FIRST_FSN)}
    return shop.design(blueprint, aia.lev1_columns(blueprint.axis), population, aia.LINE.timing, axes)


def _aia_slots(
    shop: Workshop, blueprint: Blueprint, waves: tuple[int, ...], gaps: Stretches, source: Design
) -> Design:
    """Exposures of some wavelengths, named by slots; the files are those of aia.lev1."""
    ends = [aia.cycle(time) * aia.halves(blueprint.axis) for time in (hmi.FIRST_LIGHT, FOREVER)]
    first, stop = (np.full(len(waves), end) for end in ends)
    strands = Strands(first, stop, {"wavelnth": np.array(waves)}, interleaved=True)

    def timing(strand: Ints, slot: Ints) -> tuple[Floats, Ints]:
        return aia.LINE.timing(strand, aia.exposure_of(waves, aia.halves(blueprint.axis), strand, slot))

    def target(frame: Frame) -> Ints:
        return source.population.recnums(np.zeros_like(frame.ident), frame.ident)

    design = shop.gridded(blueprint, aia.AIA_COLUMNS, Population(strands, gaps, shop.end(blueprint)), timing)
    return replace(design, targets={"lev1": Target(source, target)})


# ---- others ---------------------------------------------------------------------------------------


def _iris(shop: Workshop, blueprint: Blueprint) -> Design:
    stop = iris.LINE.about(FOREVER)
    strands = Strands(np.array([0]), np.array([stop]), {}, interleaved=True)
    quiet = [(iris.LINE.about(first), iris.LINE.about(last)) for first, last in shop.facts.quiet]
    gaps = Stretches("iris gaps", slots=(0, stop), block=5082, share=0.3, longest=600, never=quiet)
    population = Population(strands, gaps, lambda: max(0, iris.LINE.about(shop.now() - LAG)))
    axes: dict[str, Axis] = {**iris.axes(), "fsn": Shifted(iris.FIRST_FSN)}
    return shop.design(blueprint, iris.IRIS_COLUMNS, population, iris.LINE.timing, axes)


def _mdi(shop: Workshop, blueprint: Blueprint, functions: Functions) -> Design:
    first, stop = (blueprint.axis.slot(time) for time in (mdi.FIRST_LIGHT, mdi.LAST_LIGHT))
    gaps = shop.stretches("mdi gaps", blueprint, share=0.35, longest=400, lost=mdi.OUTAGES)
    strands = Strands(np.array([first]), np.array([stop]), {}, interleaved=True)
    return shop.gridded(blueprint, functions, Population(strands, gaps, lambda: stop))


def _response(shop: Workshop, blueprint: Blueprint) -> Design:
    strands = Strands(np.array([0]), np.array([response.COUNT]), {}, interleaved=True)
    population = Population(strands, _no_gaps(), lambda: response.COUNT)
    design = shop.design(blueprint, response.RESPONSE_COLUMNS, population, response.timing, {})
    return replace(design, listed=True)


def _no_gaps() -> Stretches:
    return Stretches("no gaps", slots=(0, 1), block=1 << 40, share=0.0, longest=1)
