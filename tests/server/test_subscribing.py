"""Subscriptions edited over HTTP: into config.toml, which stays the user's, and in force at once."""

from __future__ import annotations

import json

import pytest

from mirror.config.loading import load_config
from tests.lab import lab
from tests.server.webcheck import Page

JSON = {"Content-Type": "application/json"}
BEFORE = """\
# Ours. Do not touch.
[log]
level = "error"  # quiet

[[subscription]]
name = "old"   # since 2024
series = "hmi.M_720s"
start = "2014.01.01_TAI"
end = "2014.01.01_TAI"
"""
WISH = {"series": "hmi.sharp_cea_720s", "start": "2014.01.01_TAI", "end": "2014.01.01_01:00:00_TAI"}


@pytest.fixture
async def mirror(tmp_path):
    async with lab(tmp_path, config=BEFORE) as made:
        yield made


async def send(mirror, method, path, body=None):
    return await mirror.request(method, path, data=None if body is None else json.dumps(body), headers=JSON)


def text(mirror):
    return mirror.config.read_text()


async def listed(mirror):
    return [s["name"] for s in (await mirror.get("/api/subscriptions")).json]


async def test_one_is_added_changed_and_taken_out_and_the_rest_of_the_file_stays(mirror):
    added = await send(mirror, "POST", "/api/subscriptions", {**WISH, "segments": ["bitmap"], "keys": {"HARPNUM": [3536]}})
    assert (added.code, added.json) == (201, {"name": "hmi.sharp_cea_720s"})
    assert text(mirror).startswith(BEFORE)
    assert await listed(mirror) == ["old", "hmi.sharp_cea_720s"]
    changed = await send(mirror, "PUT", "/api/subscriptions/hmi.sharp_cea_720s", {**WISH, "name": "sharps", "every": "2h"})
    assert changed.json == {"name": "sharps"}
    wish = load_config(mirror.config, {}).subscription[-1]
    assert (wish.name, wish.every, wish.segments, wish.keys) == ("sharps", 7200.0, (), ())
    assert await listed(mirror) == ["old", "sharps"]
    assert (await send(mirror, "DELETE", "/api/subscriptions/sharps")).code == 200
    assert await listed(mirror) == ["old"]
    assert text(mirror).rstrip() == BEFORE.rstrip()


async def test_what_stays_of_a_subscription_keeps_its_comment(mirror):
    wish = {"name": "old", "series": "hmi.M_720s", "start": "2014.01.01_TAI", "end": "2014.01.02_TAI"}
    assert (await send(mirror, "PUT", "/api/subscriptions/old", wish)).code == 200
    assert text(mirror) == BEFORE.replace('end = "2014.01.01_TAI"', 'end = "2014.01.02_TAI"')


@pytest.mark.parametrize(
    "wish, field, words",
    [
        ({"start": "soon"}, "start", "a time such as"),
        ({"start": None}, "start", "is missing"),
        ({"series": None}, "series", "is missing"),
        ({"series": "hmi.sharp_cea_72s"}, "series", "did you mean hmi.sharp_cea_720s"),
        ({"segments": ["bitmap", "Bq"]}, "segments", "no segment 'Bq'"),
        ({"where": "QUALITY ="}, "where", "the condition ends here"),
        ({"where": "NOPE = 1"}, "where", "does not exist"),
        ({"where": "[["}, "where", "unexpected '['"),
        ({"where": "no_function(QUALITY) = 1"}, "where", "JSOC refuses it: function no_function(integer) does not exist"),
        ({"keys": {"WAVELNTH": [171]}}, "keys", "not a prime key"),
        ({"keys": {"HARPNUM": "a b"}}, "keys", ""),
        ({"budget": "much"}, "budget", "50GB/day"),
        ({"hours": "late"}, "hours", "20:00-06:00"),
        ({"step": "7s"}, "step", "expected at least half of the 12 min between the records of hmi.sharp_cea_720s"),
        ({"name": "OLD"}, "name", "is taken"),
        ({"name": "a b"}, "name", "letters"),
    ],
)
async def test_what_is_wrong_is_told_by_field_and_nothing_is_written(mirror, wish, field, words):
    answer = await send(mirror, "POST", "/api/subscriptions", {k: v for k, v in {**WISH, **wish}.items() if v is not None})
    assert answer.code == 400
    assert words in answer.json["fields"][field]
    assert text(mirror) == BEFORE


async def test_several_wrong_fields_are_told_at_once(mirror):
    answer = await send(mirror, "POST", "/api/subscriptions", {"series": "hmi.nothing", "start": "soon", "every": "often"})
    assert set(answer.json["fields"]) == {"series", "start", "every"}


async def test_one_that_is_not_there_cannot_be_changed_or_taken_out(mirror):
    assert (await send(mirror, "PUT", "/api/subscriptions/new", WISH)).code == 404
    assert (await send(mirror, "DELETE", "/api/subscriptions/new")).code == 404
    assert (await send(mirror, "POST", "/api/subscriptions", {**WISH, "color": "red"})).code == 400


async def test_with_jsoc_away_the_file_alone_is_checked(tmp_path):
    async with lab(tmp_path, config=BEFORE, MIRROR_UPSTREAM__POLICY="offline") as made:
        assert (await send(made, "POST", "/api/subscriptions", WISH)).code == 201


async def test_edits_at_the_same_time_are_all_written(mirror):
    import asyncio

    await asyncio.gather(*(send(mirror, "POST", "/api/subscriptions", {**WISH, "name": f"n{n}"}) for n in range(5)))
    assert sorted(await listed(mirror)) == ["n0", "n1", "n2", "n3", "n4", "old"]


async def test_the_page_lists_and_has_what_the_editor_needs(mirror):
    answer = await mirror.get("/subscriptions")
    page = Page(answer.body.decode())
    assert page.problems == []
    assert "hmi.M_720s" in page.text
    tables = answer.body.decode().split('id="tables">')[1].split("</script>")[0]
    assert json.loads(tables)["old"]["start"] == "2014.01.01_TAI"


async def test_without_a_file_the_page_and_the_api_say_so(tmp_path):
    async with lab(tmp_path) as made:
        assert "without a config.toml" in (await made.get("/subscriptions")).body.decode()
        answer = await send(made, "POST", "/api/subscriptions", WISH)
        assert (answer.code, "config.toml" in answer.json["error"]) == (403, True)
