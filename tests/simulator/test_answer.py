"""rs_list beyond the recorded queries: limits, names in any case, several sets, the flag f."""

from __future__ import annotations

import math

import pytest

from mirror.errors import BadRequest, ConfigError, Refused, UnknownSeries
from mirror.simulator.answer import read_parts, rs_list
from mirror.simulator.archive import Archive
from mirror.simulator.evaluate import MOST_RECORDS, record_limit
from mirror.simulator.fitslike import fits_records
from mirror.simulator.show_info import run_show_info
from mirror.wire.info import RsListRequest
from tests.simulator.small import Memory, series

SMALL = series(keywords=(("K", "int"), ("F", "float"), ("D", "double")), segments=("image", "mask"))


def memory(count):
    columns = {"k": range(count), "f": [0.1] * count, "d": [2.0] * count, "recnum": range(1, count + 1)}
    return Memory(SMALL, {name: list(values) for name, values in columns.items()})


class Told(Memory):
    """A series that tells how many records there are, and cannot make them."""

    def candidates(self, selection, n=None):
        raise AssertionError("rows were made")

    def count(self, selection):
        return MOST_RECORDS


@pytest.fixture
def archive(world):
    return Archive([*world, memory(5)])


def ask(ds, **more):
    return RsListRequest(ds, **more)


def test_a_set_at_the_limit_is_the_error_that_the_real_server_gives():
    limit = record_limit(SMALL)
    with pytest.raises(Refused, match=r"^ jsoc_info: series not found\.$"):
        rs_list(ask("lab.small[]"), Archive([memory(limit)]))
    assert rs_list(ask("lab.small[]"), Archive([memory(limit - 1)])).count == limit - 1
    assert rs_list(ask("lab.small[]", n=10), Archive([memory(limit)])).count == 10


def test_the_limit_is_checked_before_rows_are_made():
    told = Told(SMALL, {"k": [1]})
    with pytest.raises(Refused):
        rs_list(ask("lab.small[]"), Archive([told]))


def test_a_missing_quality_is_in_hex_under_its_own_name_only(archive):
    answer = rs_list(ask("hmi.v_45s[2014.01.01_00:09:45_TAI]", keys=("QUALITY", "quality")), archive)
    assert answer.keywords == [("QUALITY", ["0x80000000"]), ("quality", ["MISSING"])]


@pytest.mark.parametrize("lists", [{"keys": ("**ALL**",)}, {"segments": ("**ALL**",)}, {"links": ("**ALL**",)}])
def test_everything_of_several_sets_is_refused(archive, lists):
    with pytest.raises(BadRequest, match="single data series"):
        rs_list(ask("lab.small[1],lab.small[2]", **lists), archive)


def test_sets_are_concatenated_in_the_order_of_the_query(archive):
    answer = rs_list(ask("lab.small[3-4],lab.small[0]", keys=("k", "*recnum*"), segments=("mask",)), archive)
    assert answer.keywords == [("k", ["3", "4", "0"]), ("*recnum*", [4, 5, 1])]
    assert answer.segments[0].values == ["\\/SUM1\\/D3\\/mask", "\\/SUM1\\/D4\\/mask", "\\/SUM1\\/D0\\/mask"]


@pytest.mark.parametrize(
    "braces, segments",
    [("{mask}", ["mask"]), ("{MASK}", ["mask"]), ("{nothing}", ["image", "mask"]), ("", ["image", "mask"])],
)
def test_braces_say_which_segments_there_are(archive, braces, segments):
    answer = rs_list(ask(f"lab.small[1]{braces}", segments=("**ALL**",)), archive)
    assert [segment.name for segment in answer.segments] == segments


def test_a_segment_outside_the_braces_is_not_there(archive):
    (column,) = rs_list(ask("lab.small[1]{mask}", segments=("image",)), archive).segments
    assert (column.values, column.dims) == (["InvalidSegName"], ["NA"])


def test_an_empty_selection_has_no_columns(archive):
    answer = rs_list(ask("lab.small[99]", keys=("k",), recinfo=True), archive)
    assert (answer.count, answer.recinfo) == (0, None)


def test_the_flag_f_gives_numbers_all_their_digits(archive):
    request = ask("lab.small[1]", keys=("F", "D", "nothing"), flags={"f": "1"})
    (record,) = fits_records(request, read_parts(request, archive))
    assert dict(record.keywords) == {"F": "0.1", "D": "2.", "nothing": None}


def test_under_the_flag_f_a_missing_value_is_invalid():
    data = Memory(SMALL, {"k": [1], "f": [math.nan], "d": [math.inf], "recnum": [1]})
    request = ask("lab.small[1]", keys=("F",), flags={"f": "1"})
    (record,) = fits_records(request, read_parts(request, Archive([data])))
    assert record.keywords == (("F", None),)


def test_a_series_is_found_in_any_case_and_an_unknown_one_named(archive):
    assert archive.find("HMI.v_45S").structure.name == "hmi.V_45s"
    with pytest.raises(UnknownSeries, match=r"no\.such"):
        archive.find("no.such")


def test_two_series_of_one_name_are_an_error():
    with pytest.raises(ConfigError, match=r"lab\.small"):
        Archive([memory(1), memory(2)])


# ---- keywords that each segment has its own of ---------------------------------------------------------

OF_SEGMENTS = series(
    name="lab.parts", keywords=(("K", "int"), ("DATAMIN", "float", "segment")), segments=("image", "mask")
)


@pytest.fixture
def parts():
    columns = {"k": [1, 2, 3], "datamin_000": [0.5, 1.5, 2.5], "datamin_001": [7.0, 8.0, 9.0], "recnum": [1, 2, 3]}
    return Archive([Memory(OF_SEGMENTS, columns)])


def test_a_keyword_of_segments_is_told_once_and_a_record_has_one_a_segment(parts):
    assert [k.name for k in parts.find("lab.parts").structure.keywords] == ["K", "DATAMIN"]
    answer = rs_list(ask("lab.parts[2]", keys=("**ALL**",)), parts)
    assert answer.keywords == [("K", ["2"]), ("DATAMIN_000", ["1.5"]), ("DATAMIN_001", ["8.0"])]


def test_it_is_found_with_its_number_and_by_its_bare_name_for_the_first_segment(parts):
    names = ("datamin_001", "DATAMIN[1]", "DATAMIN", "DATAMIN[7]", "DATAMIN[x]")
    answer = rs_list(ask("lab.parts[3]", keys=names), parts)
    nothing = ["Invalid KeyLink"]
    assert [values for _, values in answer.keywords] == [["9.0"], ["9.0"], ["2.5"], nothing, nothing]


def test_under_the_flag_f_it_is_found_by_the_same_names(parts):
    request = ask("lab.parts[2]", keys=("K", "DATAMIN_001", "datamin[0]", "DATAMIN"), flags={"f": "1"})
    (record,) = fits_records(request, read_parts(request, parts))
    assert record.keywords == (("K", "2"), ("DATAMIN_001", "8."), ("DATAMIN_000", "1.5"))


def test_a_condition_names_its_columns(parts):
    assert rs_list(ask("lab.parts[? DATAMIN_001 > 7 and DATAMIN_000 < 2 ?]"), parts).count == 1
    with pytest.raises(BadRequest, match='column "datamin" does not exist; there are datamin_000'):
        rs_list(ask("lab.parts[? DATAMIN > 7 ?]"), parts)


def test_show_info_prints_them_all(parts):
    text, _ = run_show_info({"ds": "lab.parts[1]", "a": "1"}, parts)
    assert text.splitlines() == ["K\tDATAMIN_000\tDATAMIN_001", "1\t0.5\t7.0"]
    listed, _ = run_show_info({"ds": "lab.parts", "l": "1"}, parts)
    assert "\tDATAMIN   \t(float), per-segment\t" in listed
