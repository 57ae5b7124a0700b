"""Columns of answers follow the server's rules for names; the recorded answers show the rest."""

from __future__ import annotations

import dataclasses

import pytest

from mirror.drms.series import Keyword, Link
from mirror.errors import Refused
from mirror.services.search.columns import FoundRecords, answer
from mirror.storage.index.layout import Layout
from mirror.storage.index.rows import raw_records
from mirror.wire.info import RsListRequest
from tests.storage import archive

SERIES = dataclasses.replace(
    archive.SERIES,
    keywords=(
        *archive.SERIES.keywords,
        Keyword("DATE__OBS", "time", "variable", "", "UTC", "[DATE-OBS] observed"),
        Keyword("DATE-OBS", "time", "variable", "", "UTC", "[DATE-OBS] observed"),
        Keyword("image_bzero", "double", "variable", "0", "none", ""),
    ),
    links=(Link("MDATA", "lab.other", "DYNAMIC", ""),),
)
LAYOUT = Layout(SERIES)


def part(*records, paths=None):
    told = archive.answer(records)
    n = told.count
    keywords = [
        *told.keywords[:4],
        ("DATE__OBS", ["2014-01-01T00:00:00Z"] * n),
        ("image_bzero", ["0"] * n),
        *told.keywords[4:],
    ]
    segments = told.segments
    if paths is not None:
        present = [x for x in paths if x != "BadSegLink"]
        segments = [
            dataclasses.replace(told.segments[0], values=paths, dims=["4x4"] * n, cparms=["c"] * len(present))
        ]
    whole = dataclasses.replace(
        told, keywords=keywords, segments=segments, links=[("MDATA", ["lab.other[1]"] * n)]
    )
    return FoundRecords(LAYOUT, raw_records(LAYOUT, whole))


TWO = part(archive.Record(1, 5, value="1.5"), archive.Record(2, 6, value=" 2.5"))


def ask(*parts, **request):
    return answer(RsListRequest("lab.small", **request), parts)


def test_names_are_found_in_any_case_and_echoed_as_typed():
    assert ask(TWO, keys=("value", "VaLuE")).keywords == [
        ("value", ["1.5", " 2.5"]),
        ("VaLuE", ["1.5", " 2.5"]),
    ]


def test_names_are_not_trimmed():
    assert ask(TWO, keys=(" VALUE",)).keywords == [(" VALUE", ["Invalid KeyLink"] * 2)]


def test_numbers_are_numbers():
    found = ask(TWO, keys=("*recnum*", "*sunum*", "*online*"))
    assert [values for _, values in found.keywords] == [[1, 2], [10, 20], ["NA", "NA"]]


def test_all_leaves_out_what_is_implicit_and_has_the_alias():
    assert [name for name, _ in ask(TWO, keys=("**ALL**",)).keywords] == [
        "K",
        "W",
        "NAME",
        "VALUE",
        "DATE__OBS",
        "DATE-OBS",
    ]
    assert ask(TWO, keys=("image_bzero",)).keywords == [("image_bzero", ["0", "0"])]


def test_the_alias_has_the_values_of_its_keyword():
    (one, other) = ask(TWO, keys=("DATE__OBS", "date-obs")).keywords
    assert one[1] == other[1] == ["2014-01-01T00:00:00Z"] * 2


def test_none_anywhere_empties_a_list():
    found = ask(TWO, keys=("K", "**NONE**"), segments=("**NONE**",), links=("**NONE**", "MDATA"))
    assert (found.keywords, found.segments, found.links) == ([], [], [])


def test_unknown_names_give_a_word_in_every_record():
    found = ask(TWO, keys=("foo",), segments=("baz",), links=("bar",))
    assert found.keywords == [("foo", ["Invalid KeyLink"] * 2)]
    assert (found.segments[0].values, found.segments[0].dims) == (["InvalidSegName"] * 2, ["NA"] * 2)
    assert found.links == [("bar", ["Invalid_Link"] * 2)]


def test_links_are_answered_and_all_stands_for_them():
    assert ask(TWO, links=("**ALL**",)).links == [("MDATA", ["lab.other[1]"] * 2)]


def test_nothing_found_is_nothing_but_a_count():
    found = ask(FoundRecords(LAYOUT, []), keys=("K",), segments=("image",), recinfo=True)
    assert found.count == 0


def test_several_sets_follow_each_other_and_may_repeat():
    found = ask(TWO, part(archive.Record(9, 1)), TWO, keys=("K",), recinfo=True)
    assert found.keywords == [("K", ["5", "6", "1", "5", "6"])]
    assert [name for name, _ in found.recinfo] == [
        "lab.Small[5][0][a]",
        "lab.Small[6][0][a]",
        "lab.Small[1][0][a]",
        "lab.Small[5][0][a]",
        "lab.Small[6][0][a]",
    ]


@pytest.mark.parametrize(
    "request_", [{"keys": ("**ALL**",)}, {"segments": ("**ALL**",)}, {"links": ("**ALL**",)}]
)
def test_all_over_several_sets_is_refused(request_):
    with pytest.raises(Refused, match="several record sets"):
        ask(TWO, TWO, **request_)


def test_a_record_is_online_if_the_last_segment_asked_for_has_a_path():
    assert [online for _, online in ask(TWO, keys=("K",), recinfo=True).recinfo] == [0, 0]
    offline = part(archive.Record(1, 5), archive.Record(2, 6), paths=["NoDataDirectory", "\\/SUM1\\/D2"])
    assert [online for _, online in ask(offline, segments=("image",), recinfo=True).recinfo] == [0, 1]
    assert [online for _, online in ask(offline, segments=("image", "nosuch"), recinfo=True).recinfo] == [
        0,
        0,
    ]


def test_a_segment_that_does_not_resolve_is_named_or_left_out():
    broken = part(archive.Record(1, 5), archive.Record(2, 6), paths=["BadSegLink", "\\/SUM1\\/D2"])
    named, everything = (
        ask(broken, segments=("image",)).segments[0],
        ask(broken, segments=("**ALL**",)).segments[0],
    )
    assert (named.values, named.cparms) == (["BadSegLink", "\\/SUM1\\/D2"], ["c"])
    assert (everything.values, everything.dims) == (["\\/SUM1\\/D2"], ["4x4"])
