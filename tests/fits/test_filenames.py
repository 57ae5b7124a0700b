"""File names of exports, against the names that the real exporter made."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import BadRequest, Refused, SyntaxProblem, UnknownName
from mirror.fits.filenames import NamedFile, file_name, printf
from mirror.wire.structure import decode_series_struct
from tests.fits.recorded_cases import as_bytes, cases, load
from tests.recorded import WORLD

#: The record that aia.lev1_euv_12s links to, where its linked segment's file lies.
LINKED_TO = {"T_REC": "2014-01-01T00:00:24Z"}
FAILURES = {1: SyntaxProblem, 2: UnknownName, "hangs": Refused}


def sources() -> dict[tuple[str, str], NamedFile]:
    """Every recorded record and segment that a name was made for."""
    found = {}
    for case in cases():
        file = case.path.rpartition("/")[2] if case.path.startswith("/SUM") else case.segment
        target = LINKED_TO if case.segment == "image" else None
        found[case.record, case.segment] = NamedFile(
            case.series, int(case.exact["*recnum*"]), file, case.printed, case.exact, target
        )
        for segment in case.series.segments:
            alike = NamedFile(
                case.series, int(case.exact["*recnum*"]), f"{segment.name}.fits", case.printed, case.exact
            )
            found.setdefault((case.record, segment.name), alike)
    # The database of this record names no file; what is archived has the default name all the same.
    source = found["su_fits.img[2]", "int_r"]
    found["su_fits.img[2]", "int_r"] = NamedFile(source.series, 2, "int_r", source.printed, source.exact)
    return found | zoo()


def zoo() -> dict[tuple[str, str], NamedFile]:
    """Records of a series with every type of keyword, by name and by number."""
    import gzip

    world = json.loads(gzip.decompress((WORLD / "su_test.zoo.json.gz").read_bytes()))
    series = decode_series_struct(world["series_struct"].encode(), name_hint="su_test.zoo")
    columns = {column["name"]: column["values"] for column in world["answer"]["keywords"]}
    names = [record["name"] for record in world["answer"]["recinfo"]]
    found = {}
    for i in sorted(range(len(names)), key=lambda i: columns["*recnum*"][i]):
        recnum = columns["*recnum*"][i]
        printed = as_bytes({name: values[i] for name, values in columns.items()})
        exact = printed | {name: values[i] for name, values in world["precise"].items()}
        for name in (names[i], f"su_test.zoo[:#{recnum}]"):
            found[name, "img"] = NamedFile(series, recnum, "img.fits", printed, exact)
            found[name, "txt"] = NamedFile(series, recnum, "txt.txt", printed, exact)
    return found


SOURCES = sources()
CAMERA = SOURCES["hmi.v_45s[2014.01.01_00:00_TAI]", "Dopplergram"]
IMAGE = SOURCES["su_fits.img[1]", "int_r"]


def test_all_recorded_names_are_made_in_one_run_with_one_counter():
    counter = itertools.count()
    recorded = load("filenames")
    assert len(recorded) == 87
    for line in recorded:
        template, source = line["filenamefmt"], SOURCES[line["spec"], line["segment"]]
        if line["status"] in FAILURES:
            with pytest.raises(FAILURES[line["status"]]):
                file_name(template, source, counter)
        else:
            name = file_name(template, source, counter)
            # The recording of a name with a line end in it stops short of that line's last character.
            assert name == line["name"] or ("\n" in name and name.startswith(line["name"])), template


@pytest.mark.parametrize(
    "template, source, name",
    [
        ("{DATAMIN_004}", IMAGE, "-6.000000"),
        ("{datamin_004:%.1f}", IMAGE, "-6.0"),
        ("{date-obs:A}", CAMERA, "2013-12-31T235904Z"),
        ("{T_OBS:A3}", CAMERA, "20140101_000005090_TAI"),
        ("{QUALITY:%#x}", CAMERA, "0"),
        ("{CALVER64:%llX}", CAMERA, "42112"),
    ],
)
def test_names_that_were_not_recorded(template, source, name):
    expected = "0x0" if template == "{QUALITY:%#x}" else name
    assert file_name(template, source, itertools.count()) == expected


def test_a_name_of_a_linked_file_takes_laid_out_values_from_the_record_it_lies_in():
    source = SOURCES["aia.lev1_euv_12s[2014-01-01T00:00:11Z/12s][171]", "image"]
    assert file_name("{T_REC}", source, itertools.count()) == "2014-01-01T00:00:13Z"
    assert file_name("{T_REC:A}", source, itertools.count()) == "2014-01-01T000024Z"
    assert file_name("{T_OBS:A}", source, itertools.count()) == "2014-01-01T000024Z"
    with pytest.raises(UnknownName, match="linked file"):
        file_name("{WAVELNTH:%d}", source, itertools.count())


def test_the_caret_of_a_syntax_problem_stands_at_the_open_brace():
    with pytest.raises(SyntaxProblem) as caught:
        file_name("a.{seriesname", CAMERA, itertools.count())
    assert caught.value.position == 2


@pytest.mark.parametrize("layout", ["%d%d", "%%", "%999d", "%.500f", "%n%n"])
def test_layouts_that_would_not_end_well_are_refused(layout):
    with pytest.raises(Refused, match="layout"):
        printf(layout, 1)


def test_layouts_that_do_not_suit_their_value_are_refused():
    for layout, value in (("%s", 1), ("%d", "x"), ("%f", "x")):
        with pytest.raises(Refused, match="suit"):
            printf(layout, value)


@pytest.mark.parametrize(
    "layout, value, text",
    [
        ("%08d", 5, "00000005"),
        ("%x", -1, "ffffffff"),
        ("%d", 2.7, "0"),
        ("x", 1, "x"),
        ("a%-4db", 1, "a1   b"),
    ],
)
def test_a_layout_prints_as_in_c(layout, value, text):
    assert printf(layout, value) == text


PIECES = st.sampled_from(
    ["{", "}", ":", "T_REC", "CAMERA", "#", "A", "%d", "%s", "-3", ",ISO", "x", "%99.99f", "recnum"]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_template_gives_a_short_name_or_an_error_of_the_asker(template):
    try:
        name = file_name(template, CAMERA, itertools.count())
    except BadRequest:
        return
    assert len(name) <= 127
