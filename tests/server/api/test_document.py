"""The OpenAPI document tells of every path, is what it says it is, and real answers are what it says of them."""

from __future__ import annotations

import json

import jsonschema
import msgspec
import pytest
import pytest_asyncio
from openapi_spec_validator import validate

from mirror.api.contract import JSON, Problem, encoded
from mirror.api.endpoints import ENDPOINTS
from mirror.server.api.document import openapi
from mirror.server.roles import role_of
from tests.lab import lab

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"
#: What each path is asked; others take nothing.
QUERIES = {
    "/api/search": {"ds": HOUR, "key": "T_REC,QUALITY", "seg": "Dopplergram"},
    "/api/check-query": {"ds": HOUR},
    "/api/build-query": {"b.series": "hmi.v_45s", "start.T_REC": "2014.01.01_TAI", "length.T_REC": "1h"},
    "/api/names": {"q": "hmi"},
    "/api/coverage/days": {"series": "hmi.v_45s", "year": "2014"},
    "/api/coverage/hours": {"series": "hmi.v_45s", "day": "2014.01.01"},
    "/api/coverage/delays": {"series": "hmi.v_45s"},
    "/api/gaps": {"ds": "hmi.v_45s[2014.01.02_TAI/1h]"},
    "/api/sql": {"query": "SELECT t_rec, quality FROM hmi.v_45s LIMIT 2"},
    "/api/files": {"ds": "hmi.v_45s[2014.01.01_TAI/3m]"},
    "/api/estimate": {"ds": "hmi.v_45s[2014.01.02_TAI/1h]"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        await made.ask(HOUR)
        yield made


@pytest.fixture(scope="module")
def document():
    return openapi()


async def test_it_is_openapi(document):
    validate(document)
    assert document["openapi"].startswith("3.1")
    names = [op["operationId"] for methods in document["paths"].values() for op in methods.values()]
    assert len(names) == len(set(names))
    assert not [name for name in document["components"]["schemas"] if "." in name]  # two objects of one name


async def test_it_tells_of_every_path_of_the_api_and_of_no_other(mirror, document):
    routes = {(r.method, r.resource.canonical) for r in mirror.running.app.router.routes() if r.resource}
    served = {(m, p) for m, p in routes if m != "HEAD" and p.startswith(("/api/", "/fits/", "/healthz", "/metrics"))}
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert served == told


async def test_it_tells_the_role_by_which_the_gate_decides(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["x-role"] == str(role_of(method.upper(), path, path))
            assert operation["security"] == ([] if operation["x-role"] == "nobody" else [{"token": []}, {}])


async def test_it_is_served(mirror, document):
    answer = await mirror.get("/api/openapi.json")
    assert answer.json == document and answer.headers["Content-Type"].startswith(JSON)


LOOKS = [e for e in ENDPOINTS if e.method == "GET" and JSON in e.media and not e.names and e.path != "/api/backups"]


@pytest.mark.parametrize("endpoint", LOOKS, ids=lambda e: e.path)
async def test_answers_are_what_it_says(mirror, document, endpoint):
    answer = await mirror.get(endpoint.path, QUERIES.get(endpoint.path, {}))
    assert answer.code == endpoint.status, answer.body
    content = document["paths"][endpoint.path]["get"]["responses"][str(endpoint.status)]["content"]
    _check(answer.json, content[JSON]["schema"], document)
    # Nothing more than that either: what is decoded and encoded again is the same.
    assert json.loads(encoded(msgspec.convert(answer.json, endpoint.answer))) == answer.json


async def test_an_export_a_fill_a_subscription_and_a_pin_are_what_it_says(mirror, document):
    asked = {
        ("POST", "/api/jobs"): {"ds": "hmi.v_45s[2014.01.01_TAI/90s]", "protocol": "as-is"},
        ("POST", "/api/fill"): {"ds": "hmi.v_45s[2014.01.02_TAI/90s]"},
        ("POST", "/api/pins"): {"ds": "hmi.v_45s[2014.01.01_TAI/90s]", "owner": "ada"},
        ("DELETE", "/api/pins"): {"ds": "hmi.v_45s[2014.01.01_TAI/90s]", "owner": "ada"},
        ("POST", "/api/evict"): {"dry_run": True},
        ("POST", "/api/forget"): {"ds": "hmi.v_45s[2014.01.02_TAI/90s]", "dry_run": True},
        ("POST", "/api/policy"): {"policy": "online"},
        ("POST", "/api/subscriptions/estimate"): {"series": "hmi.v_45s", "start": "2014.01.01_TAI", "end": "2014.01.02_TAI"},
        ("POST", "/api/queries"): {"name": "Velocities", "sql": "SELECT 1"},
        ("DELETE", "/api/queries"): {"name": "Velocities"},
        ("POST", "/api/sql"): {"query": "SELECT 1 AS a"},
        ("POST", "/api/sync"): {},
    }  # fmt: skip
    for (method, path), body in asked.items():
        answer = await mirror.session.request(method, f"{mirror.url}{path}", json=body)
        told = await answer.json()
        responses = document["paths"][path][method.lower()]["responses"]
        assert str(answer.status) in responses, (path, told)
        _check(told, responses[str(answer.status)]["content"][JSON]["schema"], document)
    for job in (await mirror.get("/api/jobs")).json:
        one = await mirror.get(f"/api/jobs/{job['id']}")
        _check(one.json, {"$ref": "#/components/schemas/Job"}, document)


@pytest.mark.parametrize(
    "path, code",
    [("/api/search?ds=hmi.v_45s[", 400), ("/api/search?ds=no.such[$]", 404), ("/api/jobs/none", 404), ("/api/jobs?n=x", 400)],
)
async def test_errors_are_what_it_says(mirror, document, path, code):
    answer = await mirror.session.get(mirror.url + path)
    told = await answer.json()
    assert answer.status == code
    _check(told, {"$ref": "#/components/schemas/Problem"}, document)
    assert json.loads(encoded(msgspec.convert(told, Problem))) == told


def _check(told: object, schema: dict[str, object], document: dict[str, object]) -> None:
    jsonschema.validate(told, {**schema, "components": document["components"]})
