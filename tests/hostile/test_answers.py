"""Answers that belong to another question, as of a confused gateway or cache: none of their records is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.wire.rs_list import RsList, decode_rs_list, encode_rs_list
from tests.hostile.gateway import confused_lab

#: Questions of each kind: a span, with one other key, one region over its life, by number, and all wavelengths.
QUESTIONS = [
    "hmi.v_45s[2014.01.01_01:00_TAI/6m]",
    "hmi.v_45s[2014.01.01_01:00_TAI/6m][2]",
    "aia.lev1_euv_12s[2014-01-01T00:30:00Z/1m][171]",
    "aia.lev1_euv_12s[2014-01-01T00:30:00Z/1m]",
    "hmi.sharp_720s[3536][2014.01.01_TAI/2h]",
    "hmi.v_45s[:#100-#107]",
]
#: Record sets of other questions about the same series, and other series that have the same keys.
OTHERS = {
    "hmi.v_45s": [
        "hmi.v_45s[2014.01.02_01:00_TAI/6m]",
        "hmi.v_45s[2014.01.01_01:03_TAI/6m]",
        "hmi.v_45s[2014.01.01_00:57_TAI/6m]",
        "hmi.v_45s[2014.01.01_01:00_TAI/7m]",
        "hmi.v_45s[:#200-#207]",
        "hmi.M_45s[2014.01.01_01:00_TAI/6m]",
        "hmi.Ic_45s[2014.01.01_01:00_TAI/6m]",
        "su_test.V_45s_shadowed[2014.01.01_01:00_TAI/6m]",
    ],
    "aia.lev1_euv_12s": [
        "aia.lev1_euv_12s[2014-01-01T00:30:00Z/1m][193]",
        "aia.lev1_euv_12s[2014-01-01T00:31:00Z/1m][171]",
        "aia.lev1_euv_12s[2014-01-01T00:31:00Z/1m]",
        "aia.lev1_euv_12s[2014-01-01T00:29:00Z/2m]",
        "aia.lev1_uv_24s[2014-01-01T00:30:00Z/1m]",
    ],
    "hmi.sharp_720s": [
        "hmi.sharp_720s[3520][2014.01.01_TAI/2h]",
        "hmi.sharp_720s[3536][2014.01.01_04:00_TAI/2h]",
        "hmi.sharp_720s[][2014.01.01_TAI/1h]",
        "hmi.sharp_cea_720s[3536][2014.01.01_TAI/2h]",
    ],
}
#: What is part of a question about all wavelengths.
PART = OTHERS["aia.lev1_euv_12s"][0]
CONFUSIONS = st.one_of(
    st.tuples(st.just("other"), st.integers(0, 7), st.booleans()),
    st.tuples(st.just("fewer"), st.sets(st.integers(0, 7), min_size=1)),
    st.tuples(st.sampled_from(["first half", "last half", "none", "twice", "twice more"])),
    st.tuples(st.just("number"), st.integers(0, 7), st.sampled_from([0, -1, 2**63, 10**30])),
    st.tuples(st.just("number as text"), st.integers(0, 7)),
    st.tuples(st.just("key"), st.integers(0, 7), st.sampled_from(["x", "", "2014.13.77", "NaN", "9" * 40, "MISSING", "-1"])),
    st.tuples(st.just("time"), st.integers(0, 7), st.sampled_from(["soon", "2014.01.01_TAI junk", "0x10", "[]"])),
    st.tuples(st.just("name"), st.integers(0, 7), st.sampled_from(["hmi.M_45s[2014.01.01_TAI][2]", "", "a.b[:#1]"])),
    st.tuples(st.sampled_from(["count", "short column"]), st.sampled_from([-1, 1, 5])),
    st.tuples(st.sampled_from(["lost column", "renamed column", "names in another order", "swapped keys"])),
)  # fmt: skip


def draw(strategy, count):
    """Examples of a strategy, the same in every run: hypothesis cannot await."""
    found = []

    @settings(max_examples=count, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(example):
        found.append(example)

    collect()
    return found


# ---- confusing ----------------------------------------------------------------------------------


def picked(answer, places):
    """The records at these places."""

    def pick(values):
        return [values[p] for p in places] if len(values) == answer.count else list(values)[: len(places)]

    segments = [
        replace(s, **{part: pick(getattr(s, part)) for part in ("values", "dims", "cparms", "bzeros", "bscales")})
        for s in answer.segments or ()
    ]
    return RsList(
        len(places),
        [(name, pick(values)) for name, values in answer.keywords or ()],
        segments,
        [(name, pick(values)) for name, values in answer.links or ()],
        None if answer.recinfo is None else pick(answer.recinfo),
    )


def with_column(answer, name, change):
    """The answer with the values of a keyword changed by ``change``."""
    columns = [(n, change(list(v)) if n.lower() == name.lower() else v) for n, v in answer.keywords]
    return replace(answer, keywords=columns)


def put(place, value):
    def change(values):
        values[place % len(values)] = value
        return values

    return change


def key_of(answer):
    """The key that the question restricts: slots, or the number of a region."""
    names = [name for name, _ in answer.keywords]
    return next((n for n in ("HARPNUM", "T_REC_index") if n in names), "*recnum*")


def confused(answer, kind, *details):
    """The bytes of the answer, confused; None if that leaves it as it is."""
    count = answer.count
    match kind:
        case "fewer":
            places = [p for p in range(count) if p not in details[0]]
            return None if len(places) == count else encode(picked(answer, places))
        case "first half":
            return encode(picked(answer, range(count // 2)))
        case "last half":
            return encode(picked(answer, range(count - count // 2, count)))
        case "none":
            return encode(RsList(0))
        case "twice":
            return encode(picked(answer, [*range(count - 1), 0]))
        case "twice more":
            return encode(picked(answer, [*range(count), 0]))
        case "number":
            return encode(with_column(answer, "*recnum*", put(*details)))
        case "number as text":
            return encode(with_column(answer, "*recnum*", lambda values: list(map(str, values))))
        case "key":
            return encode(with_column(answer, key_of(answer), put(*details)))
        case "time":
            return encode(with_column(answer, "T_REC", put(*details)))
        case "name":
            infos = list(answer.recinfo)
            infos[details[0] % count] = (details[1], 0)
            return encode(replace(answer, recinfo=infos))
        case "count":
            return encode(replace(answer, count=max(0, count + details[0])))
        case "short column":
            columns = list(answer.keywords)
            columns[3] = (columns[3][0], columns[3][1][:-1])
            return encode(replace(answer, keywords=columns))
        case "lost column":
            return encode(replace(answer, keywords=list(answer.keywords)[1:]))
        case "renamed column":
            return encode(replace(answer, keywords=[("OTHER", answer.keywords[0][1]), *answer.keywords[1:]]))
        case "names in another order":
            return encode(replace(answer, keywords=list(reversed(answer.keywords))))
        case "swapped keys":
            columns = dict(answer.keywords)
            columns["T_REC"], columns["QUALITY"] = columns["QUALITY"], columns["T_REC"]
            return encode(replace(answer, keywords=list(columns.items())))
    raise AssertionError(kind)


def encode(answer):
    return encode_rs_list(answer, runtime=0.0)


def confusion(kind, *details):
    """A gateway that gives other answers to rs_list; with other record sets perhaps to rs_summary too.

    A part of what was asked, which is counted as if it were the whole, cannot be told from the truth.
    """

    async def confuse(gateway, params):
        op = params.get("op")
        if kind == "other":
            which, counts = details
            sets = OTHERS[params["ds"].partition("[")[0].lower()]
            other = {**params, "ds": sets[which % len(sets)]}
            counts = counts and (other["ds"] != PART or "=171]" in params["ds"])
            return await gateway.right(other) if op == "rs_list" or (counts and op == "rs_summary") else None
        return None if op != "rs_list" else confused(decode_rs_list(await gateway.right(params)), kind, *details)

    return confuse


async def held(mirror):
    """How many records of each series the mirror holds, and the spans that it claims."""
    series = (await mirror.get("/api/series")).json
    return {s["series"]: s["records"] for s in series}, (await mirror.get("/api/coverage")).json


# ---- fills --------------------------------------------------------------------------------------


async def test_of_250_answers_that_belong_elsewhere_nothing_is_kept(tmp_path):
    async with confused_lab(tmp_path) as (mirror, gateway):
        for ds in QUESTIONS:
            await mirror.ask(ds.partition("[")[0], op="series_struct")
        before, kept, wrong = await held(mirror), [], 0
        for ds, how in draw(st.tuples(st.sampled_from(QUESTIONS), CONFUSIONS), 250):
            gateway.confusion = confusion(*how)
            answer = await mirror.ask(ds)
            wrong += answer.json["status"] == 1
            if await held(mirror) != before:
                kept.append((ds, how, answer.body[:300]))
                gateway.confusion = None
                assert await mirror.recnums(ds) == await mirror.upstream(ds), (ds, how)
                before = await held(mirror)
        gateway.confusion = None
        assert kept == []
        assert wrong >= 240
        for ds in QUESTIONS:
            assert await mirror.recnums(ds) == await mirror.upstream(ds), ds
            assert (await mirror.ask(ds)).plan == "local"


async def test_a_wrong_answer_that_passes_is_not_seen(tmp_path):
    async with confused_lab(tmp_path) as (mirror, gateway):
        await mirror.ask("hmi.v_45s", op="series_struct")
        for how in (("other", 0, False), ("first half",), ("twice",), ("number", 0, 0), ("none",)):
            once, wrong = [], confusion(*how)

            async def first_only(gateway, params, once=once, wrong=wrong):
                if params.get("op") == "rs_list" and not once:
                    once.append(params)
                    return await wrong(gateway, params)
                return None

            ds = f"hmi.v_45s[2014.01.01_0{2 + how[0].count('h')}:{len(how[0]):02}_TAI/3m]"
            gateway.confusion = first_only
            assert await mirror.recnums(ds) == await mirror.upstream(ds), how
            assert once


async def test_a_full_answer_needs_no_other_question_and_a_thin_one_needs_one(tmp_path):
    async with confused_lab(tmp_path) as (mirror, gateway):
        await mirror.recnums("hmi.v_45s[2014.01.01_01:00_TAI/6m]")  # how many records a slot has is learned here
        before = len(gateway.asked)
        await mirror.recnums("hmi.v_45s[2014.01.01_02:00_TAI/6m]")
        await mirror.recnums("hmi.v_45s[2014.01.01_02:30_TAI/6m][2]")
        assert [q["op"] for q in gateway.asked[before:]] == ["rs_list"] * 2
        before = len(gateway.asked)
        assert await mirror.recnums("hmi.v_45s[2014.01.01_03:00_TAI/6m][1]") == []
        assert [q["op"] for q in gateway.asked[before:]][:2] == ["rs_list", "rs_summary"]
        assert len(gateway.asked) - before <= 5


# ---- checks of what is held ---------------------------------------------------------------------

CHECKED = "hmi.v_45s[2014.01.01_01:00_TAI/12m]"


@pytest.mark.parametrize("counts", [False, True], ids=["lists", "counts too"])
@pytest.mark.parametrize(
    "other",
    [
        "hmi.v_45s[2014.01.02_01:00_TAI/12m]",
        "hmi.v_45s[2014.01.01_01:30_TAI/12m]",  # held too
        "hmi.M_45s[2014.01.01_01:00_TAI/12m]",
        "hmi.M_45s[2014.01.01_01:03_TAI/12m]",
        "hmi.v_45s[2014.01.01_00:54_TAI/12m]",
        "hmi.v_45s[2031.01.01_TAI/12m]",
    ],
)
async def test_a_check_that_hears_of_other_records_takes_none_away(tmp_path, other, counts):
    async with confused_lab(tmp_path) as (mirror, gateway):
        expected = await mirror.recnums(CHECKED)
        await mirror.recnums("hmi.v_45s[2014.01.01_01:30_TAI/12m]")
        before = await held(mirror)
        mirror.clock.forward(days=100)

        async def confuse(gateway, params):
            if params["op"] == "rs_list" or (counts and params["op"] == "rs_summary"):
                return await gateway.right({**params, "ds": other})
            return None

        gateway.confusion = confuse
        answer = await mirror.ask(CHECKED)
        same = await mirror.upstream(other) == expected  # another series may have the very same numbers
        assert answer.json["keywords"][0]["values"] == expected
        assert answer.plan == ("filled" if same else "stale")
        assert (await held(mirror))[0] == before[0]
        gateway.confusion = None
        assert await mirror.recnums(CHECKED) == expected
        assert (await mirror.ask(CHECKED)).plan == "local"


@pytest.mark.parametrize("how", [("first half",), ("none",), ("twice",), ("number", 0, 2**63), ("number as text", 0)])
async def test_a_check_with_a_list_that_is_not_whole_takes_none_away(tmp_path, how):
    async with confused_lab(tmp_path) as (mirror, gateway):
        expected = await mirror.recnums(CHECKED)
        mirror.clock.forward(days=100)
        gateway.confusion = confusion(*how)
        answer = await mirror.ask(CHECKED)
        assert (answer.plan, answer.json["keywords"][0]["values"]) == ("stale", expected)
        gateway.confusion = None
        assert await mirror.recnums(CHECKED) == expected


# ---- first and last, forwarded ------------------------------------------------------------------


@pytest.mark.parametrize("mark, text", [("T_REC_index", "soon"), ("T_REC_index", "1"), ("T_REC_index", "9" * 30)])
async def test_the_last_record_is_one_that_can_be_read_and_lies_behind_those_held(tmp_path, mark, text):
    async with confused_lab(tmp_path) as (mirror, gateway):
        await mirror.recnums("hmi.v_45s[2014.01.02_TAI/6m]")

        async def confuse(gateway, params):
            if params["op"] != "rs_list":
                return None
            return encode(with_column(decode_rs_list(await gateway.right(params)), mark, put(0, text)))

        gateway.confusion = confuse
        answer = await mirror.ask("hmi.v_45s[$]")
        assert answer.code == 200
        assert answer.json["status"] == 1 or answer.plan == "stale"
        gateway.confusion = None
        assert await mirror.recnums("hmi.v_45s[$]") == await mirror.upstream("hmi.v_45s[$]")


async def test_forwarded_records_that_were_not_asked_for_are_not_kept(tmp_path):
    ds = "hmi.v_45s[? DATAMEAN > 800 ?][2014.01.01_TAI/1h]"
    async with confused_lab(tmp_path, MIRROR_FILL__WAITING_LIMIT="1", MIRROR_FILL__CHUNK_RECORDS="8") as (mirror, gateway):
        await mirror.ask("hmi.v_45s", op="series_struct")

        async def confuse(gateway, params):
            if params["op"] == "rs_list":
                return await gateway.right({**params, "ds": "hmi.v_45s[2014.01.02_TAI/6m]"})
            return None

        gateway.confusion = confuse
        before = await held(mirror)
        answer = await mirror.ask(ds)
        assert answer.json["status"] == 1
        assert "another question" in answer.json["error"]
        assert await held(mirror) == before


# ---- the rest of what JSOC says -----------------------------------------------------------------


def edited(change):
    """A gateway that changes the text of structures."""

    async def confuse(gateway, params):
        if params.get("op") != "series_struct":
            return None
        return change((await gateway.right(params)).decode("latin-1")).encode("latin-1")

    return confuse


STRUCTURES = {
    "prime key that is none": (lambda t: t.replace('"name": "CAMERA",\n\t\t"slotted"', '"name": "CAMERAX",\n\t\t"slotted"'), "CAMERAX"),
    "quote": (lambda t: t.replace('"name": "QUALITY"', '"name": "Q\\"; DROP TABLE x; --"'), "name of a keyword"),
    "blank": (lambda t: t.replace('"name": "QUALITY"', '"name": "A B"'), "name of a keyword"),
    "long": (lambda t: t.replace('"name": "QUALITY"', f'"name": "{"A" * 999}"'), "name of a keyword"),
    "segment": (lambda t: t.replace('"name": "Dopplergram"', '"name": "../x"'), "name of a segment"),
    "type": (lambda t: t.replace('"type": "float"', '"type": "blob"'), "'blob'"),
    "other series": (lambda t: t.replace("hmi.V_45s[", "hmi.M_45s["), "expected one of hmi.v_45s"),
    "number": (lambda t: t.replace('"retention": ', '"retention": 1' + "0" * 30), "64 bits"),
    "dims": (lambda t: t.replace('"dims": "', '"dims": "' + "9x" * 5000), "characters"),
    "many": (lambda t: t.replace('"keywords": [', '"keywords": [' + ",".join(
        f'{{"name":"K{n}","type":"int","recscope":"variable","defval":"","units":"","note":""}}' for n in range(20_000)
    ) + ","), "keywords; expected at most"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRUCTURES)
async def test_a_structure_that_no_series_can_have_is_one_clear_error_and_not_kept(tmp_path, name):
    change, words = STRUCTURES[name]
    async with confused_lab(tmp_path) as (mirror, gateway):
        gateway.confusion = edited(change)
        answer = await mirror.ask("hmi.v_45s", op="series_struct")
        assert answer.code == 200
        assert answer.json["status"] == 1
        assert words in answer.json["error"], answer.json["error"]
        assert (await mirror.get("/api/series")).json == []
        gateway.confusion = None
        assert len(await mirror.recnums(QUESTIONS[0])) == 8


async def test_a_structure_that_cannot_be_leaves_what_is_held(tmp_path):
    async with confused_lab(tmp_path) as (mirror, gateway):
        expected = await mirror.recnums(QUESTIONS[0])
        before = await held(mirror)
        for change, _ in STRUCTURES.values():
            mirror.clock.forward(hours=30)
            gateway.confusion = edited(change)
            assert await mirror.recnums(QUESTIONS[0]) == expected
        # Two answers that differ in what the keys are.
        seen = []

        def other_keys(text):
            seen.append(text)
            return text.replace('"step": "45.000000"', '"step": "60.000000"').replace('"defval": "45.0', f'"defval": "{60 + len(seen)}.0')

        gateway.confusion = edited(other_keys)
        assert await mirror.recnums(QUESTIONS[0]) == expected
        gateway.confusion = None
        assert await held(mirror) == before


@pytest.mark.parametrize("other", ['"count": -5', '"count": 99999999999999999999', '"count": "8"'])
async def test_an_absurd_count_is_refused(tmp_path, other):
    async with confused_lab(tmp_path) as (mirror, gateway):

        async def confuse(gateway, params):
            return b'{"status": 0, %s}' % other.encode() if params.get("op") == "rs_summary" else None

        gateway.confusion = confuse
        answer = await mirror.ask("hmi.v_45s[? DATAMEAN > 1 ?]", op="rs_summary")
        assert answer.json["status"] == 1
        assert "rs_summary" in answer.json["error"] or "count" in answer.json["error"]


@pytest.mark.parametrize("change", [
    lambda b: b.replace(b'"hmi.M_45s"', b'"hmi.V_45s"'),
    lambda b: b.replace(b'"hmi.M_45s"', b'"<script>"'),
    lambda b: b.replace(b'"hmi.M_45s"', b'"' + b"a" * 500 + b'"'),
])  # fmt: skip
async def test_a_list_of_series_that_cannot_be_is_not_kept(tmp_path, change):
    async with confused_lab(tmp_path) as (mirror, gateway):

        async def confuse(gateway, params):
            return change(await gateway.right(params)) if params["path"].endswith("show_series") else None

        gateway.confusion = confuse
        assert (await mirror.get("/cgi-bin/ajax/show_series")).json["status"] == 1
        gateway.confusion = None
        assert b"hmi.M_45s" in (await mirror.get("/cgi-bin/ajax/show_series")).body
