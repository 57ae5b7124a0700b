"""The data files themselves: whole, consistent, and free of notes to ourselves."""

import json
import re
from importlib.resources import files

import pytest

from mirror.drms.slots import slot_axis
from mirror.errors import UnknownSeries
from mirror.simulator.synthetic.columns import default_value
from mirror.simulator.synthetic.structure import load, series_names

FILES = [f for folder in (files("mirror.simulator") / "data").iterdir() if folder.is_dir() for f in folder.iterdir()]
NAMES = series_names()
ALLOWED = {"name", "type", "recscope", "defval", "units", "note", "linkinfo", "format", "value", "spread"}


def test_the_series_that_were_asked_for_are_there():
    expected = """hmi.V_45s hmi.M_45s hmi.Ic_45s hmi.M_720s hmi.Ic_720s hmi.B_720s hmi.sharp_720s
        hmi.sharp_cea_720s hmi.v_sht_2drls hmi.v_sht_modes aia.lev1 aia.lev1_euv_12s aia.lev1_uv_24s
        aia.response iris.lev1 mdi.fd_V mdi.fd_M_lev182
        hmi.synoptic_mr_polfil_720s hmi.Mharp_720s aia.master_pointing3h hmi.sharp_cea_720s_nrt
        hmi.sharp_720s_nrt hmi.Mharp_720s_nrt mdi.fd_M_96m_lev182 hmi.meanpf_720s mdi.meanpf_96m
        hmi.Ic_noLimbDark_720s mdi.smarp_cea_96m mdi.smarp_96m hmi.synoptic_mr_720s hmi.b_synoptic
        hmi.rdVflows_fd15_frame hmi.ME_720s_fd10 hmi.S_720s hmi.v_avg120 mdi.fd_Ic_interp
        sdo.fds_orbit_vectors jsoc.noaa_active_regions"""
    assert sorted(expected.split()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_keyword_has_a_known_type_a_format_and_a_default_of_its_type(name):
    blueprint = load(name)
    (file,) = (f for f in FILES if f.name == f"{name}.json")
    told = json.loads(file.read_text())
    assert all(set(row) <= ALLOWED for row in (*told.get("keywords", ()), *told.get("add", ())))
    for keyword in blueprint.series.keywords:
        form = blueprint.formats[keyword.name]
        assert re.fullmatch(r"[0-6]" if keyword.type == "time" else r"(?:0x)?%[-+ #0-9.]*[a-z]+", form), (
            keyword
        )
        letters = {"time": "0123456", "string": "s", "float": "feEgG", "double": "feEgG"}
        assert form[-1] in letters.get(keyword.type, "dxX"), keyword
        default_value(keyword)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_told_once_and_keys_are_keywords(name):
    series = load(name).series
    names = [keyword.name.lower() for keyword in series.keywords]
    assert len(names) == len(set(names))
    assert all(series.keyword(key.name) for key in series.primekeys)
    assert all(series.keyword(key) for key in series.dbindex)


@pytest.mark.parametrize("name", NAMES)
def test_a_slotted_key_has_its_slots(name):
    series = load(name).series
    for key in series.primekeys:
        axis = slot_axis(series, key.name)
        assert (axis is not None) == key.slotted
        if axis is not None:
            assert float(key.step) == axis.written_step
            assert series.keyword(axis.index) is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_note_that_names_a_header_card_has_its_alias(name):
    series = load(name).series
    if series.keyword("DATE__OBS") is not None:
        names = [keyword.name for keyword in series.keywords]
        assert names[names.index("DATE__OBS") + 1] == "DATE-OBS"
        assert series.keyword("DATE__OBS").note.startswith("[DATE-OBS]")


@pytest.mark.parametrize("name", NAMES)
def test_implicit_keywords_of_image_segments_come_first(name):
    series = load(name).series
    implicit = [keyword.name for keyword in series.keywords if keyword.name in series.implicit]
    leading = [keyword.name for keyword in series.keywords[: len(implicit)]]
    assert [n for n in implicit if not n.endswith("_index")] == [n for n in leading if n in series.implicit]


def test_a_series_without_a_file_is_unknown():
    with pytest.raises(UnknownSeries):
        load("hmi.nothing")
