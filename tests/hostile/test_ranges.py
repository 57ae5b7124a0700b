"""Ranges that reach to the last value of a key's type: what is left beside them can be asked for, and means the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.coverage.claims import without
from mirror.coverage.coverage import Between, Box, Coverage, Region
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.coverage.plan import box_query, need, opened_box, opened_coverage
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.storage.database.database import Database
from tests.lab import lab, world

SERIES = {s.structure.name: s.structure for s in world()}
PICTURES, REGIONS, MODES, ZOO = (
    SERIES[name] for name in ("aia.lev1_euv_12s", "hmi.sharp_720s", "hmi.v_sht_modes", "su_test.zoo")
)
#: Ends of the integer types, what lies beside them, sentinels, and ordinary values.
ENDS = st.sampled_from(
    [sign * (1 << bits) + by for sign in (-1, 1) for bits in (7, 15, 31, 62, 63) for by in (-1, 0, 1)]
    + [-4611686018427387904, 10**12, -(10**12), 0, 1, 94, 171, 335, 336]
)


def points_of(series, box):
    """Which of some sample points lie in a box: (axis value, value of the other key) of the key's type."""
    axis = [-(10**6), 0, 1, 94, 171, 336, 10**6]
    others = [-(2**31), -1, 0, 1, 94, 171, 172, 335, 336, 2**31 - 1]
    return {
        (x, y)
        for x in axis
        for y in others
        if any(s.lo <= x <= s.hi and (x - s.lo) % s.step == 0 for s in box.steps)
        and all(r is None or r.lo <= y <= r.hi for r in box.region.others)
    }


@st.composite
def boxes(draw):
    def ends():
        return sorted((draw(ENDS), draw(ENDS)))

    other = draw(st.none() | st.builds(tuple, st.tuples(ENDS, ENDS).map(sorted)))
    return Box(Region((None if other is None else Between(*other),)), (Steps(*ends()),))


@settings(max_examples=120)
@given(st.lists(boxes(), max_size=4), boxes())
def test_what_is_left_beside_any_ranges_is_asked_for_and_means_the_same(held, wanted):
    coverage = Coverage()
    for box in held:  # as an earlier version may have written it down
        if box.steps[0].lo >= MIN and box.steps[0].hi <= MAX:
            coverage.add(box, 1.0)
    coverage = opened_coverage(PICTURES, coverage)
    asked = opened_box(PICTURES, wanted)
    gaps = [] if asked is None else coverage.gaps(asked)
    for gap in gaps:
        text = str(box_query(PICTURES, gap))
        found = need(bind(parse_query(text).sets[0], PICTURES))
        assert isinstance(found, tuple), text
        assert set().union(*(points_of(PICTURES, b) for b in found)) == points_of(PICTURES, gap), text
    left = set().union(*(points_of(PICTURES, gap) for gap in gaps))
    have = set().union(*(points_of(PICTURES, b) for b in held if b.steps[0].lo >= MIN and b.steps[0].hi <= MAX))
    assert left == points_of(PICTURES, wanted) - have


@settings(max_examples=100)
@given(st.lists(boxes(), min_size=1, max_size=3), boxes())
def test_taking_claims_back_leaves_claims_that_can_be_asked_for(held, gone):
    coverage = Coverage()
    for box in held:
        if (there := opened_box(PICTURES, box)) is not None:
            coverage.add(there, 1.0)
    there = opened_box(PICTURES, gone)
    left = coverage if there is None else without(coverage, [there])
    for region, spans in left:
        for span in spans:
            box = Box(region, (Steps(span.lo, span.hi),))
            assert isinstance(need(bind(parse_query(str(box_query(PICTURES, box))).sets[0], PICTURES)), tuple)


@pytest.mark.parametrize("series", [PICTURES, REGIONS, MODES, ZOO], ids=lambda s: s.name)
def test_a_whole_series_held_leaves_nothing_of_any_range(series):
    whole = need(bind(parse_query(f"{series.name}[]").sets[0], series))
    coverage = Coverage()
    for box in whole:
        coverage.add(box, 1.0)
    for key in series.primekeys:
        keyword = series.keyword(key.name)
        if keyword.type in ("int", "short") and not key.slotted:
            top = 2**31 - 1 if keyword.type == "int" else 2**15 - 1
            for text in (f"336-{top}", f"{-top - 1}-5", f"{-top - 1}-{top}", f"{top}", f"{top}/5"):
                boxes_ = need(bind(parse_query(f"{series.name}[{key.name}={text}]").sets[0], series))
                assert [gap for box in boxes_ for gap in coverage.gaps(box)] == []


# ---- through the product -------------------------------------------------------------------------

SPAN = "aia.lev1_euv_12s[2014-01-01T00:30:00Z/1m]"
RANGES = ["336-2147483647", "-2147483648-94", "-2147483648-2147483647", "171", "2147483647/5", "94-94", "94,171,335"]


@pytest.mark.parametrize("first", RANGES)
async def test_after_any_range_the_whole_is_found(tmp_path, first):
    async with lab(tmp_path) as mirror:
        assert sorted(await mirror.recnums(f"{SPAN}[{first}]")) == sorted(await mirror.upstream(f"{SPAN}[{first}]"))
        for rest in ("", "[131-2147483647]", "[-2147483648-131]"):
            assert await mirror.recnums(SPAN + rest) == await mirror.upstream(SPAN + rest)
        assert (await mirror.ask(SPAN)).plan == "local"


@pytest.mark.parametrize(
    "ds",
    [
        "hmi.v_45s[:#9223372036854775807]",
        "hmi.v_45s[:#9223372036854775807/5]",
        "hmi.v_45s[:#4611686018427387904-#9223372036854775807]",
        "hmi.v_45s[T_REC_index=9223372036854775807/5]",
        "hmi.v_45s[#9223372036854775807/3]",
        "hmi.v_45s[T_REC_index=-4611686018427387904--4611686018427387904]",
    ],
)
async def test_numbers_that_no_record_has_find_none_and_ask_nobody(tmp_path, ds):
    async with lab(tmp_path) as mirror:
        assert await mirror.recnums(ds) == []
        assert await mirror.log(op="rs_list") == []


async def test_a_record_number_of_2_to_the_63_is_one_clear_error(tmp_path):
    async with lab(tmp_path) as mirror:
        answer = await mirror.ask("hmi.v_45s[:#9223372036854775808]")
        assert answer.json["status"] == 1
        assert "out of range" in answer.json["error"]


async def test_ranges_that_an_earlier_version_wrote_down_harm_nothing(tmp_path):
    async with lab(tmp_path) as mirror:
        await mirror.recnums(f"{SPAN}[336-2147483647]")
        await mirror.stop()
        database = Database.open(tmp_path / "index.duckdb")

        def as_before(cursor):
            region = json.dumps({"others": [[336, 2147483647]], "all_versions": False})
            cursor.execute("UPDATE mirror.coverage SET region = ?", [region])

        await database.write(as_before)
        database.close()
        await mirror.start()
        assert await mirror.recnums(SPAN) == await mirror.upstream(SPAN)
        await mirror.restart()
        assert (await mirror.ask(SPAN)).plan == "local"
