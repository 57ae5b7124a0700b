"""File names of exports."""

from __future__ import annotations

from functools import partial

import pytest

from mirror.drms.parser import parse_query
from mirror.errors import BadRequest
from mirror.simulator.archive import bind_selection
from mirror.simulator.evaluate import select
from mirror.simulator.exports.names import Named, c_format, product_name, time_text
from mirror.simulator.exports.planning import Records


@pytest.fixture(scope="module")
def named(world):
    data = next(each for each in world if each.structure.name == "hmi.V_45s")
    (source,) = parse_query("hmi.V_45s[2014.01.01_00:00:45_TAI]").sets
    records = Records(data.structure, (), select(bind_selection(source, data.structure), data, 1))
    return Named(data.structure, 2, partial(records.printed, at=0), "Dopplergram.fits", 3)


@pytest.mark.parametrize(
    "template, name",
    [
        ("hmi.v_45s.{T_REC:A}.{CAMERA}.{segment}", "hmi.v_45s.20140101_000045_TAI.2.Dopplergram.fits"),
        ("{seriesname}.{recnum:%lld}.{segment}", "hmi.V_45s.2.Dopplergram.fits"),
        ("{#}-{#:%02d}.{segment}", "00003-03.Dopplergram.fits"),
        ("{t_rec:D}", "@2014@01@01@000045_TAI"),
        ("{CAMERA:%04d}{}", "0002"),
        ("../{segment}", ".._Dopplergram.fits"),
    ],
)
def test_templates_are_filled_in(named, template, name):
    assert product_name(template, named) == name


@pytest.mark.parametrize("template", ["{NOSUCH}", "..", "", "x" * 128])
def test_a_name_that_cannot_be_is_refused(named, template):
    with pytest.raises(BadRequest):
        product_name(template, named)


def test_an_iso_time_loses_its_marks():
    assert time_text("2014-01-01T00:00:24Z", "A") == "20140101T000024Z"
    assert time_text("2014-01-01T00:00:24Z", "Y") == "2014-01-01T00:00:24Z"


def test_printf_formats_take_numbers_and_texts():
    assert c_format("%8.2f", "3.14159") == "3.14"
    assert c_format("%lld", 12) == "12"
    assert c_format("nothing", 12) == "12"
