"""A wrong value of any option is one clear line: what was wrong, what was expected, where; exit code 2 for usage, else 1."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from click.testing import CliRunner

from mirror.cli.main import main
from tests.filelab import file_lab

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY = "hmi.m_720s[2014.01.01_00:00:00_TAI/24m]"
LONG = "x" * 300
WINDOW = ("subscribe", "hmi.m_720s", "--start", "2014.01.01", "--dry-run")

WRONG = [
    # numbers
    (("jobs", "-n", "abc"), 2, "'-n': 'abc'; expected a whole number, x>=1."),
    (("jobs", "-n", "0"), 2, "0 is not in the range x>=1"),
    (("search", DAY, "-n", "1.5"), 2, "'-n': '1.5'; expected a whole number."),
    (("search", DAY, "-n", "9" * 20), 1, f"n is '{'9' * 20}'; expected a whole number of at most 64 bits"),
    (("simulate", "--latency", "x"), 2, "'x'; expected a number, x>=0."),
    (("serve", "--processes", "65"), 2, "65 is not in the range 1<=x<=64"),
    (("film", DAY, "--to", "x.mp4", "--fps", "99"), 2, "99 is not in the range 1<=x<=60"),
    (("film", DAY, "--to", "x.mp4", "--size", "100"), 2, "'100' is not one of '128', '256', '512', '1024'"),
    (("search", DAY, "-n", "0"), 2, "'-n': expected how many records, such as 10"),
    (("evict", "--need", "-5GB"), 2, "'-5GB'; expected a size such as"),
    (("pin", DAY, "--for", "never"), 2, "'never'; expected a duration such as"),
    # times
    (("audit", "--since", "tomorrow"), 1, "since = 'tomorrow'; expected a date such as"),
    (("usage", "--since", "2014-02-30"), 1, "'2014-02-30' is no day; expected one such as"),
    (("changes", "--since", "-1"), 1, "since = '-1'; expected a date such as"),
    ((*WINDOW, "--start", "5"), 1, "start = '5': expected a time such as"),
    ((*WINDOW, "--end", "2013.01.01"), 1, "end = '2013.01.01': expected a time after its start, 2014.01.01"),
    ((*WINDOW, "--start", "-3d", "--end", "-10d"), 1, "end = '-10d': expected a time after its start, -3d"),
    # paths
    (("backup", ""), 2, "'TO': it is empty; expected the name of a folder"),
    (("fetch", DAY, "--to", ""), 2, "'--to': it is empty; expected the name of a folder"),
    (("plot", DAY, "--key", "DATAMEAN", "--to", ""), 2, "'--to': it is empty; expected the name of a file"),
    (("film", DAY, "--to", ""), 2, "'--to': it is empty; expected the name of a file"),
    (("sql", "SELECT 1", "--parquet", ""), 2, "'--parquet': it is empty; expected the name of a file"),
    (("adopt", ""), 2, "it is empty; expected the name of a file or folder"),
    (("config", "check", ""), 2, "it is empty; expected the name of a file or folder"),
    (("backup", LONG), 1, "expected a folder that there can be"),
    (("bundle", DAY, "--to", LONG), 1, "expected a folder that there can be"),
    (("dataset", "fetch", LONG), 1, "expected a folder that there can be"),
    (("sql", "SELECT 1", "--parquet", "nowhere/x.parquet"), 2, "'--parquet': there is no folder 'nowhere'; make it first"),
    (("film", DAY, "--to", "nowhere/x.mp4"), 2, "'--to': there is no folder 'nowhere'; make it first"),
    (("film", DAY, "--to", "x.avi"), 2, "'x.avi'; expected a name that ends in .mp4"),
    (("plot", DAY, "--key", "DATAMEAN", "--to", "x"), 2, "'x'; expected a name that ends in .png, .svg or .pdf"),
    (("sql", "-f", "/usr/bin/env"), 1, "/usr/bin/env is no text in UTF-8"),
    # options that contradict each other
    (("search", DAY, "--json", "--csv"), 2, "--csv cannot be combined with --json"),
    (("search", DAY, "--cached", "--refresh"), 2, "--refresh cannot be combined with --cached"),
    (("check", "--index", "--files"), 2, "--files cannot be combined with --index"),
    (("adopt", "--link", "--move", "."), 2, "--move cannot be combined with --link"),
    (("sql", "SELECT 1", "--parquet", "x.parquet", "--json"), 2, "--json cannot be combined with --parquet"),
    (("sql", "SELECT 1", "-p", "u=3"), 2, "-p u: no statement has a $u"),
    (("subscribe", "--remove", "x", "--dry-run"), 2, "--dry-run cannot be combined with --remove"),
    (("dataset", "create", "x"), 2, "expected record sets (--ds), or a statement (--sql), and not both"),
    # names
    (("dataset", "create", "x", "--ds", "hmi.m_720s[2014.01.01_TAI]{nope}"), 1, "hmi.M_720s has no segment 'nope'"),
    (("fill", "hmi.m_720s[2014.01.01_TAI]{nope}"), 1, "hmi.M_720s has no segment 'nope'"),
    (("jobs", ""), 1, "id is ''; expected a name without slashes"),
    (("cancel", "../.."), 1, "id is '../..'; expected a name without slashes"),
    (("cancel", "FILL_x"), 1, "no job 'FILL_x' at this mirror; see `mirror jobs` for IDs"),
    (("dataset", "show", ""), 1, "name is ''; expected a name without slashes"),
    (("dataset", "diff", "nope"), 1, "no data set 'nope'; `mirror dataset list` shows them"),
    (("plot", DAY, "--key", "", "--to", "x.png"), 2, "--key names no keyword; expected one or more"),
    (("sync", "--once", "nope"), 1, "no subscription 'nope'; there are none"),
    (("search", f"{DAY}{{magnetogrm}}"), 1, "has no segment 'magnetogrm'; did you mean magnetogram?"),
    (("search", DAY, "--key", "QQQ"), 1, "has no keyword 'QQQ'; expected some of DATE, DATE__OBS,"),
    (("plot", DAY, "--key", "T_REC", "--to", "x.png"), 1, "T_REC is a time; expected keywords that are numbers"),
    (("search", "hmi.m_720s[π]"), 1, "ds has the character 'π'; expected characters of Latin-1, as at JSOC\n  hmi.m_720s[π]\n             ^"),
    (("status", "--token", "ü"), 1, "the token has characters that no token has"),
    (("search", DAY, "--key", "T_REK"), 1, "has no keyword 'T_REK'; did you mean T_REC"),
    (("export", DAY, "--protocol", "zip"), 1, "protocol is 'zip'; expected one of as-is, fits, jpg"),
    (("fetch", DAY, "--to", "here", "--name", "same"), 1, "1 file name is not unique, such as 'same'"),
    # record sets, with the place
    (("search", "hmi.m_720s[2014.01.01"), 1, "expected ']'\n  hmi.m_720s[2014.01.01\n            ^"),
    (("fetch", "hmi.m_720s[2014.13.01]{magnetogram}"), 1, "is not a time; expected a time such as"),
    (("export", "hmi.m_720s[2014.13.01]{magnetogram}"), 1, "\n  hmi.m_720s[2014.13.01]{magnetogram}\n             ^"),
    (("fill", "hmi.m_720s[2014.01.01/24q]", "--dry-run"), 1, "\n  hmi.m_720s[2014.01.01/24q]\n                        ^"),
    (("pin", "[[["), 1, "expected the name of a series, such as hmi.M_45s\n  [[[\n  ^"),
    (("sql", "SELECT * FROM jsoc(3)"), 1, "jsoc() of 3; expected jsoc('hmi.v_45s[2014.01.01/1d]')"),
    (("sql", "SELEC 1"), 1, 'syntax error at or near "SELEC"\n  SELEC 1\n  ^'),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory):
    async with file_lab(tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.mark.parametrize("words, code, told", WRONG, ids=range(len(WRONG)))
async def test_a_wrong_value_is_one_clear_line(lab, tmp_path, monkeypatch, words, code, told):
    monkeypatch.chdir(tmp_path)
    result = await asyncio.to_thread(CliRunner().invoke, main, words, env={"MIRROR_URL": lab.url})
    assert (result.exit_code, told in result.output) == (code, True), result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "see the mirror's log" not in result.output
    assert [path for path in tmp_path.iterdir() if path.name != "here"] == [], "nothing is written"
