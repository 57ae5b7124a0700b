"""What a token may take: bytes in a day, requests in a period."""

from __future__ import annotations

import pytest

from mirror.config.access import Rate, Role, hash_of
from mirror.config.loading import Token
from mirror.errors import TooMany
from mirror.services.access.quotas import Quotas
from mirror.services.access.usage import Accounting, Used
from tests.accesslab import TOKENS, bearer, table
from tests.lab import JSOC_INFO, lab

NOON = 1_700_049_600.0  # 2023-11-15, 12:00 UTC
HOUR = {"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI/1h]", "key": "T_REC"}


class World:
    """A token with quotas, and a clock."""

    def __init__(self, **limits):
        self.now = NOON
        self.accounting = Accounting(None, lambda: self.now)
        self.quotas = Quotas(self.accounting, lambda: self.now)
        self.token = Token("ada", hash_of("x"), Role.READ, **limits)

    def ask(self, times=1):
        for _ in range(times):
            self.quotas.check(self.token)

    def refusal(self):
        with pytest.raises(TooMany) as caught:
            self.ask()
        return caught.value


@pytest.mark.parametrize("text, seconds", [("60", 60.0), ("10/s", 1.0), ("5000/h", 3600.0), ("7 per day", 86400.0), (" 3 / m ", 60.0)])
def test_a_rate_is_read(text, seconds):
    rate = Rate.parse(text)
    assert rate.seconds == seconds and Rate.parse(str(rate)) == rate


@pytest.mark.parametrize("text", ["0", "", "-1", "ten", "5/w", "1.5", "5/"])
def test_what_is_no_rate_says_what_was_expected(text):
    with pytest.raises(ValueError, match="requests of a minute such as 600"):
        Rate.parse(text)


def test_a_burst_of_all_requests_is_fine_and_then_they_come_again_one_by_one():
    world = World(requests=Rate.parse("60"))
    world.ask(60)
    assert world.refusal().retry_after == pytest.approx(1.0)
    world.now += 2
    world.ask(2)
    assert "may send 60/m requests; try again in 1 s" in str(world.refusal())
    world.now += 3600
    world.ask(60)
    world.refusal()


def test_a_rate_that_was_edited_holds_at_once():
    world = World(requests=Rate.parse("1/h"))
    world.ask()
    world.refusal()
    world.token = Token("ada", hash_of("x"), Role.READ, requests=Rate.parse("2/h"))
    world.ask(2)
    world.refusal()


def test_bytes_of_a_day_are_those_sent_or_those_that_jsoc_sent_whichever_are_more():
    world = World(bytes_per_day=1000)
    world.accounting.count("token:ada", Used(bytes=600, upstream_bytes=999))
    world.accounting.count("token:bob", Used(bytes=5000))
    world.ask()
    world.accounting.count("token:ada", Used(upstream_bytes=1))
    refusal = world.refusal()
    assert refusal.retry_after == 12 * 3600
    assert str(refusal) == "the quota of token ada is used up: 1 kB per day; more from 2023-11-16T00:00:00Z on"
    world.now += 12 * 3600
    world.ask()


def limited(**limits):
    told = "".join(f"{key} = {value!r}\n".replace("'", '"') for key, value in limits.items())
    return table(TOKENS["read"], "read") + told + table(TOKENS["admin"], "admin")


async def test_a_token_beyond_its_rate_hears_429_and_when_to_come_again(tmp_path):
    async with lab(tmp_path, config=limited(requests=3)) as mirror:
        await mirror.get(JSOC_INFO, HOUR, headers=bearer("admin"))
        answers = [await mirror.get("/api/series", headers=bearer("read")) for _ in range(4)]
        assert [a.code for a in answers] == [200, 200, 200, 429]
        assert "3/m requests" in answers[-1].json["error"] and answers[-1].headers["Retry-After"] == "20"
        program = await mirror.get(JSOC_INFO, HOUR, headers=bearer("read"))
        assert (program.code, program.json["status"], program.headers["Retry-After"]) == (200, 1, "20")
        assert (await mirror.get("/healthz")).code == 200
        assert (await mirror.get("/api/series", headers=bearer("admin"))).code == 200
        mirror.clock.forward(minutes=1)
        assert (await mirror.get("/api/series", headers=bearer("read"))).code == 200


async def test_a_quota_of_bytes_outlasts_a_restart(tmp_path):
    async with lab(tmp_path, config=limited(bytes_per_day=1000)) as mirror:
        assert (await mirror.get(JSOC_INFO, HOUR, headers=bearer("read"))).json["count"] == 80
        assert "quota of token rita is used up" in (await mirror.get(JSOC_INFO, HOUR, headers=bearer("read"))).json["error"]
        await mirror.running.upkeep.tick()
        await mirror.stop()
        await mirror.start()
        assert (await mirror.get("/api/series", headers=bearer("read"))).code == 429
        mirror.clock.forward(days=1)
        assert (await mirror.get("/api/series", headers=bearer("read"))).code == 200
