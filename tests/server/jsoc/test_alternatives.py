"""Other places are asked while JSOC does not answer: in order, said so, and nothing of theirs is kept."""

from __future__ import annotations

import pytest

from mirror.config.loading import Config, read_config
from mirror.errors import ConfigError
from tests.lab import JSOC_INFO, lab

HOUR = {"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI/1h]", "key": "T_REC,CRLT_OBS"}
NOWHERE = "http://127.0.0.1:9"


def alternatives(*urls):
    return "".join(f'[[upstream.alternative]]\nurl = "{url}"\n' for url in urls)


@pytest.fixture
async def other(tmp_path):
    """Another mirror, whose JSOC is there."""
    (tmp_path / "other").mkdir()
    async with lab(tmp_path / "other") as made:
        yield made


@pytest.fixture
async def mirror(tmp_path, other):
    (tmp_path / "own").mkdir()
    async with lab(tmp_path / "own", config=alternatives(NOWHERE, other.url)) as made:
        yield made


async def away(mirror):
    """From now on JSOC does not answer this mirror."""
    await mirror.simulator.close()


async def test_jsoc_is_asked_as_long_as_it_answers(mirror, other):
    answer = await mirror.get(JSOC_INFO, HOUR)
    assert (answer.plan, "X-Mirror-Source" in answer.headers) == ("filled", False)
    assert await other.log() == []


async def test_the_first_alternative_that_answers_is_passed_on_and_says_so(mirror, other):
    await away(mirror)
    answer = await mirror.get(JSOC_INFO, HOUR)
    assert (answer.code, answer.plan, answer.headers["X-Mirror-Source"]) == (200, "alternative", other.url)
    assert answer.told == (await other.get(JSOC_INFO, HOUR)).told and answer.json["count"] == 80
    structure = await mirror.get(JSOC_INFO, {"op": "series_struct", "ds": "hmi.v_45s"})
    assert structure.json["status"] == 0 and structure.headers["X-Mirror-Source"] == other.url


async def test_nothing_of_it_is_kept_and_what_is_cached_comes_from_the_cache(mirror, other):
    await mirror.get(JSOC_INFO, HOUR)
    await away(mirror)
    assert (await mirror.get(JSOC_INFO, HOUR)).plan == "local"
    assert (await mirror.get(JSOC_INFO, {**HOUR, "ds": "hmi.v_45s[2014.01.01_TAI/2h]"})).plan == "alternative"
    (span,) = (await mirror.get("/api/coverage", {"series": "hmi.v_45s"})).json
    assert span["records"] == 80
    await other.stop()
    again = await mirror.get(JSOC_INFO, {**HOUR, "ds": "hmi.v_45s[2014.01.01_TAI/2h]"})
    assert again.json["status"] == 1 and "X-Mirror-Source" not in again.headers


async def test_files_are_passed_on_too(mirror, other):
    listed = await other.get(JSOC_INFO, {"op": "rs_list", "ds": "hmi.m_720s[2014.01.01_TAI]", "seg": "magnetogram"})
    path = listed.json["segments"][0]["values"][0]
    whole = await other.get(path)
    await away(mirror)
    part = await mirror.get(path, headers={"Range": "bytes=0-99"})
    assert (part.code, part.body, part.headers["X-Mirror-Source"]) == (206, whole.body[:100], other.url)


async def test_nobody_else_is_asked_offline_or_for_what_none_has_or_for_an_export(mirror, other):
    await away(mirror)
    nothing = await mirror.get(JSOC_INFO, {**HOUR, "ds": "hmi.v_45s[2035.01.01_TAI/1h]"})
    assert nothing.json["status"] == 1 and nothing.plan is None
    export = await mirror.get("/cgi-bin/ajax/jsoc_fetch", {"op": "exp_request", "ds": "hmi.v_45s[2014.01.01]", "protocol": "as-is", "method": "url_quick"})
    assert export.plan != "alternative"
    seen = len(await other.log())
    held = await mirror.get(JSOC_INFO, HOUR, headers={"Cache-Control": "only-if-cached"})
    assert held.code == 504
    await mirror.request("POST", "/api/policy", json={"policy": "offline"})
    assert (await mirror.get(JSOC_INFO, HOUR)).json["status"] == 1
    assert len(await other.log()) == seen


async def test_two_mirrors_that_are_each_others_alternative_do_not_ask_in_circles(tmp_path, mirror, other):
    await away(mirror)
    await other.restart(MIRROR_UPSTREAM__ALTERNATIVE=mirror.url)
    await away(other)
    answer = await other.get(JSOC_INFO, HOUR)
    assert answer.json["status"] == 1


def test_alternatives_are_read_from_tables_lists_and_the_environment(tmp_path):
    for text in (alternatives("http://a:1", "http://b"), '[upstream]\nalternative = [{url = "http://a:1"}, {url = "http://b"}]\n'):
        config = read_config(text, tmp_path / "config.toml", {})
        assert [str(place) for place in config.upstream.alternative] == ["http://a:1", "http://b"]
    config = read_config("", None, {"MIRROR_UPSTREAM__ALTERNATIVE": "http://a:1,http://b"})
    assert [place.url for place in config.upstream.alternative] == ["http://a:1", "http://b"]
    assert Config().upstream.alternative == ()
    for wrong in ('[[upstream.alternative]]\nurl = "a"\n', '[[upstream.alternative]]\ntoken = "x"\n', '[[upstream.alternative]]\nurll = "http://a"\n'):
        with pytest.raises(ConfigError, match="alternative"):
            read_config(wrong, tmp_path / "config.toml", {})
