"""What scripts import, and the commands that ask a running mirror, need nothing that only Unix has: Windows has none of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.waiting import PATIENCE

#: Modules and functions that Windows' Python is without.
WITHOUT = """
import os, socket, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "readline", "syslog"):
    sys.modules[name] = None
for name in ("fork", "geteuid", "getuid", "getegid", "pread", "pwrite", "preadv", "fchmod", "statvfs", "sendfile", "O_CLOEXEC",
             "O_DIRECTORY", "posix_fadvise", "copy_file_range", "killpg", "setsid", "sysconf", "getloadavg"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("AF_UNIX", "TCP_CORK", "TCP_USER_TIMEOUT", "SO_REUSEPORT"):
    if hasattr(socket, name):
        delattr(socket, name)
"""


def without_unix(code: str) -> subprocess.CompletedProcess[str]:
    """The code in an interpreter that has no more than Windows has."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "MIRROR_CONFIG": ""},
    )  # fmt: skip


def test_scripts_import_the_client_and_use_a_mirror():
    done = without_unix(
        "import mirror\n"
        "client = mirror.Client('http://127.0.0.1:9')\n"
        "mirror.AsyncClient('http://127.0.0.1:9'), mirror.RemoteError, mirror.__version__\n"
        "with mirror.use('http://127.0.0.1:9'):\n"
        "    pass\n"
        "mirror.server_config('http://127.0.0.1:9')\n"
        "try:\n"
        "    client.sql('SELECT 1')\n"
        "except mirror.RemoteError as problem:\n"
        "    print(problem)\n"
    )
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1:9" in done.stdout


@pytest.mark.parametrize(
    "command", ["status", "search hmi.v_45s[$]", "sql 'SELECT 1'", "jobs", "series", "coverage", "usage", "changes", "fetch hmi.m_720s[$] --to FOLDER"]
)
def test_commands_ask_a_mirror(command, tmp_path):
    words = command.replace("'", "").replace("FOLDER", str(tmp_path / "made")).split(" ", 1)
    arguments = [words[0], *(words[1].split(" ") if len(words) > 1 and words[0] != "sql" else words[1:]), "--url", "http://127.0.0.1:9"]
    done = without_unix(f"import sys\nsys.argv = ['mirror', *{arguments!r}]\nfrom mirror.cli.main import main\nmain()\n")
    assert (done.returncode, "no mirror at http://127.0.0.1:9" in done.stderr) == (1, True), done.stderr[-2000:]
