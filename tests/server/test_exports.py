"""jsoc_fetch over HTTP: GET and POST, json and text, and bytes that nobody foresaw."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import quote

import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.filelab import ADDRESS, FETCH, file_lab

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SHARP = "hmi.sharp_720s[3563][2014.01.01_TAI]{bitmap}"
REQUEST = {"op": "exp_request", "ds": SHARP, "method": "url_quick", "protocol": "as-is", "notify": ADDRESS}


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


async def test_get_and_post_are_answered_alike(mirror):
    got = await mirror.get(FETCH, REQUEST)
    posted = await mirror.request("POST", FETCH, data=REQUEST)
    multipart = await mirror.request("POST", FETCH, data=aiohttp_form(REQUEST))
    assert got.json["status"] == 0
    assert got.body == posted.body == multipart.body


def aiohttp_form(values):
    from aiohttp import FormData

    form = FormData(default_to_multipart=True)
    for name, value in values.items():
        form.add_field(name, value)
    return form


async def test_kinds_of_answers(mirror):
    assert (await mirror.get(FETCH, REQUEST)).headers["Content-Type"].startswith("application/json")
    text = await mirror.get(FETCH, {**REQUEST, "format": "txt"})
    assert text.headers["Content-Type"].startswith("text/plain")
    assert text.body.startswith(b"# JSOC Quick Data Export")


async def test_a_finished_export_is_told_as_text_too(mirror):
    done = await mirror.exported(SHARP)
    answer = await mirror.get(FETCH, {"op": "exp_status", "requestid": done["requestid"], "format": "txt"})
    assert answer.body == (await mirror.get(f"{done['dir']}/index.txt")).body


async def test_proxied_requests_are_answered_alike(mirror):
    direct = await mirror.get(FETCH, REQUEST)
    async with mirror.session.get(f"http://jsoc.stanford.edu{FETCH}", params=REQUEST, proxy=mirror.url) as response:
        assert await response.read() == direct.body


async def test_an_export_over_several_record_sets_has_all_of_them_in_order(mirror):
    sets = [SHARP, "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{bitmap}"]
    told = (await mirror.get(FETCH, {**REQUEST, "ds": ",".join(reversed(sets))})).json
    assert [row["record"] for row in told["data"]] == [
        "hmi.sharp_720s[3563][2014.01.01_00:12:00_TAI]{bitmap}",
        "hmi.sharp_720s[3563][2014.01.01_00:00:00_TAI]{bitmap}",
    ]


async def test_the_first_and_last_records_are_taken_by_limits(mirror):
    span = "hmi.sharp_720s[3563][2014.01.01_TAI/1h]{bitmap}"
    for limit, expected in (("2", ["00:00", "00:12"]), ("-1", ["00:48"])):
        for more in ({"max_recs": limit}, {"process=n": f"{limit}|no_op"}):
            told = (await mirror.get(FETCH, {**REQUEST, "ds": span, **more})).json
            assert [re.search(r"_(\d\d:\d\d):", row["record"])[1] for row in told["data"]] == expected, more


VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from([SHARP, "url", "url-tar", "fits", "as-is", "exp_request", "exp_status", ADDRESS, "n=5|no_op", "1"]),
)
NAMES = ["op", "ds", "method", "protocol", "notify", "filenamefmt", "process", "process=n", "seg", "sizeratio"]
NAMES += ["max_recs", "requestid", "sunum", "format", "o"]


async def test_no_parameters_bring_the_server_down(mirror):
    asked = []

    @settings(max_examples=60)
    @given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.binary(max_size=40))
    def collect(params, body):
        asked.append((params, body))

    collect()

    async def one(params, body):
        query = "&".join(f"{k}={quote(v.encode())}" for k, v in params.items())
        answer = await mirror.request("POST", FETCH, data=query.encode(), headers=FORM)
        assert answer.code == 200, (params, answer)
        assert answer.body.strip()
        assert b"internal error" not in answer.body, params
        assert (await mirror.request("POST", FETCH, data=body, headers=FORM)).code == 200

    await asyncio.gather(*(one(*x) for x in asked))
    await mirror.working()
    assert (await mirror.get(FETCH, REQUEST)).json["status"] == 0
