"""The real programs, started as people start them: a simulator, a mirror, the clients and the commands."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
import urllib.request
from urllib.error import URLError

import pytest

from tests import processes
from tests.recorded import WORLD
from tests.waiting import PAUSE

DAY = "hmi.v_45s[2014.01.01_TAI/1h]"


@pytest.fixture(scope="module")
def simulator():
    with processes.simulate(WORLD) as running:
        yield running


@pytest.fixture(scope="module")
def mirror(simulator, tmp_path_factory):
    with processes.serve(simulator.url, tmp_path_factory.mktemp("store")) as running:
        yield running


def asked(simulator):
    with urllib.request.urlopen(simulator.url + "/_simulator/log") as response:
        return len(json.load(response))


def command(mirror, *arguments):
    return processes.run("-m", "mirror", *arguments, MIRROR_URL=mirror.url)


# ---- unmodified clients -------------------------------------------------------------------------

DRMS = """
import drms, json, sys
client = drms.Client({server})
keys, segments = client.query({ds!r}, key="T_REC,DATAMEAN,QUALITY", seg="Dopplergram")
info = client.info("hmi.v_45s")
print(json.dumps([len(keys), list(keys.columns), str(keys.DATAMEAN.dtype), segments.Dopplergram[0], info.primekeys,
                  "hmi.V_45s" in client.series("hmi"), client.check_email("me@lab.edu")]))
"""


def drms_answer(output):
    assert output.returncode == 0, output.stderr
    return json.loads(output.stdout)


def expected(found):
    records, columns, dtype, path, primekeys, listed, registered = found
    assert (records, columns, dtype) == (80, ["T_REC", "DATAMEAN", "QUALITY"], "float64")
    assert path.startswith("/SUM")
    assert (primekeys, listed, registered) == (["T_REC", "CAMERA"], True, True)


def test_drms_goes_through_the_mirror_by_an_environment_variable(mirror, simulator):
    script = DRMS.format(server="", ds=DAY)
    expected(drms_answer(processes.run("-c", script, HTTP_PROXY=mirror.url)))
    before = asked(simulator)
    expected(drms_answer(processes.run("-c", script, HTTP_PROXY=mirror.url)))
    assert asked(simulator) == before, "the second time nothing is asked"


def test_drms_goes_to_the_mirror_as_to_a_server_of_its_own(mirror):
    import drms

    from mirror.client.redirect import server_config

    client = drms.Client(server=server_config(mirror.url))
    keys = client.query(DAY, key="**ALL**")
    assert len(keys) == 80
    assert keys.CRLN_OBS.dtype == "float64"
    assert client.keys("hmi.sharp_720s")


def test_fido_goes_to_the_mirror_after_one_line(mirror, simulator):
    script = f"""
import mirror
mirror.use({mirror.url!r})
from sunpy.net import Fido, attrs as a
found = Fido.search(a.Time("2014-01-01T00:00:00", "2014-01-01T01:00:00"), a.jsoc.Series("hmi.v_45s"))
print(len(found["jsoc"]), found["jsoc"]["T_REC"][0])
"""
    first = processes.interpret("-c", script)
    assert first.returncode == 0, first.stderr
    assert first.stdout.split() == ["81", "2014.01.01_00:00:45_TAI"]
    before = asked(simulator)
    assert processes.run_client("-c", script).stdout == first.stdout
    assert asked(simulator) == before


# ---- commands -----------------------------------------------------------------------------------


def test_search_prints_a_table_and_says_how_it_was_answered(mirror):
    first = command(mirror, "search", "hmi.m_45s[2014.01.01_TAI/90s]", "--key", "T_REC,CAMERA,QUALITY")
    assert first.returncode == 0, first.stderr
    lines = [line.split() for line in first.stdout.splitlines()]
    assert lines[0] == ["T_REC", "CAMERA", "QUALITY"]
    assert lines[2] == ["2014.01.01_00:00:00_TAI", "2", "0x00000000"]
    assert "2 records; missing records were fetched from JSOC and cached" in first.stderr
    again = command(mirror, "search", "hmi.m_45s[2014.01.01_TAI/90s]", "--csv")
    assert [row[0] for row in csv.reader(io.StringIO(again.stdout))][1:] == [
        "2014.01.01_00:00:00_TAI",
        "2014.01.01_00:00:45_TAI",
    ]
    assert "from the cache" in again.stderr


def test_search_prints_json_with_segments(mirror):
    found = json.loads(
        command(mirror, "search", DAY, "--key", "T_REC", "--seg", "Dopplergram", "-n", "-2", "--json").stdout
    )
    assert found["columns"] == ["T_REC", "Dopplergram"]
    assert len(found["rows"]) == found["count"] == 2
    assert found["rows"][1][1].startswith("/SUM")


def test_a_wrong_search_shows_where_it_is_wrong(mirror):
    wrong = command(mirror, "search", "hmi.v_45s[yesterday]")
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert "^" in wrong.stderr


def test_coverage_series_and_status_tell_what_is_held(mirror):
    command(mirror, "search", DAY)
    spans = json.loads(command(mirror, "coverage", "hmi.v_45s", "--json").stdout)
    assert any(
        s["first"] <= "2014.01.01_00:00:00_TAI" and s["last"] >= "2014.01.01_00:59:15_TAI" for s in spans
    )
    (series,) = [
        s for s in json.loads(command(mirror, "series", "--json").stdout) if s["series"] == "hmi.V_45s"
    ]
    assert series["records"] >= 80
    assert series["primekeys"] == ["T_REC", "CAMERA"]
    status = json.loads(command(mirror, "status", "--json").stdout)
    assert status["policy"] == "fallback"
    assert status["records"] >= 80
    assert "hmi.V_45s" in command(mirror, "series").stdout


# ---- start and end ------------------------------------------------------------------------------


def test_a_store_has_one_owner_and_the_second_is_told_who(mirror, simulator, tmp_path):
    with processes.serve(simulator.url, tmp_path) as first:
        settings = {
            "MIRROR_UPSTREAM__URL": simulator.url,
            "MIRROR_STORAGE__PATH": str(tmp_path),
            "MIRROR_SERVER__PORT": "0",
        }
        second = processes.run("-m", "mirror", "serve", **settings)
        assert second.returncode == 1
        assert second.stdout == ""
        assert f"is in use by process {first.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr


def test_sigterm_ends_both_programs_at_once_and_cleanly(tmp_path):
    with processes.simulate(WORLD) as simulator, processes.serve(simulator.url, tmp_path) as mirror:
        for running in (mirror, simulator):
            started = time.monotonic()
            code, log = running.terminate()
            assert code == 0
            assert all("level=info" in line for line in log.splitlines()), log
            assert time.monotonic() - started < processes.IN_TIME


def test_sigterm_in_the_middle_of_a_fill_ends_the_mirror_in_time(tmp_path):
    with (
        processes.simulate(WORLD, "--latency", "200") as simulator,
        processes.serve(simulator.url, tmp_path, MIRROR_FILL__CHUNK_RECORDS="50") as mirror,
    ):
        client = threading.Thread(target=search, args=(mirror.url,))
        client.start()
        while asked(simulator) < 4:
            time.sleep(PAUSE)
        started = time.monotonic()
        code, errors = mirror.terminate()
        assert time.monotonic() - started < processes.IN_TIME
        assert code == 0
        assert all("level=info" in line for line in errors.splitlines()), errors
        client.join(processes.PATIENCE)
    with processes.serve("http://127.0.0.1:1", tmp_path, MIRROR_UPSTREAM__POLICY="offline") as again:
        status = json.loads(command(again, "status", "--json").stdout)
        assert status["policy"] == "offline"


def search(url):
    try:
        urllib.request.urlopen(
            f"{url}/cgi-bin/ajax/jsoc_info?op=rs_list&ds=hmi.v_45s[2014.01.01_TAI/12h]&key=T_REC"
        ).read()
    except (URLError, OSError):
        return
