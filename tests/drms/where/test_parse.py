"""Reading conditions, and writing them again."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.where import (
    And,
    Arithmetic,
    Between,
    Boolean,
    Column,
    Compare,
    Complement,
    Expr,
    Function,
    InList,
    IsNull,
    Like,
    Negate,
    Not,
    Null,
    Number,
    Or,
    String,
    closes_early,
    needs,
    parse_where,
)
from mirror.drms.where.nodes import ARITHMETIC, COMPARISONS
from mirror.errors import BadRequest, SyntaxProblem
from tests.recorded import lines

A, B, C = (Compare("=", Column(name), Number(1)) for name in "abc")
X, Y, Z = map(Column, "xyz")
CLAUSE = re.compile(r"\[([?!])(.*?)\1\]")


# ---- trees ------------------------------------------------------------------------------------

columns = st.sampled_from(["quality", "t_rec", "sg_000_file", "a1"]).map(Column)
numbers = st.one_of(st.integers(), st.decimals(-(10**9), 10**9, places=3), st.just(Decimal("1E+21"))).map(
    Number
)
strings = st.text(st.characters(exclude_characters='"'), max_size=6).map(String)
atoms = st.one_of(columns, numbers, strings, st.booleans().map(Boolean), st.just(Null()))
flags = st.booleans()


def grown(below):
    several = st.lists(below, min_size=2, max_size=3).map(tuple)
    unsigned = below.filter(lambda e: not isinstance(e, Number))
    operators = st.sampled_from([op for row in ARITHMETIC for op in row])
    return st.one_of(
        st.builds(And, several),
        st.builds(Or, several),
        st.builds(Not, below),
        st.builds(IsNull, below, flags),
        st.builds(Compare, st.sampled_from(COMPARISONS), below, below),
        st.builds(Between, below, below, below, flags),
        st.builds(InList, below, several, flags),
        st.builds(Like, below, below, st.sampled_from(["\\", "", "!", "'"]), flags, flags),
        st.builds(Arithmetic, operators, below, below),
        st.builds(Negate, unsigned),
        st.builds(Complement, below),
        st.builds(Function, st.sampled_from(["abs", "mod"]), several),
    )


trees = st.recursive(atoms, grown, max_leaves=15)


@given(trees)
def test_the_text_of_a_tree_parses_to_an_equal_tree(tree: Expr):
    assert parse_where(str(tree)) == tree


def test_every_recorded_condition_parses_and_says_itself_again_but_for_subselects():
    clauses = {
        m[2]
        for file in ("queries", "random")
        for x in lines(file)
        for m in CLAUSE.finditer(x["params"].get("ds", ""))
    }
    refused = {c for c in clauses if not parses(c)}
    assert len(clauses) > 250
    assert {c for c in refused if "select" not in c} == {
        " ",
        " 1=1 -- ",
        " a = 'x ",
        " T_REC < $(2014.01.01_00:02_TAI ",
    }
    assert all(parse_where(str(parse_where(c))) == parse_where(c) for c in clauses - refused)


def parses(text):
    try:
        parse_where(text)
    except SyntaxProblem:
        return False
    return True


# ---- what a text means --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, tree",
    [
        ("a=1 or b=1 and c=1", Or((A, And((B, C))))),
        ("not a=1 and b=1", And((Not(A), B))),
        ("not not a=1", Not(Not(A))),
        ("x + y * z = 1", Compare("=", Arithmetic("+", X, Arithmetic("*", Y, Z)), Number(1))),
        ("x - y - z = 1", Compare("=", Arithmetic("-", Arithmetic("-", X, Y), Z), Number(1))),
        ("x | y & z = 1", Compare("=", Arithmetic("&", Arithmetic("|", X, Y), Z), Number(1))),
        ("x & 1 + 1 = 2", Compare("=", Arithmetic("&", X, Arithmetic("+", Number(1), Number(1))), Number(2))),
        ("~ x + y = z", Compare("=", Complement(Arithmetic("+", X, Y)), Z)),
        ("-x % 2 = -1", Compare("=", Arithmetic("%", Negate(X), Number(2)), Number(-1))),
        ("x=-1", Compare("=", X, Number(-1))),
        ("x <> +1.50", Compare("<>", X, Number(Decimal("1.50")))),
        ("x != .5", Compare("<>", X, Number(Decimal("0.5")))),
        ("x > 1e21", Compare(">", X, Number(Decimal("1E21")))),
        ("x between -1 and 2 and a=1", And((Between(X, Number(-1), Number(2)), A))),
        ("x not in (1,2)", InList(X, (Number(1), Number(2)), negated=True)),
        ("x not ilike 'a%'", Like(X, String("a%"), any_case=True, negated=True)),
        ("x like 'a!%' escape '!'", Like(X, String("a!%"), escape="!")),
        ("x is not null", IsNull(X, negated=True)),
        ("x notnull", IsNull(X, negated=True)),
        ("x = y is null", IsNull(Compare("=", X, Y))),
        ("X = 'it''s'", Compare("=", X, String("it's"))),
        ('x = "HMI_FRONT2"', Compare("=", X, String("HMI_FRONT2"))),
        ("TRUE", Boolean(value=True)),
        ("abs(x) < y", Compare("<", Function("abs", (X,)), Y)),
    ],
)
def test_operators_bind_as_in_postgresql(text, tree):
    assert parse_where(text) == tree


def test_a_time_in_dollar_parentheses_becomes_seconds_with_six_decimals():
    assert parse_where("x < $(2014.01.01_00:02)") == Compare("<", X, Number(Decimal("1167609755.000000")))


def test_a_clause_stands_between_parentheses_as_text():
    assert parse_where("a=1) or (b=1") == Or((A, B))


@pytest.mark.parametrize(
    "text, early", [("a=1) or (b=1", True), ("(a=1) or (b=1)", False), ("x = ')'", False)]
)
def test_closing_the_parenthesis_of_the_server_is_noticed(text, early):
    assert closes_early(text) is early


def test_a_tree_needs_its_columns_in_lower_case():
    assert needs(parse_where("QUALITY & 1 = 0 and abs(Obs_VR) < T_REC or quality is null")) == {
        "quality",
        "obs_vr",
        "t_rec",
    }


# ---- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, position, message",
    [
        ("", 0, "the condition is empty"),
        ("  ", 2, "the condition is empty"),
        ("x =", 3, "the condition ends here"),
        ("x = 1 y", 6, "unexpected 'y'; expected an operator or the end"),
        ("x = 1)", 5, "closed that was not opened"),
        ("(x = 1", 6, "the condition ends here"),
        ("x = 'a", 4, "the quoted text is not closed"),
        ("x < $(2014", 4, "not closed"),
        ("x < $(bogus)", 6, "'bogus' is not a time"),
        ("x = 1; drop table t", 5, "several statements are not accepted"),
        ("x = 1 -- more", 6, "comments are not accepted"),
        ("x /* */ = 1", 2, "comments are not accepted"),
        ("x::int = 1", 1, "casts are not accepted"),
        ("cast(x as int) = 1", 0, "casts are not accepted"),
        ("hmi.x = 1", 3, "names with a schema or a table are not accepted"),
        ("(select 1) = 1", 1, "subselects are not accepted"),
        ("exists (select 1)", 0, "subselects are not accepted"),
        ("x in (select 1)", 6, "subselects are not accepted"),
        ("x = any (y)", 4, "subselects are not accepted"),
        ("case when a then b end", 0, "CASE is not accepted"),
        ("pg_sleep(1) = 1", 0, "function 'pg_sleep' is not accepted"),
        ("x is true", 5, "only IS NULL and IS NOT NULL"),
        ("x &-1 = 1", 2, "operator '&-' is not accepted"),
        ("x == 1", 2, "operator '==' is not accepted"),
        ("x ~ 'a'", 2, "unexpected '~'"),
        ("x < y < z", 6, "unexpected '<'"),
        ("12x = 1", 0, "trailing junk"),
        ("x = 1e9999", 4, "the number is out of range"),
        ("x = \x00", 4, "unexpected character"),
        ("x between 1", 11, "expected 'AND'"),
        ("x like 'a' escape 'ab'", 18, "expected one character"),
        ("limit = 1", 0, "unexpected 'limit'"),
        ("-" + " -" * 100 + "x = 1", 80, "nested deeper than 40 levels"),
        ("(" * 41 + "a=1" + ")" * 41, 40, "nested deeper than 40 levels"),
        ("+".join("1" * 200) + "=1", 399, "more than 100 operations within each other"),
        ("x = 1" + " " * 65536, 0, "not longer than 65536 characters"),
    ],
)
def test_what_is_no_plain_condition_is_refused_at_its_place(text, position, message):
    with pytest.raises(SyntaxProblem) as caught:
        parse_where(text)
    assert message in str(caught.value)
    assert caught.value.position == position


def test_positions_count_in_the_whole_query():
    query = "hmi.v_45s[2014.01.01][? QUALITY = ;?]"
    with pytest.raises(SyntaxProblem) as caught:
        parse_where(query[23:35], query=query, offset=23)
    assert caught.value.text == query
    assert query[caught.value.position] == ";"


def test_a_node_knows_where_it_stood():
    tree = parse_where("a = 1 and bogus = 2", offset=100)
    assert [part.left.position for part in tree.parts()] == [100, 110]


@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused(text):
    try:
        assert parse_where(str(parse_where(text))) == parse_where(text)
    except BadRequest:
        return


@given(
    st.lists(
        st.sampled_from(
            [
                "x",
                "1",
                "2.5",
                "'a'",
                "(",
                ")",
                ",",
                "and",
                "or",
                "not",
                "in",
                "is",
                "null",
                "between",
                "like",
                "+",
                "-",
                "*",
                "%",
                "&",
                "~",
                "<",
                "=",
                "<>",
                "abs",
            ]
        )
    )
)
def test_any_row_of_words_parses_or_is_refused(words):
    test_any_text_parses_or_is_refused.hypothesis.inner_test(" ".join(words))
