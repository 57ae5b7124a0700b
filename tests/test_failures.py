"""What a run says about its failures can be read, whatever failed."""

from __future__ import annotations

import pytest

from tests import failures


def failed(problem: Exception, name: str = "tests/a/test_b.py::test_c", when: str = "call") -> pytest.TestReport:
    try:
        raise problem  # noqa: TRY301
    except Exception as raised:  # noqa: BLE001  (whatever it is)
        told = pytest.ExceptionInfo.from_exception(raised).getrepr(style="long")
    return pytest.TestReport(name, ("test_b.py", 1, "test_c"), {}, "failed", told, when)  # type: ignore[arg-type]


def test_a_line_names_the_test_and_the_first_line_of_the_reason():
    reports = [failed(ValueError("\none thing\nand another")), failed(KeyError("x"), when="setup")]
    assert list(failures.in_short(reports)) == [
        "FAILED tests/a/test_b.py::test_c: ValueError:",
        "FAILED tests/a/test_b.py::test_c (setup): KeyError: 'x'",
    ]


def test_neither_a_long_name_nor_a_long_reason_hides_the_others():
    (line,) = failures.in_short([failed(ValueError("x" * 10**6), "tests/a/test_b.py::test_c[" + "y" * 10**6 + "]")])
    assert line.startswith("FAILED tests/a/test_b.py::test_c[yyy") and "ValueError: xxx" in line
    assert len(line) < failures.NAME + failures.REASON + 100


def test_a_report_is_a_screen_or_two_however_much_differs():
    report = failed(AssertionError("\n".join(f"{n} " + "x" * 10_000 for n in range(10_000))))
    failures.shorten(report)
    text = str(report.longrepr)
    assert "9999 xxx" in text and "0 xxx" in text and "characters)" in text and "lines)" in text
    assert len(text.splitlines()) < 3 * failures.HEIGHT
    assert max(map(len, text.splitlines())) < failures.WIDTH + 100


def test_differences_of_large_values_are_not_looked_for():
    told = failures.briefly(lambda op, left, right: "in full")
    assert told("==", b"x" * 10, {"a": [b"y" * 10]}) == "in full"
    for left in (b"x" * 10**6, {"a": [("y" * 10**6,)]}, list(range(10**6)), {"b": {1: {"z" * 10**6}}}):
        text = told("==", left, left)
        assert text is not None and " == " in text and len(text) < 3 * failures.REASON
    with pytest.raises(AssertionError) as caught:
        assert {"a": b"x" * 5_000_000} == {"a": b"x" * 4_999_999 + b"y"}
    assert len(str(caught.value)) < 3 * failures.REASON


def test_a_long_parameter_is_named_by_how_it_begins_and_its_length():
    assert failures.parameter_id("x" * 10**6) == "x" * failures.PARAMETER + "...1000000"
    assert failures.parameter_id(b"\xff\x00" * 10**6) == "\xff\x00" * (failures.PARAMETER // 2) + "...2000000"
    assert failures.parameter_id("short") is failures.parameter_id(7) is None
