"""Recorded worlds: what is loaded, what the stored values were, what is completed."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from mirror.drms.slots import slot_axis
from mirror.drms.times import MISSING_TIME, parse_time
from mirror.errors import ConfigError
from mirror.simulator.world import load_world

WORLD = Path(__file__).parents[1] / "data" / "world"


@pytest.fixture
def named(world):
    return {each.structure.name: each for each in world}


def rows(series):
    return series.candidates(None)


def test_every_recorded_series_is_loaded_and_listed_ones_have_no_records(named):
    assert len(named) == 22
    assert len(rows(named["jsoc.export"])) == 0
    assert len(rows(named["hmi.V_45s"])) == 3771


def test_stored_values_have_the_precision_of_the_flag_m(named):
    zoo = rows(named["su_test.zoo"])
    position = zoo.stored("recnum").values.tolist().index(1)
    assert zoo.printed("D1", False)[position] == "0.333333"
    assert zoo.stored("d1").values[position] == 1 / 3
    assert zoo.stored("f3").values[position] == float(np.float32(2.71828))
    assert zoo.stored("t3").values[position] == pytest.approx(parse_time("2014.01.01_00:00:00.1234_TAI"), abs=1e-6)
    assert zoo.stored("st20").values[position] == "pad"
    assert zoo.stored("ix").values[position] == 255


def test_integers_under_the_flag_m_are_decimal(named):
    zoo = rows(named["su_test.zoo"])
    position = zoo.stored("recnum").values.tolist().index(2)
    assert zoo.printed("I8", False)[position] == "-0000042"
    assert zoo.printed("I8", True)[position] == "-42"


def test_missing_is_the_missing_value_of_the_type_unless_the_world_says_null(named):
    zoo = rows(named["su_test.zoo"])
    recnums = zoo.stored("recnum").values.tolist()
    missing, null = recnums.index(5), recnums.index(6)
    assert zoo.stored("i1").tolist()[missing] == -2147483648
    assert math.isnan(zoo.stored("d1").tolist()[missing])
    assert zoo.stored("t0").tolist()[missing] == MISSING_TIME
    assert zoo.stored("st").tolist()[missing] == ""
    assert [zoo.stored(c).tolist()[null] for c in ("i1", "d1", "t0", "st", "lowercase")] == [None] * 5


def test_a_dynamic_link_leads_to_the_newest_record_of_the_same_time(named):
    sharp = rows(named["hmi.sharp_720s"])
    at = sharp.stored("recnum").values.tolist().index(107)
    assert sharp.link("MDATA")[at] == "hmi.M_720s[2014.01.01_01:12:00_TAI][3]"
    assert sharp.printed("MDATA_QUALITY", False)[at] == "0x00000000"
    assert sharp.segment("fulldisk").paths[at] == r"\/SUM26\/D430004006\/S00000\/magnetogram.fits"


def test_a_record_without_that_link_says_so(named):
    sharp = rows(named["hmi.sharp_720s"])
    at = sharp.stored("recnum").values.tolist().index(106)
    cells = sharp.segment("fulldisk")
    assert sharp.link("MDATA")[at] == "Invalid_Link"
    assert sharp.printed("MDATA_QUALITY", False)[at] == "Invalid KeyLink"
    assert (cells.paths[at], cells.dims[at], cells.cparms[at]) == ("BadSegLink", "NA", None)


# ---- worlds that are not as they should be --------------------------------------------------------------


def bare_world():
    """A world of published values: no slot constants, no sizes, no flag M."""
    struct = {
        "note": "",
        "retention": 1,
        "unitsize": 1,
        "archive": 0,
        "tapegroup": 0,
        "primekeys": ["T_REC"],
        "primekeysinfo": [{"name": "T_REC", "slotted": 1, "step": "720.0"}],
        "dbindex": ["T_REC"],
        "keywords": [
            {"name": n, "type": t, "recscope": s, "defval": "", "units": u, "note": ""}
            for n, t, s, u in (("T_REC", "time", "ts_eq", "TAI"), ("V", "float", "variable", "none"))
        ],
        "segments": [],
        "links": [],
        "status": 0,
    }
    values = {"T_REC": ["2014.01.01_00:00:00_TAI", "2014.01.01_00:12:00_TAI"], "V": ["1.5", "MISSING"]}
    keywords = [{"name": name, "values": column} for name, column in values.items()]
    answer = {"keywords": keywords, "segments": [], "links": [], "count": 2, "status": 0}
    return {"series": "lab.bare", "series_struct": json.dumps(struct), "answer": answer}


def test_a_world_without_slot_constants_gets_them(tmp_path):
    (tmp_path / "lab.bare.json").write_text(json.dumps(bare_world()))
    (bare,) = load_world(tmp_path)
    axis = slot_axis(bare.structure, "T_REC")
    assert axis is not None
    slots = rows(bare).stored("t_rec_index").values.tolist()
    assert slots == [axis.slot(parse_time("2014.01.01_00:00:00_TAI")), slots[0] + 1]
    assert rows(bare).printed("T_REC_step", False) == ["720.0", "720.0"]
    assert rows(bare).pseudo("*online*") == ["NA", "NA"]
    assert rows(bare).stored("recnum").values.tolist() == [1, 2]


def test_times_that_are_on_no_slot_are_an_error(tmp_path):
    broken = bare_world()
    broken["answer"]["keywords"][0]["values"][0] = "2014.01.01_00:00:07_TAI"
    (tmp_path / "lab.bare.json").write_text(json.dumps(broken))
    with pytest.raises(ConfigError, match=r"lab.bare.json.*no slots"):
        load_world(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"series": "a.b"}', gzip.compress(b"{}", mtime=0)])
def test_a_file_that_is_no_recorded_series_is_named(tmp_path, content):
    name = "a.b.json.gz" if content[:2] == b"\x1f\x8b" else "a.b.json"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        load_world(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no recorded series"):
        load_world(tmp_path)


def test_worlds_are_read_packed_or_plain(tmp_path):
    packed = (WORLD / "su_test.carr.json.gz").read_bytes()
    (tmp_path / "su_test.carr.json").write_bytes(gzip.decompress(packed))
    (carr,) = load_world(tmp_path)
    assert len(rows(carr)) == 60
