"""All synthetic series: which keywords, records and times each of them has.

A series begins in May 2010, MDI's in 1996, IRIS's in 2013, and ends some days before now, as definitive
data do; near-real-time series go on to the last hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from mirror.drms.times import parse_time
from mirror.simulator.base import SeriesData
from mirror.simulator.synthetic import aia, aia_tables, ancillary, hmi, iris, maps, mdi
from mirror.simulator.synthetic.columns import Frame, load_suite_facts
from mirror.simulator.synthetic.design import (
    FOREVER,
    LAG,
    REDONE,
    Design,
    Functions,
    Target,
    Timing,
    Workshop,
)
from mirror.simulator.synthetic.ephemeris import DAY, Ephemeris
from mirror.simulator.synthetic.harps import Harps, make_harps, make_tarps
from mirror.simulator.synthetic.noise import Floats, Ints
from mirror.simulator.synthetic.population import Population, Strands, Stretches, UtcGrid
from mirror.simulator.synthetic.rows import ListedSeries, SyntheticSeries
from mirror.simulator.synthetic.selecting import Axis, Shifted
from mirror.simulator.synthetic.sharp import QUICK, sharp_columns, smarp_columns
from mirror.simulator.synthetic.structure import Blueprint, load, load_facts

_ONE_CAMERA = ((2,), (hmi.FIRST_LIGHT, FOREVER))
_TWO_CAMERAS = ((1, 3), (hmi.FIRST_LIGHT, hmi.BOTH_CAMERAS, FOREVER))
_NO_CAMERA = ((), (hmi.FIRST_LIGHT, FOREVER))
_OBSERVABLES = {
    "hmi.V_45s": ({**hmi.FAST_OBSERVABLE, **hmi.VELOCITY}, _ONE_CAMERA),
    "hmi.M_45s": (hmi.FAST_OBSERVABLE, _ONE_CAMERA),
    "hmi.Ic_45s": (hmi.FAST_OBSERVABLE, _ONE_CAMERA),
    "hmi.M_720s": (hmi.SLOW_OBSERVABLE, _TWO_CAMERAS),
    "hmi.Ic_720s": (hmi.SLOW_OBSERVABLE, _TWO_CAMERAS),
    "hmi.Ic_noLimbDark_720s": (hmi.SLOW_OBSERVABLE, _NO_CAMERA),
    "hmi.S_720s": (hmi.SLOW_OBSERVABLE, _TWO_CAMERAS),
    "hmi.B_720s": (hmi.FULL_DISK_FIELD, _NO_CAMERA),
    "hmi.ME_720s_fd10": (hmi.FULL_DISK_FIELD, _NO_CAMERA),
    "hmi.meanpf_720s": (maps.POLAR_FIELD, _NO_CAMERA),
}
_CHARTS = ("hmi.synoptic_mr_720s", "hmi.synoptic_mr_polfil_720s", "hmi.b_synoptic")
_BY_MERIDIAN = {"hmi.rdVflows_fd15_frame": maps.FLOW_MERIDIANS, "hmi.v_avg120": maps.AVERAGE_MERIDIANS}
_MODES = {"hmi.v_sht_modes": maps.MODES, "hmi.v_sht_2drls": maps.ROTATION}
#: Each with the share of days that have a gap, and the longest gap in slots.
_MDI = {
    "mdi.fd_V": ({**mdi.MDI_COLUMNS, **mdi.VELOCITY}, 400),
    "mdi.fd_M_lev182": (mdi.MDI_COLUMNS, 400),
    "mdi.fd_M_96m_lev182": (mdi.EVERY_96_MINUTES, 5),
    "mdi.fd_Ic_interp": (mdi.EVERY_96_MINUTES, 5),
    "mdi.meanpf_96m": (maps.MDI_POLAR_FIELD, 5),
}
_NRT_FIRST = parse_time("2012.09.14_00:00:00_TAI")
_NRT_LAG = 2 * 3600.0


def synthetic_series(now: Callable[[], float], side: int | None = None) -> list[SeriesData]:
    """Every series; ``now`` gives the time in seconds after 1977.01.01_TAI, and may advance.

    With ``side`` images of the whole disk have so many pixels per side.
    """
    designs = {design.blueprint.series.name: design for design in _designs(now, side)}
    held: list[SeriesData] = [SyntheticSeries(design) for design in designs.values()]
    return [*held, *_listed(designs)]


def _designs(now: Callable[[], float], side: int | None) -> Iterator[Design]:
    shop = Workshop(now, Ephemeris(), load_suite_facts(), side)
    for name, (functions, (cameras, ends)) in _OBSERVABLES.items():
        yield _observable(shop, load(name), functions, cameras, ends)
    harps = make_harps(shop.facts, load("hmi.sharp_720s").axis)
    yield from _patches(shop, harps)
    yield from _maps(shop)
    yield from _aia(shop)
    yield _iris(shop, load("iris.lev1"))
    for name, (functions, longest) in _MDI.items():
        yield _mdi(shop, load(name), functions, longest)
    yield from _smarps(shop)
    yield _response(shop, load("aia.response"))
    yield _pointing(shop, load("aia.master_pointing3h"))
    yield _orbit(shop, load("sdo.fds_orbit_vectors"))
    yield _regions(shop, load("jsoc.noaa_active_regions"), harps)


def _listed(designs: Mapping[str, Design]) -> Iterator[SeriesData]:
    """Series without records: another one's structure under their own name."""
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
    """CAMERA where it is a prime key, and so cannot depend on the time."""
    if "camera" not in strands.keys:
        return {}
    return {"CAMERA": lambda frame: strands.keys["camera"][frame.strand]}


def _hmi_population(shop: Workshop, blueprint: Blueprint, strands: Strands, lag: float = LAG) -> Population:
    """Gaps and newer versions are the same for all series of one cadence."""
    day = round(DAY / blueprint.axis.step)
    gaps = shop.stretches(f"hmi gaps {day}", blueprint, share=0.12, longest=max(3, day // 60))
    redone = shop.stretches(f"hmi redone {day}", blueprint, share=0.02, longest=max(2, day // 40))
    return Population(strands, gaps, shop.end(blueprint, lag), redone, generation=REDONE)


# ---- patches and maps -------------------------------------------------------------------------------


def _patches(shop: Workshop, harps: Harps) -> Iterator[Design]:
    """HARPs and SHARPs, definitive and near real time."""
    recent = harps.since(load("hmi.sharp_720s").axis.slot(_NRT_FIRST))
    for name in ("hmi.sharp_720s", "hmi.sharp_cea_720s", "hmi.Mharp_720s"):
        yield _sharp(shop, load(name), harps, LAG, {})
        yield _sharp(shop, load(f"{name}_nrt"), recent, _NRT_LAG, QUICK)


def _sharp(shop: Workshop, blueprint: Blueprint, harps: Harps, lag: float, instead: Functions) -> Design:
    strands = _strands(harps, "harpnum")
    population = _hmi_population(shop, blueprint, strands, lag)
    columns = sharp_columns(blueprint, harps, population, cea="_cea_" in blueprint.series.name)
    return shop.gridded(blueprint, {**columns, **instead}, population, _by_strand(blueprint))


def _smarps(shop: Workshop) -> Iterator[Design]:
    tarps = make_tarps(load("mdi.smarp_cea_96m").axis)
    strands = _strands(tarps, "tarpnum")
    for name in ("mdi.smarp_cea_96m", "mdi.smarp_96m"):
        blueprint = load(name)
        gaps, stop = _mdi_gaps(shop, blueprint, 5), blueprint.axis.slot(mdi.LAST_LIGHT)
        population = Population(strands, gaps, partial(int, stop))
        columns = smarp_columns(blueprint, tarps, population, cea="_cea_" in name)
        yield shop.gridded(blueprint, columns, population, _by_strand(blueprint))


def _strands(harps: Harps, key: str) -> Strands:
    alike = {"noaa_ar": harps.region, "noaa_num": harps.regions}
    return Strands(harps.first, harps.stop, {key: harps.numbers}, interleaved=False, alike=alike)


def _by_strand(blueprint: Blueprint) -> Timing:
    """The timing of patches: chance depends on the patch, too."""
    axis = blueprint.axis

    def timing(strand: Ints, slot: Ints) -> tuple[Floats, Ints]:
        return axis.epoch + slot.astype(np.float64) * axis.step, slot + (strand << 32)

    return timing


def _maps(shop: Workshop) -> Iterator[Design]:
    for name in _CHARTS:
        yield _by_rotation(shop, load(name), "car_rot", {}, maps.CHART, maps.chart_timing)
    for name, meridians in _BY_MERIDIAN.items():
        columns = maps.carrington_columns(meridians)
        timing = maps.meridian_timing(meridians)
        yield _by_rotation(shop, load(name), "carrrot", {"cmlon": meridians}, columns, timing)
    for name, keys in _MODES.items():
        yield _mode_series(shop, load(name), keys)


def _by_rotation(
    shop: Workshop,
    blueprint: Blueprint,
    key: str,
    keys: Mapping[str, Ints],
    functions: Functions,
    timing: Timing,
) -> Design:
    """A series whose slots are Carrington rotations; a rotation is there some days after its end."""
    count = len(next(iter(keys.values()), np.zeros(1)))
    first, stop = np.full(count, maps.FIRST_ROTATION), np.full(count, maps.rotation_at(FOREVER))
    strands = Strands(first, stop, keys, interleaved=True)
    population = Population(strands, _no_gaps(), lambda: maps.rotation_at(shop.now() - maps.CHART_LAG))
    return shop.design(blueprint, functions, population, timing, {key: Shifted()})


def _mode_series(shop: Workshop, blueprint: Blueprint, keys: Mapping[str, Ints]) -> Design:
    first, stop = (np.full(len(keys["lmin"]), blueprint.axis.slot(time)) for time in (maps.FIRST, FOREVER))
    strands = Strands(first, stop, keys, interleaved=True, every=maps.LENGTH_DAYS)
    population = Population(strands, _no_gaps(), shop.end(blueprint, maps.LAG_DAYS * DAY))
    return shop.gridded(blueprint, maps.mode_columns(keys), population)


# ---- AIA ------------------------------------------------------------------------------------------


def _aia(shop: Workshop) -> Iterator[Design]:
    lev1, euv, uv = (load(f"aia.lev1{name}") for name in ("", "_euv_12s", "_uv_24s"))
    gaps = shop.stretches("aia gaps", uv, share=0.2, longest=40)  # in the 24 s that all share
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


def _mdi(shop: Workshop, blueprint: Blueprint, functions: Functions, longest: int) -> Design:
    first, stop = (blueprint.axis.slot(time) for time in (mdi.FIRST_LIGHT, mdi.LAST_LIGHT))
    strands = Strands(np.array([first]), np.array([stop]), {}, interleaved=True)
    population = Population(strands, _mdi_gaps(shop, blueprint, longest), partial(int, stop))
    return shop.gridded(blueprint, functions, population)


def _mdi_gaps(shop: Workshop, blueprint: Blueprint, longest: int) -> Stretches:
    return shop.stretches("mdi gaps", blueprint, share=0.35, longest=longest, lost=mdi.OUTAGES)


def _response(shop: Workshop, blueprint: Blueprint) -> Design:
    strands = Strands(np.array([0]), np.array([aia_tables.COUNT]), {}, interleaved=True)
    population = Population(strands, _no_gaps(), lambda: aia_tables.COUNT)
    design = shop.design(blueprint, aia_tables.RESPONSE_COLUMNS, population, aia_tables.timing, {})
    return replace(design, listed=True)


def _pointing(shop: Workshop, blueprint: Blueprint) -> Design:
    grid, first = aia_tables.POINTING, aia_tables.POINTING_FIRST
    lost = grid.slot(aia_tables.POINTING_LOST)
    quiet = [(grid.slot(begin), grid.slot(end)) for begin, end in (*shop.facts.quiet, (first, first))]
    gaps = Stretches(
        "pointing gaps", slots=(grid.slot(first), grid.slot(FOREVER)), block=1, share=0.003, longest=1,
        never=quiet, always=[(lost, lost)],
    )  # fmt: skip
    population = _on_clock(grid, first, lambda: shop.now() - aia_tables.POINTING_LAG, gaps)
    return shop.design(
        blueprint, aia_tables.pointing_columns(gaps), population, grid.timing, {"t_start": grid.axis}
    )


def _orbit(shop: Workshop, blueprint: Blueprint) -> Design:
    grid, first = ancillary.ORBIT, ancillary.ORBIT_FIRST
    population = _on_clock(grid, first, lambda: shop.now() + ancillary.ORBIT_AHEAD)
    return shop.design(blueprint, ancillary.ORBIT_COLUMNS, population, grid.timing, {"obs_date": grid.axis})


def _on_clock(
    grid: UtcGrid, first: float, end: Callable[[], float], gaps: Stretches | None = None
) -> Population:
    strands = Strands(np.array([grid.slot(first)]), np.array([grid.slot(FOREVER)]), {}, interleaved=True)
    return Population(strands, gaps or _no_gaps(), lambda: grid.slot(end()))


def _regions(shop: Workshop, blueprint: Blueprint, harps: Harps) -> Design:
    regions = ancillary.make_regions(harps, load("hmi.sharp_720s").axis.epoch)
    grid = ancillary.REGION_DAY
    strands = Strands(regions.first, regions.stop, {"regionnumber": regions.number}, interleaved=True)
    population = Population(strands, _no_gaps(), lambda: grid.slot(shop.now()))
    return shop.design(
        blueprint, ancillary.region_columns(regions), population, grid.timing, {"observationtime": grid.axis}
    )


def _no_gaps() -> Stretches:
    return Stretches("no gaps", slots=(0, 1), block=1 << 40, share=0.0, longest=1)
