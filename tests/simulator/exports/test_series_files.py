"""Files of the made-up series, as their readers take them: charts, rows of numbers, spikes, tables of modes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits

from mirror.simulator.archive import Archive
from mirror.simulator.exports.archived import Templates, make_file
from mirror.simulator.exports.shelf import Shelf
from mirror.simulator.synthetic import synthetic_series
from mirror.wire.text import from_wire
from tests.simulator.exports.test_synthetic_exports import NOW


@pytest.fixture(scope="module")
def archive():
    return Archive(synthetic_series(lambda: NOW))


def brought(archive, ds, segment):
    """The path and the bytes of the file of the first record."""
    (wanted,) = archive.wanted(ds)
    rows = wanted.data.candidates(wanted.selection)
    path = from_wire(rows.segment(segment).paths[0])
    file = Shelf(archive).find(path)
    assert file is not None
    return path, make_file(file, Templates())


def opened(archive, ds, segment):
    return fits.open(io.BytesIO(brought(archive, ds, segment)[1]), checksum=True)


def test_a_synoptic_chart_is_an_image_of_floats_without_a_limb(archive):
    with opened(archive, "hmi.synoptic_mr_polfil_720s[2210]", "Mr_polfil") as hdus:
        assert len(hdus) == 1
        assert hdus[0].header["BITPIX"] == -32
        assert hdus[0].data.shape == (1440, 3600)
        assert np.isfinite(hdus[0].data).all()


def test_a_mean_field_is_a_row_of_180_numbers(archive):
    path, data = brought(archive, "hmi.meanpf_720s[2014.01.01_TAI]", "mf_br")
    assert path.endswith("/mf_br.fits")
    with fits.open(io.BytesIO(data)) as hdus:
        assert hdus[0].header["NAXIS"] == 1
        assert hdus[0].data.shape == (180,)


def test_spikes_are_two_units_of_positions_and_values(archive):
    with opened(archive, "aia.lev1[2014.01.01_00:00_TAI/1m]", "spikes") as hdus:
        _, spikes = hdus
        assert spikes.data.shape[0] == 3
        assert ((spikes.data[0] >= 0) & (spikes.data[0] < 4096 * 4096)).all()
        assert len(set(spikes.data[0].tolist())) == spikes.data.shape[1]


@pytest.mark.parametrize("segment,width", [("m6", 24), ("m18", 48), ("m36", 84)])
def test_a_table_of_modes_has_its_width(archive, segment, width):
    _, data = brought(archive, "hmi.v_sht_modes[2024.09.19_00:00:00_TAI]", segment)
    table = np.genfromtxt(io.BytesIO(data))
    assert table.shape[1] == width
    assert table[:, 0].max() == 200
    assert ((table[:, 2] > 900.0) & (table[:, 2] < 4700.0)).all()
    assert (table[:, 7] > 0).all()


async def test_an_exported_patch_has_the_keywords_of_its_segment(start, archive):
    simulated = await start(series=[archive.find(name) for name in archive.names])
    ds = "hmi.sharp_cea_720s[377][2011.02.15_02:00:00_TAI]{Br,Dopplergram}"
    done = await simulated.finished(ds)
    headers = {}
    for row in done["data"]:
        _, _, data = await simulated.file(f"{done['dir']}/{row['filename']}")
        with fits.open(io.BytesIO(data)) as hdus:
            headers[row["filename"].split(".")[-2]] = hdus[1].header.copy()
    assert headers["Br"]["BUNIT"] == "Mx/cm^2"
    assert headers["Dopplergram"]["BUNIT"] == "cm/s"
    assert headers["Br"].comments["DATAMAX"].startswith("{DATAMAX_006}")
    assert headers["Br"]["DATAMAX"] != headers["Dopplergram"]["DATAMAX"]
    assert headers["Br"]["NOAA_ARS"] == "11158"
