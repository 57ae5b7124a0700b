"""Narrowing by arithmetic against the evaluator on every row there is."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.parser import parse_query
from mirror.drms.recordset import RecordSet, Selection
from mirror.errors import MirrorError, Refused
from mirror.simulator import evaluate
from mirror.simulator.archive import bind_selection
from tests.simulator.synthetic.asking import archive_at

YOUNG = archive_at("2010.05.09_12:00:00_TAI")  # half a day of definitive data
IRIS = archive_at("2013.07.28_04:00:00_TAI")


@dataclass(frozen=True)
class Everything:
    """A series that always offers all of its rows, of all versions."""

    data: object

    @property
    def structure(self):
        return self.data.structure

    def candidates(self, selection, n=None):
        del selection, n
        series = self.data.structure
        record_set = parse_query(f"{series.name}[! 1=1 !]").sets[0]
        return self.data.candidates(bind_selection(record_set, series))

    def count(self, selection):
        del selection


minutes = st.integers(-30, 800).map(
    lambda m: f"2010.05.01_{0 if m < 0 else m // 60:02d}:{abs(m) % 60:02d}_TAI"
)
steps = st.sampled_from(["", "", "", "@12s", "@24s", "@5m", "@45m", "@2h"])
spans = st.sampled_from(["/1u", "/7u", "/90s", "/10m", "/2h", "/1d"])
times = st.one_of(
    minutes,
    st.builds(lambda a, d, s: f"{a}{d}{s}", minutes, spans, steps),
    st.builds(lambda a, b, s: f"{min(a, b)}-{max(a, b)}{s}", minutes, minutes, steps),
    st.sampled_from(["", "$", "^", "#$", "^,$"]),
)
lists = st.lists(times.filter(lambda t: t and "^" not in t and "$" not in t), min_size=1, max_size=3).map(
    ",".join
)
time_brackets = st.one_of(times, lists).map(lambda text: f"[{text}]")


def brackets(*texts):
    return st.sampled_from(["", *(f"[{text}]" for text in texts)])


wheres = st.sampled_from(["", "", "[? QUALITY=0 ?]", "[! 1=1 !]", "[? QUALITY>0 ?]"])
numbers = st.sampled_from(["", "", "", "[:#1-#30]", "[:#7,#9]", "[:#^]", "[:#$]", "[:#5-#40]"])
waves = brackets("171", "171,304", "94-193", "$", "^", "1", "94-335@37")
cameras = brackets("1", "2", "$")
harps = st.sampled_from(["[]", "[1]", "[1,3]", "[2-5]", "[$]", "[^]", "[1-9@2]"])
queries = st.one_of(
    st.builds("hmi.V_45s{}{}{}{}".format, time_brackets, cameras, wheres, numbers),
    st.builds("hmi.M_720s{}{}{}{}".format, time_brackets, cameras, wheres, numbers),
    st.builds("aia.lev1_uv_24s{}{}{}".format, time_brackets, brackets("1600", "$", "1600-1700"), wheres),
    st.builds("hmi.sharp_720s{}{}{}{}".format, harps, time_brackets, wheres, numbers),
    st.builds("hmi.sharp_720s{}{}{}".format, wheres, harps, time_brackets),
    st.builds("aia.lev1_euv_12s[2010.05.01_01:00_TAI/20m]{}{}".format, waves, wheres),
    st.builds(
        "aia.lev1[{}]{}{}".format,
        st.sampled_from(
            ["2010.05.01_00:10_TAI/3m", "2010.05.01_00:00:33_TAI/90s@3s", "$", "^", "2010.05.01_00:00_TAI"]
        ),
        brackets("4077650", "4077650-4077699", "$", "4077646-4077990@7"),
        wheres,
    ),
    st.sampled_from(
        ["aia.response", "aia.response[]", "aia.response[2011-04-05T00:00:00Z]", "aia.response[][171_THIN]"]
    ),
)


def recnums(rows):
    return rows.stored("recnum").values.tolist()


@given(ds=queries, n=st.sampled_from([0, 0, 1, 5, -1, -3]))
def test_narrowing_never_changes_what_is_selected(ds, n):
    _agree(YOUNG, ds, n)


def _agree(archive, ds, n):
    try:
        selection, data = archive.bound(ds)
    except MirrorError:  # not a query of this series; others test the binding
        return
    expected = recnums(evaluate.select(selection, Everything(data), n))
    assert recnums(evaluate.select(selection, data, n)) == expected
    counted = data.count(selection)
    if counted is not None and not n:
        assert counted == len(expected)


@given(
    start=st.integers(0, 3 * 3600),
    length=st.integers(0, 900),
    tail=st.sampled_from(["", "[1100000-1100300]", "[$]", "[? INSTRUME='NUV' ?]"]),
    n=st.sampled_from([0, 2, -2]),
)
def test_exposures_are_found_by_unslotted_times(start, length, tail, n):
    def text(seconds):
        return f"2013.07.20_{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}_TAI"

    _agree(IRIS, f"iris.lev1[{text(start)}-{text(start + length)}]{tail}", n)


@pytest.mark.parametrize(
    "name", ["hmi.V_45s", "aia.lev1_euv_12s", "aia.lev1", "hmi.sharp_720s", "mdi.fd_V", "iris.lev1"]
)
def test_a_whole_series_is_counted_without_rows(archive, name):
    series = archive.find(name)
    counted = series.count(Selection(series.structure, RecordSet(name), ()))
    assert counted > 5_000_000
    assert counted <= series.structure.extent.last_recnum


def test_the_first_and_the_last_record_are_those_of_the_extent(archive):
    for data in archive.series.values():
        extent = data.structure.extent
        if extent.last_recnum > 0:
            ends = [recnums(evaluate.select(*archive.bound(data.structure.name), n)) for n in (1, -1)]
            assert ends == [[extent.first_recnum], [extent.last_recnum]]


def test_a_condition_on_a_hundred_million_records_is_refused(archive):
    with pytest.raises(Refused, match="too many"):
        archive.select("aia.lev1_euv_12s[? EXPTIME>2 ?]")


def test_records_are_found_by_their_numbers_in_every_series(archive):
    for data in archive.series.values():
        series = data.structure
        if series.extent.last_recnum > 0:
            found = recnums(archive.select(f"{series.name}[:#{series.extent.last_recnum}]"))
            assert found == [series.extent.last_recnum]


def test_numbers_that_no_record_has_find_nothing(archive):
    assert len(archive.select("hmi.V_45s[:#0]")) == 0
    assert len(archive.select("hmi.V_45s[:#99999999]")) == 0


def test_the_number_of_a_reprocessed_record_is_higher_than_its_first(archive):
    both = archive.select("hmi.M_720s[2012.01.01_TAI/90d][! 1=1 !]")
    newest = archive.select("hmi.M_720s[2012.01.01_TAI/90d]")
    older = sorted(set(recnums(both)) - set(recnums(newest)))
    assert older
    old = archive.select(f"hmi.M_720s[:#{older[0]}]")
    new = archive.select(f"hmi.M_720s[{old.printed('T_REC', precise=False)[0]}][1]")
    assert recnums(new)[0] > older[0]
    assert new.stored("date").values > old.stored("date").values
    assert new.printed("CALVER64", precise=False) != old.printed("CALVER64", precise=False)


def test_new_records_appear_as_the_clock_goes_on():
    from mirror.drms.times import parse_time
    from mirror.simulator.synthetic import synthetic_series

    clock = [parse_time("2020.03.01_00:00:00_TAI")]
    series = next(d for d in synthetic_series(lambda: clock[0]) if d.structure.name == "hmi.V_45s")
    before = series.structure.extent.last_recnum
    clock[0] += 45.0
    assert series.structure.extent.last_recnum == before + 1


def test_a_row_of_the_past_is_the_same_whenever_it_is_asked_for(archive):
    ds = "hmi.V_45s[2010.05.01_00:00:00_TAI/90s]"
    for key in ("DATAMIN", "QUALITY", "OBS_VR", "DATE", "CRPIX1"):
        assert YOUNG.printed(ds, key) == archive.printed(ds, key)
    assert np.array_equal(recnums(YOUNG.select(ds)), recnums(archive.select(ds)))
