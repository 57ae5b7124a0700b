"""Where clauses on stored values: three truths, and numbers as PostgreSQL has them."""

from __future__ import annotations

import math

import pytest

from mirror.drms.where import bind_where, parse_where, where_columns
from mirror.errors import Refused
from mirror.simulator.conditions import holds
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
    expr = bind_where(parse_where(clause), where_columns(TABLE))
    return [n for n, true in enumerate(holds(expr, DATA).tolist(), start=1) if true]


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
        ("-I > 0", [2, 3]),
        ("round(D) = 0", [1]),
    ],
)
def test_a_clause_is_true_for(clause, rows):
    assert true_for(clause) == rows


@pytest.mark.parametrize("clause", ["I / 0 = 1", "M % (I - I) = 0", "sqrt(I) > 1"])
def test_what_postgresql_cannot_compute_is_refused(clause):
    with pytest.raises(Refused):
        true_for(clause)


def test_a_column_that_the_series_does_not_hold_is_refused_by_name():
    with pytest.raises(Refused, match="sessionid"):
        true_for("sessionid = 1")
