"""What commands print of jobs and of other things, and what becomes of jobs after Ctrl-C."""

from __future__ import annotations

from concurrent import futures

import click
import pytest
from click.testing import CliRunner

from mirror.api.datasets import ChangedKeyword, ChangedRecord, Difference
from mirror.api.exports import Job, Waits
from mirror.cli import jobs as jobs_module
from mirror.cli.dataset import _differences
from mirror.cli.jobs import _line
from mirror.cli.main import main
from mirror.cli.support.output import Column, drawn, remark, table_of
from mirror.cli.token import _shown
from mirror.client.connection import begun
from mirror.config.access import Role
from mirror.config.sections import Token

JOB = Job(
    id="JSOC_20140101_900001", kind="export", by=None, state="fetching", ready=1, total=4, counted="files", seconds_left=None,
    bytes=0, ds="hmi.v_45s[2014.01.01_TAI/3m]", created="2026-11-22T10:00:00Z", updated="2026-11-22T10:00:00Z", error=None,
    waits=Waits(why="JSOC is away", tries=1, next_try="2026-11-22T10:15:00Z"), notes=[], files=[],
)  # fmt: skip


def test_a_narrow_terminal_shows_the_state_of_a_job():
    table = table_of([_line(JOB)])
    columns = [Column(name, [str(row[n]) for row in table.rows], numeric=False) for n, name in enumerate(table.columns)]
    assert drawn(columns, 40).lines[-1] == " JSOC_20140101_900001   waiting, 10:15"


def test_bytes_of_a_token_are_scaled_for_people_only():
    token = Token(name="ada", role=Role.READ, hash="x", bytes_per_day=50_000_000_000)
    assert [_shown(token, form)["bytes_per_day"] for form in ("table", "csv", "json")] == ["50 GB", 50_000_000_000, 50_000_000_000]


def test_a_fetch_without_a_mirror_makes_no_folder(tmp_path):
    folder = tmp_path / "data"
    result = CliRunner().invoke(main, ["fetch", "hmi.v_45s[2014.01.01_TAI]", "--to", str(folder), "--url", "http://127.0.0.1:1"])
    assert (result.exit_code, "no mirror at" in result.stderr, folder.exists()) == (1, True, False)


def test_what_is_begun_while_ctrl_c_is_pressed_is_undone(monkeypatch):
    result, undone = futures.Future.result, []

    def interrupted(future, timeout=None):
        monkeypatch.setattr(futures.Future, "result", result)
        raise KeyboardInterrupt

    assert begun(lambda: "job", undone.append) == "job"
    monkeypatch.setattr(futures.Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        begun(lambda: "job", undone.append)
    assert undone == ["job"]


def test_what_a_terminal_would_obey_is_not_printed(monkeypatch):
    def failing(*_, **__):
        remark("record \x1b[2J of\n  a line")
        raise click.ClickException("the error \x1b]0;title\x07 of JSOC")

    monkeypatch.setattr(jobs_module.jobs, "callback", failing)
    result = CliRunner().invoke(main, ["jobs", "--url", "http://127.0.0.1:1"])
    assert result.stderr == "record  [2J of\n  a line\nError: the error  ]0;title  of JSOC\n"


def test_values_of_keywords_that_a_terminal_would_obey_are_not_printed(capsys):
    change = ChangedKeyword(keyword="NOTE", old="\x1b[2J", new="new")
    record = ChangedRecord(record="a.b[\x1b]0;title\x07]", old=1, new=2, keywords=[change])
    _differences(Difference(name="x", unchanged=0, reprocessed=[record], withdrawn=["a.b[\x9b2J]"], added=["a.b[\x1b[A]"]))
    printed = capsys.readouterr().out
    assert "reprocessed" in printed and "withdrawn" in printed
    assert printed.replace("\n", "").isprintable()
