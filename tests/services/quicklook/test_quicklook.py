"""Quick looks: colours, averaging, orientation, and the picture of a record through a whole mirror."""

import hashlib
import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mirror.errors import Refused
from mirror.services.quicklook.colours import Look, indices, look_of, palette
from mirror.services.quicklook.render import draw, quick_look, read_image
from tests.filelab import file_lab, synthetic

GREY = Look("grey", low=0, high=254)
AIA = (94, 131, 171, 193, 211, 304, 335, 1600, 1700, 4500)


def fits_file(path, data, **image):
    hdu = fits.CompImageHDU if image.pop("rice", False) else fits.ImageHDU
    fits.HDUList([fits.PrimaryHDU(), hdu(data, **image)]).writeto(path)
    return path


def colours(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


# ---- colours ------------------------------------------------------------------------------------


def test_the_tables_of_aia_are_those_of_sunpy():
    from sunpy.visualization.colormaps import cmlist

    for wavelength in AIA:
        theirs = cmlist[f"sdoaia{wavelength}"](np.arange(256))[:, :3] * 255
        assert np.abs(theirs - palette(f"aia {wavelength}")).max() <= 1, wavelength


@pytest.mark.parametrize("name", ["grey", "orange", "blue-red", *(f"aia {w}" for w in AIA)])
def test_every_table_begins_with_black_for_no_value_and_no_two_ends_are_alike(name):
    table = palette(name)
    assert table.shape == (256, 3)
    assert table[0].tolist() == [0, 0, 0]
    assert table[1].tolist() != table[255].tolist()


def test_a_table_that_is_none_is_an_error():
    with pytest.raises(KeyError):
        palette("plaid")


@pytest.mark.parametrize(
    "series, segment, wavelength, name",
    [
        ("aia.lev1_euv_12s", "image", 171, "aia 171"),
        ("aia.lev1", "image_lev1", 1600, "aia 1600"),
        ("aia.lev1", "image_lev1", 42, "grey"),
        ("hmi.M_720s", "magnetogram", None, "grey"),
        ("hmi.Ic_45s", "continuum", None, "orange"),
        ("hmi.V_45s", "Dopplergram", None, "blue-red"),
        ("mdi.fd_V", "data", None, "blue-red"),
        ("hmi.B_720s", "inclination", None, "grey"),
        ("iris.lev1", "image_lev1", 1400, "grey"),
    ],
)
def test_images_have_their_usual_colours(series, segment, wavelength, name):
    assert look_of(series, segment, wavelength).palette == name


@pytest.mark.parametrize("series, segment", [("hmi.m_45s", "magnetogram"), ("hmi.sharp_cea_720s", "Br"), ("mdi.fd_M_lev182", "data")])  # fmt: skip
def test_magnetograms_are_grey_from_minus_1500_to_1500_gauss(series, segment):
    look = look_of(series, segment, None)
    values = np.array([[-9000, -1500, 0, 1500, 9000]], np.float32)
    assert indices(values, look).tolist() == [[1, 1, 128, 255, 255]]


@given(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.just(float("nan")), min_size=1, max_size=30),
    st.sampled_from(["linear", "sqrt", "log"]),
)
def test_brighter_values_are_never_darker_and_what_is_missing_is_black(values, stretch):
    row = np.array([values], np.float32)
    shown = indices(row, Look("grey", stretch))
    order = np.argsort(row[0][np.isfinite(row[0])], kind="stable")
    assert (np.diff(shown[np.isfinite(row)][order].astype(int)) >= 0).all()
    assert ((shown == 0) == ~np.isfinite(row)).all()


# ---- averaging ----------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_a_pixel_is_the_mean_of_a_square_of_those_that_have_a_value(tmp_path_factory, rows, columns, most, seed):
    chance = np.random.default_rng(seed)
    data = chance.normal(size=(rows, columns)).astype(np.float32)
    data[chance.random(data.shape) < 0.3] = np.nan
    step = max(1, -(-max(rows, columns) // most))
    with fits_file(tmp_path_factory.mktemp("f") / "a.fits", data).open("rb") as file:
        found = read_image(file, most)
    assert found.shape == (-(-rows // step), -(-columns // step))
    for (y, x), value in np.ndenumerate(found):
        square = data[y * step : (y + 1) * step, x * step : (x + 1) * step]
        there = square[np.isfinite(square)]
        assert np.isnan(value) if not there.size else value == pytest.approx(there.mean(), abs=1e-5)


def test_a_compressed_scaled_image_is_read_in_strips_with_its_blanks(tmp_path):
    data = np.arange(300 * 256, dtype=np.int16).reshape(300, 256) % 3000
    data[:4, :4] = -32768
    path = tmp_path / "a.fits"
    made = fits.CompImageHDU(data, compression_type="RICE_1", tile_shape=(1, 256))
    made.header["BLANK"] = -32768
    fits.HDUList([fits.PrimaryHDU(), made]).writeto(path)
    with fits.open(path, mode="update", disable_image_compression=True) as table:
        table[1].header["ZBLANK"] = -32768
        table[1].header["BSCALE"] = table[1].header["ZSCALE"] = 0.5
        table[1].header["BZERO"] = 10
    with path.open("rb") as file:
        found = read_image(file, 75)
    assert found.shape == (75, 64)
    assert np.isnan(found[0, 0])
    assert found[10, 7] == pytest.approx(data[40:44, 28:32].mean() * 0.5 + 10)


@pytest.mark.parametrize("data", [np.zeros((2, 3, 4), np.float32), np.zeros(5, np.int16)])
def test_a_file_without_an_image_is_refused_with_what_it_has(tmp_path, data):
    path = fits_file(tmp_path / "a.fits", data)
    expected = "no image of two dimensions.* it has " + " x ".join(map(str, data.shape))
    with path.open("rb") as file, pytest.raises(Refused, match=expected):
        quick_look(file, GREY, turned=False)


def test_what_is_no_fits_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(b"<html>gateway</html>" * 500)
    with path.open("rb") as file, pytest.raises(Refused, match="it is not FITS"):
        quick_look(file, GREY, turned=False)


# ---- orientation --------------------------------------------------------------------------------


def test_north_is_up_also_where_the_camera_is_turned():
    values = np.array([[10, 20], [30, 40]], np.float32)
    upright = colours(draw(values, GREY, turned=False))[:, :, 0].tolist()
    turned = colours(draw(values, GREY, turned=True))[:, :, 0].tolist()
    assert upright == [[31, 41], [11, 21]]
    assert turned == [[21, 11], [41, 31]]


# ---- of records ---------------------------------------------------------------------------------


@pytest.fixture
async def lab(tmp_path):
    async with file_lab(tmp_path, synthetic()) as made:
        yield made


async def picture(lab, ds, number=1, **more):
    params = {"ds": ds, "number": str(number), "fetch": "1", **more}
    return await lab.get("/api/quicklook", params)


async def test_a_record_has_a_picture_whose_file_is_fetched_once_and_kept_as_its_own(lab):
    ds = "hmi.sharp_cea_720s[][2014.01.01/12m]{Br}"
    first, again = await picture(lab, ds, 2), await picture(lab, ds, 2)
    listed = (await lab.get("/api/files", {"ds": ds})).json
    assert first.code == 200
    assert first.headers["Content-Type"] == "image/png"
    assert first.headers["X-Mirror-Record"] == listed[1]["record"]
    assert again.body == first.body
    assert [f["state"] for f in listed[:3]] == ["online", "held", "online"]
    assert len(await lab.downloads()) == 1
    assert max(Image.open(io.BytesIO(first.body)).size) <= 1024


async def test_a_large_image_is_shown_small_and_in_its_colour(lab):
    answer = await picture(lab, "aia.lev1_euv_12s[2014.01.01/12s][171]")
    pixels = colours(answer.body).reshape(-1, 3)
    assert Image.open(io.BytesIO(answer.body)).size == (1024, 1024)
    assert {tuple(p) for p in pixels.tolist()} <= {tuple(c) for c in palette("aia 171").tolist()}
    assert answer.headers["X-Mirror-Segment"] == "image"


async def test_the_segment_that_is_named_is_shown_else_the_first_image(lab):
    ds = "hmi.sharp_720s[][2014.01.01/12m]"
    first, named = await picture(lab, ds), await picture(lab, ds, seg="bitmap")
    assert [a.headers["X-Mirror-Segment"] for a in (first, named)] == ["magnetogram", "bitmap"]


SHARPS = "hmi.sharp_cea_720s[][2014.01.01/12m]"
NO_PICTURES = [
    ({"ds": SHARPS, "number": "999"}, 404, "no record 999"),
    ({"ds": SHARPS, "number": "0"}, 404, "no record 0"),
    ({"ds": SHARPS, "number": "x"}, 400, "expected a whole number"),
    ({"ds": SHARPS, "seg": "nope"}, 404, "no segment 'nope'"),
    ({"ds": "hmi.v_sht_modes[2010.04.30_TAI]"}, 403, "no segment that is an image"),
    ({"ds": "hmi.nope[]"}, 404, "hmi.nope"),
    ({}, 400, "ds is missing"),
]


async def test_what_has_no_picture_is_told(lab):
    for params, code, message in NO_PICTURES:
        answer = await lab.get("/api/quicklook", params)
        assert (answer.code, message in answer.json["error"]) == (code, True), answer.json


async def test_a_file_on_tape_has_no_picture_until_it_is_fetched(lab):
    answer = await picture(lab, "hmi.sharp_720s[3690][2014.02.01_14:00:00_TAI]{bitmap}")
    assert answer.code == 503
    assert "`mirror fetch` has it staged" in answer.json["error"]


# ---- what is kept -------------------------------------------------------------------------------


async def test_only_what_is_held_has_a_picture_unless_it_is_to_be_fetched(lab):
    asked = {"ds": "hmi.sharp_cea_720s[][2014.01.01/12m]{Br}"}
    refused = await lab.get("/api/quicklook", asked)
    assert (refused.code, "fetch=1" in refused.json["error"]) == (503, True)
    assert await lab.downloads() == []
    await picture(lab, asked["ds"])
    assert (await lab.get("/api/quicklook", asked)).code == 200


async def test_a_picture_that_is_the_same_is_not_sent_again(lab):
    ds = "hmi.sharp_cea_720s[][2014.01.01/12m]{Br}"
    first = await picture(lab, ds)
    asked = {"ds": ds, "number": "1"}
    again = await lab.get("/api/quicklook", asked, headers={"If-None-Match": first.headers["Etag"]})
    other = await lab.get("/api/quicklook", {**asked, "size": "128"}, headers={"If-None-Match": first.headers["Etag"]})
    assert (again.code, again.body, other.code) == (304, b"", 200)
    assert max(Image.open(io.BytesIO(other.body)).size) <= 128


async def test_a_picture_is_made_once_and_kept_over_a_restart(lab):
    ds = "hmi.sharp_cea_720s[][2014.01.01/12m]{Br}"
    first = await picture(lab, ds)
    [kept] = (lab.path / "pictures").rglob("*.png")
    kept.chmod(0o600)
    kept.write_bytes(b"as it was kept" + hashlib.sha256(b"as it was kept").digest())
    await lab.restart()
    assert (await picture(lab, ds)).body == b"as it was kept"
    assert first.body.startswith(b"\x89PNG")


async def test_without_room_for_pictures_each_is_made_anew(tmp_path):
    async with file_lab(tmp_path, synthetic(), MIRROR_STORAGE__PICTURES="none") as made:
        assert (await picture(made, "hmi.sharp_cea_720s[][2014.01.01/12m]{Br}")).code == 200
        assert not list((tmp_path / "pictures").rglob("*.png"))


@pytest.mark.parametrize("size", ["0", "1000", "99999", "x"])
async def test_other_sizes_are_refused(lab, size):
    answer = await picture(lab, "hmi.sharp_cea_720s[][2014.01.01/12m]{Br}", size=size)
    assert answer.code == 400


async def test_a_record_by_its_number_is_found_without_asking_jsoc(lab):
    ds = "hmi.sharp_cea_720s[][2014.01.01/12m]"
    number = (await lab.recnums(ds))[0]
    await picture(lab, ds + "{Br}")
    before = len(await lab.log())
    answer = await lab.get("/api/quicklook", {"ds": f"hmi.sharp_cea_720s[:#{number}]{{Br}}", "n": "1", "size": "256"})
    assert answer.code == 200
    assert len(await lab.log()) == before
