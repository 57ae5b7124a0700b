"""The front page shows a fill as a whole, and not the piece of it that is being fetched beside it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mirror.api.monitoring import FillProgress
from mirror.services.monitoring.overview import _is_of


@pytest.mark.parametrize(
    "series, who, kind, is_piece",
    [
        ("hmi.V_45s", ["token:ada"], "fill", True),
        ("hmi.V_45s", ["token:ada", "token:bob"], "fill", False),  # bob waits for something of it
        ("hmi.M_720s", ["token:ada"], "fill", False),
        ("hmi.V_45s", ["token:ada"], "export", False),
    ],
)
def test_a_piece_of_a_fill_that_nobody_else_waits_for_belongs_to_it(series, who, kind, is_piece):
    job = SimpleNamespace(kind=kind, ds="hmi.v_45s[2014.01.01/365d]", by="token:ada")
    assert _is_of(FillProgress(series=series, done=1, total=2, who=who), job) is is_piece
