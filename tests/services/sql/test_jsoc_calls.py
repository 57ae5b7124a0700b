"""Calls of jsoc() in a statement: found where DuckDB would see them, and nowhere else."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.errors import SyntaxProblem
from mirror.services.sql.jsoc_calls import MOST_CALLS, find_calls, rewritten
from mirror.services.sql.statements import Kind, tokens, value

CALL = "jsoc('hmi.v_45s[2014.01.01/1d]')"
PIECES = st.sampled_from(
    ["jsoc('x')", "jsoc", "(", ")", "'", "''", '"', '""', "--", "\n", "\r", "/*", "*/", "$$", "$a$", "$1", "$b", "?", "e'", "E'", "\\", "\\'", " ", ".", ",", "x", "é", "1", "1.5", "-", "*", "/", "=", ":=", "fill", "true", ";", "[", "]", "{", "}", "u&'", "b'", "x'"]
)  # fmt: skip
HIDDEN = [
    f"SELECT '{CALL.replace(chr(39), chr(39) * 2)}'",
    f'SELECT "{CALL}" FROM x',
    f"SELECT 1 -- {CALL}",
    f"SELECT 1 /* {CALL} */",
    f"SELECT 1 /* /* */ {CALL} */",
    f"SELECT $$ {CALL} $$",
    f"SELECT $x$ $$ {CALL} $y$ $x$",
    "SELECT E'\\' jsoc(\\'x\\') '",
    "SELECT x.jsoc('x')",
    "SELECT myjsoc('x'), jsoc_time('x')",
    "WITH jsoc(a) AS (SELECT 1) FROM jsoc",
    "SELECT jsoc FROM jsoc",
]


@pytest.mark.parametrize(
    "sql",
    [
        f"FROM {CALL}",
        "from Jsoc ( 'hmi.v_45s[2014.01.01/1d]' )",
        "FROM \"jsoc\"/* why */('hmi.v_45s[2014.01.01/1d]') -- '",
        "SELECT '''', \"'\" FROM jsoc($$hmi.v_45s[2014.01.01/1d]$$) v",
        f"SELECT E'\\'' FROM {CALL}",
        f"SELECT '\\' FROM {CALL}",
    ],
)
def test_a_call_is_found_however_it_is_written(sql):
    assert [(c.recordset, c.fill) for c in find_calls(sql)] == [("hmi.v_45s[2014.01.01/1d]", None)]


@pytest.mark.parametrize("sql", HIDDEN)
def test_what_only_looks_like_a_call_is_left_alone(sql):
    assert find_calls(sql) == ()


@pytest.mark.parametrize("word, fill", [(":= true", True), ("=> TRUE", True), ("= false", False)])
def test_a_call_may_say_whether_to_fill(word, fill):
    assert [c.fill for c in find_calls(f"FROM jsoc('x', fill {word})")] == [fill]


@pytest.mark.parametrize(
    "sql, place",
    [
        ("FROM jsoc(?)", "?"),
        ("FROM jsoc($ds)", "$ds"),
        ("FROM jsoc(E'x')", "E'x'"),
        ("FROM jsoc('x' || 'y')", "|| 'y'"),
        ("FROM jsoc('x', fill := maybe)", ", fill"),
        ("FROM jsoc('x', 'y')", ", 'y'"),
    ],
)
def test_a_call_of_anything_but_a_text_is_an_error_with_its_place(sql, place):
    with pytest.raises(SyntaxProblem) as caught:
        find_calls(sql)
    assert caught.value.position == sql.index(place)
    assert "expected jsoc('" in str(caught.value)


def test_there_may_be_so_many_calls_and_no_more():
    assert len(find_calls(f"SELECT {', '.join([CALL] * MOST_CALLS)}")) == MOST_CALLS
    with pytest.raises(SyntaxProblem, match="at most"):
        find_calls(f"SELECT {', '.join([CALL] * (MOST_CALLS + 1))}")


def test_the_record_set_knows_where_it_stands():
    sql = "FROM jsoc('a[? x=''y'' ?]')"
    [call] = find_calls(sql)
    assert call.recordset == "a[? x='y' ?]"
    assert sql[call.place(call.recordset.index("y"))] == "y"
    assert sql[call.place(len(call.recordset)) :] == "')"


@given(st.lists(PIECES, max_size=14).map("".join))
@example("'' jsoc('x')")
@example("/*/**/jsoc('x')*/jsoc('x')")
def test_calls_are_found_exactly_where_duckdb_sees_them(sql):
    try:
        calls = find_calls(sql)
    except SyntaxProblem:
        return
    assert [len(sql[: c.start].encode()) for c in calls] == seen_by_duckdb(sql)


def seen_by_duckdb(sql: str) -> list[int]:
    """Where DuckDB's own words are jsoc, a parenthesis and a text."""
    text, found = sql.encode(), duckdb.tokenize(sql)
    ends = [*[start for start, _ in found], len(text)][1:]
    words = [
        (start, kind, text[start:end].decode().strip())
        for (start, kind), end in zip(found, ends, strict=True)
        if kind != duckdb.token_type.comment
    ]
    return [
        start
        for i, (start, kind, word) in enumerate(words[:-2])
        if kind == duckdb.token_type.identifier
        and word.lower() in ("jsoc", '"jsoc"')
        and words[i + 1][2] == "("
        and words[i + 2][1] == duckdb.token_type.string_const
        and words[i + 2][2][0] in "'$eE"
        and (not i or not words[i - 1][2].endswith(".") or words[i - 1][2][:-1].isdigit())
    ]


@given(st.lists(PIECES, max_size=14).map("".join))
def test_words_follow_each_other_and_are_those_of_the_text(sql):
    at = 0
    for token in tokens(sql):
        assert token.start >= at
        assert sql[token.start : token.end] == token.text != ""
        at = token.end
    assert at <= len(sql)


@given(st.text(alphabet="ab'\"$\\[]? é\n"))
def test_a_text_says_what_duckdb_reads(text):
    sql = "'" + text.replace("'", "''") + "'"
    [token] = tokens(sql)
    said, places = value(token)
    assert (token.kind, said) == (Kind.TEXT, text)
    assert [sql[p] for p in places[:-1]] == list(text)


@given(
    st.lists(st.sampled_from(["SELECT 1 ", "é ", "'x' ", "\n"]), min_size=1, max_size=8),
    st.lists(st.text(alphabet="xy.", max_size=60), min_size=1, max_size=8),
)
def test_every_place_outside_of_calls_is_found_again(parts, texts):
    n = min(len(parts), len(texts))
    sql = "".join(part + CALL for part in parts[:n]) + " end"
    found = rewritten(sql, find_calls(sql), tuple(texts[:n]))
    inside = {i for c in found.calls for i in range(c.start, c.end)}
    outside = [i for i in range(len(sql)) if i not in inside]
    back = [found.place(i) for i in range(len(found.sql))]
    assert [i for i in back if i not in {c.start for c in found.calls}] == outside
    assert back == sorted(back)


def test_a_problem_is_told_of_the_statement_as_it_was_written():
    sql = f"SELECT v.foo FROM {CALL} v"
    found = rewritten(sql, find_calls(sql), ('"jsoc 1".jsoc',))
    told = found.problem(SyntaxProblem('no foo in "jsoc 1".jsoc', text=found.sql, position=9))
    assert (told.text, told.position, told.message) == (sql, 9, f"no foo in {CALL}")
