"""Texts of several statements, taken apart."""

from __future__ import annotations

import pytest

from mirror.services.sql.statements import split_statements


@pytest.mark.parametrize(
    "text, found",
    [
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1;\n-- a; b\nSELECT ';' AS \"x;\"; ;", ["SELECT 1", "-- a; b\nSELECT ';' AS \"x;\""]),
        ("SELECT $$a;b$$ /* ; */; FROM t;", ["SELECT $$a;b$$ /* ; */", "FROM t"]),
        ("  ", []),
    ],
)
def test_semicolons_part_statements_but_not_in_quotes_and_comments(text, found):
    assert split_statements(text) == found
