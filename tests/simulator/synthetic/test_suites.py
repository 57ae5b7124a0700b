"""What the online suites and tutorials of drms and sunpy ask, and the answers that they print."""

import pytest

HOUR = "2014.01.01_00:00:35_TAI-2014.01.01_01:00:35_TAI"
SIX_HOURS = "hmi.v_45s[2016.04.01_TAI/1d@6h]"
SHARP_SEGMENTS = (  # noqa: SIM905 - 31 strings in quotes are harder to read
    "magnetogram bitmap Dopplergram continuum inclination azimuth field vlos_mag dop_width eta_0 damping "
    "src_continuum src_grad alpha_mag chisq conv_flag info_map confid_map inclination_err azimuth_err "
    "field_err vlos_err alpha_err field_inclination_err field_az_err inclin_azimuth_err field_alpha_err "
    "inclination_alpha_err azimuth_alpha_err disambig conf_disambig"
).split()


@pytest.mark.parametrize(
    "ds,expected",
    [
        ("hmi.v_45s[2013.07.03_08:42_TAI/3m]", 4),
        ("hmi.v_45s[2013.07.03_08:42_TAI/4m]", 5),
        ("hmi.B_720s[2013.07.03_08:42_TAI/40m]", 3),
        (f"hmi.v_45s[{HOUR}]", 81),
        (f"hmi.v_45s[{HOUR}@10m]", 7),
        ("hmi.v_45s[2014.01.02_00:00:35_TAI-2014.01.02_01:00:35_TAI]", 81),
        ("hmi.M_720s[2011.04.14_00:30:00_TAI/6h@2h]", 3),
        ("hmi.M_720s[2020-10-17_22:12:00_TAI/24m]", 2),
        (SIX_HOURS, 4),
        ("hmi.v_sht_2drls[2024.09.19_00:00:00_TAI]", 3),
        ("hmi.sharp_720s[4864][2014.11.30_00:00_TAI]", 1),
        ("hmi.sharp_720s[10490][2023.12.07_08:00:00_TAI]", 1),
        ("hmi.sharp_720s[7451][2020.09.27_00:00:00_TAI]", 1),
        ("hmi.sharp_720s[12519][2024.12.30_22:24:00_TAI/1d@8h]", 3),
        ("hmi.sharp_cea_720s[3604]", 1223),
        ("hmi.sharp_cea_720s[401][2011.03.09_23:20:00_TAI-2011.03.09_23:30:00_TAI@1h]", 1),
        (f"hmi.sharp_720s[][{HOUR}]", 61),
        (f"hmi.sharp_720s[][{HOUR}][? bitmap_bzero='0' ?]", 61),
        (f"hmi.sharp_720s[][{HOUR}][? bitmap_bzero='0' AND continuum_bscale>'0' ?]", 61),
        (f"aia.lev1_euv_12s[{HOUR}]", 2107),
        (f"aia.lev1_euv_12s[{HOUR}][304]", 301),
        ("aia.lev1_euv_12s[2025-01-01T04:33:30.000/1m@12s][171]", 5),
        ("aia.lev1_euv_12s[2011.02.15_00:00:35_TAI-2011.02.15_00:01:35_TAI][171]", 6),
        ("aia.lev1_euv_12s[2012-08-31T19:48:01Z][304]", 1),
        ("aia.lev1_euv_12s[2014-01-01T00:00:01Z/365d@1d][335]", 365),
        ("hmi.M_45s[2020.01.01_00:00:37_TAI-2020.01.01_00:02:07_TAI@90.0s]", 2),
        ("hmi.M_45s[2020.01.01_01:01:13_TAI-2020.01.01_01:01:15_TAI]", 1),
        ("hmi.M_45s[2020.01.01_01:01:13_TAI-2020.01.01_01:01:15_TAI][? QUALITY='1' ?]", 0),
        ("hmi.M_45s[2020.01.01_01:01:13_TAI-2020.01.01_01:01:15_TAI][? QUALITY='0' ?]", 1),
        ("hmi.M_45s[2020.01.01_01:01:13_TAI-2020.01.01_01:01:15_TAI][? QUALITY<'2' ?]", 1),
        ("hmi.M_45s[2012.01.01_01:01:10_TAI-2012.01.01_01:01:12_TAI]", 1),
        ("hmi.M_45s[2011.06.07_06:33:19_TAI-2011.06.07_06:33:49_TAI]", 2),
        ("hmi.m_45s[2010.08.01_03:40:34_TAI-2010.08.01_03:40:44_TAI]", 1),
        ("hmi.M_720s[2025.01.29_23:12:00_TAI/5d@1h]", 120),
        ("hmi.ic_720s[2015.01.01_00:00:00_TAI/10d@1d]", 10),
        ("hmi.v_sht_modes[2024.09.19_00:00:00_TAI]", 2),
        ("iris.lev1[2014.01.01_00:00:35_TAI-2014.01.01_00:05:35_TAI][? INSTRUME='FUV' ?]", 6),
    ],
)
def test_a_query_of_the_suites_selects_as_many_records_as_at_jsoc(archive, ds, expected):
    assert len(archive.select(ds)) == archive.count(ds) == expected


@pytest.mark.parametrize("condition,expected", [("EXPTIME<'2'", 0), ("EXPTIME>'2'", 7)])
def test_exposures_of_aia_are_longer_than_two_seconds(archive, condition, expected):
    span = "2020.01.01_01:01:13_TAI-2020.01.01_01:01:15_TAI"
    assert archive.count(f"aia.lev1_euv_12s[{span}][? QUALITY<'2' AND {condition} ?]") == expected


def test_the_latitude_is_pi_in_july_2013(archive):
    values = archive.printed("hmi.v_45s[2013.07.03_08:42_TAI/3m]", "CRLT_OBS")
    assert all(abs(float(value) - 3.14159) < 1e-4 for value in values)


def test_the_tutorial_velocities_are_held_to_the_last_digit(archive):
    assert archive.printed(SIX_HOURS, "DATAMEAN") == [
        "3313.104980",
        "878.075195",
        "-2289.062500",
        "128.609283",
    ]
    assert archive.printed(SIX_HOURS, "OBS_VR") == ["3309.268006", "887.864139", "-2284.690263", "137.836168"]


def test_the_tutorial_files_lie_where_they_lay(archive):
    assert list(archive.select(SIX_HOURS).segment("Dopplergram").paths) == [
        r"\/SUM58\/D803708321\/S00008\/Dopplergram.fits",
        r"\/SUM41\/D803708361\/S00008\/Dopplergram.fits",
        r"\/SUM71\/D803720859\/S00008\/Dopplergram.fits",
        r"\/SUM70\/D803730119\/S00008\/Dopplergram.fits",
    ]


@pytest.mark.parametrize(
    "key,expected",
    [
        ("T_REC", "2014.01.01_00:00:45_TAI"),
        ("T_OBS", "2014.01.01_00:00:37_TAI"),
        ("DATE", "2014-01-05T17:46:02Z"),
        ("DATE__OBS", "2013-12-31T23:59:39.20Z"),
        ("DATE-OBS", "2013-12-31T23:59:39.20Z"),
        ("TELESCOP", r"SDO\/HMI"),
        ("INSTRUME", "HMI_FRONT2"),
        ("CAMERA", "2"),
        ("WAVELNTH", "6173.0"),
        ("CAR_ROT", "2145"),
        ("QUALITY", "0x00000000"),
        ("CODEVER3", r"$Id: polcal.c,v 1.5 2013\/12\/22 22:54:08 couvidat Exp $"),
        ("CALVER64", "0x0000000000001112"),
    ],
)
def test_the_first_record_of_2014_is_printed_as_in_the_tutorial(archive, key, expected):
    assert archive.printed(f"hmi.v_45s[{HOUR}]", key)[0] == expected


def test_the_columns_of_a_dopplergram_are_in_the_order_of_the_tutorial(archive):
    names = archive.find("hmi.v_45s").structure.all_keywords
    assert names[:3] == ("DATE", "DATE__OBS", "DATE-OBS")
    assert names[-2:] == ("CODEVER3", "CALVER64")


def test_the_seven_wavelengths_of_a_slot_come_in_order_with_their_telescopes(archive):
    ds = f"aia.lev1_euv_12s[{HOUR}]"
    assert archive.printed(ds, "T_REC")[:8] == ["2014-01-01T00:00:01Z"] * 7 + ["2014-01-01T00:00:13Z"]
    assert archive.printed(ds, "WAVELNTH")[:7] == ["94", "131", "171", "193", "211", "304", "335"]
    assert archive.printed(ds, "INSTRUME")[:7] == [f"AIA_{n}" for n in (4, 1, 3, 2, 2, 4, 1)]
    assert set(archive.printed(ds, "CAR_ROT")) == {"2145"}


def test_the_sharps_of_an_hour_are_grouped_by_harp_and_one_has_five_records(archive):
    numbers = archive.printed(f"hmi.sharp_720s[][{HOUR}]", "HARPNUM")
    assert numbers == sorted(numbers, key=int)
    assert sorted(numbers.count(number) for number in set(numbers)) == [2, 5, *[6] * 9]


def test_the_hmi_magnetograms_are_listed_in_their_own_case(archive):
    names = sorted(data.structure.name for data in archive.series.values())
    assert [name for name in names if name.lower().startswith("hmi.m_")] == [
        "hmi.M_45s",
        "hmi.M_45s_dcon",
        "hmi.M_720s",
        "hmi.M_720s_dcon",
        "hmi.M_720s_dconS",
        "hmi.m_720s_mod",
        "hmi.m_720s_nrt",
    ]


@pytest.mark.parametrize(
    "name,expected",
    [
        ("hmi.v_45s", ["T_REC", "CAMERA"]),
        ("hmi.m_720s", ["T_REC", "CAMERA"]),
        ("hmi.b_720s", ["T_REC"]),
        ("hmi.sharp_720s", ["HARPNUM", "T_REC"]),
        ("hmi.v_sht_modes", ["T_START", "LMIN", "LMAX", "NDT"]),
        ("hmi.v_sht_2drls", ["T_START", "LMIN", "LMAX", "NDT", "NACOEFF"]),
        ("aia.lev1", ["T_REC", "FSN"]),
        ("aia.lev1_euv_12s", ["T_REC", "WAVELNTH"]),
        ("aia.response", ["T_START", "WAVE_STR"]),
        ("iris.lev1", ["T_OBS", "FSN"]),
        ("mdi.fd_m_lev182", ["T_REC"]),
    ],
)
def test_prime_keys_are_those_of_jsoc(archive, name, expected):
    assert [key.name for key in archive.find(name).structure.primekeys] == expected


def test_a_sharp_has_the_segments_of_the_tutorial_in_their_order(archive):
    series = archive.find("hmi.sharp_720s").structure
    assert [segment.name for segment in series.segments] == SHARP_SEGMENTS
    assert series.note == "Spaceweather HMI Active Region Patch (SHARP): CCD coordinates"
    names = [keyword.name for keyword in series.keywords]
    assert names[:5] == [
        "cparms_sg000",
        "magnetogram_bzero",
        "magnetogram_bscale",
        "cparms_sg001",
        "bitmap_bzero",
    ]
    assert names[-2:] == ["ERRJHT", "ERRVF"]


def test_the_inversion_for_rotation_has_the_segments_and_files_of_the_tutorial(archive):
    segments = archive.find("hmi.v_sht_2drls").structure.segments
    assert [(s.name, s.note) for s in segments] == [
        ("split", "calculated splittings"),
        ("rot", "rotation profile"),
        ("err", "errors"),
        ("mesh", "radial grid points"),
        ("parms", "input parameters"),
        ("log", "standard output"),
    ]
    assert {(s.type, s.units, s.protocol, s.dims) for s in segments} == {("string", "none", "generic", "")}
    rows = archive.select("hmi.v_sht_2drls[2024.09.19_00:00:00_TAI]")
    files = [rows.segment(name).paths[0].rpartition("/")[2] for name in ("split", "rot", "err")]
    assert files == ["splittings.out", "rot.2d", "err.2d"]


def test_nothing_that_the_suites_ask_for_is_off_line(archive):
    for ds, segment in ((SIX_HOURS, "Dopplergram"), ("hmi.sharp_cea_720s[3604]", "Bp")):
        assert all(path.startswith(r"\/SUM") for path in archive.select(ds).segment(segment).paths)
