"""The command, in this process, against a server that answers as a mirror does."""

import csv
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import click
import pytest
from click.testing import CliRunner

from mirror.cli.main import COMMANDS, SECTIONS, main
from mirror.cli.search import fill_progress
from mirror.cli.support.daemon import Daemon
from mirror.cli.support.output import Table, table_of

FOUND = {
    "columns": ["T_REC", "DATAMEAN", "NOTE"],
    "rows": [["2014.01.01_00:00:45_TAI", "3313.1", 'a "b", c'], ["2014.01.01_00:01:30_TAI", "MISSING", "Å"]],
    "count": 2,
    "plan": "filled",
}

STATUS = {
    "policy": "fallback", "configured_policy": "fallback", "uptime_seconds": 0, "series": 0, "searches": {"local": 7},
    "upstream": {
        "state": "away", "running": 0, "waiting": 0, "requests": 0, "failed": 0, "refused": 0, "bytes": 0,
        "budget": {
            "records": {"used": 0, "limit": None, "seconds": 3600}, "bytes": {"used": 0, "limit": None, "seconds": 86400},
            "waiting": 0, "until": None, "why": "",
        },
    },
    "fills": [], "downloads": [], "config": {"file": None, "loaded": "2026-11-22T10:00:00Z", "problem": "", "waiting_for_restart": []},
    "records": 0, "subscriptions": [],
    "check": {
        "budget_per_day": None, "read_today": 0, "running": False, "step": None, "begun": None, "ended": None,
        "files": 0, "bytes": 0, "records": 0, "found": {},
    },
    "files": {"count": 0, "adopted": 0, "bytes": 0, "quota": None}, "jobs": {},
}  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        parts = urlsplit(self.path)
        self.server.asked.append((parts.path, parse_qs(parts.query, encoding="latin-1")))
        code, payload = self.server.answers.get(parts.path, (404, None))
        body = json.dumps(payload).encode() if payload is not None else b"<html>"
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def daemon():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.asked = {}, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(daemon):
    def run(*arguments, color=False, **environment):
        env = {"MIRROR_URL": daemon.url, "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""} | environment
        return CliRunner().invoke(main, arguments, env=env, color=color)

    return run


# ---- help ---------------------------------------------------------------------------------------


def test_help_lists_every_command_and_how_to_write_a_record_set(run):
    result = run("--help")
    assert result.exit_code == 0
    assert all(f"  {name} " in result.output for name in COMMANDS)
    assert "hmi.v_45s[2014.01.01_TAI/1d@1h]" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_explains_itself_with_an_example(run, name):
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert COMMANDS[name][1].rstrip(".").split(":")[0].split(",")[0] in result.output
    assert all(option.get("help") for option in options(name)), "an option without help"
    assert re.search(rf"^ {{6}}(\w+=\S+ )*mirror {name}\b", result.output, re.MULTILINE), "no example"


def test_help_lists_every_command_in_one_section():
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(COMMANDS)


#: Words that mean the same wherever they stand, with what they may be called in short.
SAME = {"--json", "--csv", "--url", "--dry-run", "--yes", "--seg", "--protocol", "--email", "--reason", "-n"}


def test_options_of_one_name_are_of_one_kind():
    kinds = {}
    for name in COMMANDS:
        for option in options(name):
            for word in SAME & set(option["opts"]):
                kinds.setdefault(word, set()).add((option["is_flag"], tuple(option["opts"])))
    assert {word for word, found in kinds.items() if len(found) > 1} == set()
    apart = {"cluster", "config", "dataset", "demo", "serve", "simulate", "token"}  # programs that run on, and groups of commands
    assert {name for name in COMMANDS if "--url" not in words(name)} == {*apart, "restore"}
    assert {name for name in COMMANDS if "--json" not in words(name)} == apart


def words(name):
    return {word for option in options(name) for word in option["opts"]}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_option_is_a_wrong_use_of_the_command(run, name):
    result = run(name, "--no-such-option")
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        "No such option '--no-such-option'" in result.stderr
        or "No such option: --no-such-option" in result.stderr
    )


def options(name):
    command = main.get_command(click.Context(main), name)
    parameters = [p.to_info_dict() for p in command.params]
    return [p for p in parameters if p["param_type_name"] == "option" and not p["hidden"]]


def test_a_command_that_is_not_there_is_an_error(run):
    result = run("serch")
    assert result.exit_code == 2
    assert "No such command 'serch'" in result.output


# ---- search -------------------------------------------------------------------------------------


def test_a_search_is_a_table_and_says_how_it_was_answered(run, daemon):
    daemon.answers["/api/search"] = 200, FOUND
    result = run("search", "hmi.v_45s[2014.01.01_TAI/90s]", "--key", "T_REC,DATAMEAN", "-n", "2")
    assert daemon.asked == [
        ("/api/search", {"ds": ["hmi.v_45s[2014.01.01_TAI/90s]"], "key": ["T_REC,DATAMEAN"], "n": ["2"]})
    ]
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert lines[0] == ["T_REC", "DATAMEAN", "NOTE"]
    assert lines[2][:2] == ["2014.01.01_00:00:45_TAI", "3313.1"]
    assert result.stderr == "2 records; missing records were fetched from JSOC and cached\n"


def test_csv_holds_the_values_as_they_are(run, daemon):
    daemon.answers["/api/search"] = 200, FOUND
    result = run("search", "a.b[]", "--csv")
    assert list(csv.reader(io.StringIO(result.stdout))) == [FOUND["columns"], *FOUND["rows"]]


def test_json_is_what_the_mirror_answered(run, daemon):
    daemon.answers["/api/search"] = 200, FOUND
    assert json.loads(run("search", "a.b[]", "--json").stdout) == FOUND


def test_a_wide_table_is_not_cut_in_a_pipe(run, daemon):
    columns = [f"KEYWORD{n}" for n in range(100)]
    daemon.answers["/api/search"] = 200, {"columns": columns, "rows": [columns], "count": 1, "plan": "local"}
    assert "KEYWORD99" in run("search", "a.b[]").stdout.splitlines()[-1]


def test_markup_in_values_is_text(run, daemon):
    rows = {"columns": ["[bold]"], "rows": [["[red]x[/red]"]], "count": 1, "plan": "local"}
    daemon.answers["/api/search"] = 200, rows
    assert "[red]x[/red]" in run("search", "a.b[]").stdout


def test_the_mirrors_own_words_are_shown_on_an_error(run, daemon):
    daemon.answers["/api/search"] = 400, {"error": "expected a time\n  a.b[x]\n      ^"}
    result = run("search", "a.b[x]")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: expected a time\n  a.b[x]\n      ^\n"


def test_what_is_missing_is_a_line_a_span(run, daemon):
    error = "the mirror is offline; a.b is not cached for: T_REC 1 to 2 (2 slots); T_REC 5 to 6 (2 slots)"
    daemon.answers["/api/search"] = 503, {"error": error, "missing": ["a.b[1-2,5-6]"]}
    result = run("search", "a.b[1-6]")
    assert result.stderr.splitlines() == [
        "Error: the mirror is offline; a.b is not cached for:",
        "  T_REC 1 to 2 (2 slots)",
        "  T_REC 5 to 6 (2 slots)",
    ]


@pytest.mark.parametrize("name", ["series", "coverage", "jobs", "pin", "sync", "usage"])
def test_a_list_of_nothing_says_so_and_prints_nothing(run, daemon, name):
    path = {"pin": "/api/pins", "sync": "/api/subscriptions"}.get(name, f"/api/{name}")
    daemon.answers[path] = 200, []
    result = run(name)
    assert (result.exit_code, result.stdout) == (0, "")
    assert len(result.stderr.splitlines()) == 1
    assert json.loads(run(name, "--json").stdout) == []


def test_progress_counts_the_fills_of_the_series_that_is_searched(daemon):
    fills = [("hmi.V_45s", 10, 100), ("hmi.V_45s", 5, 50), ("aia.lev1", 1, 9)]
    status = {**STATUS, "fills": [{"series": s, "done": done, "total": total} for s, done, total in fills]}
    daemon.answers["/api/status"] = 200, status
    assert fill_progress(Daemon(daemon.url), "hmi.v_45s[2014]") == {"completed": 15, "total": 150}
    assert fill_progress(Daemon(daemon.url), "mdi.fd_v[$]") == {}


# ---- what a mirror has --------------------------------------------------------------------------


def test_series_coverage_and_status_show_what_the_mirror_says(run, daemon):
    known = {
        "series": "hmi.V_45s",
        "records": 1920,
        "primekeys": ["T_REC", "CAMERA"],
        "keywords": 30,
        "segments": ["Dopplergram"],
        "note": "",
    }
    span = {"restriction": "", "last": None, "slots": None, "checked_at": 0.0}
    daemon.answers["/api/series"] = 200, [known]
    daemon.answers["/api/coverage"] = 200, [{**span, "series": "hmi.V_45s", "first": "2014.01.01_00:00:00_TAI"}]
    daemon.answers["/api/status"] = 200, STATUS
    assert "1920   T_REC, CAMERA         30   Dopplergram" in run("series").stdout
    assert "2014.01.01_00:00:00_TAI" in run("coverage", "hmi.V_45s").stdout
    assert "not responding" in run("status").stdout
    assert json.loads(run("status", "--json").stdout) == daemon.answers["/api/status"][1]
    assert daemon.asked[1] == ("/api/coverage", {"series": ["hmi.V_45s"], "folded": ["1"]})


def test_a_terminal_that_is_to_have_no_colour_gets_no_escapes(run, daemon, monkeypatch):
    daemon.answers["/api/status"] = 200, STATUS
    for name, value, styled in (("NO_COLOR", "1", False), ("TERM", "dumb", False), ("TERM", "xterm", True)):
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv(name, value)
        assert ("\x1b[" in run("status", color=True).stdout) is styled


def test_changes_of_a_series_that_is_not_cached_names_one_that_is(run, daemon):
    daemon.answers["/api/changes"] = 200, []
    daemon.answers["/api/series"] = 200, [
        {"series": "hmi.V_45s", "records": 1, "primekeys": [], "keywords": 1, "segments": [], "note": ""}
    ]
    assert "0 changes; did you mean hmi.V_45s?" in run("changes", "hmi.v_45").stderr
    assert "0 changes; no series of that name is cached" in run("changes", "x.y").stderr
    assert run("changes", "hmi.v_45s").stderr == "0 changes\n"


def test_no_mirror_there_says_what_to_do(run):
    result = run("status", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "no mirror at http://127.0.0.1:1" in result.stderr
    assert "mirror serve" in result.stderr


@pytest.mark.parametrize("code", [200, 500])
def test_something_else_that_answers_is_told_from_a_mirror(run, daemon, code):
    daemon.answers["/api/status"] = code, None
    result = run("status")
    assert result.exit_code == 1
    assert ("is not a mirror" if code == 200 else "HTTP 500") in result.stderr


# ---- programs -----------------------------------------------------------------------------------


def test_a_wrong_configuration_stops_serve_with_the_key(run, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[server]\nprot = 1")
    result = run("serve", "--config", str(path))
    assert result.exit_code == 1
    assert "unknown key 'prot'; did you mean 'port'?" in result.stderr


@pytest.mark.parametrize("text, message", [("[", "is not JSON"), ('[{"fault": "melt"}]', "fault is 'melt'")])
def test_wrong_faults_stop_the_simulator_with_the_rule(run, tmp_path, text, message):
    path = tmp_path / "faults.json"
    path.write_text(text)
    result = run("simulate", "--port", "0", "--world", str(tmp_path), "--faults", str(path))
    assert result.exit_code == 1
    assert message in result.stderr


# ---- tables -------------------------------------------------------------------------------------


def test_objects_have_a_column_for_every_member_that_any_of_them_has():
    assert table_of([{"a": 1}, {"a": 2, "b": 3}]) == Table(["a", "b"], [[1, None], [2, 3]])


def test_an_object_is_a_table_of_its_members():
    assert table_of({"a": {"b": 1, "c": {}}}).rows == [("a.b", 1), ("a.c", {})]


def test_plain_values_are_a_table_of_names():
    assert table_of(["x", "y"]) == Table(["name"], [["x"], ["y"]])
