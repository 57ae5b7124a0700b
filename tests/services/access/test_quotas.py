"""What a token may take: bytes in a day, requests in a period."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


# ---- several mirrors -------------------------------------------------------------------------------


class Cluster(World):
    """One token at several mirrors, which tell each other when ``hear`` says so."""

    def __init__(self, count=2, **limits):
        super().__init__(**limits)
        self.all = [Quotas(Accounting(None, lambda: self.now), lambda: self.now) for _ in range(count)]

    def hear(self):
        told = {(name, str(n)): taken for n, quotas in enumerate(self.all) for name, taken in quotas.told().items()}
        for n, quotas in enumerate(self.all):
            quotas.heard({key: taken for key, taken in told.items() if key[1] != str(n)})

    def let_in(self, mirror, times=1000):
        """How many of so many requests a mirror answers."""
        for number in range(times):
            try:
                self.all[mirror].check(self.token)
            except TooMany:
                return number
        return times


def test_a_rate_is_one_for_all_mirrors():
    made = Cluster(requests=Rate.parse("60"))
    made.hear()
    assert made.let_in(0, 40) == 40
    made.hear()
    assert made.let_in(1) == 20
    made.hear()
    assert made.let_in(0) == 0
    made.now += 10
    assert made.let_in(1, 6) == 6
    made.hear()
    assert made.let_in(0) == 4
    made.hear()
    assert made.let_in(1) == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.booleans()), max_size=40))
def test_what_goes_beyond_a_rate_within_a_second_is_waited_for_afterwards(asked):
    made = Cluster(3, requests=Rate.parse("60"))
    made.hear()
    total = sum(made.let_in(mirror, 1) for mirror in range(3))
    made.hear()
    for mirror, times, hears in asked:
        total += made.let_in(mirror, times)
        if hears:
            made.now += 1.0
            made.hear()
    made.hear()
    # Now all know of all of it: once what was too much has been waited for, a request comes through, and not before.
    over = max(0.0, total - 60.0)
    wait = over - (made.now - NOON)
    if wait > 1.0:
        made.now += wait - 0.5
        assert made.let_in(0, 1) == 0


def test_a_mirror_that_did_not_hear_for_an_hour_shuts_nobody_out_for_it():
    made = Cluster(requests=Rate.parse("60"))
    made.hear()
    made.let_in(1, 1)
    for _ in range(60):
        made.now += 60
        assert made.let_in(0) == 60
    made.hear()
    made.now += 30
    assert made.let_in(1) == 30


def test_a_mirror_that_begins_again_counts_from_nothing_and_nothing_is_given_back():
    made = Cluster(requests=Rate.parse("60"))
    made.hear()
    assert made.let_in(0, 50) == 50
    made.hear()
    made.let_in(1, 1)
    made.all[0] = Quotas(Accounting(None, lambda: made.now), lambda: made.now)
    made.hear()
    assert made.let_in(0) == 9
    made.hear()
    assert made.let_in(1) == 0


def test_bytes_of_a_day_are_those_of_all_mirrors():
    made = Cluster(bytes_per_day=1000)
    assert made.let_in(0, 1) == made.let_in(1, 1) == 1
    for quotas in made.all:
        quotas._accounting.count("token:ada", Used(bytes=600))
    assert made.let_in(0, 1) == made.let_in(1, 1) == 1
    made.hear()
    assert made.let_in(0) == made.let_in(1) == 0
    made.now += 86400
    assert made.let_in(0, 1) == made.let_in(1, 1) == 1
