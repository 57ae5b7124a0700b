"""Rows as the index keeps them: every field as it was printed, and typed columns beside it."""

from __future__ import annotations

import asyncio
import dataclasses
import math

import pytest
import pytest_asyncio

from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import MAX, MIN, Span, Steps
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.drms.series import Keyword, PrimeKey
from mirror.drms.times import parse_time
from mirror.errors import UpstreamBroken
from mirror.storage.disk import Disk
from mirror.storage.index import blocks, reader
from mirror.storage.index.affected import affected_by_recnums
from mirror.storage.index.answers import AnswerKind, NewAnswer
from mirror.storage.index.changes import Changes
from mirror.storage.index.index import Index
from mirror.storage.index.layout import Layout, Tolerance, TypedColumn, quoted, tolerance
from mirror.storage.index.rows import batch, fill_request, raw_records, typed_values
from mirror.storage.lake.lake import Lake
from mirror.wire.rs_list import RsList, decode_rs_list
from mirror.wire.text import from_wire
from tests.emptystore import open_empty
from tests.lab import lab, world
from tests.storage.archive import SERIES, Record, answer


@pytest_asyncio.fixture
async def index(tmp_path):
    database = open_empty(tmp_path)
    yield await Index.load(database)
    database.close()


async def whole_answer(made, series):
    """Every record of a series, all versions, as upstream answers a fill."""
    ds = f"{series.name}[!1=1!]" if series.primekeys else series.name
    request = fill_request(Layout(series), ds)
    params = {"op": "rs_list", "ds": ds, "key": ",".join(request.keys), "R": "1"}
    params |= {"seg": ",".join(request.segments)} if request.segments else {}
    params |= {"link": ",".join(request.links)} if request.links else {}
    async with made.session.post(made.simulator.make_url("/cgi-bin/ajax/jsoc_info"), data=params) as response:
        return decode_rs_list(await response.read())


async def test_every_record_of_every_recorded_series_comes_back_as_it_was_printed(tmp_path, index):
    async with lab(tmp_path / "lab") as made:
        for data in (d for d in world() if d.structure.keywords):  # the others are listed only
            series, layout = data.structure, Layout(data.structure)
            answered = await whole_answer(made, series)
            await index.keep_series(series, 0.0)
            box = Box(Region((None,) * (len(series.primekeys) - 1), True), (Steps(MIN, MAX),))
            await index.keep(series, answered, complete=(box,), checked_at=0.0)
            kept = {row.recnum: row for row in raw_records(layout, answered)}
            text = f"{series.name}[!1=1!]" if series.primekeys else series.name
            (record_set,) = parse_query(text).sets
            rows = (await index.select(bind(record_set, series))).rows
            assert [r.recnum for r in rows] == [r.recnum for r in raw_records(layout, answered)], series.name
            assert all(row.raw == kept[row.recnum].raw for row in rows)
            await check_typed(index, layout, answered)


async def check_typed(index, layout, answered):
    """The typed columns hold what the printed values say."""
    if not answered.count:
        return
    names = ", ".join(f"{quoted(c.name)}" for c in layout.columns)
    union = f"(FROM {layout.table} UNION ALL BY NAME FROM {layout.old_table})"
    sql = f"SELECT recnum, {names} FROM {union} ORDER BY recnum"
    rows = await index._database.read(lambda cursor: cursor.execute(sql).fetchall())
    printed = dict(answered.keywords)
    order = sorted(range(answered.count), key=lambda i: printed["*recnum*"][i])
    for position, column in enumerate(layout.columns, start=1):
        texts = [printed[column.keyword][i] for i in order]
        for value, text in set(zip((row[position] for row in rows), texts, strict=True)):
            assert agrees(value, text, column.type), (layout.series.name, column, text, value)


def agrees(value, text, kind):
    if text == "MISSING":
        return value is None
    if value is None:
        return text in ("Invalid KeyLink", "nan", "-nan") or kind == "time"
    if kind == "string":
        return value == from_wire(text)
    if kind == "time":
        return value == parse_time(text)
    if kind in ("float", "double"):
        return value == float(text) or (math.isnan(value) and math.isnan(float(text)))
    number = int(text, 0) if text.lower().startswith("0x") else int(text)
    return (value - number) % 2**16 == 0


# ---- typed values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, text, value",
    [
        ("int", "0x80000000", -(2**31)),
        ("int", "0x00000001", 1),
        ("int", "   42", 42),
        ("short", "0xffff", -1),
        ("char", "127", 127),
        ("char", "0xff", -1),
        ("longlong", "0xffffffffffffffff", -1),
        ("int", "MISSING", None),
        ("int", "nonsense", None),
        ("float", " 6173.0", 6173.0),
        ("float", "1e-05", 1e-5),
        ("double", "MISSING", None),
        ("string", "MISSING", None),
        ("string", "a\\/b", "a/b"),
        ("string", "", ""),
        ("time", "MISSING", None),
        ("time", "1977.01.01_00:00:00_TAI", 0.0),
    ],
)
def test_printed_values_are_read_by_type(kind, text, value):
    assert typed_values(TypedColumn("x", kind, "X"), [text]).to_pylist() == [value]


# ---- answers that cannot be kept ------------------------------------------------------------------


def test_an_answer_without_a_field_is_broken():
    whole = answer([Record(1, 5)])
    for part in ("keywords", "recinfo", "segments"):
        lacking = RsList(
            **{
                **{f: getattr(whole, f) for f in ("count", "keywords", "segments", "links", "recinfo")},
                part: None,
            }
        )
        with pytest.raises(UpstreamBroken, match="lacks"):
            batch(Layout(SERIES), lacking, 1)


@pytest.mark.parametrize("column, value", [("NAME", "\\ud800"), ("*sunum*", 1 << 70), ("*sunum*", "none")])
def test_a_value_that_no_column_can_hold_is_refused(column, value):
    found = answer([Record(1, 5)])
    keywords = [(name, [value] if name == column else values) for name, values in found.keywords]
    with pytest.raises(UpstreamBroken, match="a value of the answer cannot be kept"):
        batch(Layout(SERIES), dataclasses.replace(found, keywords=keywords), 1)


async def test_a_broken_answer_keeps_nothing(index):
    await index.keep_series(SERIES, 0.0)
    box = Box(Region((None, None)), (Steps(0, 9),))
    with pytest.raises(UpstreamBroken):
        await index.keep(SERIES, answer([Record(1, 5, name="a\x1fb")]), complete=(box,), checked_at=0.0)
    assert await index.count(SERIES) == 0
    assert index.coverage(SERIES).gaps(box) == [box]


async def test_a_time_that_was_never_set_hinders_nothing(tmp_path):
    """It prints as a Julian day far beyond 64 bits of milliseconds."""
    key = dataclasses.replace(SERIES.keywords[0], name="OBS", type="time", units="UTC")
    series = dataclasses.replace(SERIES, primekeys=(PrimeKey("OBS", slotted=False),), keywords=(*SERIES.keywords, key))
    database = open_empty(tmp_path)
    index = await Index.load(database)
    await index.keep_series(series, 0.0)
    everything = Box(Region(()), (Steps(MIN, MAX),))
    for recnum in (1, 2):
        found = answer([Record(recnum, 5)])
        found = dataclasses.replace(found, keywords=[*found.keywords, ("OBS", ["JD_1157407409851852288"])])
        await index.keep(series, found, complete=(everything,), checked_at=0.0)
    assert [change.old for change in await Changes(database).found(None, None, 9)] == [1]
    assert await index.last_place(series) == MAX
    assert [each.records for each in await index.occupied(series, everything.region, [Span(MIN, MAX, 0.0)])] == [1]
    affected = await database.read(lambda cursor: affected_by_recnums(cursor, index.layout(series), [2]))
    assert affected.uncover(index.coverage(series)).gaps(everything)
    await Lake(tmp_path / "lake", database, index, Disk(), lambda: 0.0).tables(series)
    database.close()


# ---- structures that grow -------------------------------------------------------------------------


def grown():

    more = Keyword("LATER", "int", "variable", "", "none", "")
    return dataclasses.replace(SERIES, keywords=(*SERIES.keywords, more))


async def test_a_keyword_that_comes_later_is_missing_in_records_kept_before(tmp_path):
    database = open_empty(tmp_path)
    index = await Index.load(database)
    await index.keep_series(SERIES, 0.0)
    await index.keep(SERIES, answer([Record(1, 5)]), complete=(), checked_at=0.0)
    series = grown()
    await index.keep_series(series, 1.0)
    later = answer([Record(2, 6)])
    keywords = [*later.keywords[:4], ("LATER", ["7"]), *later.keywords[4:]]
    more = RsList(1, keywords=keywords, segments=later.segments, links=[], recinfo=later.recinfo)
    await index.keep(series, more, complete=(), checked_at=0.0)
    for _ in ("before", "after it is opened again"):
        (record_set,) = parse_query("lab.small").sets
        first, second = (await index.select(bind(record_set, series))).rows
        assert "LATER" not in first.fields
        assert first["VALUE"] == "1.5"
        assert second["LATER"] == "7"
        (condition,) = parse_query("lab.small[? LATER = 7 ?]").sets
        assert [r.recnum for r in (await index.select(bind(condition, series))).rows] == [2]
        database.close()
        database = open_empty(tmp_path)
        index = await Index.load(database)
    database.close()


def with_type(keyword, kind):
    keywords = (k if k.name != keyword else dataclasses.replace(k, type=kind) for k in SERIES.keywords)
    return dataclasses.replace(SERIES, keywords=tuple(keywords))


async def matching(index, series, condition):
    (record_set,) = parse_query(f"lab.small[? {condition} ?]").sets
    return [r.recnum for r in (await index.select(bind(record_set, series))).rows]


async def test_a_keyword_that_changes_its_type_has_its_column_made_anew_from_what_was_printed(tmp_path):
    database = open_empty(tmp_path)
    index = await Index.load(database)
    texts, numbers = with_type("VALUE", "string"), with_type("VALUE", "double")
    await index.keep_series(texts, 0.0)
    records = [Record(1, 5, value="10.5"), Record(2, 6, value="9.25")]
    await index.keep(texts, answer(records), complete=(), checked_at=0.0)
    await index.keep(texts, answer([Record(4, 5, value="11.5")]), complete=(), checked_at=0.0)
    assert await matching(index, texts, "VALUE > '9'") == [2]
    await index.keep_series(numbers, 1.0)
    for _ in ("before", "after it is opened again"):
        assert await matching(index, numbers, "VALUE > 9.5") == [4]
        assert await matching(index, numbers, "VALUE > 9") == [4, 2]
        (versions,) = parse_query("lab.small[! VALUE > 10 !]").sets
        assert [r.recnum for r in (await index.select(bind(versions, numbers))).rows] == [1, 4]
        database.close()
        database = open_empty(tmp_path)
        index = await Index.load(database)
    database.close()


async def test_other_prime_keys_take_back_what_was_vouched_for(tmp_path):
    database = open_empty(tmp_path)
    index = await Index.load(database)
    await index.keep_series(SERIES, 0.0)
    box = Box(Region((None, None)), (Steps(0, 9),))
    await index.keep(SERIES, answer([Record(1, 5)]), complete=(box,), checked_at=0.0)
    await index.keep_series(dataclasses.replace(SERIES, note="another note"), 1.0)
    assert not index.coverage(SERIES).gaps(box)
    fewer = dataclasses.replace(SERIES, primekeys=SERIES.primekeys[:2])
    await index.keep_series(fewer, 2.0)
    again = await Index.load(database)
    narrow = Box(Region((None,)), (Steps(0, 9),))
    assert index.coverage(fewer).gaps(narrow) == again.coverage(fewer).gaps(narrow) == [narrow]
    database.close()


ALONG_W = dataclasses.replace(SERIES, primekeys=(SERIES.primekeys[1], SERIES.primekeys[2]))
OLD_BOX = Box(Region((None, None)), (Steps(1, 9),))


async def keeps(index):
    await index.keep(SERIES, answer([Record(n, n) for n in range(1, 10)]), complete=(OLD_BOX,), checked_at=1.0)


async def confirms(index):
    await index.confirm(SERIES, (OLD_BOX,), 1.0)


async def answers(index):
    await index.keep_answer(SERIES, NewAnswer(AnswerKind.COUNT, "q", (OLD_BOX,), body=b"9"), 1.0)


@pytest.mark.parametrize("change", [keeps, confirms, answers])
@pytest.mark.parametrize("first", [True, False])
async def test_what_is_kept_while_a_series_gets_other_prime_keys_claims_nothing_by_the_former(tmp_path, change, first):
    database = open_empty(tmp_path)
    index = await Index.load(database)
    await index.keep_series(SERIES, 0.0)
    both = [index.keep_series(ALONG_W, 2.0), change(index)]
    found = await asyncio.gather(*(reversed(both) if first else both), return_exceptions=True)
    assert all(problem is None or "got other prime keys" in str(problem) for problem in found)
    assert first or isinstance(found[1], UpstreamBroken)
    for each in (index, await Index.load(database)):
        assert [region for region, spans in each.coverage(ALONG_W) if len(spans)] == []
        assert each.answers.of(SERIES.name) == []
    database.close()


@pytest.mark.parametrize("name", ["mirror.series", "Main.a", "index.a", "lab.small__OLD"])
def test_a_series_whose_tables_would_be_others_is_not_kept(name):
    assert Layout(SERIES).problem is None
    assert "have the name" in Layout(dataclasses.replace(SERIES, name=name)).problem


async def test_structures_are_found_in_any_case_and_by_name(index):
    await index.keep_series(SERIES, 5.0)
    found, at = index.series("LAB.SMALL")
    assert (found.name, at) == ("lab.Small", 5.0)
    assert index.series("lab.other") is None
    assert [s.name for s in index.all_series()] == ["lab.Small"]


# ---- tolerances -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, texts, expected",
    [
        ("int", ["1", "2"], Tolerance()),
        ("string", ["a"], Tolerance()),
        ("float", ["1.50", "2.25", "MISSING"], Tolerance(absolute=0.005)),
        ("float", ["1e-05", "2.5e+10", "3"], Tolerance(relative=5e-6)),
        ("float", ["1.5", "2.25"], Tolerance(relative=5e-6)),
        ("double", ["1.50e+00", "2.25e+10"], Tolerance(relative=0.005)),
        ("float", ["MISSING"], Tolerance()),
        ("time", ["2014.01.01_00:00:00_TAI"], Tolerance(absolute=0.5)),
        ("time", ["2014.01.01_00:00:00.00_TAI", "MISSING"], Tolerance(absolute=0.005)),
    ],
)
def test_the_printed_digits_tell_how_far_a_value_may_be_off(kind, texts, expected):
    found = tolerance(TypedColumn("x", kind, "X"), texts)
    assert found.absolute == pytest.approx(expected.absolute, abs=1e-9)
    assert found.relative == pytest.approx(expected.relative, abs=1e-7)  # a float's own precision


async def test_tolerances_only_widen_and_survive(tmp_path):
    database = open_empty(tmp_path)
    index = await Index.load(database)
    await index.keep_series(SERIES, 0.0)
    for value in ("1.5", "1.50", "1.500"):
        await index.keep(SERIES, answer([Record(1, 5, value=value)]), complete=(), checked_at=0.0)
    for _ in range(2):
        (record_set,) = parse_query("lab.small[? VALUE > 1.46 ?]").sets
        assert (await index.select(bind(record_set, SERIES))).undecided == 1
        (record_set,) = parse_query("lab.small[? VALUE > 1.44 ?]").sets
        assert (await index.select(bind(record_set, SERIES))).undecided == 0
        database.close()
        database = open_empty(tmp_path)
        index = await Index.load(database)
    database.close()


async def test_a_block_from_before_a_change_is_not_remembered_as_one_from_after_it(index, monkeypatch):
    """The change comes while another block of the same window is read."""
    monkeypatch.setattr(blocks, "SLOTS", 2)
    monkeypatch.setattr(blocks, "LOOKS", 1)
    await index.keep_series(SERIES, 1.0)
    await index.keep(SERIES, answer([Record(1, 0), Record(2, 2)]), complete=(), checked_at=1.0)
    read = index._read_blocks

    async def values(ds):
        found = await index.select(bind(parse_query(ds).sets[0], SERIES))
        return [row["VALUE"] for row in found.rows]

    async def changed_meanwhile(*asked):
        found = await read(*asked)
        await index.keep(SERIES, answer([Record(3, 2, value="9.5")]), complete=(), checked_at=2.0)
        return found

    assert await values("lab.small[2-3]") == ["1.5"]
    monkeypatch.setattr(index, "_read_blocks", changed_meanwhile)
    await values("lab.small[0-3]")
    monkeypatch.setattr(index, "_read_blocks", read)
    assert await values("lab.small[2-3]") == ["9.5"]


async def test_a_large_answer_is_cut_in_parts(index, monkeypatch):
    monkeypatch.setattr(blocks, "AT_ONCE", 2)
    monkeypatch.setattr(reader, "FEW_BLOCKS", 0)
    await index.keep_series(SERIES, 1.0)
    await index.keep(SERIES, answer([Record(k + 1, k, value=f"{k}.5") for k in range(7)]), complete=(), checked_at=1.0)
    found = (await index.select(bind(parse_query("lab.small[0-6]").sets[0], SERIES))).rows
    assert [len(part) for part in found._parts] == [2, 2, 2, 1]
    assert [list(column) for column in found.columns(["VALUE", "K"])] == [[f"{k}.5" for k in range(7)], [str(k) for k in range(7)]]
