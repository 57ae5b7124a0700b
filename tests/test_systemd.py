"""What systemd hears."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from pathlib import Path

import pytest

from mirror.systemd import Notifier
from tests.processes import program


@pytest.fixture
def manager(tmp_path):
    """A socket such as systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(180)
        yield listening


def test_states_are_sent_a_line_each(manager):
    Notifier({"NOTIFY_SOCKET": manager.getsockname()}).tell("READY=1", "STATUS=fine")
    assert manager.recv(1000) == b"READY=1\nSTATUS=fine"


def test_nobody_to_tell_is_no_error(tmp_path):
    Notifier({}).tell("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell("READY=1")


@pytest.mark.parametrize("given, seconds", [("30000000", 15.0), ("0", None), ("", None), ("soon", None)])
def test_life_is_shown_twice_as_often_as_is_asked(given, seconds):
    assert Notifier({"WATCHDOG_USEC": given}).every == seconds


async def test_signs_of_life_stop_while_the_mirror_is_not_healthy(manager):
    health = iter([True, False, True])
    pauses = []

    async def healthy() -> bool:
        return next(health)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "2000000"})
    with pytest.raises(asyncio.CancelledError):
        await notifier.keep_alive(healthy, sleep)
    manager.settimeout(0)
    assert [manager.recv(100), manager.recv(100)] == [b"WATCHDOG=1"] * 2
    with pytest.raises(BlockingIOError):
        manager.recv(100)
    assert pauses == [1.0] * 3


def test_the_daemon_tells_that_it_is_ready_alive_and_stopping(manager, tmp_path):
    store = str(tmp_path / "store")
    with program(
        "serve",
        MIRROR_STORAGE__PATH=store,
        MIRROR_SERVER__PORT="0",
        NOTIFY_SOCKET=manager.getsockname(),
        WATCHDOG_USEC="200000",
    ) as daemon:
        heard: list[str] = []
        while not {f"READY=1\nSTATUS=answering at {daemon.url}", "WATCHDOG=1"} <= set(heard):
            heard.append(manager.recv(1000).decode())
        daemon.process.send_signal(signal.SIGTERM)
        while heard[-1] != "STOPPING=1":
            heard.append(manager.recv(1000).decode())
        code, errors = daemon.terminate()
        assert code == 0
        assert "event=ready" in errors
        assert "event=stopping" in errors


def test_the_unit_lets_the_mirror_write_what_its_page_and_commands_offer():
    unit = (Path(__file__).parents[1] / "scripts" / "service" / "jsoc-mirror.service").read_text()
    writable = re.search(r"^ReadWritePaths=(.*)$", unit, re.MULTILINE)
    assert writable is not None and "ProtectSystem=strict" in unit
    config = re.search(r"^ExecStart=.*--config (\S+)$", unit, re.MULTILINE)
    assert config is not None
    folders = {folder.lstrip("-") for folder in writable[1].split()}
    assert {str(Path(config[1]).parent), "/var/backups/jsoc-mirror"} <= folders
