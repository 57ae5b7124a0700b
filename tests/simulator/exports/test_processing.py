"""Processing steps on small images."""

from __future__ import annotations

import numpy as np
import pytest

from mirror.drms.export import ProcessStep
from mirror.drms.times import parse_time
from mirror.errors import BadRequest
from mirror.simulator.exports.processing import Frame, Stored, component, process

BLANK = -32768
IMAGE = np.arange(48, dtype=np.int16).reshape(6, 8)
PLACED = {"CDELT1": 2.0, "CDELT2": 2.0, "CRPIX1": 4.5, "CRPIX2": 3.5, "CRVAL1": 0.0, "CRVAL2": 0.0}


def step(name, frame, **arguments):
    return process(ProcessStep(name, tuple(arguments.items())), frame)


def cut(frame, **arguments):
    return step("im_patch", frame, locunits="arcsec", boxunits="arcsec", **{"t": "1", **arguments})


def test_a_box_in_the_middle_is_cut_out_with_the_pixels_at_both_edges():
    made = cut(Frame(IMAGE, PLACED), x="0", y="0", width="6", height="2")
    assert made.image.tolist() == IMAGE[2:4, 2:6].tolist()
    assert (made.keywords["CRPIX1"], made.keywords["CRPIX2"]) == (2.5, 1.5)


def test_the_same_pixel_keeps_its_place_in_the_sky():
    made = cut(Frame(IMAGE, PLACED), x="3", y="-2", width="4", height="4")
    (at,) = np.argwhere(made.image == IMAGE[2, 5])
    sky = [(at[1 - axis] + 1 - made.keywords[f"CRPIX{axis + 1}"]) * 2.0 for axis in (0, 1)]
    assert sky == [(5 + 1 - 4.5) * 2.0, (2 + 1 - 3.5) * 2.0]


def test_what_lies_beyond_the_image_is_missing():
    made = cut(Frame(IMAGE, PLACED), x="8", y="0", width="6", height="2")
    assert (made.image[:, -1] == BLANK).all()
    assert (
        cut(Frame(IMAGE, PLACED), x="800", y="0", width="6", height="2").image.tolist() == [[BLANK] * 4] * 2
    )


def test_the_box_follows_the_rotation_unless_told_not_to():
    frame = Frame(IMAGE, PLACED, parse_time("2011-02-15T00:30:00Z"))
    where = {"x": "0", "y": "0", "width": "2", "height": "2", "t_ref": "2011-02-15T00:00:00"}
    assert cut(frame, **where, t="0").keywords["CRPIX1"] < cut(frame, **where, t="1").keywords["CRPIX1"]


@pytest.mark.parametrize(
    "arguments",
    [{"width": "1e9"}, {"width": "nan"}, {"width": "-5"}, {"x": "east"}, {"t": "0", "t_ref": "once"}],
    ids=str,
)
def test_a_box_that_cannot_be_is_refused(arguments):
    with pytest.raises(BadRequest):
        cut(Frame(IMAGE, PLACED, 0.0), **{"x": "0", "y": "0", "width": "4", "height": "4", **arguments})


def test_rebinning_takes_the_mean_of_what_is_there():
    image = IMAGE.copy()
    image[0, 0] = image[4:, 6:] = BLANK
    made = step("rebin", Frame(image, PLACED), method="boxcar", scale="0.5")
    assert made.image.shape == (3, 4)
    assert made.image[0, 0] == round((1 + 8 + 9) / 3)
    assert made.image[2, 3] == BLANK
    assert (made.keywords["CDELT1"], made.keywords["CRPIX1"]) == (4.0, 2.5)


@pytest.mark.parametrize("scale", ["0.01", "x", "0"])
def test_a_scale_that_cannot_be_is_refused(scale):
    with pytest.raises(BadRequest):
        step("rebin", Frame(IMAGE, PLACED), scale=scale)


def test_an_unknown_step_is_refused_by_name():
    with pytest.raises(BadRequest, match="polish"):
        step("polish", Frame(IMAGE, PLACED))


@pytest.mark.parametrize("name", ["aia_scale_aialev1", "aia_scale_orig"])
def test_level_1_5_has_its_scale_with_the_sun_in_the_middle(name):
    frame = Frame(IMAGE, {**PLACED, "CDELT1": 0.6, "CDELT2": 0.6, "CRPIX1": 6.5, "CROTA2": 0.0})
    made = step(name, frame)
    shift = round(6.5 - (IMAGE.shape[1] + 1) / 2)
    assert made.image[2, 3] == IMAGE[round(2 + frame.keywords["CRPIX2"] - (IMAGE.shape[0] + 1) / 2), 3 + shift]
    assert made.keywords["CDELT1"] == 0.6
    assert made.keywords["CRPIX1"] == (IMAGE.shape[1] + 1) / 2
    assert (made.keywords["CROTA2"], made.keywords["LVL_NUM"]) == (0.0, 1.5)


def test_an_image_that_stands_on_its_head_is_turned():
    whole = {"CDELT1": 0.6, "CRPIX1": (IMAGE.shape[1] + 1) / 2, "CRPIX2": (IMAGE.shape[0] + 1) / 2}
    made = step("aia_scale_aialev1", Frame(IMAGE, {**whole, "CROTA2": 180.0}))
    assert made.image.tolist() == IMAGE[::-1, ::-1].tolist()


def test_a_field_along_the_line_of_sight_is_radial_in_the_middle_of_the_disk():
    shape = (5, 5)
    fill = {"field": 1000, "inclination": 0, "azimuth": 90}
    inputs = {name: Stored(np.full(shape, value, dtype=np.int32), 1.0, 0.0) for name, value in fill.items()}
    keywords = {"CRPIX1": 3.0, "CRPIX2": 3.0, "CDELT1": 0.5, "RSUN_OBS": 1.0}
    parts = {name: component(name, inputs, keywords) for name in ("Bp", "Bt", "Br", "latitude", "longitude")}
    assert [int(parts[name][2, 2]) for name in parts] == [0, 0, 1000, 0, 0]
    assert parts["Br"][0, 0] == np.iinfo(np.int32).min  # off the disk
    assert parts["latitude"][3, 2] == 30
    assert parts["Bt"][3, 2] == 500
