"""Dates as people write them, and changes as they are told."""

from __future__ import annotations

import pytest

from mirror.errors import BadRequest
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.records import CacheStatus
from mirror.server.api.freshness import moment
from mirror.server.requests import cache_headers, demand_in

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("2023-11-01", 1_698_796_800.0),
        ("2023-11-01T12:00:00+01:00", 1_698_836_400.0),
        ("2023.11.01_00:00:00_UTC", 1_698_796_800.0),
        ("2023.11.01_00:00:37_TAI", 1_698_796_800.0),
        ("7d", NOW - 7 * 86400),
        ("-12h", NOW - 12 * 3600),
        ("2w", NOW - 14 * 86400),
    ],
)
def test_a_date_is_read_in_any_of_the_usual_forms(text, seconds):
    assert moment(text, NOW) == seconds


@pytest.mark.parametrize("text", ["yesterday", "2023-13-01", "7y", "2023-11-01 noon", "$"])
def test_what_is_no_date_is_refused_with_what_would_be(text):
    with pytest.raises(BadRequest, match="expected a date such as"):
        moment(text, NOW)


@pytest.mark.parametrize(
    "header, demand",
    [
        ("no-cache", CacheDemand.REVALIDATE),
        ("No-Cache, max-age=0", CacheDemand.REVALIDATE),
        ("only-if-cached", CacheDemand.ONLY_IF_CACHED),
        ("no-cache, only-if-cached", CacheDemand.ONLY_IF_CACHED),
        ("max-age=0", CacheDemand.DEFAULT),
        ("", CacheDemand.DEFAULT),
    ],
)
def test_only_plain_demands_are_heeded(header, demand):
    assert demand_in({"Cache-Control": header}) is demand


def test_only_what_should_have_been_checked_is_marked_as_stale():
    assert cache_headers(CacheStatus.LOCAL, None, NOW) == {"X-Mirror": "local"}
    assert cache_headers(CacheStatus.STALE, NOW - 90.4, NOW) == {
        "X-Mirror": "stale",
        "Warning": '110 jsoc-mirror "Response is Stale"',
        "Age": "90",
    }
    assert "Age" not in cache_headers(CacheStatus.STALE, None, NOW)
