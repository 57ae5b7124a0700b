"""Regular expressions: what PostgreSQL takes them to mean, in the dialect of Python."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import Refused
from mirror.simulator.sql.regex import compiled, found, similar


def matches(text, pattern):
    return found(text, pattern, any_case=False)


@pytest.mark.parametrize(
    "pattern, text, wanted",
    [
        ("11158", "11157,11158", True),
        ("^11158$", "11158\n", False),
        ("a.b", "a\nb", True),
        ("[^x]", "\n", True),
        ("(?n)a.b", "a\nb", False),
        ("(?n)^b$", "a\nb\nc", True),
        ("[[:alpha:]]+[[:digit:]]", "x7", True),
        ("[[:alpha:]]", "\xe9", False),
        (r"\d{2,3}$", "a42", True),
        ("[]a]", "]", True),
        ("[^]a]", "]", False),
        ("[a-c-]", "-", True),
        (r"[\d_]", "_", True),
        (r"[^\D]", "x", False),
        ("a{,2}", "a{,2}", True),
        ("a{2}", "xaax", True),
        (r"\mcat\M", "a cat.", True),
        (r"\mcat\M", "concat", False),
        (r"\ycat", "cats", True),
        (r"\Ycat", "concat", True),
        ("[[:<:]]cat[[:>:]]", "cat", True),
        (r"\Ab", "a\nb", False),
        (r"(a|b)\1", "abb", True),
        ("(?i)HELLO", "hello", True),
        ("***=a.b", "axb", False),
        ("***:a.b", "axb", True),
        ("(?x) a  b # both", "ab", True),
        ("(?q)a|b", "b", False),
        ("(?b)a|b", "a|b", True),
        (r"(?b)\(a\)\1", "aa", True),
        (r"(?e)\d", "d", True),
        (r"\x41\u0042\103", "ABC", True),
        ("a(?=b)", "ab", True),
        ("(?<!a)b", "ab", False),
        ("a|", "", True),
        ("", "x", True),
        ("()", "x", True),
        ("x*?y", "xxy", True),
        (r"\.", "x", False),
        ("a||b", "z", True),
    ],
)
def test_a_text_matches(pattern, text, wanted):
    assert matches(text, pattern) == wanted


@pytest.mark.parametrize(
    "pattern",
    [
        "*a",
        "a**",
        "(",
        "a)",
        "[a",
        "[z-a]",
        "[[:foo:]]",
        "a{2,1}",
        "a{256}",
        r"\q",
        r"(\1)",
        r"\2",
        "^*",
        "(?z)a",
        "(?=a)*",
    ],
)
def test_what_postgresql_does_not_take_is_refused(pattern):
    with pytest.raises(Refused, match="invalid regular expression"):
        matches("a", pattern)


@given(st.text("ab.*+?()[]{}|\\^$-,:1dwmyZ", max_size=12))
def test_an_expression_is_translated_or_refused_and_python_takes_it(pattern):
    try:
        expression = compiled(pattern, any_case=False)
    except Refused:
        return
    assert matches("ab-1", pattern) == (expression.search("ab-1") is not None)


@given(st.text(max_size=20), st.text(max_size=10))
def test_an_escaped_text_is_found_where_it_stands(text, around):
    pattern = "".join(c if c.isalnum() else f"\\{c}" for c in text if c != "\0")
    assert matches(around + text.replace("\0", "") + around, pattern)


@given(
    st.text("ab", max_size=6),
    st.lists(st.sampled_from(["a", "b", "(ab)", "a+", "b*", "(a|b)?", "."]), max_size=5),
)
def test_what_both_dialects_share_means_the_same(text, parts):
    pattern = "^" + "".join(parts) + "$"
    assert matches(text, pattern) == (re.search(pattern, text) is not None)


@pytest.mark.parametrize(
    "pattern, text, wanted",
    [
        ("(11158|11159)%", "11158,x", True),
        ("1_158", "11158", True),
        ("a.b", "axb", False),
        ("[ab]{2}", "ab", True),
        (r"100\%", "100%", True),
        ("b", "abc", False),
        ("%(b|d)%", "abc", True),
    ],
)
def test_similar_to_is_of_the_whole_text(pattern, text, wanted):
    assert matches(text, similar(pattern, None)) == wanted
