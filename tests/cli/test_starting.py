"""A command that asks a mirror which runs starts without what only a mirror needs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cli.test_cli import STATUS

#: Each takes longer to load than the whole of `mirror status`.
HEAVY = {"aiohttp", "asyncio", "astropy", "duckdb", "jinja2", "numpy", "pyarrow", "rich", "tomlkit"}
PROGRAM = """
import json, sys
from mirror.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(STATUS if self.path == "/api/status" else []).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["status", "--url"], ["status", "--json", "--url"]])
def test_the_status_of_a_mirror_that_runs_loads_nothing_heavy(url, arguments):
    given = [*arguments, *([url] if arguments[-1] == "--url" else [])]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *given], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip()
    assert HEAVY & set(json.loads(done.stderr.splitlines()[-1])) == set()


@pytest.mark.parametrize("command", ["status", "jobs"])
def test_nor_does_reading_the_configuration(url, command, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(f'[server]\nport = {url.rpartition(":")[2]}\n')
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, command], capture_output=True, text=True, check=False,
        env={**os.environ, "MIRROR_CONFIG": str(file)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert HEAVY & set(json.loads(done.stderr.splitlines()[-1])) == set()


def test_ctrl_c_while_it_loads_ends_it_in_silence(tmp_path):
    """As the shell has it: ended by the signal, without a traceback."""
    (tmp_path / "click.py").write_text("print('loading', flush=True)\nimport time\ntime.sleep(60)\n")
    search = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, "-m", "mirror", "status"], env={**os.environ, "PYTHONPATH": search},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  (whoever runs this may ignore it)
    ) as running:  # fmt: skip
        assert running.stdout is not None and running.stdout.readline() == "loading\n"
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=180)
    assert (running.returncode, errors) == (-signal.SIGINT, "")
