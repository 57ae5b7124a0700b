"""The soak asks every kind of question, and notices an answer that is not the archive's."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import pytest

from mirror.drms.times import parse_time
from mirror.simulator.synthetic import synthetic_series
from tests.lab import lab

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def soaking(monkeypatch):
    """The module of the benchmark."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("soak", BENCHMARKS / "soak.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "soak", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "WARM", 6)
    monkeypatch.setattr(module, "HELD", 1)
    return module


async def test_a_soak_asks_all_kinds_and_notices_what_is_wrong(tmp_path, soaking):
    series = synthetic_series(lambda: parse_time("2026.01.01_TAI"))
    async with lab(tmp_path, series, MIRROR_UPSTREAM__EMAIL=soaking.ADDRESS) as made:
        dice = random.Random(3)
        truth = str(made.simulator.make_url("")).rstrip("/")
        soak = soaking.Soak(made.session, made.url, truth, dice)
        await soak.prepare()
        for kind in soaking.MIX:
            await soak._one(kind, dice)
        assert soak.tally.good, soak.tally
        assert set(soak.tally.took) == {"prepare", *soaking.MIX}

        for ds in soak._warm:
            await made.reprocess(ds)
        soak._known.clear()
        for kind in ("warm", "api", "sql", "condition") * 3:
            await soak._one(kind, dice)
        kinds = {problem.partition(":")[0] for problem in soak.tally.wrong}
        assert {"warm", "sql"} <= kinds, "the mirror holds an earlier version, and the soak sees that it does"


def test_an_answer_is_compared_without_its_runtime(soaking):
    assert soaking.plain(b'{"status":0,"runtime":0.013}') == soaking.plain(b'{"status":0,"runtime":2}')
    assert soaking.plain(b'{"count":1,"runtime":1}') != soaking.plain(b'{"count":2,"runtime":1}')
    assert soaking.agrees([({"A": 1, "B": 2}, "x")], [({"A": 1}, "x")])
    assert not soaking.agrees([({"A": 2}, "x")], [({"A": 1}, "x")])
    assert not soaking.agrees([({"A": 1}, "y")], [({"A": 1}, "x")])
