"""Tokens and sessions in memory: forgotten when their table changes, bounded in time and number."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from mirror.config import access
from mirror.config.loading import Config, Token
from mirror.errors import Refused, TooMany
from mirror.services.access.authentication import FAILURES, MOST, PERIOD, SESSION, Authenticator, FailedLogins

HERE = "10.0.0.1"
TOKEN = "ada." + "a" * 43


def configured(token=TOKEN, role=access.Role.EXPORT):
    return Config(token=(Token("ada", access.hash_of(token), role),))


@pytest.fixture
def clock():
    return [1_700_000_000.0]


@pytest.fixture
def authenticator(clock):
    return Authenticator(configured(), lambda: clock[0])


def test_a_text_that_is_no_token_is_none(authenticator):
    for n, text in enumerate(("bob." + "a" * 43, "ada", "x" * 10_000, "ada.\ud800")):
        assert authenticator.by_token(text, f"10.0.1.{n}") is None


def test_another_hash_or_role_holds_at_once(authenticator):
    assert (authenticator.by_token(TOKEN, HERE)).role is access.Role.EXPORT
    authenticator.apply(configured(role=access.Role.READ))
    assert (authenticator.by_token(TOKEN, HERE)).role is access.Role.READ
    authenticator.apply(configured(token="ada." + "b" * 43))
    assert authenticator.by_token(TOKEN, HERE) is None
    authenticator.apply(Config())
    assert authenticator.by_token(TOKEN, HERE) is None


def test_a_session_ends_with_its_time_its_token_or_its_logout(authenticator, clock):
    cookie, principal = authenticator.log_in(TOKEN, HERE)
    assert (principal.who, authenticator.by_session(cookie, HERE).session != "") == ("token:ada", True)
    assert authenticator.by_session(cookie + "x", HERE) is None
    clock[0] += SESSION + 1
    assert authenticator.by_session(cookie, HERE) is None
    cookie, _ = authenticator.log_in(TOKEN, HERE)
    authenticator.log_out(cookie)
    assert authenticator.by_session(cookie, HERE) is None
    cookie, _ = authenticator.log_in(TOKEN, HERE)
    authenticator.apply(configured(token="ada." + "b" * 43))  # revoked, and another made
    assert authenticator.by_session(cookie, HERE) is None


def test_a_form_is_for_one_session(authenticator):
    (one, _), (two, _) = authenticator.log_in(TOKEN, HERE), authenticator.log_in(TOKEN, HERE)
    mine, other = authenticator.by_session(one, HERE), authenticator.by_session(two, HERE)
    assert authenticator.is_form_token(mine, authenticator.form_token(mine))
    assert not authenticator.is_form_token(mine, authenticator.form_token(other))
    assert not authenticator.is_form_token(mine, "\ud800")


def test_too_many_wrong_tokens_are_refused_and_a_right_one_never(authenticator, clock):
    for _ in range(FAILURES):
        with pytest.raises(Refused, match="Invalid or revoked token"):
            authenticator.log_in("ada." + "x" * 43, HERE)
    with pytest.raises(TooMany, match="try again in 60 s"):
        authenticator.log_in("ada." + "x" * 43, HERE)
    assert authenticator.log_in(TOKEN, HERE)[1].name == "ada"
    assert authenticator.by_token("ada." + "x" * 43, "10.0.0.2") is None
    clock[0] += PERIOD
    assert authenticator.by_token("ada." + "x" * 43, HERE) is None


def test_addresses_that_sent_wrong_tokens_are_bounded_in_number():
    failed = FailedLogins(lambda: 0.0)
    for n in range(MOST + FAILURES + 10):
        failed.count(ip_address(n))
    failed.count(ip_address(0))  # forgotten meanwhile


def test_a_host_has_many_addresses_of_ipv6():
    failed = FailedLogins(lambda: 0.0)
    for n in range(FAILURES):
        failed.count(ip_address(f"2001:db8::{n}"))
    failed.count(ip_address("2001:db8:0:1::1"))
    with pytest.raises(TooMany):
        failed.count(ip_address("2001:db8::ffff"))
