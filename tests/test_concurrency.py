"""Concurrent asks for one thing become one fetch, which outlives whoever asked."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror import concurrency
from mirror.concurrency import Bounded, SingleFlight


class Fetch:
    """A fetch that ends when it is told to, and counts how often it was begun."""

    def __init__(self):
        self.begun = 0
        self.end = asyncio.Event()
        self.error = None

    async def __call__(self):
        self.begun += 1
        await self.end.wait()
        if self.error is not None:
            raise self.error
        return self.begun


@pytest.fixture
def flights():
    return SingleFlight()


@pytest.fixture
async def fetch():
    return Fetch()


async def begin(flights, fetch, count, key="x"):
    tasks = [asyncio.ensure_future(flights.run(key, fetch)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_those_who_come_while_it_runs_share_one_fetch(flights, fetch):
    tasks = await begin(flights, fetch, 50)
    fetch.end.set()
    assert await asyncio.gather(*tasks) == [1] * 50


async def test_those_who_come_later_fetch_again(flights, fetch):
    fetch.end.set()
    assert await flights.run("x", fetch) == 1
    assert await flights.run("x", fetch) == 2


async def test_different_things_are_fetched_beside_each_other(flights, fetch):
    tasks = await begin(flights, fetch, 1, "x") + await begin(flights, fetch, 1, "y")
    assert fetch.begun == 2
    fetch.end.set()
    await asyncio.gather(*tasks)


async def test_an_error_is_everyones_and_the_next_one_tries_again(flights, fetch):
    fetch.error = ValueError("once")
    tasks = await begin(flights, fetch, 3)
    fetch.end.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results == [fetch.error] * 3
    fetch.error = None
    assert await flights.run("x", fetch) == 2


async def test_a_caller_that_gives_up_does_not_end_it_for_the_others(flights, fetch):
    first, second = await begin(flights, fetch, 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    fetch.end.set()
    assert await second == 1


async def test_a_fetch_that_fails_when_all_have_gone_is_no_unheard_error(flights, fetch):
    (only,) = await begin(flights, fetch, 1)
    only.cancel()
    fetch.error = ValueError("nobody hears this")
    fetch.end.set()
    await asyncio.gather(only, return_exceptions=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    fetch.error = None
    assert await flights.run("x", fetch) == 2


async def test_a_task_ends_though_an_error_took_the_place_of_its_cancellation(monkeypatch):
    monkeypatch.setattr(concurrency, "AGAIN", 0.001)
    cancelled = 0

    async def stubborn():
        nonlocal cancelled
        while cancelled < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1
        raise ValueError("at last")

    task, ended = asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(0))
    await asyncio.sleep(0)
    await concurrency.end(task, ended)
    assert (task.done(), cancelled) == (True, 3)


async def test_work_that_must_last_begins_again_after_any_error(caplog):
    begun, ended = 0, asyncio.Event()

    async def work():
        nonlocal begun
        begun += 1
        if begun < 3:
            raise ValueError("nobody has foreseen this")
        ended.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(concurrency.lasting(work, 0.0))
    await ended.wait()
    await concurrency.cancel(task)
    assert (begun, task.cancelled(), len(caplog.records)) == (3, True, 2)


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_what_comes_for_a_caller_that_is_gone_is_given_back(cancelled):
    go_on, back, giving = asyncio.Event(), [], asyncio.Event()

    async def work():
        await go_on.wait()
        return "lock"

    async def give_back(what):
        giving.set()
        await asyncio.sleep(0)
        back.append(what)

    task = asyncio.create_task(concurrency.taken(work(), give_back))
    await asyncio.sleep(0)
    for _ in range(cancelled):
        task.cancel()
        await asyncio.sleep(0)
    go_on.set()
    if cancelled == 2:
        await giving.wait()
        task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), back) == ((True, ["lock"]) if cancelled else (False, []))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6))), st.integers(1, 4))
def test_the_entries_are_those_that_were_set_or_recalled_last(deeds, most):
    found: Bounded[int, str] = Bounded(most)
    used: list[int] = []
    for sets, key in deeds:
        if sets:
            found[key] = str(key)
        else:
            assert found.recall(key) == (str(key) if key in used else None)
        if sets or key in used:
            used = [*(k for k in used if k != key), key][-most:]
        assert list(found.items()) == [(k, str(k)) for k in used]


async def test_what_is_done_to_the_end_is_done_however_often_its_caller_is_cancelled():
    may_end, done = asyncio.Event(), []

    async def both():
        await may_end.wait()
        done.append("both")

    caller = asyncio.create_task(concurrency.to_the_end(both()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == ["both"]
