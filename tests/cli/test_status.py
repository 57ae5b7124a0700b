"""``mirror status`` for a person: lines that fit a terminal, and nothing of note is left out."""

import msgspec

from mirror.api.monitoring import Status
from mirror.cli.status import laid_out, sections

TOLD = {
    "policy": "offline",
    "configured_policy": "fallback",
    "uptime_seconds": 7300,
    "series": 17,
    "records": 57600,
    "searches": {"local": 30, "filled": 4},
    "upstream": {
        "state": "away", "running": 0, "waiting": 0, "requests": 120, "failed": 2, "bytes": 1_200_000,
        "budget": {
            "records": {"used": 0, "limit": None, "seconds": 3600}, "bytes": {"used": 0, "limit": None, "seconds": 86400},
            "waiting": 0, "until": None, "why": "",
        },
    },
    "subscriptions": [],
    "fills": [{"series": "hmi.V_45s", "done": 3, "total": 8, "who": ["ada", "token:bob"], "seconds_left": 130}],
    "downloads": [{"who": "ada", "files": 2, "arriving": 1, "bytes": 12_000_000, "size": 34_000_000, "seconds_left": None}],
    "config": {"file": "/etc/mirror.toml", "loaded": "2026-11-22T10:00:00Z", "problem": "unknown key 'prot'",
               "waiting_for_restart": ["server.port"]},
    "check": {"budget_per_day": "10 GB", "read_today": 0, "running": False, "step": "contents", "begun": 1.0,
              "ended": None, "files": 12, "bytes": 1, "records": 4, "found": {"repaired": 1}},
    "files": {"count": 120, "adopted": 7, "bytes": 1_400_000_000, "quota": 2_000_000_000_000},
    "jobs": {"done": 3, "failed": 1},
    "disk": {"free": 250_000_000_000, "total": 1_000_000_000_000, "cached": 1_400_000_000, "quota": 2_000_000_000_000},
}  # fmt: skip


def test_each_subject_has_a_line():
    told = {subject: "\n".join(lines) for subject, lines in sections(msgspec.convert(TOLD, Status))}
    assert told["mirror"].startswith(
        "17 cached series, 57,600 records, 120 files, 7 of them adopted (1.4 GB"
    )
    assert "of a quota of 2.0 TB" in told["mirror"] or "of a quota of 2 TB" in told["mirror"]
    assert "up for 2 hours" in told["mirror"]
    assert told["JSOC"].startswith("not responding; ")
    assert "120 requests since start, 2 failed, 1.2 MB received" in told["JSOC"]
    assert told["mode"] == "offline (set by command; configured: fallback)"
    assert told["searches"] == "30 local, 4 filled"
    assert told["exports"] == "3 done, 1 failed"
    assert told["disk"] == "250 GB free of 1 TB (75% used); quota for files 2 TB"
    assert told["fetching"] == "ada, token:bob: hmi.V_45s, 3 of 8 chunks, about 2 minutes left\nada: 2 files, 12 MB of 34 MB"
    assert "unknown key 'prot'" in told["configuration"] and "server.port" in told["configuration"]
    assert (
        "now at contents: 12 files and 4 records; found since start: 1 repaired" in told["check"]
    )


def test_what_a_mirror_does_not_do_has_no_line():
    idle = {"searches": {}, "fills": [], "downloads": [], "jobs": {}, "uptime_seconds": 0, "policy": "fallback"}
    config = {"file": None, "loaded": "2026-11-22T10:00:00Z", "problem": "", "waiting_for_restart": []}
    told = dict(sections(msgspec.convert({**TOLD, **idle, "config": config}, Status)))
    assert list(told) == ["mirror", "JSOC", "mode", "disk", "check"]
    assert len(told["mirror"]) == len(told["JSOC"]) == 1


def test_lines_that_are_wider_than_the_terminal_are_folded_beside_their_subject():
    found = [("one", ["aa bb " * 10]), ("another", ["cc", "dd"])]
    assert laid_out(found, None).count("\n") == 2
    lines = laid_out(found, 40).splitlines()
    assert all(len(line) <= 49 for line in lines)  # with what makes the subject bold
    assert all(line.startswith(" " * 9) for line in (lines[1], lines[3])) and lines[-1].strip() == "dd"
