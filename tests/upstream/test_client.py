"""The client against a server on loopback that answers, and fails, as told."""

import asyncio
import gzip
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mirror.errors import BadRequest, UpstreamBroken, UpstreamRefused, UpstreamUnreachable
from mirror.upstream.client import Exchange, UpstreamClient, checked, series_of
from mirror.upstream.pacing import Pacer, Retries
from mirror.upstream.transport import user_agent
from mirror.wire.answer import encode_error
from mirror.wire.catalogue import SeriesEntry, encode_show_series, encode_showextseries
from mirror.wire.export import AddressAnswer, AddressRequest, encode_address_answer
from mirror.wire.info import RsListRequest, encode_summary
from mirror.wire.params import decode_body, decode_params
from mirror.wire.rs_list import RsList, SegmentColumn, encode_rs_list

TIMES = ["2014.01.01_00:00:45_TAI", "2014.01.01_00:01:30_TAI"]
ANSWER = RsList(2, [("T_REC", TIMES), ("*recnum*", [7, 8])], [], [])
REQUEST = RsListRequest("hmi.V_45s[2014.01.01_TAI/90s]", keys=("T_REC", "*recnum*"))


class Archive:
    """Gives the same answer to every request, and keeps the requests."""

    def __init__(self):
        self.body = b""
        self.code = 200
        self.headers = {}
        self.cut = False
        self.wait = None
        self.asked = []

    async def handle(self, request):
        body = await request.read()
        params = decode_body(body) if body else decode_params(request.rel_url.raw_query_string)
        self.asked.append((request.method, request.rel_url.raw_path, params, request.headers))
        if self.wait is not None:
            await self.wait.wait()
        if not self.cut:
            return web.Response(body=self.body, status=self.code, headers=self.headers)
        response = web.StreamResponse(headers={"Content-Length": str(len(self.body))})
        await response.prepare(request)
        await response.write(self.body[:-1])
        request.transport.close()
        return response


@pytest.fixture
async def archive():
    archive = Archive()
    app = web.Application(client_max_size=10**7)
    app.router.add_route("*", "/{path:.*}", archive.handle)
    async with TestServer(app) as server:
        archive.url = str(server.make_url("")).rstrip("/")
        yield archive
        if archive.wait is not None:
            archive.wait.set()


@pytest.fixture
def exchanges():
    return []


@pytest.fixture
async def client(archive, exchanges):
    once = Pacer(2, retries=Retries(attempts=1))
    client = UpstreamClient(
        archive.url, timeout=180, agent=user_agent("a@b.org"), on_request=exchanges.append, pacer=once
    )
    yield client
    await client.close()


async def test_records_come_as_columns(client, archive, exchanges):
    archive.body = encode_rs_list(ANSWER, runtime=0.1)
    answer = await client.rs_list(REQUEST)
    assert (answer.count, answer.keywords) == (2, ANSWER.keywords)
    assert exchanges == [Exchange("jsoc_info", "ok", "hmi.v_45s", 2, len(archive.body))]


async def test_a_short_query_is_a_get_at_jsocs_own_path_that_says_who_asks(client, archive):
    archive.body = encode_rs_list(ANSWER, runtime=0.1)
    await client.rs_list(REQUEST)
    method, path, params, headers = archive.asked[0]
    assert (method, path) == ("GET", "/cgi-bin/ajax/jsoc_info")
    assert params == {"op": "rs_list", "ds": REQUEST.ds, "key": "T_REC,*recnum*"}
    assert headers["User-Agent"].startswith("jsoc-mirror/")
    assert "a@b.org" in headers["User-Agent"]


async def test_a_long_query_is_a_post(client, archive):
    names = tuple(f"KEY{n}" for n in range(1000))
    archive.body = encode_rs_list(RsList(1, [(n, ["x"]) for n in names], [], []), runtime=0.1)
    await client.rs_list(RsListRequest("hmi.V_45s[$]", keys=names))
    method, _, params, _ = archive.asked[0]
    assert (method, params["key"]) == ("POST", ",".join(names))


async def test_bytes_of_latin_1_go_and_come_as_they_are(client, archive):
    archive.body = encode_rs_list(RsList(1, [("K", ["5 Å"])], [], []), runtime=0.1)
    answer = await client.rs_list(RsListRequest("a.b[Å]", keys=("K",)))
    assert archive.asked[0][2]["ds"] == "a.b[Å]"
    assert answer.keywords == [("K", ["5 Å"])]


async def test_what_is_not_latin_1_is_the_askers_fault(client, archive, exchanges):
    with pytest.raises(BadRequest, match="not Latin-1"):
        await client.rs_summary("a.b[☉]")
    assert (archive.asked, exchanges) == ([], [])


async def test_a_large_answer_is_the_same_as_a_small_one(client, archive):
    many = RsList(20_000, [("T_REC", TIMES * 10_000), ("*recnum*", list(range(20_000)))], [], [])
    archive.body = encode_rs_list(many, runtime=0.1)
    assert (await client.rs_list(REQUEST)).keywords == many.keywords


async def test_a_compressed_answer_is_read(client, archive):
    archive.body = gzip.compress(encode_summary(3, runtime=0.1))
    archive.headers = {"Content-Encoding": "gzip"}
    assert await client.rs_summary("a.b[]") == 3


async def test_the_list_of_series_comes_with_or_without_prime_keys(client, archive):
    entry = SeriesEntry("hmi.V_45s", ("T_REC", "CAMERA"), "Dopplergrams")
    archive.body = encode_show_series([entry])
    assert await client.show_series() == (entry,)
    archive.body = encode_showextseries([entry], info=False)
    assert await client.showextseries() == (SeriesEntry("hmi.V_45s"),)
    assert [params for _, _, params, _ in archive.asked] == [{}, {"dbhost": "hmidb2"}]


async def test_an_address_is_checked(client, archive):
    archive.body = encode_address_answer(AddressAnswer(4, "unknown"))
    assert (await client.check_address(AddressRequest("a@b.org"))).status == 4


# ---- failures -----------------------------------------------------------------------------------


async def test_a_status_other_than_0_is_a_refusal_with_upstreams_own_words(client, archive, exchanges):
    archive.body = encode_error("series not found.")
    with pytest.raises(UpstreamRefused, match="series not found") as refusal:
        await client.series_struct("foo")
    assert refusal.value.status == 1
    assert [e.outcome for e in exchanges] == ["refused"]


@pytest.mark.parametrize("body", [b"", b"<html>sorry</html>", b'{"count":2', b'{"count":2,"status":0,"keywords":[]}'])
async def test_what_is_not_an_answer_is_broken(client, archive, exchanges, body):
    archive.body = body
    with pytest.raises(UpstreamBroken):
        await client.rs_list(REQUEST)
    assert [(e.outcome, e.bytes) for e in exchanges] == [("broken", len(body))]


async def test_a_body_that_is_cut_short_is_broken(client, archive):
    archive.body, archive.cut = encode_rs_list(ANSWER, runtime=0.1), True
    with pytest.raises(UpstreamBroken, match="cut short"):
        await client.rs_list(REQUEST)


@pytest.mark.parametrize("code", [400, 403, 404, 500])
async def test_a_code_that_is_not_200_is_broken(client, archive, code):
    archive.code = code
    with pytest.raises(UpstreamBroken, match=f"HTTP {code}"):
        await client.rs_summary("a.b[]")


@pytest.mark.parametrize("code", [429, 502, 503, 504])
async def test_a_gateways_code_means_that_upstream_is_away(client, archive, exchanges, code):
    archive.code = code
    with pytest.raises(UpstreamUnreachable, match=f"HTTP {code}"):
        await client.rs_summary("a.b[]")
    assert [e.outcome for e in exchanges] == ["unreachable"]


async def test_a_server_that_is_not_there_is_unreachable(exchanges):
    once = Pacer(2, retries=Retries(attempts=1))
    with socket.socket() as nobody:  # who has the port, and does not listen
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        client = UpstreamClient(f"http://127.0.0.1:{port}", on_request=exchanges.append, pacer=once)
        with pytest.raises(UpstreamUnreachable, match=f":{port} cannot be reached: Connection refused$"):
            await client.rs_summary("a.b[]")
        await client.close()
    assert [e.outcome for e in exchanges] == ["unreachable"]


async def test_no_answer_in_time_is_unreachable(archive):
    archive.wait = asyncio.Event()
    client = UpstreamClient(archive.url, timeout=0.05, pacer=Pacer(2, retries=Retries(attempts=1)))
    with pytest.raises(UpstreamUnreachable, match=r"did not respond within 0\.05 s"):
        await client.rs_summary("a.b[]")
    await client.close()


async def test_a_broken_answer_is_asked_for_again(archive, exchanges):
    async def repaired(_):
        archive.body = encode_summary(3, runtime=0.1)

    archive.body = b"{"
    client = UpstreamClient(archive.url, on_request=exchanges.append, pacer=Pacer(sleep=repaired))
    assert await client.rs_summary("a.b[]") == 3
    await client.close()
    assert [e.outcome for e in exchanges] == ["broken", "ok"]


async def test_the_environments_proxy_is_not_used(client, archive, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    archive.body = encode_summary(3, runtime=0.1)
    assert await client.rs_summary("a.b[]") == 3


# ---- is it what was asked for? ------------------------------------------------------------------


def test_an_answer_with_other_columns_than_asked_for_is_broken():
    with pytest.raises(UpstreamBroken, match=r"keywords \['T_REC'\] instead of \['T_REC', 'CAMERA'\]"):
        checked(RsListRequest("a.b", keys=("T_REC", "CAMERA")), RsList(1, [("T_REC", ["x"])]))
    with pytest.raises(UpstreamBroken, match="segments"):
        checked(RsListRequest("a.b", segments=("image",)), RsList(1, (), [SegmentColumn("spikes", ["x"], ["1"])]))


def test_an_empty_answer_and_one_to_all_keywords_have_the_columns_they_have():
    for answer in (RsList(0), RsList(1, [("A", ["1"]), ("B", ["2"])])):
        assert checked(RsListRequest("a.b", keys=("**ALL**",)), answer) is answer
    assert checked(RsListRequest("a.b", keys=("A",)), RsList(0)) == RsList(0)


def test_the_series_is_what_a_record_set_begins_with():
    assert [series_of(ds) for ds in (" hmi.V_45s[$]", "a.b{x}", "[]")] == ["hmi.V_45s", "a.b", ""]


# ---- passing through ----------------------------------------------------------------------------


async def test_other_requests_pass_through_unread(client, archive, exchanges):
    archive.body, archive.code = gzip.compress(b"a page"), 404
    archive.headers = {"Content-Encoding": "gzip", "X-Own": "1", "Connection": "x-hop", "X-Hop": "1"}
    sent = {"Accept-Language": "de", "Proxy-Connection": "keep-alive", "Host": "elsewhere"}
    async with client.raw("GET", "/ajax/page.html?a=%C5", sent) as answer:
        body = b"".join([piece async for piece in answer.body])
    _, path, params, headers = archive.asked[0]
    assert (answer.status, body, answer.headers["Content-Encoding"]) == (404, archive.body, "gzip")
    assert "X-Own" in answer.headers
    assert "X-Hop" not in answer.headers
    assert (path, params, headers["Accept-Language"]) == ("/ajax/page.html", {"a": "Å"}, "de")
    assert not {"Proxy-Connection", "Accept-Encoding"} & set(headers)
    assert headers["Host"] in archive.url
    assert [(e.program, e.outcome) for e in exchanges] == [("other", "ok")]


async def test_a_page_that_is_cut_short_fails_where_it_is_read(client, archive, exchanges):
    archive.body, archive.cut = b"x" * 1000, True
    with pytest.raises(UpstreamBroken):  # noqa: PT012
        async with client.raw("GET", "/page", {}) as answer:
            async for _ in answer.body:
                pass
    assert [e.outcome for e in exchanges] == ["broken"]


async def test_what_fails_on_the_clients_side_is_not_upstreams_fault(client, archive, exchanges):
    archive.body = b"page"
    with pytest.raises(ConnectionResetError):
        async with client.raw("GET", "/page", {}):
            raise ConnectionResetError
    assert [e.outcome for e in exchanges] == ["ok"]


@pytest.mark.parametrize("target", ["", "page", "@elsewhere/page", "http://elsewhere/"])
async def test_only_paths_of_the_archive_pass_through(client, archive, target):
    with pytest.raises(BadRequest, match="is not a path"):
        async with client.raw("GET", target, {}):
            pass
    assert archive.asked == []
