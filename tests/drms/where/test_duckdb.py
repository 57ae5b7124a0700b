"""The three-valued SQL of a condition, against a naive evaluation of what may have been stored."""

import itertools
import math
from decimal import Decimal

import duckdb
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mirror.drms.times import MISSING_TIME
from mirror.drms.where import (
    And,
    Arithmetic,
    Between,
    Boolean,
    Column,
    ColumnInfo,
    Compare,
    Complement,
    Expr,
    Function,
    InList,
    IsNull,
    Negate,
    Not,
    Null,
    Number,
    Or,
    String,
    bind_where,
    parse_where,
    to_duckdb,
)
from mirror.drms.where.types import in_range, type_of_number, wider
from mirror.errors import BadRequest

TYPES = {
    "i": "int",
    "s": "short",
    "f": "double",
    "d": "double",
    "t": "time",
    "st": "string",
    "slotnum": "int",
}
SQL_TYPES = {"int": "INTEGER", "short": "SMALLINT", "double": "DOUBLE", "time": "DOUBLE", "string": "VARCHAR"}
TOLERANCE, RELATIVE = 0.25, 0.125
HELD = {name: ColumnInfo(f'"{name}"', type_) for name, type_ in TYPES.items() if name != "slotnum"}
HELD["f"] = ColumnInfo('"f"', "double", TOLERANCE, RELATIVE)
MISSING = {"i": -(2**31), "s": -(2**15), "f": math.nan, "d": math.nan, "t": MISSING_TIME, "st": ""}


# ---- the oracle: PostgreSQL on one row, as simply as can be --------------------------------------


class ServerError(Exception):
    """PostgreSQL would have answered with an error."""


def order(value):
    return (isinstance(value, float) and math.isnan(value), 0 if value != value else value)  # noqa: PLR0124


def compared(op, left, right):
    if isinstance(left, float) or isinstance(right, float):
        left, right = float(left), float(right)
    a, b = order(left), order(right)
    return {"=": a == b, "<>": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]


def fitted(value, type_):
    if type_ in ("int", "short", "longlong") and not in_range(value, type_):
        raise ServerError
    return value, type_


def calculated(op, left, right):
    (a, a_type), (b, b_type) = left, right
    type_ = wider(a_type, b_type)
    if type_ == "double":
        a, b = float(a), float(b)
    if op in ("/", "%") and b == 0:
        raise ServerError
    if op == "/":
        return fitted(
            a / b if type_ == "double" else int(math.copysign(1, a * b)) * (abs(a) // abs(b)), type_
        )
    if op == "%":
        return fitted(int(math.copysign(1, a)) * (abs(a) % abs(b)), type_)
    if op == "<<":
        bits = 16 if a_type == "short" else 32
        return (((a << b % 32) + 2 ** (bits - 1)) % 2**bits) - 2 ** (bits - 1), a_type
    if op == ">>":
        return a >> b % 32, a_type
    results = {"+": a + b, "-": a - b, "*": a * b}
    bits = {} if type_ == "double" else {"&": a & b, "|": a | b, "#": a ^ b}
    return fitted((results | bits)[op], type_)


def value(expr, row):
    """(value, type); the value is None for NULL."""
    match expr:
        case Column(name):
            return row[name], TYPES[name]
        case Number(number):
            return number, type_of_number(number)
        case String(text):
            return text, "string"
        case Null():
            return None, "int"
        case Negate(operand) | Function("abs", (operand,)) | Complement(operand):
            number, type_ = value(operand, row)
            signs = {Negate: lambda v: -v, Function: abs, Complement: lambda v: ~v}
            return (None, type_) if number is None else fitted(signs[type(expr)](number), type_)
        case Arithmetic(op, left, right):
            sides = value(left, row), value(right, row)
            return (None, "int") if None in (sides[0][0], sides[1][0]) else calculated(op, *sides)
    raise AssertionError(expr)


def truth(expr, row):
    """True, False or None."""
    match expr:
        case Boolean(known):
            return known
        case Null():
            return None
        case Not(operand):
            known = truth(operand, row)
            return None if known is None else not known
        case And(operands) | Or(operands):
            decisive = isinstance(expr, Or)
            truths = [truth(e, row) for e in operands]
            return decisive if decisive in truths else None if None in truths else not decisive
        case Between(operand, low, high, negated):
            inside = And((Compare(">=", operand, low), Compare("<=", operand, high)))
            return truth(Not(inside) if negated else inside, row)
        case InList(operand, items, negated):
            found = Or(tuple(Compare("=", operand, item) for item in items))
            return truth(Not(found) if negated else found, row)
        case IsNull(operand, negated):
            return (value(operand, row)[0] is None) is not negated
        case Compare(op, left, right):
            a, b = value(left, row)[0], value(right, row)[0]
            return None if a is None or b is None else compared(op, a, b)
    raise AssertionError(expr)


def possible_rows(row):
    """All that may have been stored where the mirror holds ``row``."""
    choices = {name: [None, MISSING[name]] if held is None else [held] for name, held in row.items()}
    if row["f"] is not None:
        reach = TOLERANCE + RELATIVE * abs(row["f"])
        choices["f"] = [row["f"] + part * reach for part in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True)) | {"slotnum": 1}
        yield dict(zip(choices, values, strict=True)) | {"slotnum": None}


# ---- conditions and rows ------------------------------------------------------------------------

small = st.integers(-4, 4)
wide = st.sampled_from([2**31 - 1, -(2**31), 2**40, 10**30])
numbers = st.one_of(small, wide, small.map(lambda n: Decimal(n) / 2)).map(Number)
constants = numbers | st.just(Null())
quoted = st.sampled_from(["NaN", "Infinity", "-Infinity", "1.5", "0"]).map(String)
comparisons = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
text = st.just(Column("st")) | st.sampled_from(["", "a", "B", "b'"]).map(String)


def magnitude(operand):
    return Function("abs", (operand,))


def whole(*columns):
    """Whole numbers of these columns."""
    return st.recursive(
        st.sampled_from(columns).map(Column) | small.map(Number),
        lambda below: st.one_of(
            st.builds(Arithmetic, st.sampled_from(["+", "-", "*", "/", "%", "&", "|", "#"]), below, below),
            st.builds(Arithmetic, st.sampled_from(["<<", ">>"]), below, st.integers(-3, 40).map(Number)),
            st.builds(Complement, below),
            st.builds(magnitude, below),
        ),
        max_leaves=4,
    )


def inexact(*columns):
    """Numbers that follow one of these columns."""
    return st.recursive(
        st.sampled_from(columns).map(Column),
        lambda below: st.one_of(
            st.builds(Negate, below),
            st.builds(magnitude, below),
            st.builds(Arithmetic, st.sampled_from(["+", "-", "*", "/"]), below, small.map(Number)),
            st.builds(Arithmetic, st.sampled_from(["+", "-", "*"]), small.map(Number), below),
        ),
        max_leaves=3,
    )


def leaves_of(values, floats):
    """Comparisons that the mirror follows: everything but missing values and tolerances is decided."""
    either = values | floats
    few = st.lists(constants, min_size=1, max_size=3).map(tuple)
    words = st.lists(text, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Compare, comparisons, values, values | constants),
        st.builds(Compare, comparisons, constants, either),
        st.builds(Compare, comparisons, floats, constants | quoted),
        st.builds(Compare, comparisons, text, text),
        st.builds(Between, either, constants, constants, st.booleans()),
        st.builds(InList, either, few, st.booleans()),
        st.builds(InList, text, words, st.booleans()),
        st.builds(Boolean, st.booleans()),
    )


def conditions_of(leaves):
    return st.recursive(
        leaves,
        lambda below: st.one_of(
            st.builds(Not, below),
            st.builds(And, st.lists(below, min_size=2, max_size=3).map(tuple)),
            st.builds(Or, st.lists(below, min_size=2, max_size=3).map(tuple)),
        ),
        max_leaves=4,
    )


any_whole, any_inexact = whole("i", "s", "i", "s", "slotnum"), inexact("f", "d", "t", "f")
nullable = st.sampled_from(["i", "f", "st", "slotnum"]).map(Column)
conditions = conditions_of(
    st.one_of(
        leaves_of(any_whole, any_inexact),
        st.builds(IsNull, nullable, st.booleans()),
        st.builds(Compare, comparisons, any_inexact, any_inexact | any_whole),
    )
)
decidable = conditions_of(leaves_of(whole("i", "s"), inexact("d", "t")))

halves = st.integers(-8, 8).map(lambda n: n / 2)
whole_rows = st.fixed_dictionaries(
    {
        "i": small | st.sampled_from([2**31 - 1, 1 - 2**31]),
        "s": small,
        "f": halves,
        "d": halves | st.sampled_from([math.inf, -math.inf]),
        "t": halves,
        "st": st.sampled_from(["a", "B", "b'", "ba"]),
    }
)
rows = st.builds(
    lambda row, gaps: {name: None if name in gaps else held for name, held in row.items()},
    whole_rows,
    st.sets(st.sampled_from(sorted(MISSING))),
)


@pytest.fixture(scope="module")
def database():
    with duckdb.connect() as connection:
        yield connection


def answered(database, condition: Expr, row) -> bool | None:
    columns = ", ".join(f'CAST(? AS {SQL_TYPES[TYPES[name]]}) AS "{name}"' for name in row)
    statement = f"SELECT {to_duckdb(condition, HELD)} FROM (SELECT {columns})"
    return database.execute(statement, list(row.values())).fetchone()[0]


def readings(condition, row):
    """Whether the condition is true, over all that may have been stored; None if the server may fail."""
    try:
        return {truth(condition, stored) is True for stored in possible_rows(row)}
    except ServerError:
        return None


@given(conditions, rows)
def test_true_and_false_hold_whatever_was_stored(database, tree, row):
    condition = checked(tree)
    truths = readings(condition, row)
    assume(truths is not None)
    answer = answered(database, condition, row)
    assert answer is None or truths == {answer}


@given(decidable, whole_rows)
def test_records_without_missing_or_rounded_values_are_decided(database, tree, row):
    condition = checked(tree)
    truths = readings(condition, row)
    assume(truths is not None)
    assert {answered(database, condition, row)} == truths


def checked(tree):
    try:
        return bind_where(tree, TYPES)
    except BadRequest:
        assume(False)


# ---- single rules -------------------------------------------------------------------------------


def decide(database, clause, **held):
    row = dict.fromkeys(MISSING) | held
    return answered(database, bind_where(parse_where(clause), TYPES), row)


@pytest.mark.parametrize(
    "clause, answer",
    [
        ("f < 1", True),
        ("f > 1", False),
        ("f > 0.1", None),
        ("f = 0", None),
        ("f <> 0", None),
        ("f = 5", False),
        ("abs(f) < 0.2", None),
        ("f * 10 < 2", None),
        ("f * 10 < 3", True),
        ("2 - f > 1.5", True),
        ("f + d > 0", True),
        ("f between -1 and 1", True),
        ("not f between -1 and 1", False),
        ("f in (5, 6)", False),
        ("-f < -1", False),
    ],
)
def test_a_printed_float_decides_what_its_tolerance_does_not_touch(database, clause, answer):
    assert decide(database, clause, f=0.0, d=1.0) is answer


@pytest.mark.parametrize(
    "clause, answer",
    [
        ("i < 0", None),  # NULL is not less, the missing value is
        ("i >= 0", False),  # neither of them
        ("not i >= 0", None),
        ("i = 5", False),
        ("i <> 5", None),
        ("i is null", None),
        ("i is not null", None),
        ("i in (1, 2)", False),
        ("i not in (1, 2)", None),
        ("i & 1024 = 1024", False),
        ("i % 2 = 0", None),
        ("f > 0", None),  # NaN is above all
        ("f < 0", False),
        ("f = 'NaN'", None),
        ("t > 0", False),  # the missing time lies in antiquity
        ("t < 0", None),
        ("st = ''", None),
        ("st = 'a'", False),
        ("st like 'a%'", False),
        ("st not like 'a%'", None),
        ("i = null", False),
        ("i = 5 or i >= 0", False),
        ("true or i < 0", True),
    ],
)
def test_a_missing_value_decides_where_null_and_the_missing_value_agree(database, clause, answer):
    assert decide(database, clause) is answer


@pytest.mark.parametrize(
    "clause, answer",
    [
        ("st like 'a_c'", True),
        ("st like 'A%'", False),
        ("st ilike 'A%'", True),
        ("st like 'a!_c' escape '!'", False),
        (r"st like 'a\_c'", False),
        (r"st like 'a\bc'", True),
        ("st not like '%d%'", True),
        ("st < 'abd'", True),
        ("upper(st) = 'ABC'", True),
        ("length(st) = 3", True),
        ("st in ('abc', 'x')", True),
        ("st > 'ABC'", True),
        ("st like 'a%' escape ''", True),
        ("st like st", None),
        ("st = lower('ABC')", True),
    ],
)
def test_text_compares_by_bytes_and_matches_patterns_as_in_postgresql(database, clause, answer):
    assert decide(database, clause, st="abc") is answer


@pytest.mark.parametrize(
    "pattern, matches", [(r"'a\\b'", True), ("'a\\b' escape ''", True), ("'a!\\b' escape '!'", True)]
)
def test_backslashes_in_patterns_are_escapes_only_where_they_are_the_escape(database, pattern, matches):
    assert decide(database, f"st like {pattern}", st="a\\b") is matches


@pytest.mark.parametrize(
    "clause, answer",
    [
        ("-7 / 2 = -3", True),
        ("-7 % 2 = -1", True),
        ("i / 0 = 1", None),
        ("i % 0 = 1", None),
        ("i + 2147483647 > 0", None),
        ("i < 7.5", True),
        ("i = 7.5", False),
        ("i <> 7.5", True),
        ("i > 6.9", True),
        ("i <= 7.0", True),
        ("i < 7.0", False),
        ("i < 1e30", True),
        ("i > -1e300", True),
        ("i << 30 = -1073741824", True),
        ("i # 2 = 5", True),
        ("~i = -8", True),
        ("i >> 1 = 3", True),
        ("mod(i, 4) = 3", True),
        ("ceil(i) = 7", True),
        ("i * 0.5 > 1", True),
        ("i = d", True),
        ("1.5 < 2", True),
        ("1=1", True),
        ("'a' = 'b'", False),
    ],
)
def test_whole_numbers_calculate_as_in_postgresql(database, clause, answer):
    assert decide(database, clause, i=7, d=7.0) is answer


def test_a_negated_value_is_below_nan_as_every_number_is(database):
    assert decide(database, "-f < 'NaN'", f=0.0) is True


def test_a_column_that_is_not_held_leaves_only_the_rest_to_decide(database):
    assert decide(database, "slotnum = 0", i=1) is None
    assert decide(database, "slotnum = 0 and i = 2", i=1) is False
    assert decide(database, "slotnum = 0 or i = 1", i=1) is True


def test_a_single_column_is_compared_plainly_so_that_blocks_can_be_skipped():
    sql = to_duckdb(bind_where(parse_where("i >= 5 and s < 3"), TYPES), HELD)
    assert sql == '(("i" >= 5 AND "i" IS NOT NULL) AND ("s" < 3))'


def test_text_in_a_condition_cannot_leave_its_quotes(database):
    assert decide(database, "st = 'x'' OR 1=1 --'", st="x' OR 1=1 --") is True
