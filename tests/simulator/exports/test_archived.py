"""The files of the archive: real FITS, the same each time, no two alike."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits

from mirror.drms.series import Segment
from mirror.simulator.exports.archived import ArchivedFile, Templates, make_file


def file(name, type_, shape=(173, 300), sunum=10, place=0, protocol="fits", **more):
    segment = Segment(name, type_, "", protocol, "", "a note")
    return ArchivedFile(sunum, place, f"{name}.fits", segment, shape, **more)


def opened(data):
    hdus = fits.open(io.BytesIO(data), checksum=True)
    hdus.verify("exception")
    return hdus


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "wanted, units",
    [
        (file("Dopplergram", "short", bscale=0.5), 2),
        (file("magnetogram", "int", bscale=0.1), 2),
        (file("continuum", "int", bzero=97304.0, bscale=3.0), 2),
        (file("image_lev1", "short"), 2),
        (file("bitmap", "char"), 2),
        (file("spikes", "int", (3, 1037), compressed=False), 1),
        (file("flow", "float"), 1),
        (file("power", "double", compressed=False), 1),
        (file("counter", "longlong", compressed=False), 1),
        (file("tiny", "int", (1, 1)), 2),
    ],
    ids=lambda value: value.segment.name if isinstance(value, ArchivedFile) else "",
)
def test_a_file_is_fits_that_verifies_and_whose_checksums_hold(wanted, units):
    with opened(make_file(wanted, Templates())) as hdus:
        assert len(hdus) == units
        assert hdus[-1].data.shape == wanted.shape
        assert np.isfinite(hdus[-1].data.astype(float)).any()


def test_the_same_file_has_the_same_bytes_at_every_start():
    wanted = file("magnetogram", "int", bscale=0.1)
    assert make_file(wanted, Templates()) == make_file(wanted, Templates())


def test_no_two_files_are_alike():
    templates = Templates()
    made = [make_file(file(name, "short", sunum=sunum, place=place), templates)
            for name in ("image", "other_image") for sunum in (1, 2, 3) for place in (0, 1)]  # fmt: skip
    assert len(set(made)) == len(made)


def test_a_full_disk_image_is_rice_compressed_to_some_twelve_megabytes():
    data = make_file(file("magnetogram", "int", (4096, 4096), bscale=0.1), Templates())
    assert 6e6 < len(data) < 13e6
    with fits.open(io.BytesIO(data), disable_image_compression=True) as hdus:
        head = hdus[1].header
        assert (head["ZCMPTYPE"], head["ZBITPIX"], head["ZTILE1"], head["NAXIS2"]) == (
            "RICE_1",
            32,
            4096,
            4096,
        )


def test_off_the_disk_pixels_are_missing():
    with opened(make_file(file("Dopplergram", "short", (256, 256), bscale=0.5), Templates())) as hdus:
        data = hdus[1].data
    assert np.isnan(data[-1, -1])
    assert np.isfinite(data[128, 128])


def test_what_is_no_image_is_text():
    data = make_file(file("split", "string", protocol="generic"), Templates())
    assert data.startswith(b"# split: a note\n")
    assert data.isascii()
