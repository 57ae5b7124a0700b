"""Headers that show who asks: whatever comes, reading it raises nothing."""

from __future__ import annotations

import base64

from hypothesis import example, given
from hypothesis import strategies as st

from mirror.server.access.gate import NONE, Credentials, read_credentials

TOKEN = "ada." + "A" * 43


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
@example("Basic")
@example("Basic " + base64.b64encode(b"\xff\xfe").decode())
@example("Basic =")
@example("Bearer")
@example("Bearer \x00")
@example("basic \ud800")
def test_no_header_is_an_error(text):
    for header in (text, f"Basic {text}", f"Bearer {text}"):
        found = read_credentials(header)
        assert isinstance(found.user, str) and isinstance(found.secret, str)


@given(
    st.text(st.characters(exclude_characters=":", exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_basic_gives_back_name_and_password(user, secret):
    assert read_credentials(basic(f"{user}:{secret}")).secret == secret


def test_a_token_comes_as_password_as_name_or_as_bearer():
    assert read_credentials(basic(f"anybody:{TOKEN}")) == Credentials("anybody", TOKEN)
    assert read_credentials(basic(f"{TOKEN}:")) == read_credentials(basic(TOKEN)) == Credentials("ada", TOKEN)
    assert read_credentials(f"bearer  {TOKEN} ").secret == TOKEN


def test_a_name_alone_proves_nothing():
    assert read_credentials(basic("ada:")) == read_credentials(basic("ada")) == Credentials("ada", "")
    assert read_credentials("Digest x") == read_credentials("") == NONE
