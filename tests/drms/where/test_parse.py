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
    Case,
    Cast,
    Column,
    Compare,
    Complement,
    Distinct,
    Expr,
    Function,
    InList,
    IsNull,
    IsTruth,
    Like,
    Negate,
    Not,
    Null,
    Number,
    Or,
    Regex,
    Similar,
    String,
    Unread,
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
        st.builds(Regex, st.sampled_from(["~", "~*", "!~", "!~*"]), below, below),
        st.builds(Similar, below, below, st.sampled_from(["\\", "", "!"]), flags),
        st.builds(Cast, below, st.sampled_from(["int", "double", "string"])),
        st.builds(Case, st.tuples(st.tuples(below, below)), below),
        st.builds(IsTruth, below, st.sampled_from([True, False, None]), flags),
        st.builds(Distinct, below, below, flags),
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
        ("x = 1; drop table t", 5, "several statements are not accepted"),
        ("x = 1 -- more", 6, "a comment to the end of the condition"),
        ("x = 1 /* more", 6, "the comment is not closed"),
        ("pg_sleep(1) = 1", 0, "function 'pg_sleep' is not accepted"),
        ("x = 1 or foo(lo_import('/etc/passwd')) > 1", 13, "function 'lo_import' is not accepted"),
        ("x in (select 1 into y)", 15, "INTO is not accepted"),
        ("x == 1", 2, "operator '==' does not exist in PostgreSQL; expected '='"),
        ("x =< 1", 2, "expected '<='"),
        ("[[", 0, "unexpected '['; expected a column or a constant"),
        ("x = [1]", 4, "unexpected '['"),
        ("x[1 = 1", 1, "a bracket is not closed"),
        ("x] = 1", 1, "a bracket is closed that was not opened"),
        ("x in [1, 2]", 5, "unexpected '['"),
        ("{}", 0, "unexpected '{'"),
        ("x = $1", 4, "unexpected '$'"),
        ("x < y < z", 6, "unexpected '<'"),
        ("12x = 1", 0, "trailing junk"),
        ("x = \x00", 4, "unexpected character"),
        ("x between 1", 11, "expected 'AND'"),
        ("x like 'a' escape 'ab'", 18, "expected one character"),
        ("limit = 1", 0, "unexpected 'limit'"),
        ("case x end", 7, "expected 'WHEN'"),
        ("x = any (y", 10, "the condition ends here"),
        ("x = any (y))", 11, "closed that was not opened"),
        ("x = 1" + " " * 65536, 0, "not longer than 65536 characters"),
    ],
)
def test_what_is_no_plain_condition_is_refused_at_its_place(text, position, message):
    with pytest.raises(SyntaxProblem) as caught:
        parse_where(text)
    assert message in str(caught.value)
    assert caught.value.position == position


@pytest.mark.parametrize(
    "text",
    [
        "x < $(bogus)", "hmi.x = 1", "(select 1) = 1", "exists (select 1)", "x in (select 1)", "x = any (y)", "x[1] = 1",
        "extract(hour from x) = 1", "date '2014-01-01' < now()", "x = u&'a'", "x @> y", "(x, y) = (1, 2)", "x = 1e9999",
        "x collate \"C\" = 'a'", "x::date > y", "count(*) > 1", "x at time zone 'UTC' = y", "x &- 1 = 1 or x @@ y",
        "-" + " -" * 100 + "x = 1", "(" * 41 + "a=1" + ")" * 41, "+".join("1" * 200) + "=1", "x = array[1]", "b'1' = x",
        "x = any (array[[1,2],[3,4]])", "(array[x])[1] = 1", "x[1:2][1] = y", "x = date '2014-01-01'",
    ],
)  # fmt: skip
def test_what_postgresql_may_understand_and_we_do_not_is_kept_as_it_stands(text):
    if "&-" in text:
        with pytest.raises(SyntaxProblem, match="does not exist"):
            parse_where(text)
        return
    tree = parse_where(f"  {text} ")
    assert isinstance(tree, Unread)
    assert str(tree) == text
    assert "x" in needs(tree) or "x" not in text.replace("exists", "")


@pytest.mark.parametrize(
    "text, means",
    [
        ("x ~ 'a' || y", "x ~ 'a' || y"),
        ("x !~* 'a'", "x !~* 'a'"),
        ("x ~~ 'a%'", "x LIKE 'a%'"),
        ("-2 ^ 2 = 4", "-2 ^ 2 = 4"),
        ("2 ^ 3 ^ 2 * 2 = 1", "2 ^ 3 ^ 2 * 2 = 1"),
        ("-x::int8 = 1", "-CAST(x AS bigint) = 1"),
        ("x'1F'::int = 31", "CAST(31 AS integer) = 31"),
        ("cast(x'ffffffff' as int) = -1", "CAST(-1 AS integer) = -1"),
        ("position('a' in x) > 0", "strpos(x, 'a') > 0"),
        ("substring(x from 2 for 3) = ''", "substring(x, 2, 3) = ''"),
        ("substring(x for 3) = ''", "substring(x, 1, 3) = ''"),
        ("trim(leading '0' from x) = ''", "ltrim(x, '0') = ''"),
        ("$$it's$$ = E'it\\'s' /* a /* comment */ */", "'it''s' = 'it''s'"),
        ("x = 'a' -- why\n or y", "x = 'a' OR y"),
        ("case x when 1 then y end is true", "CASE WHEN x = 1 THEN y ELSE NULL END IS TRUE"),
        ("x between symmetric 2 and 1", "x BETWEEN 2 AND 1 OR x BETWEEN 1 AND 2"),
        ("x is not distinct from y", "x IS NOT DISTINCT FROM y"),
        ("|/ x > @ y", "sqrt(x) > abs(y)"),
    ],
)  # fmt: skip
def test_what_postgresql_writes_in_several_ways_is_one_tree(text, means):
    assert str(parse_where(text)) == means
    assert parse_where(means) == parse_where(text)


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
