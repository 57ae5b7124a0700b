"""Every error has its answer: JSOC's way at JSOC's paths, HTTP's way at ours."""

from __future__ import annotations

import json

import pytest
from aiohttp import ClientConnectionResetError, web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from mirror import errors
from mirror.server.errors import GONE, TABLE, answer_problems, codes
from mirror.server.requests import HungUp

KINDS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MirrorError)
]


def made(kind):
    if kind is errors.SyntaxProblem:
        return kind("found x", text="hmi.v_45s[x]", position=10, expected="a time")
    if kind is errors.UpstreamRefused:
        return kind(3, "too large")
    if kind is errors.OverBudget:
        return kind("é/why", 1_800_000_000.0)
    if kind is errors.WrongFields:
        return kind({"start": "expected a time"}, {"start": "é/why"})
    return kind("é/why")


async def answer(path, error):
    async def fail(_):
        raise error

    app = web.Application(middlewares=[answer_problems])
    app.router.add_get(path, fail)
    async with TestClient(TestServer(app)) as client:
        response = await client.get(path)
        return response.status, json.loads((await response.read()).decode("latin-1"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_of_the_tree_has_codes(kind):
    status, code = codes(made(kind))
    assert status > 0
    assert 400 <= code < 600
    assert kind in TABLE or kind.__mro__[1] in TABLE or kind is errors.UpstreamError


@pytest.mark.parametrize("kind", KINDS)
async def test_at_jsocs_paths_errors_are_a_status_with_http_200(kind):
    error = made(kind)
    code, told = await answer("/cgi-bin/ajax/jsoc_info", error)
    assert (code, told) == (200, {"status": codes(error)[0], "error": str(error)})


@pytest.mark.parametrize("kind", KINDS)
async def test_at_our_paths_errors_have_an_http_code(kind):
    error = made(kind)
    code, told = await answer("/api/search", error)
    assert code == codes(error)[1]
    assert told["error"] == str(error)
    assert ("position" in told) == (kind is errors.SyntaxProblem)
    assert ("missing" in told) == issubclass(kind, errors.NotHeld)


async def test_what_nobody_foresaw_is_logged_and_tells_nothing_of_the_inside(caplog):
    code, told = await answer("/cgi-bin/ajax/jsoc_info", ZeroDivisionError("secret"))
    assert (code, told["status"]) == (200, 1)
    assert "secret" not in told["error"]
    assert "ZeroDivisionError" in caplog.text
    code, told = await answer("/api/search", ZeroDivisionError("secret"))
    assert code == 500
    assert "secret" not in told["error"]


async def test_an_error_beyond_latin1_is_still_an_answer():
    code, told = await answer("/cgi-bin/ajax/jsoc_info", errors.BadRequest("what is \u2603?"))
    assert (code, told["status"]) == (200, 1)
    assert told["error"].startswith("what is ")


@pytest.mark.parametrize("kind", [HungUp, ClientConnectionResetError])
async def test_a_client_that_has_gone_is_nobodys_fault(kind, caplog):
    async def gone(_):
        raise kind("Cannot write to closing transport")

    response = await answer_problems(make_mocked_request("GET", "/api/sql"), gone)
    assert response.status == GONE
    assert caplog.records == []
