"""Unmodified drms and sunpy at a mirror that wants a token: by HTTP_PROXY, and by ``mirror.use``."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from tests.processes import program, run, run_client, serve

SCRIPT = Path(__file__).parent / "asking.py"


async def ask(client, *words, **more):
    """What the script found, or what it complained about."""
    done = await asyncio.to_thread(run_client, str(SCRIPT), client, *words, **more)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else done.stderr


@pytest.mark.filterwarnings("ignore")
async def test_clients_send_the_token_that_their_proxy_or_address_names(tmp_path):
    config = tmp_path / "config.toml"
    made = run("-m", "mirror", "token", "create", "ada", "--role", "export", "--config", str(config))
    token = made.stdout.strip()
    more = {"MIRROR_CONFIG": str(config), "MIRROR_LOG__REQUESTS": "true", "MIRROR_LOG__LEVEL": "debug"}
    with (
        program("simulate", "--port", "0") as simulator,
        serve(simulator.url, tmp_path / "store", **more, MIRROR_SERVER__HOST="0.0.0.0") as mirror,
    ):
        address = mirror.url.replace("//0.0.0.0", "//127.0.0.1")
        known = address.replace("//", f"//anybody:{token}@")
        answers = await asyncio.gather(
            ask("drms", HTTP_PROXY=known),
            ask("sunpy", HTTP_PROXY=known),
            ask("sunpy", known),
            ask("drms", HTTP_PROXY=address),
        )
        assert answers[:3] == [[1, [True]]] * 3, answers
        assert "407" in answers[3] and "requires a token" in answers[3]
        asked = run("-m", "mirror", "status", "--url", address, MIRROR_TOKEN=token)
        assert asked.returncode == 0, asked.stderr
        refused = run("-m", "mirror", "status", "--url", address)
        assert (refused.returncode, "Set it with MIRROR_TOKEN or --token" in refused.stderr) == (1, True)
        code, log = mirror.terminate()
    assert code == 0 and "path=/cgi-bin/ajax/jsoc_fetch" in log
    assert token not in log and token.partition(".")[2] not in log
    assert not re.search(r"(?i)authorization|notify=|@example", log)
