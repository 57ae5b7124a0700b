"""Few requests at a time, people first, patience after failures. Time is counted, never waited for."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamBroken, UpstreamRefused, UpstreamUnreachable
from mirror.upstream.pacing import Circuit, Claim, Pacer, Priority, Retries, Turnstile


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Upstream:
    """Fails as often as told, then answers; remembers how many asked."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.asked = 0

    async def __call__(self):
        self.asked += 1
        outcome = self.outcomes.pop(0) if self.outcomes else "answer"
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def pacer(time):
    def make(places=2, chance=1.0, **parts):
        return Pacer(places, clock=time.clock, sleep=time.sleep, chance=lambda: chance, **parts)

    return make


def down(times=1):
    return [UpstreamUnreachable("refused")] * times


async def settle():
    """Let every task run until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


async def visit(turnstile, name, log, gate, priority=Priority.PEOPLE):
    async with turnstile.turn(priority):
        log.append(name)
        await gate.wait()


# ---- turns ----------------------------------------------------------------------------------


async def test_no_more_than_the_places_are_inside_at_a_time():
    turnstile, log, gate = Turnstile(2), [], asyncio.Event()
    tasks = [asyncio.create_task(visit(turnstile, n, log, gate)) for n in range(5)]
    await settle()
    assert (log, turnstile.inside, turnstile.waiting) == ([0, 1], 2, 3)
    gate.set()
    await asyncio.gather(*tasks)
    assert (log, turnstile.inside, turnstile.waiting) == ([0, 1, 2, 3, 4], 0, 0)


async def test_a_claim_that_rises_while_it_waits_goes_before_those_it_now_equals():
    turnstile, log, gate = Turnstile(1), [], asyncio.Event()
    claim = Claim(Priority.SUBSCRIPTION)
    tasks = []
    for name, wish in (("inside", Priority.PEOPLE), ("raised", claim), ("person", Priority.PEOPLE)):
        tasks.append(asyncio.create_task(visit(turnstile, name, log, gate, wish)))
        await settle()
    claim.raise_to(Priority.PEOPLE)
    claim.raise_to(Priority.SPARE)
    assert claim.priority is Priority.PEOPLE
    gate.set()
    await asyncio.gather(*tasks)
    assert log == ["inside", "raised", "person"]


async def test_the_last_place_is_kept_for_people_and_for_claims_that_become_theirs():
    turnstile, log, gate = Turnstile(2, kept=1), [], asyncio.Event()
    claim = Claim(Priority.SUBSCRIPTION)
    wishes = (("a", Priority.SUBSCRIPTION), ("b", claim), ("c", Priority.SUBSCRIPTION))
    tasks = [asyncio.create_task(visit(turnstile, name, log, gate, wish)) for name, wish in wishes]
    await settle()
    assert (log, turnstile.inside, turnstile.waiting) == (["a"], 1, 2)
    claim.raise_to(Priority.PEOPLE)
    await settle()
    assert log == ["a", "b"], "it did not wait until the place beside it was left"
    gate.set()
    await asyncio.gather(*tasks)
    assert (log, turnstile.inside, turnstile.waiting) == (["a", "b", "c"], 0, 0)


async def test_a_person_does_not_wait_for_a_subscription():
    turnstile, log, gate = Turnstile(2, kept=1), [], asyncio.Event()
    wishes = [*[("s", Priority.SUBSCRIPTION)] * 5, ("p", Priority.PEOPLE)]
    tasks = [asyncio.create_task(visit(turnstile, name, log, gate, wish)) for name, wish in wishes]
    await settle()
    assert log == ["s", "p"]
    gate.set()
    await asyncio.gather(*tasks)


@given(st.lists(st.tuples(st.sampled_from(list(Priority)), st.booleans()), max_size=12), st.integers(1, 3))
def test_everybody_gets_through_whoever_gives_up(visitors, places):
    async def scene():
        turnstile, log, gate = Turnstile(places, kept=places - 1), [], asyncio.Event()
        tasks = [asyncio.create_task(visit(turnstile, n, log, gate, p)) for n, (p, _) in enumerate(visitors)]
        await settle()
        for task, (_, gives_up) in zip(tasks, visitors, strict=True):
            if gives_up:
                task.cancel()
        await settle()
        gate.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (turnstile.inside, turnstile.waiting) == (0, 0)
        assert {n for n, (_, gives_up) in enumerate(visitors) if not gives_up} <= set(log)

    asyncio.run(scene())


async def test_people_go_before_subscriptions_that_came_earlier():
    turnstile, log, gate = Turnstile(1), [], asyncio.Event()
    order = [("a", Priority.SUBSCRIPTION), ("b", Priority.SUBSCRIPTION), ("c", Priority.PEOPLE)]
    tasks = []
    for name, priority in order:
        tasks.append(asyncio.create_task(visit(turnstile, name, log, gate, priority)))
        await settle()
    gate.set()
    await asyncio.gather(*tasks)
    assert log == ["a", "c", "b"]


async def test_one_who_gives_up_waiting_is_passed_over():
    turnstile, log, gate = Turnstile(1), [], asyncio.Event()
    tasks = [asyncio.create_task(visit(turnstile, n, log, gate)) for n in range(3)]
    await settle()
    tasks[1].cancel()
    await settle()
    assert turnstile.waiting == 1
    gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert log == [0, 2]


async def test_a_place_given_to_one_who_gives_up_at_that_moment_is_not_lost():
    turnstile, log, gate = Turnstile(1), [], asyncio.Event()
    gate.set()
    async with turnstile.turn():
        late = asyncio.create_task(visit(turnstile, "late", log, gate))
        await settle()
    late.cancel()  # its place came with the end of the block above
    await settle()
    await visit(turnstile, "next", log, gate)
    assert (log, turnstile.inside) == (["next"], 0)


async def test_an_error_inside_gives_the_place_back():
    turnstile = Turnstile(1)
    with pytest.raises(KeyError):
        async with turnstile.turn():
            raise KeyError
    assert turnstile.inside == 0


# ---- the circuit, a value -----------------------------------------------------------------------


def failed(circuit, times, now):
    for _ in range(times):
        circuit = circuit.asked().failed(now)
    return circuit


def test_the_circuit_opens_after_the_threshold_of_failures_in_a_row():
    circuit = Circuit(threshold=3, first_pause=10)
    assert failed(circuit, 2, now=0).admits(0)
    assert not failed(circuit, 3, now=0).admits(9.9)
    assert failed(failed(circuit, 2, now=0).succeeded(), 2, now=0).admits(0)


def test_after_the_pause_one_probe_goes_through_and_the_others_wait_for_it():
    circuit = failed(Circuit(threshold=1, first_pause=10), 1, now=0)
    probing = circuit.asked()
    assert circuit.admits(10)
    assert not probing.admits(10)
    assert probing.succeeded() == Circuit(threshold=1, first_pause=10)
    assert probing.abandoned().admits(10)


def test_each_probe_that_fails_doubles_the_pause_up_to_the_longest():
    circuit = Circuit(threshold=2, first_pause=10, longest_pause=35)
    assert [failed(circuit, n, now=0).open_until for n in (2, 3, 4, 400)] == [10, 20, 35, 35]


# ---- retries, a value ---------------------------------------------------------------------------


@given(st.integers(1, 1000), st.floats(0, 1))
def test_a_delay_is_a_part_of_a_span_that_doubles_up_to_a_limit(repetition, chance):
    retries = Retries(first_delay=0.5, longest_delay=8)
    delay = retries.delay(repetition, chance)
    assert delay == chance * (0.5 * 2 ** min(repetition - 1, 4))


def test_nothing_is_repeated_too_often_or_too_late():
    retries = Retries(attempts=3, patience=30)
    assert retries.allow(2, 30)
    assert not retries.allow(3, 0)
    assert not retries.allow(1, 31)


# ---- together -----------------------------------------------------------------------------------


async def test_a_failure_is_repeated_after_growing_delays(pacer, time):
    upstream = Upstream(*down(), UpstreamBroken("cut"), "answer")
    assert await pacer().run(upstream) == "answer"
    assert time.slept == [1.0, 2.0]


async def test_the_last_failure_is_raised(pacer):
    upstream = Upstream(*down(3))
    with pytest.raises(UpstreamUnreachable, match="refused"):
        await pacer().run(upstream)
    assert upstream.asked == 3


async def test_what_upstream_refuses_is_not_asked_again(pacer):
    upstream = Upstream(UpstreamRefused(1, "no such series"))
    with pytest.raises(UpstreamRefused):
        await pacer().run(upstream)
    assert upstream.asked == 1


async def test_while_the_circuit_is_open_nobody_is_asked(pacer):
    paced = pacer(circuit=Circuit(threshold=2))
    upstream = Upstream(*down(2))
    with pytest.raises(UpstreamUnreachable, match="refused"):
        await paced.run(upstream)
    with pytest.raises(UpstreamUnreachable, match="JSOC is not responding; retrying in 5 s"):
        await paced.run(upstream)
    assert upstream.asked == 2


async def test_those_who_wait_for_their_turn_are_told_when_the_circuit_opens(pacer):
    paced = pacer(places=1, circuit=Circuit(threshold=1))
    upstream = Upstream(*down(1))
    outcomes = await asyncio.gather(*(paced.run(upstream) for _ in range(4)), return_exceptions=True)
    assert [type(o) for o in outcomes] == [UpstreamUnreachable] * 4
    assert upstream.asked == 1


async def test_after_the_pause_an_answer_closes_the_circuit(pacer, time):
    paced = pacer(circuit=Circuit(threshold=1, first_pause=5))
    with pytest.raises(UpstreamUnreachable):
        await paced.run(Upstream(*down(1)))
    assert paced.pace().open_for == 5.0
    time.now += 5
    assert await paced.run(Upstream()) == "answer"
    assert (paced.pace().failures, paced.pace().open_for) == (0, 0.0)


async def test_broken_answers_do_not_open_the_circuit(pacer):
    paced = pacer(circuit=Circuit(threshold=1))
    assert await paced.run(Upstream(UpstreamBroken("cut"), UpstreamBroken("cut"))) == "answer"


async def test_a_probe_whose_asker_leaves_does_not_keep_the_circuit_open(pacer, time):
    paced = pacer(circuit=Circuit(threshold=1, first_pause=5))
    with pytest.raises(UpstreamUnreachable):
        await paced.run(Upstream(*down(1)))
    time.now += 5
    probe = asyncio.create_task(paced.run(asyncio.Event().wait))
    await settle()
    probe.cancel()
    await settle()
    assert await paced.run(Upstream()) == "answer"


async def test_the_place_is_free_for_others_while_one_waits_to_repeat(time):
    asleep, wake = asyncio.Event(), asyncio.Event()

    async def sleep(seconds):
        asleep.set()
        await wake.wait()

    paced = Pacer(1, clock=time.clock, sleep=sleep, chance=lambda: 1.0)
    patient = asyncio.create_task(paced.run(Upstream(*down(1), "late")))
    await asleep.wait()
    assert await paced.run(Upstream("early")) == "early"
    wake.set()
    assert await patient == "late"
