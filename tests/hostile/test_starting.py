"""What a newcomer does wrong, or finds in the way, is one clear line: no traceback, and an exit code that says so."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from mirror.cli.main import INTERRUPTED, main
from mirror.errors import ConfigError
from mirror.listening import bind, url_of
from tests.processes import environment, program, run
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = (
    ["status"], ["search", "hmi.v_45s[$]"], ["sql", "SELECT 1"], ["jobs"], ["coverage"], ["series"], ["changes"], ["usage"],
    ["sync"], ["pin", "hmi.v_45s[$]"], ["check"], ["token", "list"], ["audit"], ["offline"], ["export", "hmi.v_45s[$]"],
    ["fetch", "hmi.v_45s[$]"], ["evict", "--need", "1GB"], ["forget", "hmi.v_45s"], ["backup", "/nowhere"],
)  # fmt: skip
#: Bodies of servers that are no mirror; None closes the connection, "cut" in the middle of an answer.
FOREIGN = (
    "{}",
    "[]",
    "null",
    '"x"',
    "7",
    "<html>",
    '{"columns": [], "rows": []}',
    '[{"name": 1}]',
    "",
    "cut",
    None,
)


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that another program has."""
    with socket.create_server((host, 0)) as taken:
        yield taken.getsockname()[1]


@contextmanager
def answering(body: str | None, code: int = 200) -> Iterator[str]:
    """A web server that is no mirror."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if body is None:
                return
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(5000 if body == "cut" else len(body)))
            self.end_headers()
            self.wfile.write(body.encode())
            self.close_connection = True

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815  (as http.server calls them)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


# ---- addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "simulate"])
def test_a_port_in_use_is_one_line(command, tmp_path):
    with listening() as port:
        options = ["--port", str(port)] if command == "simulate" else []
        settings = {"MIRROR_SERVER__PORT": str(port), "MIRROR_STORAGE__PATH": str(tmp_path / "store")}
        done = run("-m", "mirror", command, *options, **settings)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "is in use" in line
    assert ("--port" if command == "simulate" else "MIRROR_SERVER__PORT") in line
    assert not (tmp_path / "store").exists(), "nothing was begun"


@pytest.mark.parametrize(
    "host, words",
    [
        ("192.0.2.7", "not an address of this computer"), ("no.such.host.invalid", "can resolve"), ("/run/mirror.sock", "can resolve"),
        ("a..b", "can resolve"), ("x" * 300, "can resolve"), ("a b", "can resolve"), ("[::1]", "can resolve"), ("a\x00b", "can resolve"),
        ("\U0001f31e", "can resolve"),
    ],
)  # fmt: skip
def test_an_address_that_is_none_of_ours_says_which(host, words):
    with pytest.raises(ConfigError) as problem:
        bind(host, 0, "--host")
    assert words in str(problem.value)
    assert len(str(problem.value).splitlines()) == 1


def test_a_port_that_this_user_may_not_use(monkeypatch):
    def never(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", never)
    with pytest.raises(ConfigError, match="may not use port 80; expected one from 1024 on"):
        bind("127.0.0.1", 80, "--port")


def test_a_name_with_an_address_of_a_family_that_this_computer_has_not(monkeypatch):
    found = [
        (socket.AF_INET6, 1, 6, "", ("2001:db8::1", 0, 0, 0)),
        (socket.AF_INET, 1, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    [made] = bind("localhost", 0, "--host")
    made.close()


def test_an_address_of_ipv6_has_brackets():
    assert (url_of("::1", 8040), url_of("127.0.0.1", 8040)) == ("http://[::1]:8040", "http://127.0.0.1:8040")


def test_a_port_that_is_none_is_refused():
    assert CliRunner().invoke(main, ["simulate", "--port", "70000"]).exit_code == 2
    done = CliRunner().invoke(main, ["serve"], env={"MIRROR_SERVER__PORT": "70000"})
    assert (done.exit_code, len(done.output.splitlines())) == (1, 1)


# ---- configuration -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["serve", "--config", "PATH"], ["status"], ["search", "hmi.v_45s[$]"]])
@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xfe[log]", b"[log\n", b"\x00", b"[nothing]\n", b"[server]\nport = 'x'\n"]
)
def test_a_config_that_is_none(command, content, tmp_path):
    path = tmp_path / "config.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    if content == b"":
        return  # an empty file is a whole configuration: the defaults
    arguments = [str(path) if word == "PATH" else word for word in command]
    done = CliRunner().invoke(main, arguments, env={"MIRROR_CONFIG": str(path)})
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, SystemExit)
    assert "config.toml" in done.output


def test_a_config_with_the_mark_of_some_editors(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[log]\nlevel = 'error'\n")
    with program(
        "serve", "--config", str(path), MIRROR_SERVER__PORT="0", MIRROR_STORAGE__PATH=str(tmp_path / "store")
    ):
        pass


# ---- a mirror that is none ---------------------------------------------------------------------------


@pytest.mark.parametrize("body", FOREIGN)
def test_a_server_that_is_no_mirror_is_no_traceback(body, tmp_path):
    with answering(body) as url:
        for command in COMMANDS:
            done = CliRunner().invoke(main, command, env={"MIRROR_URL": url}, input="n\n")
            assert done.exception is None or isinstance(done.exception, SystemExit), (command, done.exception)


@pytest.mark.parametrize(
    "url",
    ["", "http://", "http://[::1", "localhost:8040", "ftp://here", "http://here:port", "http://here:99999"],
)
def test_an_address_that_no_mirror_can_have_says_what_is_expected(url):
    done = CliRunner().invoke(main, ["status", "--url", url])
    assert done.exit_code == 2
    assert "--url http://HOST:PORT" in done.output


def test_an_error_of_another_server_says_that_it_is_no_mirror():
    with answering("<html>", 404) as url:
        done = CliRunner().invoke(main, ["status", "--url", url])
    assert done.exit_code == 1
    assert "is not a mirror" in done.output


# ---- ends --------------------------------------------------------------------------------------------


def test_ctrl_c_ends_a_command_with_the_code_of_shells():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "mirror", "search", "hmi.v_45s[$]", "--url", url]
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  (whoever runs this may ignore it)
        )  # fmt: skip
        with silent.accept()[0]:  # it has asked, and waits
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors.strip()) == (INTERRUPTED, "")


@pytest.mark.parametrize("form", ["--csv", "--json", "--table"])
def test_a_reader_that_has_read_enough_is_no_traceback(form):
    body = json.dumps([{"series": f"hmi.number_{n}", "records": n} for n in range(5_000)])
    with answering(body) as url:
        command = [sys.executable, "-m", "mirror", "series", form, "--url", url]
        process = subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(PATIENCE)
        process.stderr.close()
    assert "Traceback" not in errors
    assert "Exception" not in errors


def test_what_the_system_refuses_is_one_line():
    done = CliRunner().invoke(
        main, ["serve"], env={"MIRROR_STORAGE__PATH": "/dev/null/store", "MIRROR_SERVER__PORT": "0"}
    )
    assert (done.exit_code, len(done.output.splitlines())) == (1, 1)
    assert "/dev/null" in done.output
