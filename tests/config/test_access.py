"""Roles, networks and tokens: who may do what, decided without a socket."""

from __future__ import annotations

import secrets
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.config.access import (
    Network,
    Role,
    address_of,
    fits,
    hash_of,
    is_hash,
    is_loopback,
    name_in,
    new_token,
    role_of_address,
    without_secret,
)
from mirror.config.loading import check_access, load_config
from mirror.errors import ConfigError


def test_a_token_fits_its_own_hash_and_no_other():
    token, hashed = new_token("ada", secrets.token_bytes)
    other, _ = new_token("ada", secrets.token_bytes)
    assert fits(token, hashed)
    assert not fits(other, hashed)
    assert not fits(token + "x", hashed)
    assert token.partition(".")[2] not in hashed


def test_a_token_tells_whose_it_is_and_shows_no_more_than_that():
    token, _ = new_token("lab.server-2", secrets.token_bytes)
    assert name_in(token) == "lab.server-2" == without_secret(token)
    assert (name_in("ada"), without_secret("ada")) == (None, "ada")


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_whatever_is_hashed_only_the_same_fits(token, other):
    hashed = hash_of(token)
    assert is_hash(hashed) and fits(token, hashed)
    assert fits(other, hashed) == (other == token)


@given(st.text() | st.from_regex(r"(sha256|scrypt)\$[0-9a-fA-F]{62,66}", fullmatch=True))
def test_what_is_no_hash_fits_nothing(text):
    assert is_hash(text) or not fits("ada", text)


@pytest.mark.parametrize(
    "address, tokens, role",
    [
        ("127.0.0.1", False, Role.ADMIN),
        ("::1", False, Role.ADMIN),
        ("127.0.0.1", True, Role.NOBODY),
        ("10.1.2.3", False, Role.EXPORT),
        ("10.1.7.3", True, Role.ADMIN),
        ("10.1.8.3", True, Role.READ),
        ("::ffff:10.1.2.3", True, Role.EXPORT),
        ("fe80::1%eth0", True, Role.READ),
        ("192.168.0.1", False, Role.NOBODY),
        ("nonsense", False, Role.NOBODY),
        (None, False, Role.NOBODY),
    ],
)
def test_the_smallest_network_that_fits_says_the_role(address, tokens, role):
    texts = ("10.1.0.0/16 export", "10.1.7.0/24 admin", "10.1.8.0/24", "fe80::/10")
    assert role_of_address(address_of(address), map(Network.parse, texts), tokens=tokens) is role


def test_a_network_that_names_this_computer_counts_for_it():
    read_only = [Network.parse("127.0.0.0/8 read")]
    assert role_of_address(ip_address("127.0.0.1"), read_only, tokens=False) is Role.READ


@given(st.ip_addresses(), st.sampled_from(["read", "export", "admin"]))
def test_a_network_is_written_as_it_is_read(address, role):
    network = Network.parse(f"{address} {role}")
    assert Network.parse(str(network)) == network


def test_only_this_computers_own_addresses_are_loopback():
    assert all(map(is_loopback, ["127.0.0.1", "localhost", "LOCALHOST", "::1", "127.8.8.8"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "mirror.example.org"]))


def test_a_mirror_for_others_needs_somebody_to_let_in(tmp_path):
    _, hashed = new_token("ada", secrets.token_bytes)
    file = tmp_path / "config.toml"
    file.write_text(f'[[token]]\nname = "ada"\nhash = "{hashed}"\n')
    wide = {"MIRROR_SERVER__HOST": "0.0.0.0"}
    with pytest.raises(ConfigError, match=r"(?s)'0.0.0.0' listens to other computers.*networks = .*mirror token create"):
        check_access(load_config(None, wide))
    check_access(load_config(None, {}))
    check_access(load_config(file, wide))
    check_access(load_config(None, {**wide, "MIRROR_ACCESS__NETWORKS": "10.0.0.0/8 export,fd00::/8"}))


@pytest.mark.parametrize(
    "text, message",
    [
        ('[access]\nnetworks = ["10.1.0.0/99"]', "expected networks with their roles"),
        ('[access]\nnetworks = ["10.1.0.1/16"]', "expected networks with their roles"),
        ('[access]\nnetworks = ["10.1.0.0/16 root"]', "expected networks with their roles"),
        ('[access]\nhosts = ["http://x"]', "expected names of hosts"),
        (
            '[[token]]\nname = "ada"\nhash = "hunter2"',
            r"\[\[token\]\] 1 hash: expected a hash as `mirror token create`",
        ),
        ('[[token]]\nname = "ada"', "the key 'hash' is missing"),
        ('[upstream]\ntoken = "a b"', r"\[upstream\] token: expected a token"),
        ('[upstream]\ntoken = "a.b"', "jsoc.stanford.edu takes no token"),
        ('[upstream]\nurl = "http://ada:b@mirror"', "expected the address of a host"),
    ],
)
def test_what_cannot_be_is_refused_and_no_secret_is_repeated(tmp_path, text, message):
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as problem:
        load_config(file, {})
    assert "hunter2" not in str(problem.value)


def test_two_tokens_have_two_names_and_no_secret_is_shown(tmp_path):
    _, hashed = new_token("ada", secrets.token_bytes)
    file = tmp_path / "config.toml"
    file.write_text(f'[[token]]\nname = "ada"\nhash = "{hashed}"\n' * 2)
    with pytest.raises(ConfigError, match="duplicate name ada"):
        load_config(file, {})
    file.write_text(
        f'[upstream]\nurl = "http://other"\ntoken = "s3cret"\n[[token]]\nname = "ada"\nhash = "{hashed}"\n'
    )
    shown = repr(load_config(file, {}))
    assert "s3cret" not in shown and hashed not in shown
