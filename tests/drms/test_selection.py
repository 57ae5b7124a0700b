"""Binding, rule by rule: what each way of writing values means, and where errors point."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.parser import parse_query
from mirror.drms.recordset import (
    Extreme,
    FloatRange,
    IntRange,
    KeyFilter,
    RecnumFilter,
    RecnumRange,
    Selection,
    Term,
    Text,
    WhereFilter,
)
from mirror.drms.selection import bind, prime_columns, stepless
from mirror.drms.times import parse_time
from mirror.errors import BadRequest, Refused, SyntaxProblem, UnknownName
from tests.drms.naive import worlds

bracket_texts = st.one_of(
    st.text("0123456789.-/@#^$,:_TAIZsmhdu'\" []ex\\?!=Fé", max_size=30),
    st.lists(
        st.sampled_from(
            [
                "2014.01.01_TAI",
                "2014-01-01T00:00:00",
                "-",
                "/",
                "@",
                ",",
                "1h",
                "2u",
                "5",
                "#",
                "^",
                "$",
                "1e9",
                "nan",
            ]
        ),
        max_size=7,
    ).map("".join),
)


@given(st.sampled_from(sorted(worlds())), st.lists(bracket_texts, min_size=1, max_size=3))
def test_any_brackets_bind_to_terms_or_raise_one_clear_error(name, texts):
    ds = name + "".join(f"[{text}]" for text in texts)
    try:
        for record_set in parse_query(ds).sets:
            selection = bind(record_set, worlds()[name].series, text=ds)
            assert all(f.terms for f in selection.filters if isinstance(f, KeyFilter))
            assert stepless(selection) is None
    except BadRequest as problem:
        shown = str(problem)
    else:
        shown = "bound"
    assert shown


# ---- single rules ---------------------------------------------------------------------------------


def bound(ds: str, **options: bool) -> Selection:
    record_set = parse_query(ds).sets[0]
    return bind(record_set, worlds()[record_set.series.lower()].series, text=ds, **options)


def terms(ds: str) -> list[tuple[str, tuple[Term, ...]]]:
    return [(f.column, f.terms) for f in bound(ds).filters if isinstance(f, KeyFilter)]


SLOT = 14726400  # 2014.01.01_TAI, in slots of 45 s since 1993.01.01_TAI


@pytest.mark.parametrize(
    "values, expected",
    [
        ("2014.01.01_TAI", IntRange(SLOT, SLOT)),
        ("2014.01.01_TAI/89s", IntRange(SLOT, SLOT)),
        ("2014.01.01_TAI/0s", IntRange(SLOT, SLOT)),
        ("2014.01.01_TAI/3u@2u", IntRange(SLOT, SLOT + 2, 2)),
        ("2014.01.01_TAI/1h@67.5s", IntRange(SLOT, SLOT + 79, 2)),
        ("2014.01.01_TAI/1h@-135s", IntRange(SLOT, SLOT + 79, 2)),
        ("2014.01.01_00:00:22_TAI-2014.01.01_00:03:23_TAI", IntRange(SLOT, SLOT + 5)),
        ("7670d", IntRange(SLOT, SLOT)),
        (f"#{SLOT}/10@2", IntRange(SLOT, SLOT + 9, 2)),
        (f"#-#{SLOT}", IntRange(None, SLOT)),
        (f"#{SLOT}-#", IntRange(SLOT, None)),
        ("#$", Extreme(last=True)),
        ("^ ", Extreme(last=False)),
        (f"T_REC_index = {SLOT}/5@2", IntRange(SLOT, SLOT + 4, 2)),
        (f"t_rec=0x{SLOT:x}u", IntRange(SLOT, SLOT)),
    ],
)
def test_values_of_a_slotted_key_become_slots(values, expected):
    assert terms(f"hmi.v_45s[{values}]") == [("T_REC_index", (expected,))]


@pytest.mark.parametrize(
    "ds, column, expected",
    [
        ("hmi.v_45s[][1,2]", "CAMERA", (IntRange(1, 1), IntRange(2, 2))),
        ("hmi.v_45s[][1-9@-3]", "CAMERA", (IntRange(1, 9, 3),)),
        ("hmi.v_45s[][1/3]", "CAMERA", (IntRange(1, 3),)),
        ("hmi.v_45s[CAMERA=0xFFFFFFFF]", "CAMERA", (IntRange(-1, -1),)),
        ("hmi.v_45s[CAMERA=#1-#3]", "CAMERA", (IntRange(1, 3),)),
        ("su_test.zoo['d]',a,'b, c',$]", "NAME", (Text("d]"), Text("a"), Text("b, c"), Extreme(last=True))),
        ("su_test.zoo[ ]", "NAME", (Text(""),)),
        ("su_test.zoo['it\\'\\'s']", "NAME", (Text("it's"),)),
        ("su_test.zoo[a-b]", "NAME", (Text("a-b"),)),
        ("su_test.zoo[#^]", "NAME", (Extreme(last=False),)),
        ("su_test.latslot[10/3u]", "LAT_index", (IntRange(20, 22),)),
        ("su_test.latslot[10-20@2u]", "LAT_index", (IntRange(20, 22, 2),)),
        ("su_test.latslot[inf]", "LAT_index", (IntRange(-(1 << 63), -(1 << 63)),)),
        ("su_test.carr[772207.5]", "CRTIME_index", (IntRange(51481, 51481),)),
        ("su_test.nokeyidx[#5]", "OBS", (FloatRange(5, 5),)),
    ],
)
def test_values_are_read_by_the_type_of_their_key(ds, column, expected):
    assert terms(ds) == [(column, expected)]


def test_a_length_of_an_unslotted_time_leaves_its_end_out():
    start = parse_time("2014.01.01_UTC")
    expected = FloatRange(start, start + 3600, open_end=True)
    assert terms("su_test.nokeyidx[2014.01.01_UTC/1h]") == [("OBS", (expected,))]


def test_a_step_of_an_unslotted_time_takes_what_lies_near_its_multiples():
    ((_, ranges),) = terms("su_test.nokeyidx[2014.01.01_UTC/1h@20m]")
    assert len(ranges) == 3
    assert all(isinstance(r, FloatRange) and r.first is not None for r in ranges)
    middles = [1167610000 + n * 1200 for n in range(3)]
    assert [(r.first + r.last) / 2 for r in ranges] == pytest.approx(middles, abs=0.01)


def test_after_a_leading_extreme_other_values_are_not_snapped_to_slots():
    ((_, (extreme, other)),) = terms("hmi.v_45s[$,2014.01.01_TAI]")
    assert extreme == Extreme(last=True)
    assert isinstance(other, IntRange)
    assert other.first is not None
    assert other.first > 1 << 60


def test_an_extreme_at_the_end_of_a_list_is_that_of_the_whole_series():
    columns = [column for column, _ in terms("hmi.v_45s[2014.01.01_TAI,$][CAMERA=1]")]
    assert columns == ["T_REC_index", "CAMERA"]
    columns = [column for column, _ in terms("hmi.v_45s[CAMERA=1][2014.01.01_TAI,$]")]
    assert columns == ["T_REC_index", "CAMERA"]


@pytest.mark.parametrize(
    "ds", ["hmi.v_45s[CAMERA=1][^,$]", "hmi.v_45s[^][CAMERA=1,$]", "su_test.zoo['a'-'b']"]
)
def test_the_few_things_that_cannot_be_said_are_refused(ds):
    with pytest.raises(Refused):
        bound(ds)


def test_a_condition_that_escapes_from_its_parentheses_is_refused_beside_other_filters():
    assert len(bound("hmi.v_45s[? 1=1) or (1=1 ?]").filters) == 1
    with pytest.raises(Refused):
        bound("hmi.v_45s[2014.01.01_TAI][? 1=1) or (1=1 ?]")


def test_a_step_that_comes_to_no_slot_raises():
    with pytest.raises(SyntaxProblem, match="a step that comes to 0"):
        bound("hmi.v_45s[2014.01.01_TAI/1h@10s]")


def test_a_zero_step_can_be_kept_and_then_left_out():
    selection = bound("hmi.v_45s[2014.01.01_TAI/1h@10s][:#1-#9@0]", zero_steps=True)
    assert selection.filters[0].terms[0].step == 0
    bare = stepless(selection)
    assert bare is not None
    assert bare.filters == (
        KeyFilter("T_REC", "T_REC_index", (IntRange(SLOT, SLOT + 79),)),
        RecnumFilter((RecnumRange(1, 9),)),
    )
    assert stepless(bare) is None


@pytest.mark.parametrize(
    "ds, caret",
    [
        ("hmi.v_45s[2014.01.01_TAI][1.5]", "."),
        ("hmi.v_45s[T_REC = bogus]", "b"),
        ("hmi.v_45s[2014.01.01_TAI/3x]", "3"),
        ("hmi.v_45s[2014.01.01_TAI][2][3]", "3"),
        ("su_test.noprime[1]", "1"),
        ("hmi.v_45s[2014.01.01_TAI/1h@0s]", "2"),
        ("su_test.zoo[Gamma Ray]", "R"),
    ],
)
def test_errors_point_into_the_whole_query(ds, caret):
    with pytest.raises(SyntaxProblem) as caught:
        bound(ds)
    assert caught.value.text == ds
    assert caught.value.expected
    assert ds[caught.value.position] == caret


def test_errors_without_the_query_show_the_filter():
    series = worlds()["hmi.v_45s"].series
    with pytest.raises(SyntaxProblem, match="bogus"):
        bind(parse_query("hmi.v_45s[bogus]").sets[0], series)


def test_a_key_that_is_not_prime_is_named_with_those_that_are():
    with pytest.raises(UnknownName, match=r"'QUALITY' is a keyword, but not a prime key.*T_REC, CAMERA"):
        bound("hmi.v_45s[QUALITY=0]")
    with pytest.raises(UnknownName, match="'NOKEY' is not a keyword"):
        bound("hmi.v_45s[NOKEY=0]")


def test_conditions_and_numbers_see_all_versions_where_they_should():
    assert not bound("hmi.v_45s[? QUALITY = 0 ?]").all_versions
    assert bound("hmi.v_45s[! QUALITY = 0 !]").all_versions
    assert bound("hmi.v_45s[:#1]").all_versions
    assert isinstance(bound("hmi.v_45s[! QUALITY = 0 !]").filters[0], WhereFilter)


def test_prime_columns_name_the_slots_of_slotted_keys():
    assert prime_columns(worlds()["hmi.sharp_720s"].series) == ("HARPNUM", "T_REC_index")
    assert prime_columns(worlds()["su_test.noprime"].series) == ()


def test_the_steps_of_all_values_of_a_key_without_slots_are_bounded_together():
    hours = [f"2014.01.0{day}_TAI/2h@1s" for day in (1, 2)]
    series = worlds()["su_test.nokeyidx"].series
    assert len(bind(parse_query(f"su_test.nokeyidx[{hours[0]}]").sets[0], series).filters[0].terms) > 7000
    with pytest.raises(Refused, match="steps of a key that has no slots are not served; at most 10000 are"):
        bind(parse_query(f"su_test.nokeyidx[{','.join(hours)}]").sets[0], series)
