"""The columns that a condition may name."""

from dataclasses import replace

from mirror.drms.series import Keyword
from mirror.drms.where import bind_where, needs, parse_where, where_columns
from mirror.storage.index.layout import Layout
from tests.lab import world

SHARP = next(s.structure for s in world() if s.structure.name == "hmi.sharp_720s")
OF_SEGMENTS = Keyword("DATAMIN", "float", "segment", "", "", "")


def test_a_keyword_of_the_segments_is_a_column_for_each_of_them():
    series = replace(SHARP, keywords=(*SHARP.keywords, OF_SEGMENTS))
    columns = where_columns(series)
    assert "datamin" not in columns
    numbered = [name for name in columns if name.startswith("datamin_")]
    assert sorted(numbered) == [f"datamin_{n:03d}" for n in range(len(series.segments))]
    assert columns["datamin_001"] == "float"
    assert needs(bind_where(parse_where("DATAMIN_001 < -1"), columns)) == {"datamin_001"}


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
