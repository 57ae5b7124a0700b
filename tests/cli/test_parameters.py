"""What the shell completes: commands, options, series, keywords and segments, of a mirror that runs."""

from __future__ import annotations

import asyncio
import json
import shlex

import pytest
from click.shell_completion import BashComplete

from mirror.cli.main import main
from tests.lab import lab


def completed(*words: str) -> list[str]:
    """What goes on from the last of the words."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMP_WORDS", shlex.join(["mirror", *words]))
        patch.setenv("COMP_CWORD", str(len(words)))
        shell = BashComplete(main, {}, "mirror", "_MIRROR_COMPLETE")
        return [item.value for item in shell.get_completions(*shell.get_completion_args())]


@pytest.fixture
async def offered(tmp_path, monkeypatch):
    async with lab(tmp_path) as mirror:
        await mirror.ask("hmi.v_45s[2014.01.01_TAI/3m]")
        await mirror.ask("hmi.m_720s[2014.01.01_TAI]")
        monkeypatch.setenv("MIRROR_URL", mirror.url)

        async def ask(*words: str) -> list[str]:
            return await asyncio.to_thread(completed, *words)

        yield ask


async def test_series_keywords_and_segments_are_offered(offered):
    assert "hmi.V_45s" in await offered("search", "hmi.v")
    assert "hmi.M_720s" in await offered("coverage", "hmi.")
    assert await offered("search", "hmi.v_45s[2014") == []
    assert "CRLT_OBS" in await offered("search", "hmi.v_45s[2014.01.01_TAI/1h]", "--key", "crl")
    assert await offered("search", "hmi.v_45s", "--key", "T_REC,datamea") == ["T_REC,DATAMEAN"]
    assert await offered("fetch", "hmi.m_720s[$]", "--seg", "m") == ["magnetogram"]
    assert await offered("subscribe", "hmi.m_720s", "--segments", "") == ["magnetogram"]


async def test_jobs_data_sets_and_subscriptions_are_offered(tmp_path, monkeypatch):
    config = '[[subscription]]\nname = "ours"\nseries = "hmi.M_720s"\nstart = "2014.01.01_TAI"\nend = "2014.01.01_TAI"\n'
    async with lab(tmp_path, config=config) as mirror:
        monkeypatch.setenv("MIRROR_URL", mirror.url)

        async def send(path, body):
            return await mirror.request("POST", path, data=json.dumps(body), headers={"Content-Type": "application/json"})

        fill = (await send("/api/fill", {"ds": "hmi.v_45s[2014.01.01_TAI/3m]"})).json["id"]
        await send("/api/datasets", {"name": "quiet", "ds": ["hmi.v_45s[2014.01.01_TAI/3m]"]})
        for words, found in {
            ("jobs", "fill_"): [fill],
            ("cancel", "FILL"): [fill],
            ("jobs", "ou"): [],
            ("dataset", "show", ""): ["quiet"],
            ("dataset", "create", ""): [],
            ("sync", "--once", "o"): ["ours"],
            ("subscribe", "--remove", ""): ["ours"],
        }.items():
            assert await asyncio.to_thread(completed, *words) == found, words


def test_without_a_mirror_nothing_is_offered_and_nothing_started(monkeypatch, tmp_path):
    monkeypatch.setenv("MIRROR_STORAGE__PATH", str(tmp_path / "store"))
    monkeypatch.setenv("MIRROR_URL", "http://127.0.0.1:9")
    assert completed("search", "hmi.") == [] == completed("search", "hmi.v_45s", "--key", "T")
    assert "search" in completed("sea") and "--key" in completed("search", "--k")
    assert not (tmp_path / "store").exists()
