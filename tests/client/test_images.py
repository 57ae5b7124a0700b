"""Cubes: what is sliced is what is asked for, pixel by pixel; the values are those of the images."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from mirror.api.images import CutoutQuery
from mirror.client import images
from mirror.client.cutouts import Cutout
from mirror.errors import BadRequest

ROWS, COLUMNS, FRAMES = 50, 30, 3
IMAGES = np.arange(FRAMES * ROWS * COLUMNS, dtype=np.float32).reshape(FRAMES, ROWS, COLUMNS)


def file(pixels):
    made = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels)]).writeto(made)
    return made.getvalue()


class Mirror:
    """Answers for pixels, and writes down the shapes that were asked for."""

    def __init__(self):
        self.asked = []

    def get(self, n):
        def answer(query, first):
            if first is not None:
                return file(IMAGES[n])[:first]
            shape = round(query.height), round(query.width)
            self.asked.append(shape)
            bottom, left = round(query.y - shape[0] / 2 - 0.5), round(query.x - shape[1] / 2 - 0.5)
            return file(IMAGES[n, bottom : bottom + shape[0], left : left + shape[1]])

        return answer


@pytest.fixture(scope="module")
def lazy():
    mirror = Mirror()
    times = np.arange("2014-01-01", "2014-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(images, "ROWS", 20)
        cube = images.cube([(f"r{n}", mirror.get(n)) for n in range(FRAMES)], CutoutQuery(), times, {})
    return mirror, cube


def test_a_slice_asks_for_its_pixels_of_each_frame_and_for_no_others(lazy):
    mirror, cube = lazy
    mirror.asked.clear()
    light = cube[:, 20:30, 5:9].mean(("y", "x")).compute()
    assert mirror.asked == [(10, 4)] * FRAMES
    np.testing.assert_allclose(light, IMAGES[:, 20:30, 5:9].mean(axis=(1, 2)))


def test_the_middle_of_the_disk_lies_within_one_chunk(lazy):
    assert lazy[1].chunks[1] == (17, 17, 16)
    assert images._rows(4096) == 820


def places(length):
    """Numbers, and slices within an axis: beyond its ends dask has its own ideas of steps backwards."""
    ends = st.none() | st.integers(-length, length - 1)
    return st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, 3, -1, -2])) | st.integers(-length, length - 1)


@given(st.tuples(places(FRAMES), places(ROWS), places(COLUMNS)))
def test_whatever_is_sliced_has_the_values_of_the_images(lazy, key):
    np.testing.assert_array_equal(lazy[1][key].compute().values, IMAGES[key])


@pytest.mark.parametrize("key", [(slice(None), [1, 7, 40], slice(2, 4)), (slice(None), slice(0, 3), [0, 29]), ([2, 0], 5, 6)])
def test_lists_of_places_too(lazy, key):
    np.testing.assert_array_equal(lazy[1][key].compute().values, IMAGES[key])


def test_places_may_be_numbers_of_any_library_and_nothing_else():
    assert Cutout(np.array([1, 2]), (np.float32(3), np.int64(4))) == Cutout((1.0, 2.0), (3.0, 4.0))
    for wrong in (7, "ab", (1,), (1, 2, 3), ("x", 2)):
        with pytest.raises(BadRequest, match="expected two numbers, such as"):
            Cutout(center=wrong, size=(1, 1))
