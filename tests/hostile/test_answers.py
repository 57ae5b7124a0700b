"""Answers that belong to another question, as of a confused gateway or cache: none of their records is kept."""

from __future__ import annotations

from dataclasses import replace

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


async def test_of_500_answers_that_belong_elsewhere_nothing_is_kept(tmp_path):
    async with confused_lab(tmp_path) as (mirror, gateway):
        for ds in QUESTIONS:
            await mirror.ask(ds.partition("[")[0], op="series_struct")
        before, kept, wrong = await held(mirror), [], 0
        for ds, how in draw(st.tuples(st.sampled_from(QUESTIONS), CONFUSIONS), 500):
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
        assert wrong >= 480
        for ds in QUESTIONS:
            assert await mirror.recnums(ds) == await mirror.upstream(ds), ds
            assert (await mirror.ask(ds)).plan == "local"
