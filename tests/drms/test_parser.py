"""The grammar of record sets: what is read, what str() says again, and where errors point."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.parser import MAX_QUERY_LENGTH, parse_query
from mirror.drms.recordset import Bracket, RecnumRange, Recnums, RecordSet, RecordSetQuery, Where
from mirror.errors import SyntaxProblem

# ---- queries made by chance -------------------------------------------------------------------------

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,9}", fullmatch=True)
series = st.builds("{}.{}".format, names, names)
quoted = st.text("ab]['?,;=$#\\ ", max_size=8).map(
    lambda s: '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
words = st.text("abc012_.:-/@^$#,'", min_size=1, max_size=12).filter(
    lambda s: s[0] not in ":'" and "=" not in s
)
brackets = st.one_of(
    st.builds(Bracket, words | quoted | st.just("")),
    st.builds(Bracket, words, names),  # behind "=" a quote hides nothing
)
clauses = st.lists(
    st.sampled_from(["QUALITY", "=", "<", "1", "'a?]'", '"b!]"', "$(2014.01.01)", "and", "(", ")"])
).map(" ".join)
conditions = st.builds(Where, clauses, st.booleans())
numbers = st.integers(0, 10**9)
ends = st.one_of(
    st.builds(RecnumRange, st.none() | numbers, st.none() | numbers, st.integers(1, 99)),
    st.sampled_from([RecnumRange("^", "^"), RecnumRange("$", "$")]),
)
numbered = st.builds(Recnums, st.lists(ends, min_size=1, max_size=3).map(tuple))


@st.composite
def record_sets(draw):
    filters = draw(st.lists(brackets | conditions, max_size=4))
    filters += draw(st.lists(numbered, max_size=1))
    segments = draw(st.none() | st.lists(names, max_size=3).map(tuple))
    return RecordSet(draw(series), tuple(filters), segments)


queries = st.lists(record_sets(), min_size=1, max_size=3).map(tuple).map(RecordSetQuery)


@given(queries)
def test_str_of_a_query_parses_to_an_equal_query(query):
    assert parse_query(str(query)) == query


@given(st.text("ab.1[]{}?!:#,;'\"$()=^-/@ \t\n\0\\é", max_size=40))
def test_any_text_parses_or_raises_one_clear_error(text):
    try:
        query = parse_query("a.b" + text)
    except SyntaxProblem as problem:
        shown, expected = str(problem), problem.expected
    else:
        shown, expected = "^", "an equal query"
        assert parse_query(str(query)) == query
    assert "^" in shown
    assert expected


# ---- single rules -----------------------------------------------------------------------------------


def only(text: str) -> RecordSet:
    (record_set,) = parse_query(text).sets
    return record_set


def test_filters_keep_their_order_and_their_place_in_the_text():
    text = "hmi.v_45s[2014.01.01_TAI/1h][CAMERA = 2][? QUALITY = 0 ?][:#5]{Dopplergram}"
    record_set = only(text)
    time, camera, where, recnums = record_set.filters
    assert record_set.series == "hmi.v_45s"
    assert record_set.segments == ("Dopplergram",)
    assert (time, camera) == (Bracket("2014.01.01_TAI/1h"), Bracket("2", "CAMERA"))
    assert (where, recnums) == (Where("QUALITY = 0"), Recnums((RecnumRange(5, 5),)))
    assert [text[f.position] for f in record_set.filters] == ["2", "2", "Q", "#"]


@pytest.mark.parametrize("mark", ["?", "!"])
def test_a_condition_ends_at_its_mark_before_the_bracket_and_not_inside_quotes(mark):
    clause = f'a = \'{mark}]\' and b = "x\\"{mark}]"'
    assert only(f"a.b[{mark} {clause} {mark}]").filters == (Where(clause, mark == "!"),)


def test_a_bare_mark_inside_a_condition_is_refused():
    assert only("a.b[? x != 1 ?]").filters == (Where("x != 1"),)
    with pytest.raises(SyntaxProblem):
        parse_query("a.b[! x != 1 !]")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("#5", RecnumRange(5, 5)),
        ("#5-#9", RecnumRange(5, 9)),
        ("#5-#9@2", RecnumRange(5, 9, 2)),
        ("#5/3", RecnumRange(5, 7)),
        ("#5/10@3", RecnumRange(5, 14, 3)),
        ("#-#3", RecnumRange(None, 3)),
        ("#3-#", RecnumRange(3, None)),
        ("#-#@2", RecnumRange(None, None, 2)),
        ("#^", RecnumRange("^", "^")),
        ("#$", RecnumRange("$", "$")),
    ],
)
def test_record_numbers_are_read_in_all_their_forms(text, expected):
    assert only(f"a.b[:{text}]").filters == (Recnums((expected,)),)


def test_sets_are_separated_by_commas_or_semicolons_and_one_may_trail():
    assert [s.series for s in parse_query(" a.b[1], a.c ;a.d{x},").sets] == ["a.b", "a.c", "a.d"]


def test_blanks_are_allowed_where_the_server_skips_them():
    assert only("a.b [1] [2] {x , y} \n") == only("a.b[1][2]{x,y}")
    with pytest.raises(SyntaxProblem):
        parse_query("a.b  [1]")


def test_blanks_inside_a_bracket_are_kept():
    assert only("a.b[ 1 ]").filters == (Bracket(" 1 "),)


def test_segments_are_separated_by_commas_colons_or_semicolons():
    assert only("a.b{x,y:z;w,}").segments == ("x", "y", "z", "w")
    assert only("a.b{ }").segments == ()
    assert only("a.b").segments is None


def test_quotes_hide_a_closing_bracket_at_the_start_of_a_word_only():
    assert only("a.b['x]y']").filters == (Bracket("'x]y'"),)
    with pytest.raises(SyntaxProblem):
        parse_query("a.b[o'x]y']")
    with pytest.raises(SyntaxProblem):
        parse_query("a.b[key='x]y']")


@pytest.mark.parametrize(
    "text, position",
    [
        ("", 0),
        ("/etc/passwd", 0),
        ("a.b[1", 3),
        ("a.b[1]]", 6),
        ("a.b[1]{x", 6),
        ("a.b[1]{x}[2]", 9),
        ("a.b--", 3),
        ("a.b[? x", 4),
        ("a.b[? $(2014.01.01 ?]", 6),
        ("a.b[? 'x ?]", 6),
        ("a.b[:#1][:#2]", 8),
        ("a.b[:#1-2]", 8),
        ("a.b[:#1-#2@-1]", 11),
        ("a.b[:#x]", 6),
        ("a.b\na.c", 3),
        ("a.b[1]\0[2]", 6),
        ("a" * 64 + ".b", 0),
    ],
)
def test_errors_point_at_the_place_and_say_what_was_expected(text, position):
    with pytest.raises(SyntaxProblem) as caught:
        parse_query(text)
    assert caught.value.position == position
    assert caught.value.expected


def test_a_query_beyond_all_measure_is_refused_at_once():
    with pytest.raises(SyntaxProblem, match="characters long"):
        parse_query("a.b[" + "1," * MAX_QUERY_LENGTH)


def test_a_number_of_thousands_of_digits_is_out_of_range():
    with pytest.raises(SyntaxProblem, match="out of range"):
        parse_query(f"a.b[:#{'9' * 10_000}]")
