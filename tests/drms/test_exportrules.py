"""Decisions about exports, and every recorded request as far as it can be decided without an archive."""

import datetime as dt
import gzip
import json
from dataclasses import replace

import pytest

from mirror.drms.export import AppliedStep, ExportFile, ExportRequest, Failed, Protocol, parse_process
from mirror.drms.exportrules import (
    NO_FITS_FILES,
    Survey,
    Verdict,
    failure,
    identity,
    index_of,
    megabytes,
    mentions_quality,
    record_sets,
    size_limit,
    verdict,
    with_quality_filter,
)
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.errors import BadRequest, MirrorError, UpstreamRefused, UpstreamUnreachable
from mirror.wire.export import decode_fetch
from mirror.wire.structure import decode_series_struct
from tests.recorded import WORLD, lines

MADE = dt.datetime(2026, 11, 22, 7, 6, 33, tzinfo=dt.UTC)
#: Requests that only the archive, or the list of addresses, can decide.
BEYOND = ("bad-series", "bad-email", "no-email", "quick-missing-q")
REQUESTS = [
    line
    for line in lines("exports")
    if line["params"].get("op") == "exp_request" and line["tag"] not in BEYOND
]


def series(name):
    found = next(path for path in WORLD.glob("*.json.gz") if path.name.lower() == f"{name.lower()}.json.gz")
    return decode_series_struct(
        json.loads(gzip.decompress(found.read_bytes()))["series_struct"].encode("latin-1"), name_hint=name
    )


HMI = series("hmi.V_45s")
QUICK = ExportRequest("hmi.v_45s[]", method="url_quick")


@pytest.mark.parametrize("line", REQUESTS, ids=lambda line: line["tag"])
def test_recorded_requests_bind_with_their_filter_or_are_refused_as_recorded(line):
    told = line["response"]
    refused = (
        told is not None and told["status"] == 4 and told["error"] != "There are no files in this RecordSet"
    )
    try:
        request = decode_fetch(line["params"])
        query = record_sets(request)
        structure = series(query.sets[0].series)
        selections = [bind(part, structure) for part in with_quality_filter(query, structure).sets]
    except MirrorError:
        assert refused
    else:
        assert not refused
        assert selections


@pytest.mark.parametrize(
    "ds, expected",
    [
        ("hmi.v_45s[2014.01.01]", "hmi.v_45s[2014.01.01][? quality >= 0 ?]"),
        ("hmi.v_45s[2014]{Dopplergram}", "hmi.v_45s[2014][? quality >= 0 ?]{Dopplergram}"),
        ("hmi.v_45s[1],hmi.v_45s[2]", "hmi.v_45s[1][? quality >= 0 ?],hmi.v_45s[2][? quality >= 0 ?]"),
        ("hmi.v_45s[? camera = 'quality' ?]", "hmi.v_45s[? camera = 'quality' ?][? quality >= 0 ?]"),
        ("hmi.v_45s[? QUALLEV1 = 0 ?]", "hmi.v_45s[? QUALLEV1 = 0 ?][? quality >= 0 ?]"),
        ("hmi.v_45s[? Quality<'5' ?]", "hmi.v_45s[? Quality<'5' ?]"),
        ("hmi.v_45s[! quality = 0 !]", "hmi.v_45s[! quality = 0 !]"),
        ("hmi.v_45s[1],hmi.v_45s[? quality = 0 ?]", "hmi.v_45s[1],hmi.v_45s[? quality = 0 ?]"),
    ],
)
def test_the_quality_filter_is_added_unless_a_condition_uses_that_column(ds, expected):
    assert with_quality_filter(parse_query(ds), HMI) == parse_query(expected)


def test_a_series_without_quality_is_not_filtered():
    query = parse_query("hmi.v_sht_2drls[2014]")
    assert with_quality_filter(query, series("hmi.v_sht_2drls")) == query
    assert not mentions_quality(query.sets[0])


def test_a_list_of_segments_stands_for_braces():
    request = ExportRequest("hmi.v_45s[1],hmi.v_45s[2]", segments=("a", "b"))
    assert str(record_sets(request)) == "hmi.v_45s[1]{a,b},hmi.v_45s[2]{a,b}"


@pytest.mark.parametrize("ds, seg", [("hmi.v_45s[1]", ("**ALL**",)), ("hmi.v_45s[1]{**ALL**}", None)])
def test_all_segments_are_no_choice(ds, seg):
    assert record_sets(ExportRequest(ds, segments=seg)).sets[0].segments is None


@pytest.mark.parametrize(
    "ds, seg, expected",
    [
        ("hmi.v_45s[1],hmi.m_45s[1]", None, "one series"),
        ("hmi.v_45s[1]{Dopplergram}", ("Dopplergram",), "`seg`"),
        ("hmi.v_45s[1", None, "expected"),
    ],
)
def test_record_sets_that_cannot_be_exported_are_refused(ds, seg, expected):
    with pytest.raises(BadRequest, match=expected):
        record_sets(ExportRequest(ds, segments=seg))


@pytest.mark.parametrize(
    "request_, survey, expected",
    [
        (QUICK, Survey(2, 2, 10), Verdict.AT_ONCE),
        (replace(QUICK, protocol=Protocol("su-as-is")), Survey(2, 2, 10), Verdict.AT_ONCE),
        (replace(QUICK, method="url"), Survey(2, 2, 10), Verdict.LATER),
        (replace(QUICK, method="url"), Survey(0, 0, 0), Verdict.LATER),
        (replace(QUICK, protocol=Protocol("fits")), Survey(2, 2, 10), Verdict.LATER),
        (replace(QUICK, allow_staging=True), Survey(2, 2, 10, online=False), Verdict.LATER),
    ],
)
def test_a_request_is_answered_at_once_if_paths_are_all_it_wants(request_, survey, expected):
    assert verdict(request_, survey) is expected


@pytest.mark.parametrize(
    "request_, survey, status",
    [
        (QUICK, Survey(2, 0, 0), 4),
        (QUICK, Survey(2, 2, 10, online=False), 25),
        (QUICK, Survey(2, 2, 200_000 << 20), 3),
    ],
)
def test_a_request_that_cannot_be_served_gets_its_status(request_, survey, status):
    answer = verdict(request_, survey)
    assert isinstance(answer, Failed)
    assert answer.status == status


def test_too_large_a_request_is_void_and_told_the_limit():
    answer = verdict(replace(QUICK, sizeratio=2.0), Survey(7, 7, 60_000 << 20))
    assert isinstance(answer, Failed)
    assert (answer.request_id, answer.rcount, answer.size) == ("VOID", 7, 60_000)
    assert "50000MB" in answer.error


@pytest.mark.parametrize(
    "protocol, compressed, limit",
    [
        ("as-is", True, 100_000),
        ("fits,compress Rice", False, 1_000_000),
        ("fits,**NONE**", True, 10_000),
        ("fits,**NONE**", False, 100_000),
    ],
)
def test_the_size_limit_depends_on_what_compression_does(protocol, compressed, limit):
    assert size_limit(ExportRequest("s[]", protocol=Protocol(protocol)), compressed=compressed) == limit


@pytest.mark.parametrize("size, expected", [(0, 0), (1, 1), (1 << 20, 1), ((3 << 20) - 1, 2)])
def test_sizes_are_told_in_whole_megabytes_and_one_at_least(size, expected):
    assert megabytes(size) == expected


def test_errors_have_the_status_of_upstream_or_four():
    assert failure(UpstreamRefused(7, "too many")) == Failed(7, "JSOC refused: too many")
    assert failure(UpstreamRefused(1, "odd")).status == 4
    assert failure(UpstreamUnreachable("no way")) == Failed(4, "no way")


def name(request, recnums=None):
    return identity(request, record_sets(request), recnums)


@pytest.mark.parametrize(
    "change",
    [
        {"notify": "b@example.com"},
        {"requester": "b"},
        {"format": "txt"},
        {"process": parse_process("n=0|no_op")},
        {"protocol": Protocol("AS-IS")},
        {"ds": "hmi.V_45s[]"},
    ],
)
def test_what_does_not_change_the_files_does_not_change_a_request(change):
    assert name(replace(QUICK, **change)) == name(QUICK)
    assert name(replace(QUICK, **change), [1, 2]) == name(QUICK, [1, 2])


@pytest.mark.parametrize(
    "change",
    [
        {"ds": "hmi.m_45s[]"},
        {"ds": "hmi.v_45s[]{Dopplergram}"},
        {"method": "url"},
        {"protocol": Protocol("fits")},
        {"filenamefmt": "{segment}"},
        {"process": parse_process("n=0|rebin,scale=0.5")},
    ],
)
def test_what_changes_the_files_changes_a_request(change):
    assert name(replace(QUICK, **change)) != name(QUICK)
    assert name(replace(QUICK, **change), [1, 2]) != name(QUICK, [1, 2])


def test_requests_are_identical_if_their_records_are():
    other = replace(QUICK, ds="hmi.v_45s[2014.01.01/90s]", process=parse_process("n=2"))
    assert name(other, [1, 2]) == name(QUICK, [1, 2])
    assert name(other, [1, 2]) != name(QUICK, [1, 3])
    assert name(other) != name(QUICK)
    assert name(replace(QUICK, ds="hmi.v_45s[1],hmi.v_45s[2]"), [1, 2]) == name(QUICK, [1, 2])
    assert name(replace(QUICK, ds="hmi.v_45s[1]{a},hmi.v_45s[2]{b}"), [1, 2]) != name(QUICK, [1, 2])


FILES = (ExportFile("hmi.V_45s[1]{D}", "a.fits"), ExportFile("hmi.V_45s[2]{D}", "NoDataFile"))


def test_an_index_counts_the_files_that_are_there():
    index = index_of("JSOC_20140101_001", QUICK, FILES, directory="/SUM1/D1/S00000", size=5 << 20, made=MADE)
    assert (index.count, index.size, index.exptime, index.tarfile) == (1, 5, None, None)
    assert index.keywords == "/SUM1/D1/S00000/JSOC_20140101_001.keywords.txt"


def test_an_index_of_fits_files_tells_when_and_how_they_were_made():
    request = replace(QUICK, method="url-tar", protocol=Protocol("FITS,compress Rice"))
    step = AppliedStep("rebin", (("scale", "0.5"),))
    index = index_of(
        "JSOC_20140101_001", request, FILES, directory="/d", size=9, made=MADE, processing=[step]
    )
    assert (index.protocol, index.exptime) == ("fits", "2026.11.22_07:06:33_UT")
    assert (index.keywords, index.tarfile) == ("**IN FITS FILES**", "/d/JSOC_20140101_001.tar")
    assert index.processing == (step,)


def test_an_index_without_rows_says_why():
    as_is = index_of("JSOC_20140101_001", QUICK, (), directory="/d", size=0, made=MADE)
    assert (as_is.dir, as_is.files, as_is.keywords) == ("", (), None)
    fits = replace(QUICK, protocol=Protocol("fits"))
    index = index_of("JSOC_20140101_001", fits, (), directory="/d", size=0, made=MADE)
    assert (index.dir, index.files, index.count) == ("/d", (NO_FITS_FILES,), 0)
