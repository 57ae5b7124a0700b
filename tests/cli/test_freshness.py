"""Changes, policies and demands from the command line, against a mirror in a process of its own."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.processes import program, run, serve

SPAN = "hmi.v_45s[2014.01.01_TAI/1h]"


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    with (
        program("simulate", "--port", "0") as upstream,
        serve(upstream.url, tmp_path_factory.mktemp("store")) as server,
    ):
        body = json.dumps({"ds": "hmi.v_45s[2014.01.01_TAI/3m]"}).encode()
        request = urllib.request.Request(f"{upstream.url}/_simulator/reprocess", body)

        def command(*arguments):
            return run("-m", "mirror", *arguments, MIRROR_URL=server.url)

        command.reprocess = lambda: json.load(urllib.request.urlopen(request))["hmi.V_45s"]
        yield command


def test_a_reprocessing_is_found_on_demand_and_told(mirror):
    assert mirror("search", SPAN).returncode == 0
    assert json.loads(mirror("changes", "--json").stdout) == []
    new = mirror.reprocess()
    assert "from the cache" in mirror("search", SPAN).stderr
    assert "fetched from JSOC" in mirror("search", SPAN, "--refresh").stderr
    told = json.loads(mirror("changes", "hmi.v_45s", "--since", "1h", "--json").stdout)
    assert sorted(c["new"] for c in told) == new
    wrong = mirror("changes", "--since", "lately")
    assert (wrong.returncode, "expected a date such as" in wrong.stderr) == (1, True)


def test_a_mirror_goes_offline_and_says_what_is_missing_until_it_is_online_again(mirror):
    mirror("search", SPAN)
    assert json.loads(mirror("offline", "--json").stdout) == {"policy": "offline", "configured": "fallback"}
    answer = mirror("search", "hmi.v_45s[2014.01.01_TAI/2h]")
    assert answer.returncode == 1
    assert "T_REC 2014.01.01_01:00:00_TAI to 2014.01.01_01:59:15_TAI (80 slots)" in answer.stderr
    stale = mirror("search", SPAN, "--refresh")
    assert "not checked with JSOC" in stale.stderr
    assert "last checked" in stale.stderr
    assert mirror("online").stdout.startswith("fallback: ")
    held = mirror("search", "hmi.v_45s[2014.01.01_TAI/2h]", "--cached")
    assert (held.returncode, "allows cached data only" in held.stderr) == (1, True)
