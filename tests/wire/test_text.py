"""Wire text, both directions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamBroken
from mirror.wire.text import from_wire, keep_escapes, name_to_wire, to_wire


@given(st.text())
def test_from_wire_undoes_to_wire(value: str) -> None:
    assert from_wire(to_wire(value)) == value


@given(st.text())
def test_wire_text_is_the_inside_of_a_json_string_in_latin1(value: str) -> None:
    data = f'"{to_wire(value)}"'.encode("latin-1")
    assert json.loads(data.decode("latin-1")) == value


@given(st.text(st.characters(max_codepoint=255)))
def test_names_keep_their_slashes_and_still_make_json(name: str) -> None:
    wire = name_to_wire(name)
    assert json.loads(f'"{wire}"') == name
    assert wire.count("/") == name.count("/")
    assert "\\/" not in wire.replace("\\\\", "")


@pytest.mark.parametrize(
    "value, wire",
    [
        ("SDO/HMI", r"SDO\/HMI"),
        ('say "so"', r"say \"so\""),
        ("a\\b", r"a\\b"),
        ("\b\f\n\r\t", r"\b\f\n\r\t"),
        ("\x00\x1f\x7f", "\\u0000\\u001f\x7f"),
        ("hÃ©llo â\x98\x80", "hÃ©llo â\x98\x80"),
        ("☀", r"\u2600"),
        ("𝄞", r"\ud834\udd1e"),
    ],
)
def test_characters_are_escaped_as_the_server_escapes_them(value: str, wire: str) -> None:
    assert to_wire(value) == wire
    assert from_wire(wire) == value


@pytest.mark.parametrize("text", ['a"b', "a\\", "a\\q", "\\u12", 'x","values":["'])
def test_what_is_not_wire_text_is_refused(text: str) -> None:
    with pytest.raises(UpstreamBroken, match="JSON string"):
        from_wire(text)


@given(st.lists(st.text()))
def test_keep_escapes_makes_a_json_parser_yield_wire_text(values: list[str]) -> None:
    wire = [to_wire(value) for value in values]
    data = ("[" + ",".join(f'"{text}"' for text in wire) + "]").encode("latin-1")
    assert json.loads(keep_escapes(data).decode("latin-1")) == wire


@pytest.mark.parametrize("data", [rb'"\q"', rb'"\/\q"', rb'"\u12g4"', rb'"\"'])
def test_keep_escapes_leaves_what_is_no_escape_for_the_parser_to_refuse(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"escape|Unterminated"):
        json.loads(keep_escapes(data))
