"""Where clauses on stored values: three truths, and numbers as PostgreSQL has them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import BadRequest, Refused, SyntaxProblem, UnknownName
from mirror.simulator.sql import closes_early, read_condition
from mirror.simulator.sql.columns import table_columns
from tests.simulator.small import Memory, series

TYPES = (("I", "int"), ("D", "double"), ("F", "float"), ("S", "string"), ("M", "int"))
TABLE = series(keys=("I",), keywords=TYPES)
DATA = Memory(
    TABLE,
    {
        "i": [1, -7, -2147483648],
        "d": [0.5, -1.25, math.nan],
        "f": [0.10000000149011612, 2.0, math.nan],
        "s": ["alpha", "b%c", ""],
        "m": [1, 2, 3],
        "recnum": [1, 2, 3],
    },
    null={"m": [1]},
)


def true_for(clause):
    condition = read_condition(clause, table_columns(TABLE), series="lab.small")
    return [n for n, true in enumerate(condition.holds(DATA).tolist(), start=1) if true]


@pytest.mark.parametrize(
    "clause, rows",
    [
        ("I < 0", [2, 3]),
        ("I / 2 = -3", [2]),
        ("I % 4 = -3", [2]),
        ("I & 3 = 1", [1, 2]),
        ("M = 2", []),
        ("NOT (M = 2)", [1, 3]),
        ("M = 2 OR M = 1", [1]),
        ("M IS NULL", [2]),
        ("M IS NOT NULL", [1, 3]),
        ("M IN (2, 3)", [3]),
        ("M NOT IN (2, 3)", [1]),
        ("M <> 5 AND 1 = 1", [1, 3]),
        ("D > 1000", [3]),
        ("D = 'NaN'", [3]),
        ("D >= -1.25 AND D < 1", [1, 2]),
        ("F = 0.1", []),
        ("F = '0.1'", [1]),
        ("abs(D) BETWEEN 0.5 AND 2", [1, 2]),
        ("D IS NULL", []),
        ("S LIKE '%l%'", [1]),
        (r"S LIKE 'b\%c'", [2]),
        ("S NOT LIKE '_%'", [3]),
        ("S ILIKE 'ALPHA'", [1]),
        ("S = ''", [3]),
        ("length(S) = 3", [2]),
        ("true", [1, 2, 3]),
        ("NULL IS NULL", [1, 2, 3]),
        ("-(I / 2) > 0", [2, 3]),
        ("round(D) = 0", [1]),
        ("S ~ 'l.h'", [1]),
        ('S ~ "alpha"', [1]),
        ("S !~* 'ALPHA'", [2, 3]),
        ("S SIMILAR TO '(alpha|beta)'", [1]),
        ("S || I = 'alpha1'", [1]),
        ("I::text || 'x' = '-7x'", [2]),
        ("2 ^ 3 = 8 AND -2 ^ 2 = 4", [1, 2, 3]),
        ("cast(I as bigint) * 2 < 0", [2, 3]),
        ("CASE WHEN I = 1 THEN 'a' WHEN I < 0 THEN 'b' END = 'b'", [2, 3]),
        ("CASE I WHEN 1 THEN 5 ELSE 6 END = 5", [1]),
        ("CASE WHEN I = 1 THEN 1 ELSE 1 / (M - 1) END = 1", [1]),
        ("coalesce(M, 7) = 7", [2]),
        ("greatest(I, M, 0) = 1", [1]),
        ("least(I, 0) = 0", [1]),
        ("nullif(I, 1) IS NULL", [1]),
        ("substring(S from 1 for 2) = 'al'", [1]),
        ("substr(S, 2, 1) = '%'", [2]),
        ("substring(S from '[a-l]+') = 'al'", [1]),
        ("position('pha' in S) = 3", [1]),
        ("strpos(S, '%c') > 0", [2]),
        ("trim(both 'a' from S) = 'lph'", [1]),
        ("cos(radians(D * 120)) > 0.49", [1, 3]),
        ("power(D, 2) < 1", [1]),
        ("mod(I, 4) = -3", [2]),
        ("I = x'FFFFFFF9'::int", [2]),
        ("S = $$alpha$$ OR S = $q$b%c$q$", [1, 2]),
        ("I # 3 = 2", [1]),
        ("~I = 6", [2]),
        ("I << 2 = 4 OR I >> 1 = -4", [1, 2]),
        ("(M = 2) IS UNKNOWN", [2]),
        ("M IS DISTINCT FROM 1", [2, 3]),
        ("(I, M) IN ((1, 1), (2, 2))", [1]),
        ("I = ANY (ARRAY[1, -7])", [1, 2]),
        ("F IN (0.1, 0.2)", [1]),
        ("F IN (0.1)", []),
        ("I / 2.0 = 0.5", [1]),
        ("lab.small.I = 1 /* one */", [1]),
        ("I = 1) OR (I = -7", [1, 2]),
        ("false AND 1 / 0 = 1", []),
        ("coalesce(I, 1 / 0) = 1", [1]),
    ],
)
def test_a_clause_is_true_for(clause, rows):
    assert true_for(clause) == rows


@pytest.mark.parametrize(
    "clause", ["I / 0 = 1", "M % (I - I) = 0", "sqrt(I) > 1", "1 / 0 = 1", "I * 2147483647 > 1"]
)
def test_what_postgresql_cannot_compute_is_refused(clause):
    with pytest.raises(Refused):
        true_for(clause)


@pytest.mark.parametrize(
    "clause, said",
    [
        ("bogus > 1", 'column "bogus" does not exist'),
        ("foo(I) = 1", "function foo(integer) does not exist"),
        ("mod(D, 2) = 0", "function mod(double precision, integer) does not exist"),
        ("round(D, 1) = 0", "function round(double precision, integer) does not exist"),
        ("extract(hour from D) = 1", "function pg_catalog.extract(unknown, double precision) does not exist"),
        ("I = S", "operator does not exist: integer = text"),
        ("I ~ '1'", "operator does not exist: integer ~ unknown"),
        ("D % 2 = 1", "operator does not exist: double precision % integer"),
        ("I &-1 = 1", "operator does not exist: integer &- integer"),
        ("'1' + '2' = 3", "operator is not unique: unknown + unknown"),
        ("1", "argument of WHERE must be type boolean, not type integer"),
        ("true AND I", "argument of AND must be type boolean, not type integer"),
        ("I = 'x'", 'invalid input syntax for type integer: "x"'),
        ("I IN (1, 'x')", 'invalid input syntax for type integer: "x"'),
        ("I::boolean::smallint = 1", "cannot cast type boolean to smallint"),
        ("coalesce(I, S) = 1", "COALESCE types integer and text cannot be matched"),
        ("S ~ '('", "invalid regular expression: parentheses () not balanced"),
        ("max(I) = 1", "aggregate functions are not allowed in WHERE"),
        ("I = 1 -- all", "syntax error at end of input"),
        ("I = 1; drop table x", 'syntax error at or near ";"'),
        ("", 'syntax error at or near ")"'),
        ("I = 'x", "unterminated quoted string"),
        ("exists (select 1)", "subselects are not simulated"),
        ("now() > I", "the function now() is not simulated"),
    ],
)
def test_what_is_no_condition_is_refused_in_the_words_of_postgresql(clause, said):
    with pytest.raises(BadRequest) as problem:
        true_for(clause)
    assert str(problem.value).startswith(said)


def test_errors_show_the_place_in_the_whole_query():
    query = "lab.small[? I = 1 and bogus = 2 ?]"
    with pytest.raises(UnknownName) as problem:
        read_condition(
            "I = 1 and bogus = 2", table_columns(TABLE), series="lab.small", query=query, offset=12
        )
    assert str(problem.value).splitlines()[2].index("^") - 2 == query.index("bogus"), str(problem.value)


def test_a_column_that_the_series_does_not_hold_is_refused_by_name():
    with pytest.raises(Refused, match="sessionid"):
        true_for("sessionid = 1")


def test_a_clause_that_closes_the_parenthesis_of_the_server_is_known():
    assert closes_early("1=1) or (1=1")
    assert not closes_early("(1=1) or (S = ')')")


NUMBERS = st.sampled_from(["I", "M", "D", "F", "1", "0", "-3", "2.5", "NULL"])
COMPARISON = st.builds(
    "{} {} {}".format, NUMBERS, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), NUMBERS
)
CONDITIONS = st.recursive(
    COMPARISON,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({})".format, inner),
        st.builds("({}) IS NOT FALSE".format, inner),
    ),
    max_leaves=6,
)


@given(CONDITIONS)
def test_a_condition_is_true_false_or_unknown(clause):
    known = [true_for(f"({clause}) IS {truth}") for truth in ("TRUE", "FALSE", "UNKNOWN")]
    assert sorted(row for rows in known for row in rows) == [1, 2, 3]
    assert true_for(clause) == known[0]
    assert true_for(f"NOT ({clause})") == known[1]


@given(CONDITIONS, CONDITIONS)
def test_and_and_or_obey_de_morgan(one, other):
    assert true_for(f"NOT ({one} AND {other})") == true_for(f"NOT ({one}) OR NOT ({other})")
    assert true_for(f"{one} AND {other}") == true_for(f"{other} AND {one}")


@given(st.sampled_from(["I", "D", "M"]), st.integers(-8, 8), st.integers(-8, 8))
def test_a_range_is_two_comparisons_and_a_list_is_an_or(column, low, high):
    assert true_for(f"{column} BETWEEN {low} AND {high}") == true_for(
        f"{column} >= {low} AND {column} <= {high}"
    )
    assert true_for(f"{column} IN ({low}, {high})") == true_for(f"{column} = {low} OR {column} = {high}")
    assert true_for(f"{column} > {low}") == true_for(f"{low} < {column}") == true_for(f"{column} - 0 > {low}")


def test_a_condition_is_only_computed_for_the_records_that_are_not_decided():
    with pytest.raises(SyntaxProblem):
        true_for("I = 1 AND")
    assert true_for("M IS NOT NULL AND I <> 1 AND 1 / (M - 1) < 1") == [3]
