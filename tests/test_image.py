"""The container image: built of the tree as scripts/service/Containerfile says, started, asked, and stopped.

scripts/image runs it: that takes minutes, a builder, and a package index.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from tests.processes import program

if TYPE_CHECKING:
    from collections.abc import Iterator

TREE = Path(__file__).parents[1]
BUILDAH = os.environ.get("MIRROR_BUILDAH", "").split()
NAME = "jsoc-mirror-test"
#: Of the machine that builds: how a package index is reached from it.
INDEX = ("/etc/pip.conf", "/etc/ssl/certs")
HOUR = {"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI/1h]", "key": "T_REC,CRLT_OBS"}

pytestmark = pytest.mark.skipif(not BUILDAH, reason="no image is built here: scripts/image does, with buildah")


def buildah(*arguments: str) -> str:
    ended = subprocess.run([*BUILDAH, *arguments], cwd=TREE, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{arguments}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
    return ended.stdout.strip()


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """The name of an image that was built just now."""
    mounts = [f"--volume={place}:{place}:ro" for place in INDEX if Path(place).exists()]
    buildah(
        *("build", "--isolation=chroot", "--format=docker", "--pull=false", *mounts),
        *("--tag", NAME, "--file", "scripts/service/Containerfile", "."),
    )
    yield NAME
    buildah("rmi", NAME)


@contextmanager
def container(image: str) -> Iterator[str]:
    made = buildah("from", "--pull-never", image)
    try:
        yield made
    finally:
        buildah("rm", made)


def within(made: str, *command: str, **more: str) -> list[str]:
    """How a command is run in a container, which has the network of this machine."""
    variables = [f"--env={name}={value}" for name, value in more.items()]
    return [*BUILDAH, "run", "--isolation=chroot", *variables, made, "--", *command]


def of_its_user(name: str) -> list[int]:
    """Processes of that user which are ``mirror serve`` itself."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"\nUid:\t{name}\t" in (place / "status").read_text()
            command = (place / "cmdline").read_text().split("\0")
            if mine and command[0].endswith("python") and command[1:3] == ["/opt/jsoc-mirror/bin/mirror", "serve"]:
                found.append(int(place.name))
        except OSError:  # gone since
            continue
    return found


def test_a_mirror_runs_in_the_image_that_is_built_of_the_tree(image):
    told = json.loads(buildah("inspect", "--type=image", image))["Docker"]["config"]
    assert (told["User"], told["Cmd"], told["StopSignal"]) == ("jsoc-mirror", ["mirror", "serve"], "SIGTERM")
    assert ("8040/tcp" in told["ExposedPorts"], list(told["Volumes"])) == (True, ["/data"])
    with program("simulate", "--port", "0") as simulator, container(image) as made:
        settings = {"MIRROR_UPSTREAM__URL": simulator.url, "MIRROR_SERVER__PORT": "0"}
        with subprocess.Popen(within(made, *told["Cmd"], **settings), stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            address = running.stdout.readline().removeprefix("ready ").strip()
            port = address.rpartition(":")[2]
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/cgi-bin/ajax/jsoc_info?{urlencode(HOUR)}") as answer:
                    assert json.load(answer)["count"] == 80
                asked = within(made, *told["Healthcheck"]["Test"][1:], MIRROR_SERVER__PORT=port)
                assert subprocess.run(asked, check=False).returncode == 0
                status = subprocess.run(
                    within(made, "mirror", "status", "--json", MIRROR_SERVER__PORT=port), capture_output=True, text=True, check=True
                )
                assert json.loads(status.stdout)["records"] == 80
            finally:
                stopped = of_its_user("8040")
                for process in stopped:
                    os.kill(process, signal.SIGTERM)
                running.wait(60)
            assert len(stopped) == 1, "under the user of the image, and once"
        assert running.returncode == 0
        assert "index.duckdb" in subprocess.run(within(made, "ls", "/data"), capture_output=True, text=True, check=True).stdout
