"""The columns that a condition may name."""

from dataclasses import replace

from mirror.drms.recordset import RecordSet, Where
from mirror.drms.selection import bind, evaluable
from mirror.drms.series import Keyword
from mirror.drms.where import bind_where, needs, parse_where, where_columns
from mirror.storage.index.layout import Layout
from tests.lab import world

SHARP = next(s.structure for s in world() if s.structure.name == "hmi.sharp_720s")
OF_SEGMENTS = Keyword("DATAMIN", "float", "segment", "", "", "")


def test_a_keyword_of_the_segments_is_a_column_for_each_of_them():
    series = replace(SHARP, keywords=(*SHARP.keywords, OF_SEGMENTS))
    columns = where_columns(series)
    numbered = [name for name in columns if name.startswith("datamin_")]
    assert sorted(numbered) == [f"datamin_{n:03d}" for n in range(len(series.segments))]
    assert columns["datamin_001"] == "float"
    assert needs(bind_where(parse_where("DATAMIN_001 < -1"), columns)) == {"datamin_001"}


def test_what_its_name_without_a_number_means_in_a_condition_only_jsoc_knows():
    series = replace(SHARP, keywords=(*SHARP.keywords, OF_SEGMENTS))
    for condition, ours in (("DATAMIN < -1", False), ("DATAMIN_000 < -1", True), ("DATAMIN < 1 or HARPNUM = 1", True)):
        assert evaluable(bind(RecordSet(series.name, (Where(condition),)), series)) is ours


def test_without_a_number_it_is_that_of_the_first_segment():
    layout = Layout(replace(SHARP, keywords=(*SHARP.keywords, OF_SEGMENTS)))
    assert layout.aliases["datamin"] == "DATAMIN_000"
    assert {"DATAMIN_000", "DATAMIN_001"} <= set(layout.fields)
    assert "DATAMIN" not in layout.fields


def test_of_two_keywords_of_one_name_the_first_counts():
    first, again = Keyword("Twice", "int", "variable", "", "", ""), Keyword("TWICE", "string", "variable", "", "", "")
    series = replace(SHARP, keywords=(*SHARP.keywords, first, again))
    assert where_columns(series)["twice"] == "int"
    layout = Layout(series)
    assert layout.problem is None
    assert [c.keyword for c in layout.columns if c.name == "twice"] == ["Twice"]
    assert series.keyword("twice") == first
