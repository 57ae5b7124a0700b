"""What the records hold: plausible, with gaps, flags and missing values, the same for all that share it."""

import numpy as np
import pytest

from mirror.drms.series import INTEGER_TYPES
from mirror.drms.times import parse_time

A_MONTH = "2012.05.01_TAI/30d"
SAMPLES = {
    "hmi.V_45s": "[2012.05.01_TAI/30d@3h]",
    "hmi.M_45s": "[2012.05.01_TAI/30d@3h]",
    "hmi.Ic_45s": "[2012.05.01_TAI/30d@3h]",
    "hmi.M_720s": "[2016.04.01_TAI/30d@3h]",
    "hmi.Ic_720s": "[2016.04.01_TAI/30d@3h]",
    "hmi.B_720s": "[2016.04.01_TAI/30d@3h]",
    "hmi.sharp_720s": "[3600-3604]",
    "hmi.sharp_cea_720s": "[3600-3604]",
    "hmi.v_sht_2drls": "[]",
    "hmi.v_sht_modes": "[]",
    "aia.lev1": "[2012.05.01_TAI/2m]",
    "aia.lev1_euv_12s": "[2012.05.01_TAI/1d@1h]",
    "aia.lev1_uv_24s": "[2012.05.01_TAI/1d@1h]",
    "aia.response": "[]",
    "iris.lev1": "[2014.05.01_TAI-2014.05.01_00:30:00_TAI]",
    "mdi.fd_V": "[2000.05.01_TAI/1d@1h]",
    "mdi.fd_M_lev182": "[2000.05.01_TAI/1d@1h]",
    "hmi.Ic_noLimbDark_720s": "[2016.04.01_TAI/30d@3h]",
    "hmi.ME_720s_fd10": "[2016.04.01_TAI/30d@3h]",
    "hmi.S_720s": "[2016.04.01_TAI/30d@3h]",
    "hmi.Mharp_720s": "[3600-3604]",
    "hmi.Mharp_720s_nrt": "[1600-1604]",
    "hmi.sharp_720s_nrt": "[1600-1604]",
    "hmi.sharp_cea_720s_nrt": "[1600-1604]",
    "mdi.smarp_96m": "[13515-13525]",
    "mdi.smarp_cea_96m": "[13515-13525]",
    "mdi.fd_M_96m_lev182": "[2000.05.01_TAI/30d@8h]",
    "mdi.fd_Ic_interp": "[2000.05.01_TAI/30d@8h]",
    "hmi.meanpf_720s": "[2016.04.01_TAI/30d@3h]",
    "mdi.meanpf_96m": "[2000.05.01_TAI/30d@8h]",
    "hmi.synoptic_mr_720s": "[]",
    "hmi.synoptic_mr_polfil_720s": "[]",
    "hmi.b_synoptic": "[]",
    "hmi.rdVflows_fd15_frame": "[2150-2152]",
    "hmi.v_avg120": "[2150-2180]",
    "aia.master_pointing3h": "[2012-06-20T00:00:00Z/30d]",
    "sdo.fds_orbit_vectors": "[2012.06.30_23:00:00_UTC/2h]",
    "jsoc.noaa_active_regions": "[2014.01.01_UTC/90d]",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_column_is_printed_for_every_record(archive, name):
    rows = archive.select(name + SAMPLES[name])
    assert len(rows) > 0
    for keyword in archive.find(name).structure.keywords:
        for precise in (False, True):
            texts = rows.printed(keyword.name, precise=precise)
            assert len(texts) == len(rows)
            assert all(isinstance(text, str) and text for text in texts), keyword.name


@pytest.mark.parametrize("name", SAMPLES)
def test_stored_columns_have_the_type_of_their_keyword(archive, name):
    rows = archive.select(name + SAMPLES[name])
    for keyword in archive.find(name).structure.keywords:
        values = rows.stored(keyword.name.lower()).values
        expected = (
            np.int64 if keyword.type in INTEGER_TYPES else object if keyword.type == "string" else np.float64
        )
        assert values.dtype == expected, keyword.name
        if keyword.type == "float":
            assert np.array_equal(values, values.astype(np.float32).astype(np.float64), equal_nan=True)


@pytest.mark.parametrize("name", SAMPLES)
def test_most_keywords_have_values(archive, name):
    rows = archive.select(name + SAMPLES[name])
    series = archive.find(name).structure
    missing = [k for k in series.all_keywords if set(rows.printed(k, precise=False)) == {"MISSING"}]
    assert len(missing) <= 0.45 * len(series.all_keywords), missing


@pytest.mark.parametrize("name", SAMPLES)
def test_every_segment_and_link_has_a_cell_for_every_record(archive, name):
    rows = archive.select(name + SAMPLES[name])
    series = archive.find(name).structure
    for segment in series.segments:
        cells = rows.segment(segment.name)
        columns = [cells.paths, cells.dims, cells.cparms, cells.bzeros, cells.bscales]
        assert {len(column) for column in columns if column is not None} == {len(rows)}
        assert all(path.startswith((r"\/SUM", "NoDataDirectory")) for path in cells.paths)
    for link in series.links:
        assert all(text.startswith(f"{link.target}[") for text in rows.link(link.name))


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_told_of_storage_units_fits_together(archive, name):
    rows = archive.select(name + SAMPLES[name])
    for pseudo in ("*size*", "*online*", "*retain*", "*archive*", "*recdir*", "*logdir*", "*dirmtime*"):
        assert len(rows.pseudo(pseudo)) == len(rows)
    units = rows.stored("sunum").values.tolist()
    for unit, directory, online in zip(units, rows.pseudo("*recdir*"), rows.pseudo("*online*"), strict=True):
        assert (f"D{unit}" in directory) == (online == "Y")


def test_taking_rows_takes_their_values(archive):
    rows = archive.select("hmi.V_45s[2012.05.01_TAI/1h]")
    some = rows.take(np.array([5, 3, 70]))
    for key in ("T_REC", "DATAMEAN", "OBS_VR", "QUALITY"):
        whole = rows.printed(key, precise=False)
        assert list(some.printed(key, precise=False)) == [whole[5], whole[3], whole[70]]


def test_there_are_gaps_flags_blank_records_and_units_off_line(archive):
    ds = "hmi.V_45s[2012.05.01_TAI/30d]"
    rows = archive.select(ds)
    assert 0 < 30 * 1920 - len(rows) < 600
    flags = np.array(rows.printed("QUALITY", precise=False))
    assert 0.005 < (flags != "0x00000000").mean() < 0.1
    blank = np.char.startswith(flags.astype(str), "0x8")
    assert 0 < blank.sum() < 100
    means = np.array(rows.printed("DATAMEAN", precise=False))
    assert set(means[blank]) == {"MISSING"}
    assert "MISSING" not in means[~blank]
    assert "NoDataDirectory" in rows.segment("Dopplergram").paths


def test_series_of_one_cadence_share_their_gaps_and_flags(archive):
    for key in ("T_REC", "QUALITY", "CRPIX1", "T_OBS"):
        assert archive.printed(f"hmi.V_45s[{A_MONTH}@1h]", key) == archive.printed(
            f"hmi.M_45s[{A_MONTH}@1h]", key
        )


def test_two_cameras_take_over_from_one_in_2016(archive):
    ds = "hmi.M_720s[2016.04.13_18:48_TAI/48m]"
    assert archive.printed(ds, "CAMERA") == ["1", "1", "3", "3"]
    assert archive.printed(ds, "INSTRUME") == ["HMI_SIDE1", "HMI_SIDE1", "HMI_COMBINED", "HMI_COMBINED"]
    assert archive.count("hmi.M_720s[2015.01.01_TAI/1d][3]") == 0


def test_the_nominal_time_is_that_of_light_at_one_astronomical_unit(archive):
    ds = "hmi.Ic_45s[2014.03.01_00:01:30_TAI]"
    assert archive.printed(ds, "T_OBS") == ["2014.03.01_00:01:25_TAI"]
    assert archive.printed(ds, "DATE__OBS") == ["2014-03-01T00:00:27.90Z"]


def test_the_slots_of_aia_lead_to_the_exposures_of_level_1(archive):
    rows = archive.select("aia.lev1_euv_12s[2014.01.01_00:10_TAI/1m]")
    for position, link in enumerate(rows.link("lev1")):
        source = archive.select(link)
        for key in ("T_OBS", "FSN", "WAVELNTH", "EXPTIME", "DATAMEAN", "QUALITY"):
            assert source.printed(key, precise=False) == [rows.printed(key, precise=False)[position]]
        assert source.segment("image_lev1").paths[0] == rows.segment("image").paths[position]
        assert source.segment("spikes").dims[0] == rows.segment("spikes").dims[position]


def test_the_sequence_numbers_of_aia_are_those_that_were_flown(archive):
    exposure = "aia.lev1[][20781661]"
    assert archive.printed(exposure, "T_OBS") == ["2011-02-15T00:00:01.34Z"]
    assert archive.printed(exposure, "T_REC") == ["2011-02-15T00:00:01Z"]
    assert archive.printed(exposure, "WAVE_STR") == ["171_THIN"]


def test_no_two_exposures_of_aia_have_one_second_in_common(archive):
    seconds = archive.printed("aia.lev1[2014.01.01_00:00_TAI/10m]", "T_REC")
    assert len(seconds) == len(set(seconds)) == 400


def test_a_harp_has_the_records_that_its_keywords_tell(archive):
    ds = "hmi.sharp_cea_720s[3604]"
    rows = archive.select(ds)
    assert set(rows.printed("N_PATCH", precise=False)) == {"1223"}
    times = rows.stored("t_rec").values
    assert set(rows.stored("t_frst").values) == {times[0]}
    assert set(rows.stored("t_last").values) == {times[-1]}
    assert np.ptp(rows.stored("lon_fwt").values) > 100.0


def test_both_sharp_series_describe_one_region(archive):
    for key in ("HARPNUM", "T_REC", "AREA", "USFLUX", "NOAA_AR", "QUALITY"):
        assert archive.printed("hmi.sharp_720s[3604]", key) == archive.printed(
            "hmi.sharp_cea_720s[3604]", key
        )


def test_all_versions_of_the_response_table_can_be_asked_for(archive):
    of_4500 = "[? WAVELNTH = 4500 ?]"
    assert archive.printed(f"aia.response{of_4500}", "VER_NUM") == ["3"]
    assert archive.count(f"aia.response[][!1=1!]{of_4500}") == 1
    others = "[? WAVELNTH < 4500 ?]"
    assert archive.count(f"aia.response[][!1=1!]{others}") == 8 * archive.count(f"aia.response{others}")
    assert set(archive.printed(f"aia.response{others}", "VER_NUM")) == {"10"}


def test_records_are_made_after_they_were_observed_and_before_now(archive):
    now = parse_time("2026.11.22_00:00:00_TAI")
    for name in SAMPLES.keys() - {"jsoc.noaa_active_regions"}:
        series = archive.find(name).structure
        made = archive.select(f"{name}", n=-50).stored("date").values
        assert (made < now).all(), name
        assert series.keyword("DATE").type == "time"


def test_listed_series_have_a_structure_and_no_records(archive):
    listed = archive.find("hmi.m_720s_nrt")
    assert listed.structure.extent.last_recnum == -1
    assert archive.count("hmi.m_720s_nrt[2014.01.01_TAI/1d]") == 0
    assert len(archive.select("hmi.m_720s_nrt")) == 0
