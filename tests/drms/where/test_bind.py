"""Conditions against the columns of a series."""

import gzip
import json
import math
import re
from decimal import Decimal
from functools import cache

import pytest

from mirror.drms.series import Series
from mirror.drms.where import (
    Boolean,
    Compare,
    Number,
    String,
    bind_where,
    may_hold,
    parse_where,
    where_columns,
)
from mirror.errors import BadRequest, SyntaxProblem, UnknownName
from mirror.wire.structure import decode_series_struct
from tests.recorded import WORLD, lines

COLUMNS = {
    "i": "int",
    "s": "short",
    "l": "longlong",
    "f": "float",
    "d": "double",
    "t": "time",
    "st": "string",
}
CLAUSE = re.compile(r"\[([?!])(.*?)\1\]")


def bound(text):
    return bind_where(parse_where(text), COLUMNS, text=text)


@cache
def series(name: str) -> Series | None:
    """The structure of a recorded series, named in any case."""
    path = next((p for p in WORLD.glob("*.json.gz") if p.name.lower() == f"{name.lower()}.json.gz"), None)
    if path is None:
        return None
    with gzip.open(path) as file:
        world = json.load(file)
    return decode_series_struct(world["series_struct"].encode("latin-1"), name_hint=name)


# ---- recorded ---------------------------------------------------------------------------------


def outcomes():
    """Each recorded condition on a known series once, with the server's error (None: it answered)."""
    seen = {}
    for line in lines("queries") + lines("random"):
        query = line["params"].get("ds", "")
        name = re.match(r"[\w.]+", query)
        for match in CLAUSE.finditer(query):
            if name and series(name[0]) and line["response"]:
                seen.setdefault((name[0], match[2]), line["response"].get("error"))
    return seen


def test_conditions_that_the_server_answered_bind_and_those_it_refused_do_not():
    wrong = {}
    for (name, clause), error in outcomes().items():
        if "select" in clause or "division by zero" in (error or ""):
            continue  # we refuse subselects; the divisions are the server's own, in its filters on slots
        try:
            bind_where(parse_where(clause), where_columns(series(name)))
        except BadRequest as problem:
            if error is None:
                wrong[name, clause] = str(problem)
        else:
            if error is not None:
                wrong[name, clause] = "was bound"
    assert wrong == {}
    assert len(outcomes()) > 300


def test_the_words_of_postgresql_are_kept():
    recorded = {clause.strip(): error for (_, clause), error in outcomes().items() if error}
    for clause in ("1", "bogus > 1", '"DATE-OBS" > 0', "EXPTIME < 2"):
        name = "aia.lev1_euv_12s" if "EXPTIME" in clause else "hmi.v_45s"
        with pytest.raises(BadRequest) as caught:
            bind_where(parse_where(clause), where_columns(series(name)))
        said = recorded[clause].splitlines()[0].removeprefix("ERROR:  ")
        assert str(caught.value).startswith(said)


def test_columns_are_the_variable_keywords_of_the_series_itself():
    columns = where_columns(series("hmi.sharp_720s"))
    assert columns["t_rec"] == "time"
    assert columns["t_rec_index"] == "longlong"
    assert columns["bitmap_bzero"] == "double"
    assert {
        "recnum",
        "sunum",
        "slotnum",
        "sessionid",
        "sessionns",
        "sg_000_file",
        "sg_001_axis001",
    } <= columns.keys()
    assert not {"t_rec_epoch", "telescop", "date-obs", "mdata_quality"} & columns.keys()


def test_linked_keywords_and_segments_have_no_column():
    columns = where_columns(series("aia.lev1_euv_12s"))
    assert "wavelnth" in columns
    assert "ln_lev1_recnum" in columns
    assert not {"exptime", "quality", "sg_000_file"} & columns.keys()


# ---- constants --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, value",
    [
        ("i < '2'", 2),
        ("i < ' -2 '", -2),
        ("'2' > i", 2),
        ("i in ('2')", 2),
        ("i between '2' and '3'", 2),
        ("i & '2' = 1", 2),
        ("1 < '2'", 2),
        ("1.5 < '2.5'", Decimal("2.5")),
        ("d < '0.1'", 0.1),
        ("t < '1e9'", 1e9),
        ("f < '0.1'", 0.10000000149011612),
        ("d = 'inf'", math.inf),
        ("d = '-Infinity'", -math.inf),
        ("i in ('2', 3)", 2),
    ],
)
def test_a_quoted_number_becomes_what_it_stands_against(text, value):
    numbers = [n.value for n in nodes(bound(text)) if isinstance(n, Number)]
    assert (value, type(value)) in [(n, type(n)) for n in numbers]


def nodes(expr):
    return [expr, *(n for part in expr.parts() for n in nodes(part))]


def test_a_quoted_nan_is_a_number_against_a_float_only():
    assert math.isnan(bound("f = 'NaN'").right.value)
    assert bound("st = 'NaN'").right == String("NaN")


def test_an_unquoted_constant_against_a_float_stays_as_written():
    assert bound("f = 0.1").right == Number(Decimal("0.1"))


def test_a_list_of_constants_against_a_float_is_of_single_precision():
    assert [item.value for item in bound("f in (0.1, 2)").items] == [0.10000000149011612, 2.0]
    assert bound("f in (0.1)").items == (Number(Decimal("0.1")),)


def test_quoted_truth_values_are_conditions():
    assert bound("'yes'") == Boolean(value=True)
    assert bound("i = 1 and 'off'").operands[1] == Boolean(value=False)


def test_two_quoted_constants_are_text():
    assert bound("'1' = '01'") == Compare("=", String("1"), String("01"))


# ---- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, message",
    [
        ("i < '1.5'", 'invalid input syntax for type integer: "1.5"'),
        ("i < 'x'", 'invalid input syntax for type integer: "x"'),
        ("i = ''", 'invalid input syntax for type integer: ""'),
        ("s < '40000'", 'value "40000" is out of range for type smallint'),
        ("l < '9223372036854775808'", "out of range for type bigint"),
        ("i = '" + "9" * 5000 + "'", "out of range for type integer"),
        ("d < 'x'", 'invalid input syntax for type double precision: "x"'),
        ("f < '1e50'", '"1e50" is out of range for type real'),
        ("f in (1e50, 2)", "out of range for type real"),
        ("d < 1e400", "out of range for type double precision"),
        ("st < 5", "operator does not exist: text < integer"),
        ("i = st", "operator does not exist: integer = text"),
        ("st between 1 and 2", "operator does not exist: text >= integer"),
        ("st + 1 = 2", "operator does not exist: text + integer"),
        ("d % 2 = 1", "operator does not exist: double precision % integer"),
        ("i & 1.5 = 1", "operator does not exist: integer & numeric"),
        ("~d = 1", "operator does not exist: ~ double precision"),
        ("'1' + '2' = 3", "operator is not unique: unknown + unknown"),
        ("i like '1%'", "operator does not exist: integer ~~ text"),
        ("st like 'a\\'", "LIKE pattern must not end with escape character"),
        ("abs(st) = 1", "function abs(text) does not exist"),
        ("abs(i, 1) = 1", "function abs does not take 2 arguments"),
        ("lower(i) = 'a'", "function lower(integer) does not exist"),
        ("i", "argument of WHERE must be type boolean, not type integer"),
        ("i = 1 and d", "argument of AND must be type boolean, not type double precision"),
        ("not st", "argument of NOT must be type boolean, not type text"),
        ("i = 1 or 'x'", 'invalid input syntax for type boolean: "x"'),
        ("(i = 1) = 1", "operator does not exist: boolean = integer"),
    ],
)
def test_operands_that_do_not_fit_are_refused_in_the_words_of_postgresql(text, message):
    with pytest.raises(SyntaxProblem, match=re.escape(message)):
        bound(text)


def test_an_error_shows_the_place_in_the_query():
    query = "x[? i < '1.5' ?]"
    with pytest.raises(SyntaxProblem) as caught:
        bind_where(parse_where(query[3:14], query=query, offset=3), COLUMNS, text=query)
    assert query[caught.value.position :].startswith("'1.5'")


def test_an_unknown_column_is_named_with_its_place_and_the_nearest_ones():
    columns = {"quality": "int", "datamean": "float"}
    with pytest.raises(UnknownName) as caught:
        bind_where(parse_where("qualty = 1"), columns, text="qualty = 1")
    assert str(caught.value) == 'column "qualty" does not exist; there are quality\n  qualty = 1\n  ^'


@pytest.mark.parametrize(
    "text",
    [
        "i = 1 and not d > 2.5",
        "i is null",
        "null",
        "i = null",
        "'a' in ('a', 'b')",
        "'2' in (i, 3)",
        "true",
        "mod(i, 2) = 1 or ceil(d) = 2 or round(1.25, 1) = 1.3",
        "length(st) > 2",
        "-i + 1 = abs(-2)",
        "i << 2 > l",
        "(i = 1) = true",
        "(i = 1) is null",
        "st like upper('a')",
        "'5' between 1 and 6",
        "sqrt('4') = 2",
    ],
)
def test_plain_conditions_bind(text):
    assert bind_where(bound(text), COLUMNS) == bound(text)


@pytest.mark.parametrize(
    "text, ours",
    [
        ("substring(st from 2) = 'a'", True),
        ("substring(st from 2 for '1') = 'a'", True),
        ("substring(st from '[0-9]+') = '11158'", False),
        ("substring(st, 'a(.)b') is not null", False),
        ("substring(st from '2') = '2'", False),
        ("substring(st from 'a' for '#') = 'a'", False),
    ],
)
def test_a_substring_by_a_regular_expression_is_jsocs_to_evaluate(text, ours):
    assert may_hold(bound(text), COLUMNS) is ours
