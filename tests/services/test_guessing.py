"""Whoever sends wrong tokens waits, longer and longer, and nobody else does."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.errors import TooMany
from mirror.services.guessing import FORGIVEN, FREE, LONGEST, MOST, Failures, Guessing, pause, source_of

HERE, THERE = ip_address("10.0.0.1"), ip_address("10.0.0.2")


@given(st.integers(0, 10_000), st.floats(0, 1e9), st.floats(0, 1e4))
def test_a_pause_is_bounded_and_ends(count, last, later):
    now = last + later
    left = pause(Failures(count, last), now)
    assert 0.0 <= left <= LONGEST
    assert pause(Failures(count, last), last + FORGIVEN + 1) == 0.0
    assert pause(Failures(count + 1, last), last) >= pause(Failures(count, last), last)


def test_some_mistakes_are_free_then_each_costs_twice_the_one_before():
    assert [pause(Failures(n, 0.0), 0.0) for n in range(FREE + 4)] == [0.0] * FREE + [1.0, 2.0, 4.0, 8.0]


def test_a_guesser_waits_and_others_do_not():
    clock = [1000.0]
    guessing = Guessing(lambda: clock[0])
    for _ in range(FREE):
        guessing.admit(HERE)
        guessing.failed(HERE)
    with pytest.raises(TooMany, match="try again in 1 s"):
        guessing.admit(HERE)
    guessing.admit(THERE)
    clock[0] += 1.1
    guessing.admit(HERE)
    guessing.succeeded(HERE)
    guessing.failed(HERE)
    guessing.admit(HERE)


def test_memory_is_bounded():
    guessing = Guessing(lambda: 0.0)
    for n in range(MOST + 10):
        guessing.failed(ip_address(n))
    guessing.admit(ip_address(0))


def test_a_host_has_many_addresses_of_ipv6():
    assert source_of(ip_address("2001:db8::1")) == source_of(ip_address("2001:db8::ffff"))
    assert source_of(ip_address("2001:db8:0:1::1")) != source_of(ip_address("2001:db8::1"))
