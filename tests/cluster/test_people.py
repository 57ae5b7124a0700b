"""What people did at one server is seen at all: pins, and how much who used."""

from __future__ import annotations

import asyncio
import json

import pytest

from mirror.config.access import Rate, Role, hash_of
from mirror.config.loading import Token
from mirror.errors import TooMany
from mirror.services.access.usage import Used
from tests.cluster.test_files import some_paths, uploaded
from tests.clusterlab import cluster
from tests.filelab import synthetic
from tests.waiting import PATIENCE

ONE = {"ds": "hmi.sharp_720s[][2014.02.10_00:00_TAI]", "seg": "bitmap", "n": 1}


async def send(mirror, method, path, body):
    return (await mirror.request(method, path, data=json.dumps(body), headers={"Content-Type": "application/json"})).json


async def owners(mirror):
    return [(pin["owner"], pin["files"]) for pin in (await mirror.get("/api/pins")).json]


async def until(mirror, wanted):
    async with asyncio.timeout(PATIENCE):
        while await owners(mirror) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_what_is_pinned_at_one_server_is_at_all_and_can_be_let_go_at_any(tmp_path):
    async with cluster(tmp_path, 2, synthetic()) as made:
        one, other = made.mirrors
        (path,) = await some_paths(one)
        assert (await one.get(path)).code == 200
        await uploaded(one)
        assert (await send(one, "POST", "/api/pins", ONE | {"owner": "ada"}))["pinned"] == 1
        await until(other, [("person:ada", 1)])
        # The other has no copy of its own, and knows the content all the same.
        told = await send(other, "POST", "/api/pins", ONE | {"owner": "bob"})
        assert (told["pinned"], told["not_held"]) == (1, 0)
        await until(one, [("person:ada", 1), ("person:bob", 1)])
        third = await made.join("m2")
        await until(third, [("person:ada", 1), ("person:bob", 1)])
        assert await send(third, "DELETE", "/api/pins", ONE | {"owner": "ada"}) == {"removed": 1}
        for mirror in made.mirrors:
            await until(mirror, [("person:bob", 1)])


async def test_pins_of_a_store_that_joins_are_told_to_all(tmp_path):
    async with cluster(tmp_path, 2, synthetic()) as made:
        one, other = made.mirrors
        shared, state = one.running.cluster, one.running.cluster._state
        await shared._pins._pins.pin(["ab" * 32], "person:ada", "before")
        await shared._pins._pins.pin(["cd" * 32], "job:JSOC_20140101_001", "files of an export")
        await shared._pins.pull()  # one that is under way would be taken for that below
        await state.put("pins", "", 0.0)
        await shared._pins.pull()
        await until(other, [("person:ada", 1)])


async def test_usage_is_that_of_all_servers(tmp_path):
    async with cluster(tmp_path, 2) as made:
        for number, mirror in enumerate(made.mirrors, start=1):
            for _ in range(number):
                await mirror.recnums("hmi.v_45s[2014.01.01_TAI/1m]")
        told = [(await mirror.get("/api/usage")).json for mirror in (*made.mirrors, *made.mirrors)][2:]
        for lines in told:
            (mine,) = [line for line in lines if line["who"] == "127.0.0.1"]
            assert mine["requests"] >= 3
        first, again = (await made.mirrors[0].get("/api/usage")).json, (await made.mirrors[0].get("/api/usage")).json
        count = {line["who"]: line["requests"] for line in first}
        assert {line["who"]: line["requests"] for line in again}["127.0.0.1"] - count["127.0.0.1"] <= 1  # nothing is added twice


async def test_a_quota_is_one_for_all_servers(tmp_path):
    async with cluster(tmp_path, 2) as made:
        quotas = [mirror.running.cluster.tallies.quotas for mirror in made.mirrors]
        ada = Token("ada", hash_of("x"), Role.READ, requests=Rate.parse("60"))
        for _ in range(60):
            quotas[0].check(ada)
        async with asyncio.timeout(PATIENCE):
            while not quotas[1]._others:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        with pytest.raises(TooMany, match="token ada may send 60/m requests"):
            quotas[1].check(ada)
        bob = Token("bob", hash_of("x"), Role.READ, bytes_per_day=1000)
        for each in quotas:
            each._accounting.count("token:bob", Used(bytes=600))
            each.check(bob)
        async with asyncio.timeout(PATIENCE):
            while ("bob", "m0") not in quotas[1]._others:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        with pytest.raises(TooMany, match="quota of token bob is used up"):
            quotas[1].check(bob)
