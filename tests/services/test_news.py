"""What is new: listed, in a feed, and sent to webhooks in order, at least once."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mirror.errors import StorageError
from mirror.services.news import News
from mirror.storage.disk import Disk
from mirror.storage.index.changes import Change
from mirror.wire.structure import decode_series_struct
from tests.lab import lab
from tests.recorded import WORLD

SUBSCRIBED = '[[subscription]]\nname = "v"\nseries = "hmi.v_45s"\nstart = "2014.01.01"\nend = "2014.01.02"\n'
HOUR, TWO = "hmi.v_45s[2014.01.01_TAI/1h]", "hmi.v_45s[2014.01.01_TAI/2h]"
ATOM = "{http://www.w3.org/2005/Atom}"


class Receiver:
    """Takes messages; ``code`` is what it answers."""

    def __init__(self):
        self.code, self.came = 204, []

    async def take(self, request):
        body = await request.read()
        self.came.append((json.loads(body), body, request.headers.get("X-Mirror-Signature")))
        return web.Response(status=self.code)


@pytest.fixture
async def receiver():
    made, app = Receiver(), web.Application()
    app.router.add_post("/hook", made.take)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("/hook"))
    yield made
    await server.close()


def hook(url, **more):
    return f'[[webhook]]\nurl = "{url}"\n' + "".join(f"{k} = {json.dumps(v)}\n" for k, v in more.items())


async def test_new_data_of_a_subscription_and_reprocessing_are_news(tmp_path):
    async with lab(tmp_path, config=SUBSCRIBED) as mirror:
        await mirror.ask(HOUR)
        await mirror.running.news.look()
        assert (await mirror.get("/api/news")).json == [], "what was there at the first look is not new"
        await mirror.ask(TWO)
        await mirror.ask("hmi.m_720s[2014.01.01_TAI]")  # nobody has subscribed to it
        await mirror.running.news.look()
        (new,) = (await mirror.get("/api/news")).json
        assert (new["kind"], new["series"], new["records"], new["newest"]) == ("new", "hmi.V_45s", 83, "2014.01.01_01:59:15_TAI")
        await mirror.reprocess("hmi.v_45s[2014.01.01_TAI/90s]")
        await mirror.get("/cgi-bin/ajax/jsoc_info", {"op": "rs_list", "ds": HOUR, "key": "T_REC"}, headers={"Cache-Control": "no-cache"})
        await mirror.running.news.look()
        await mirror.running.news.look()
        changed, same = (await mirror.get("/api/news", {"series": "HMI.v_45s"})).json
        assert same == new and (changed["kind"], changed["records"], changed["id"]) == ("reprocessed", len(changed["names"]), new["id"] + 1)
        await mirror.stop()
        await mirror.start()
        assert [item["id"] for item in (await mirror.get("/api/news", {"n": "1"})).json] == [changed["id"]]


async def test_the_feed_has_an_entry_for_each(tmp_path):
    async with lab(tmp_path, config=SUBSCRIBED) as mirror:
        await mirror.running.news.look()
        empty = ET.fromstring((await mirror.get("/api/feed.atom")).body)
        await mirror.ask(HOUR)
        await mirror.running.news.look()
        await mirror.ask(TWO)
        await mirror.running.news.look()
        answer = await mirror.get("/api/feed.atom", {"series": "hmi.v_45s"})
        assert answer.headers["Content-Type"].startswith("application/atom+xml")
        feed = ET.fromstring(answer.body)
        titles = [entry.findtext(f"{ATOM}title") for entry in feed.findall(f"{ATOM}entry")]
        assert titles == ["New data: hmi.V_45s: 83 new records, up to 2014.01.01_01:59:15_TAI"]
        ids = [e.text for e in feed.iter(f"{ATOM}id")]
        assert len(set(ids)) == 2 and ids[0].startswith(empty.findtext(f"{ATOM}id"))
        for needed in ("id", "title", "updated", "author/{http://www.w3.org/2005/Atom}name"):
            assert feed.findtext(f"{ATOM}{needed}")


async def test_a_webhook_gets_each_in_order_signed_and_again_until_it_takes_it(tmp_path, receiver):
    settings = SUBSCRIBED + hook(receiver.url, secret="hush")
    async with lab(tmp_path, config=settings) as mirror:
        await mirror.ask(HOUR)
        await mirror.running.news.look()
        receiver.code = 500
        await mirror.ask(TWO)
        await mirror.running.news.look()
        await mirror.running.news.look()
        assert len(receiver.came) == 1, "it is left alone for a while"
        receiver.code = 200
        await mirror.stop()
        await mirror.start()
        await mirror.running.news.look()
        await mirror.running.news.look()
        (first, body, signature), (again, _, _) = receiver.came
        assert first == again and first["records"] == 83
        assert signature == "sha256=" + hmac.new(b"hush", body, hashlib.sha256).hexdigest()


async def test_a_webhook_gets_what_it_wants_and_edits_hold_at_once(tmp_path, receiver):
    async with lab(tmp_path, config=SUBSCRIBED + hook(receiver.url, series=["aia.*"])) as mirror:
        await mirror.ask(HOUR)
        await mirror.running.news.look()
        await mirror.ask(TWO)
        await mirror.running.news.look()
        assert receiver.came == []
        mirror.config.write_text(SUBSCRIBED + hook(receiver.url, series=["HMI.*"], events=["new"]))
        await mirror.running.watch.reload()
        await mirror.ask("hmi.v_45s[2014.01.01_TAI/3h]")
        await mirror.running.news.look()
        assert [item["series"] for item, _, _ in receiver.came] == ["hmi.V_45s"]


# ---- a look that fails ----------------------------------------------------------------------------


STRUCTURE = json.loads(gzip.decompress((WORLD / "hmi.V_45s.json.gz").read_bytes()))["series_struct"].encode("latin-1")


class Held:
    """An index with records up to a place, and what it has of changes."""

    def __init__(self):
        self.series_held = decode_series_struct(STRUCTURE, name_hint="hmi.V_45s")
        self.places, self.changes, self.problem = [1, 2, 3], [], None

    def series(self, name):
        return (self.series_held, 0.0) if name == "hmi.v_45s" else None

    async def last_place(self, _):
        return max(self.places)

    async def count_in(self, _, boxes):
        self.places += [max(self.places) + 1]  # as if one came meanwhile
        return sum(steps.lo <= place <= steps.hi for box in boxes for steps in box.steps for place in self.places)

    async def found(self, _, since, most):
        if self.problem is not None:
            raise self.problem
        return [change for change in self.changes if change.found_at >= since][:most]


@pytest.fixture
def held():
    return Held()


@pytest.fixture
def news(tmp_path, held):
    return News(tmp_path, Disk(), held, held, lambda: [SimpleNamespace(series="hmi.V_45s")], (), lambda: 1e9)


async def test_a_look_that_fails_half_way_loses_nothing(news, held):
    await news.look()
    held.places += [4, 5]
    held.problem = StorageError("the disk is full")
    with pytest.raises(StorageError):
        await news.look()
    held.problem = None
    await news.look()
    assert [(item.kind, item.records) for item in news.latest(10)] == [("new", 1), ("new", 2)]


async def test_records_that_come_during_a_look_are_counted_once(news, held):
    await news.look()
    for _ in range(3):
        held.places += [max(held.places) + 1]
        await news.look()
    assert sum(item.records for item in news.latest(10)) == max(held.places) - 1 - 3


async def test_many_changes_at_once_are_all_counted(news, held):
    await news.look()
    held.changes = [Change("hmi.v_45s", n, n + 1, f"hmi.V_45s[{n}]", 1e9 + 1) for n in range(12_000)]
    await news.look()
    assert [item.records for item in news.latest(10)] == [12_000]
