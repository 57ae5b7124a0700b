"""``mirror status`` for a person: lines that fit a terminal, and nothing of note is left out."""

from mirror.cli.status import sections

TOLD = {
    "policy": "offline",
    "configured_policy": "fallback",
    "uptime_seconds": 7300,
    "series": 17,
    "records": 57600,
    "searches": {"local": 30, "filled": 4},
    "upstream": {"state": "away", "running": 0, "waiting": 0, "requests": 120, "failed": 2, "bytes": 1_200_000},
    "fills": [{"series": "hmi.V_45s", "done": 3, "total": 8}],
    "config": {"file": "/etc/mirror.toml", "loaded": "2026-11-22T10:00:00Z", "problem": "unknown key 'prot'",
               "waiting_for_restart": ["server.port"]},
    "check": {"budget_per_day": "10 GB", "read_today": 0, "running": False, "step": "contents", "begun": 1.0,
              "ended": None, "files": 12, "bytes": 1, "records": 4, "found": {"repaired": 1}},
    "files": {"count": 120, "adopted": 7, "bytes": 1_400_000_000, "quota": 2_000_000_000_000},
    "jobs": {"done": 3, "failed": 1},
}  # fmt: skip


def test_each_subject_has_a_line():
    told = {subject: "\n".join(lines) for subject, lines in sections(TOLD)}
    assert told["mirror"].startswith(
        "holds 17 series, 57,600 records, 120 files, 7 of them adopted exports (1.4 GB"
    )
    assert "of a quota of 2.0 TB" in told["mirror"] or "of a quota of 2 TB" in told["mirror"]
    assert "has run for 2 hours" in told["mirror"]
    assert told["JSOC"].startswith("does not answer; ")
    assert "120 requests since the start, 2 failed, 1.2 MB received" in told["JSOC"]
    assert told["policy"] == "offline, set by hand; the configuration says fallback"
    assert told["searches"] == "30 local, 4 filled"
    assert told["exports"] == "3 done, 1 failed"
    assert told["fetching"] == "hmi.V_45s: 3 of 8 slots or records"
    assert "unknown key 'prot'" in told["configuration"] and "server.port" in told["configuration"]
    assert (
        "is at contents, has seen 12 files and 4 records; found since the start: 1 repaired" in told["check"]
    )


def test_a_mirror_that_does_nothing_has_few_lines():
    told = dict(
        sections({"series": 0, "records": 0, "files": {"count": 0, "adopted": 0, "bytes": 0, "quota": None}})
    )
    assert told == {"mirror": ["holds 0 series, 0 records, 0 files (0 B)"]}
