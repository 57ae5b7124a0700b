"""Tokens and sessions in memory: hashed once, forgotten when their table changes, bounded in time."""

from __future__ import annotations

import asyncio

import pytest

from mirror import access
from mirror.config import Config, Token
from mirror.drms.errors import Refused, TooMany
from mirror.services.doors import SESSION, Doors

HERE = "10.0.0.1"
TOKEN = "ada." + "a" * 43


def configured(token=TOKEN, role=access.Role.EXPORT, salt=b"salt of a test"):
    return Config(token=(Token("ada", access.hash_of(token, salt, n=2, r=1, p=1), role),))


@pytest.fixture
def clock():
    return [1_700_000_000.0]


@pytest.fixture
def doors(clock):
    return Doors(configured(), lambda: clock[0])


async def test_a_hash_is_computed_once_however_many_come_with_the_token(doors, monkeypatch):
    computed = []
    monkeypatch.setattr(
        "mirror.services.doors.fits", lambda *given: computed.append(given) or access.fits(*given)
    )
    found = await asyncio.gather(*(doors.by_token(TOKEN, HERE) for _ in range(50)))
    assert {(asker.name, asker.role, asker.ambient) for asker in found} == {
        ("ada", access.Role.EXPORT, False)
    }
    assert len(computed) == 1


async def test_a_token_of_no_known_name_costs_no_hash(doors, monkeypatch):
    monkeypatch.setattr("mirror.services.doors.fits", lambda *_: pytest.fail("hashed"))
    for text in ("bob." + "a" * 43, "ada", "", "x" * 10_000, "ada.\ud800"):
        if text:
            assert await doors.by_token(text, f"10.0.1.{len(text) % 250}") is None


async def test_another_hash_or_role_holds_at_once(doors):
    assert (await doors.by_token(TOKEN, HERE)).role is access.Role.EXPORT
    doors.apply(configured(role=access.Role.READ))
    assert (await doors.by_token(TOKEN, HERE)).role is access.Role.READ
    doors.apply(configured(token="ada." + "b" * 43))
    assert await doors.by_token(TOKEN, HERE) is None
    doors.apply(Config())
    assert await doors.by_token(TOKEN, HERE) is None


async def test_a_session_ends_with_its_time_its_token_or_its_logout(doors, clock):
    cookie, asker = await doors.log_in(TOKEN, HERE)
    assert (asker.who, doors.by_session(cookie, HERE).session != "") == ("token:ada", True)
    assert doors.by_session(cookie + "x", HERE) is None
    clock[0] += SESSION + 1
    assert doors.by_session(cookie, HERE) is None
    cookie, _ = await doors.log_in(TOKEN, HERE)
    doors.log_out(cookie)
    assert doors.by_session(cookie, HERE) is None
    cookie, _ = await doors.log_in(TOKEN, HERE)
    doors.apply(configured(salt=b"another salt"))  # revoked, and made anew
    assert doors.by_session(cookie, HERE) is None


async def test_a_form_is_for_one_session(doors):
    (one, _), (two, _) = await doors.log_in(TOKEN, HERE), await doors.log_in(TOKEN, HERE)
    mine, other = doors.by_session(one, HERE), doors.by_session(two, HERE)
    assert doors.is_form_token(mine, doors.form_token(mine))
    assert not doors.is_form_token(mine, doors.form_token(other))
    assert not doors.is_form_token(mine, "\ud800")


async def test_wrong_logins_are_refused_and_then_slowed_down(doors):
    for _ in range(5):
        with pytest.raises(Refused, match="not a token"):
            await doors.log_in("ada." + "x" * 43, HERE)
    with pytest.raises(TooMany):
        await doors.log_in(TOKEN, HERE)
    assert (await doors.log_in(TOKEN, "10.0.0.2"))[1].name == "ada"
