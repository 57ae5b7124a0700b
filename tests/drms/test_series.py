"""Keywords of a series, and those of its records."""

from __future__ import annotations

from mirror.drms.series import Keyword, PrimeKey, Segment, Series
from mirror.storage.index.layout import Layout
from tests.fits.recorded_cases import cases


def keyword(name, scope="variable", note=""):
    return Keyword(name, "float", scope, "", "none", note)


def series(*keywords, segments=2):
    parts = tuple(Segment(f"s{n}", "float", "", "fits", "", "") for n in range(segments))
    return Series("su.test", "", 0, 0, 0, 0, (PrimeKey("A", slotted=False),), (), keywords, parts, ())


PER_SEGMENT = series(keyword("A"), keyword("DATAMIN", "segment"), keyword("B"))


def test_a_record_has_a_keyword_of_each_segment_under_its_number():
    assert [k.name for k in PER_SEGMENT.record_keywords] == ["A", "DATAMIN_000", "DATAMIN_001", "B"]
    assert PER_SEGMENT.all_keywords == ("A", "DATAMIN_000", "DATAMIN_001", "B")


def test_such_a_keyword_is_found_with_its_number_and_without():
    assert PER_SEGMENT.keyword("datamin_001").name == "DATAMIN_001"
    assert PER_SEGMENT.keyword("DATAMIN").name == "DATAMIN"
    assert PER_SEGMENT.keyword("DATAMIN_002") is None
    assert PER_SEGMENT.keyword("datamin[1]").name == "DATAMIN_001"
    assert [PER_SEGMENT.keyword(name) for name in ("DATAMIN[2]", "DATAMIN[]", "DATAMIN[x]", "[1]", "A[0]")] == [None] * 5


def test_what_is_asked_for_and_kept_of_a_record_is_what_the_recorded_server_has():
    for case in cases():
        asked = {k.name for k in Layout(case.series).keywords}
        assert asked == {name for name in case.exact if not name.startswith("*")}, case.series.name


def test_a_row_that_repeats_the_one_before_under_its_fits_name_stands_for_that():
    layout = Layout(
        series(keyword("A", note="[MAPPED] words"), keyword("MAPPED", note="[MAPPED] words"), keyword("C"))
    )
    assert [k.name for k in layout.keywords] == ["A", "C"]
    assert layout.aliases == {"mapped": "A"}


def test_a_name_that_is_also_a_keyword_of_its_own_stands_for_itself():
    twice = [keyword("A", note="[C] words"), keyword("C", note="[C] words"), keyword("C")]
    layout = Layout(series(*twice))
    assert [k.name for k in layout.keywords] == ["A", "C"]
    assert layout.aliases == {}
