"""The ways in from Python, with the unmodified drms and sunpy."""

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

import drms
import pytest

import mirror
from mirror.client.redirect import server_config, use


class Archive(ThreadingHTTPServer):
    """Answers as JSOC would, and remembers the paths it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


STRUCTURE = {
    "note": "Dopplergrams", "retention": 0, "unitsize": 1, "archive": 0, "tapegroup": 0,
    "primekeys": ["T_REC", "CAMERA"], "dbindex": [], "links": [], "status": 0,
    "keywords": [
        {"name": "T_REC", "type": "time", "recscope": "ts_eq", "defval": "", "units": "TAI", "note": ""},
        {"name": "CAMERA", "type": "int", "recscope": "variable", "defval": "2", "units": "", "note": ""},
    ],
    "segments": [{"name": "Dopplergram", "type": "int", "units": "", "protocol": "fits", "dims": "", "note": ""}],
}  # fmt: skip
RECORDS = {
    "keywords": [
        {"name": "T_REC", "values": ["2014.01.01_00:00:45_TAI"]},
        {"name": "CAMERA", "values": ["2"]},
    ],
    "count": 1,
    "status": 0,
}


class Answer(BaseHTTPRequestHandler):
    server: Archive

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = json.dumps(self.answer()).encode("latin-1")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self) -> object:
        if "series_struct" in self.path:
            return STRUCTURE
        if "rs_list" in self.path:
            return RECORDS
        return {"seriesList": ["hmi.v_45s"]} if "showextseries" in self.path else {"status": 2, "msg": ""}

    def log_message(self, *args):
        pass


@pytest.fixture
def archive(monkeypatch) -> Iterator[Archive]:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = Archive()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def registered() -> Iterator[dict[str, str]]:
    """drms' own entries for JSOC, put back after each test."""
    server = drms.HttpJsonClient("jsoc").server
    before = dict(server.to_dict())
    yield before
    server.to_dict().clear()
    server.to_dict().update(before)


def test_a_client_with_the_servers_config_asks_the_mirror_for_everything(archive):
    client = drms.Client(server=server_config(archive.url))
    assert client.series("hmi") == ["hmi.v_45s"]
    assert client.query("hmi.v_45s[2014.01.01]", key="T_REC").T_REC.tolist() == ["2014.01.01_00:00:45_TAI"]
    assert client.check_email("someone@example.org")
    programs = [path.partition("?")[0] for path in archive.asked]
    assert set(programs) == {
        f"/cgi-bin/ajax/{name}" for name in ("showextseries", "jsoc_info", "checkAddress.sh")
    }


def test_the_config_has_every_entry_that_drms_has_for_jsoc(registered):
    ours = server_config("http://host:1/").to_dict()
    assert ours.keys() == registered.keys()
    stanford = "http://jsoc.stanford.edu/"
    for key, value in registered.items():
        assert key == "name" or ours[key] == value.replace(stanford, "http://host:1/")


def test_use_redirects_clients_made_before_and_after_it(archive):
    earlier = drms.Client()
    use(archive.url)
    assert earlier.pkeys("hmi.v_45s") == drms.Client().pkeys("hmi.v_45s") == ["T_REC", "CAMERA"]
    assert len(archive.asked) == 2


def test_use_redirects_a_search_by_sunpy(archive):
    from sunpy.net import Fido
    from sunpy.net import attrs as a

    mirror.use(archive.url)
    found = Fido.search(a.Time("2014-01-01T00:00:00", "2014-01-01T00:00:10"), a.jsoc.Series("hmi.v_45s"))
    assert found["jsoc"]["T_REC"][0] == "2014.01.01_00:00:45_TAI"
    assert any("hmi.v_45s%5B2014.01.01_00%3A00%3A35_TAI-" in path for path in archive.asked)


def test_use_redirects_downloads(archive):
    use(archive.url)
    assert drms.HttpJsonClient().server.http_download_baseurl == archive.url + "/"


def test_use_leaves_other_servers_and_the_environment_alone(archive):
    environment = dict(os.environ)
    kis = dict(drms.HttpJsonClient("kis").server.to_dict())
    use(archive.url)
    assert drms.HttpJsonClient("kis").server.to_dict() == kis
    assert dict(os.environ) == environment


def test_the_end_of_a_with_statement_goes_back_to_jsoc(archive, registered):
    with use(archive.url) as redirection:
        assert redirection.url == archive.url + "/"
    assert drms.HttpJsonClient().server.to_dict() == registered


def test_closing_in_reverse_order_unwinds_nested_uses(archive, registered):
    outer = use("http://outer:1")
    inner = use(archive.url)
    inner.close()
    assert drms.HttpJsonClient().server.http_download_baseurl == "http://outer:1/"
    outer.close()
    assert drms.HttpJsonClient().server.to_dict() == registered


@pytest.mark.parametrize("url", ["", "mirror:8040", "ftp://host", "http://", "http://host/?q", "/path"])
def test_what_is_not_an_address_is_refused_and_changes_nothing(url, registered):
    with pytest.raises(ValueError, match="expected something like"):
        use(url)
    assert drms.HttpJsonClient().server.to_dict() == registered


def test_a_token_in_an_address_is_sent_and_not_shown():
    from mirror.client.redirect import without_token

    assert without_token("http://ada:a%2Fb@host:8040/x") == ("http://host:8040/x", "a/b")
    assert without_token("http://token@host") == ("http://host", "token")
    assert without_token("http://host:8040") == ("http://host:8040", None)
    with mirror.use("http://ada:hunter2@mirror:8040") as redirection:
        assert "hunter2" not in repr(redirection)
        assert drms.HttpJsonClient("jsoc").server.url_jsoc_info.startswith("http://ada:hunter2@mirror:8040/cgi-bin")
    with pytest.raises(ValueError, match="is not the address of a mirror") as problem:
        mirror.server_config("ftp://ada:hunter2@mirror")
    assert "hunter2" not in str(problem.value)


async def test_urllib_makes_a_header_of_a_name_and_password_in_an_address():
    from aiohttp import web
    from aiohttp.test_utils import TestServer

    async def told(request):
        return web.json_response([request.headers.get("Authorization"), request.host])

    app = web.Application()
    app.router.add_get("/", told)
    async with TestServer(app) as server:
        mirror.server_config(f"http://ada:a%3Ab@127.0.0.1:{server.port}")
        for _ in range(2):
            answer = await asyncio.to_thread(urlopen, f"http://ada:a%3Ab@127.0.0.1:{server.port}/")
            assert json.load(answer) == ["Basic YWRhOmE6Yg==", f"127.0.0.1:{server.port}"]
        assert json.load(await asyncio.to_thread(urlopen, f"http://127.0.0.1:{server.port}/"))[0] is None
