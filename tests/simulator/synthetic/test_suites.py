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
        ("hmi.synoptic_mr_720s[2150]", 1),
        ("hmi.synoptic_mr_polfil_720s[2210]", 1),
        ("hmi.b_synoptic[2100-2102]{Br,Bt,Bp}", 3),
        ("hmi.v_avg120[2150]{mean,power}", 3),
        ("hmi.rdVflows_fd15_frame[2097][360]{Ux}", 1),
        ("aia.master_pointing3h[2010-05-13T00:00:00Z]", 1),
        ("aia.master_pointing3h[2011-06-07T00:00:00Z-2011-06-08T00:00:00Z]", 9),
        ("aia.master_pointing3h[1990-01-01T00:00:00Z-1990-02-01T00:00:00Z]", 0),
        ("sdo.fds_orbit_vectors[2012.06.30_23:58:00_UTC-2012.07.01_00:02:00_UTC]", 5),
        ("jsoc.noaa_active_regions[][11158]", 11),
        ("mdi.fd_M_96m_lev182[2010.10.15_19:12:00_TAI]", 1),
        ("mdi.smarp_cea_96m[13520][2010.07.14_12:48:00_TAI]", 1),
        ("hmi.meanpf_720s[2014.01.01_TAI/10d@12h]", 20),
        ("hmi.S_720s[2014.01.01_TAI/1h][1]{I0}", 5),
        ("aia.lev1[2012.03.06_23:29:06_TAI/12s][? WAVELNTH=1600 ?]", 1),
        ("hmi.sharp_cea_720s[? NOAA_AR = 11158 ?]", 1484),  # of 1485: one is blank
        (
            "hmi.sharp_cea_720s[? (harpnum = 377 or harpnum in (401, 402)) and usflux > 0 ?][][2011.02.14_TAI/6h]",
            30,
        ),
        ("hmi.sharp_cea_720s[][2011.02.15_02:00:00_TAI][? NOAA_ARS = '11158' ?]", 1),
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
        ("hmi.synoptic_mr_polfil_720s", ["CAR_ROT"]),
        ("hmi.v_avg120", ["CarrRot", "CMLon"]),
        ("hmi.mharp_720s", ["HARPNUM", "T_REC"]),
        ("hmi.ic_nolimbdark_720s", ["T_REC"]),
        ("mdi.smarp_cea_96m", ["TARPNUM", "T_REC"]),
        ("aia.master_pointing3h", ["T_START"]),
        ("jsoc.noaa_active_regions", ["ObservationTime", "RegionNumber"]),
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


def test_known_harps_have_their_regions_of_noaa(archive):
    """As JSOC printed them in 2021: the first detection of long-lived HARPs, their numbers, and their lengths."""
    ds = "hmi.sharp_cea_720s[][2012.07.01 - 2014.12.31][? (N_PATCH1 > 1800) AND (T_FRST1=T_REC) ?]"
    columns = [archive.printed(ds, key) for key in ("HARPNUM", "T_REC", "NOAA_ARS", "NOAA_NUM", "N_PATCH1")]
    told = {row[0]: row[1:] for row in zip(*columns, strict=True)}
    assert told["1834"] == ("2012.07.04_03:24:00_TAI", "11519,11520,11521", "3", "1820")
    assert told["3563"] == ("2013.12.30_21:00:00_TAI", "11943,11944", "2", "1822")
    assert told["4920"] == ("2014.12.09_05:12:00_TAI", "12235,12237,12238,12242", "4", "1841")
    assert archive.printed("hmi.sharp_720s[377][2011.02.15_TAI]", "NOAA_AR") == ["11158"]


def test_no_two_harps_have_one_region(archive):
    rows = archive.select("hmi.Mharp_720s[][2012.01.01-2014.12.31][? T_REC = T_FRST ?]", n=4000)
    listed = [text for text in rows.printed("NOAA_ARS", precise=False) if text != "MISSING"]
    numbers = [number for text in listed for number in text.split(",")]
    assert len(numbers) == len(set(numbers)) > 100


def test_the_cea_series_is_told_as_it_was_in_2021(archive):
    """211 keywords without the alias DATE-OBS, and three that came later; its segments in gauss and m/s."""
    series = archive.find("hmi.sharp_cea_720s").structure
    later = {"DATE-OBS", "USFLUXL", "MEANGBL", "CMASKL"}
    assert len([k for k in series.keywords if k.name not in later]) == 211
    units = {segment.name: (segment.type, segment.units) for segment in series.segments}
    assert units["magnetogram"] == units["Br"] == units["Bp_err"] == ("int", "Gauss")
    assert units["Dopplergram"] == ("int", "m/s")
    assert units["conf_disambig"] == ("char", "none")


def test_each_segment_has_keywords_of_its_own(archive):
    rows = archive.select("hmi.sharp_cea_720s[377][2011.02.15_02:00:00_TAI]")
    assert archive.find("hmi.sharp_cea_720s").structure.keyword("BUNIT").recscope == "segment"
    units = [rows.printed(f"BUNIT_{at:03d}", precise=False)[0] for at in (0, 1, 2, 3)]
    assert units == [r"Mx\/cm^2", "MISSING", r"cm\/s", r"DN\/s"]
    assert rows.printed("BUNIT", precise=False)[0] == units[0]
    assert len({rows.printed(f"DATAMAX_{at:03d}", precise=False)[0] for at in range(11)}) == 11


def test_near_real_time_goes_on_to_the_last_hours(archive):
    (last, *_) = archive.printed("hmi.mharp_720s_nrt[][$]", "T_REC")
    assert last >= "2026.11.21_20:00:00_TAI"
    assert archive.printed("hmi.mharp_720s[][$]", "T_REC")[0] < "2026.11.15_00:00:00_TAI"


def test_a_chart_is_named_by_its_rotation(archive):
    chart = archive.select("hmi.synoptic_mr_polfil_720s[2210]")
    assert chart.printed("CARRTIME", precise=True) == ["795420"]
    (middle,) = chart.printed("T_ROT", precise=False)
    assert middle.startswith("2018.11.09_12:")
    assert float(chart.printed("B0_ROT", precise=True)[0]) == pytest.approx(3.504195, abs=0.01)
    assert chart.segment("Mr_polfil").dims == ["3600x1440"]


def test_pointing_has_four_columns_for_each_of_ten_channels(archive):
    names = archive.find("aia.master_pointing3h").structure.all_keywords
    for channel in ("094", "131", "171", "193", "211", "304", "335", "1600", "1700", "4500"):
        assert {f"A_{channel}_{part}" for part in ("X0", "Y0", "IMSCALE", "INSTROT")} <= set(names)
    ds = "aia.master_pointing3h[2015-06-30T20:00:00Z-2015-07-01T04:00:00Z]"
    assert archive.printed(ds, "T_START") == [
        "2015-06-30T21:00:00Z",
        "2015-07-01T00:00:00Z",
        "2015-07-01T03:00:00Z",
    ]
    assert archive.printed(ds, "T_STOP")[:2] == archive.printed(ds, "T_START")[1:]


def test_the_orbit_is_that_of_the_images(archive):
    ds = "aia.lev1_euv_12s[2014-01-01T00:10:00Z/12s][171]"
    (name,) = archive.printed(ds, "ORB_REC")
    orbit = archive.select(name.replace(r"\/", "/"))
    assert len(orbit) == 1
    for key, other in (("HAEX_OBS", "HCIEC_X"), ("HAEY_OBS", "HCIEC_Y"), ("GAEX_OBS", "GCIEC_X")):
        (image,) = archive.select(ds).stored(key.lower()).values
        (vector,) = orbit.stored(other.lower()).values
        assert image / 1000.0 == pytest.approx(vector, abs=2500.0), key


def test_the_channel_at_94_angstroms_has_lost_as_much_as_aiapy_expects(archive):
    def areas(wave, epoch):
        ds = f"aia.response[][{wave}]{epoch}[!1=1!]"
        return [float(value) for value in archive.printed(ds, "EFF_AREA")]

    in_2015 = "[? T_START <= $(2015-01-01T00:00:00Z) AND T_STOP > $(2015-01-01T00:00:00Z) ?]"
    assert areas("94_THIN", in_2015)[-1] / areas("94_THIN", "")[0] == pytest.approx(0.86288462, abs=1e-3)
    assert areas("4500", in_2015)[-1] == areas("4500", "")[0]
    for coefficient in ("EFFA_P1", "EFFA_P2", "EFFA_P3"):
        assert {float(v) for v in archive.printed("aia.response[][94_THIN][!1=1!]", coefficient)} == {0.0}


def test_a_record_of_the_pointing_lasts_until_the_next_one(archive):
    span = "aia.master_pointing3h[2020-12-31T21:00:00.000Z-2021-01-01T03:00:00.000Z]"
    assert archive.printed(span, "T_START")[0] == "2020-12-31T21:00:00Z"
    assert archive.printed(span, "T_STOP")[-1] == "2021-01-01T09:00:00Z"
    year = "aia.master_pointing3h[2015-01-01T00:00:00Z/365d]"
    starts, stops = archive.printed(year, "T_START"), archive.printed(year, "T_STOP")
    assert stops[:-1] == starts[1:]
    assert 2880 < len(starts) < 2920
