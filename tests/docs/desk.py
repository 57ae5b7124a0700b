"""Where the blocks of a page are run: a folder of its own, a mirror of its own, and a simulated JSOC for all."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.config.loading import read_config
from tests.docs.blocks import ROOT
from tests.forkserver import PREPARE, forkserver
from tests.processes import Program, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.blocks import Block

#: What pages call a mirror.
ADDRESSES = (
    "localhost:8040",
    "127.0.0.1:8040",
    "mirror.example.org:8040",
    "HOST:8040",
)
#: What pages call the simulator. It and the mirror stand elsewhere here; nothing else of a page is changed.
SIMULATOR = "127.0.0.1:8050"
#: Folders that pages name; each stands for one in the scratch folder.
FOLDERS = ("/media/disk", "/disk", "/new", "/data", "/srv", "/etc/jsoc-mirror")
#: What is done in the programs of a page before they run.
BRIEFLY = "tests.docs.briefly"
_FOLDER = re.compile(rf"(?<![\w~./-])({'|'.join(FOLDERS)})(?=/)")


class Failed(AssertionError):
    """A block that does not do what it says."""


@contextmanager
def server(*arguments: str, cwd: Path, env: dict[str, str]) -> Iterator[str]:
    """``mirror serve`` or ``simulate``, started in a folder; its address."""
    made = Program(*arguments, cwd=cwd, **{**env, PREPARE: BRIEFLY})
    try:
        yield made.ready()
    finally:
        made.close()


@dataclass
class Desk:
    """Runs the blocks of one page, in order."""

    home: Path
    url: str
    upstream: str
    env: dict[str, str]
    _session: subprocess.Popen[str] | None = field(default=None)
    _printed: list[str] = field(default_factory=list)  #: lines of the last sh that no text has shown yet

    def run(self, block: Block) -> None:
        """Raises Failed with what the block said."""
        if block.first:
            self._sh(block, block.first)
        kinds = {
            "sh": self._sh, "console": self._console, "text": self._text,
            "python": self._python, "sql": self._sql, "toml": self._toml,
        }  # fmt: skip
        kinds[block.language](block, block.text)

    def close(self) -> None:
        if self._session is not None:
            self._session.kill()
            self._session.communicate()

    def meant(self, text: str) -> str:
        """A text of a page with the addresses and folders that there are here."""
        for address in ADDRESSES:
            text = text.replace(address, self.url.removeprefix("http://"))
        text = text.replace(SIMULATOR, self.upstream.removeprefix("http://"))
        text = re.sub(r"^mirror simulate\b(?!.*--port)", "mirror simulate --port 0", text, flags=re.MULTILINE)
        text = re.sub(r"^(mirror simulate\b.*--port) \d+", r"\1 0", text, flags=re.MULTILINE)
        return _FOLDER.sub(rf"{self.home}\1", text)

    def _sh(self, block: Block, text: str) -> None:
        done = subprocess.run(
            ["sh", "-e", "-c", self.meant(text)],
            cwd=self.home, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=180, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"{block.where}: exit code {done.returncode}\n{text}\n{done.stdout[-5000:]}")
        self._printed = done.stdout.splitlines()

    def _console(self, block: Block, text: str) -> None:
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            self._sh(block, command)
            self._text(block, shown)

    def _text(self, block: Block, text: str) -> None:
        """Failed unless each line of a text was printed after the one before."""
        for line in self.meant(text).splitlines():
            wanted = re.compile(".*".join(map(re.escape, re.split(r"\s*\.\.\.\s*", line.strip()))))
            at = next((n for n, printed in enumerate(self._printed) if wanted.fullmatch(printed.strip())), None)
            if at is None:
                printed = "\n".join(self._printed)
                raise Failed(f"{block.where}: shows {line!r}, which was not printed (again); left was\n{printed}")
            if line.strip() != "...":
                self._printed = self._printed[at + 1 :]

    def _python(self, block: Block, text: str) -> None:
        if self._session is None:
            code = "import sys; from tests.docs.briefly import session; sys.path.insert(0, '.'); session()"
            self._session = subprocess.Popen(
                [forkserver().bin / "python", "-c", code],
                cwd=self.home, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        assert self._session.stdin is not None
        assert self._session.stdout is not None
        self._session.stdin.write(json.dumps(self.meant(text)) + "\n")
        self._session.stdin.flush()
        problem = json.loads(self._session.stdout.readline() or '"the session died"')
        if problem:
            raise Failed(f"{block.where}: {problem}\n{text}")

    def _sql(self, block: Block, text: str) -> None:
        (self.home / "block.sql").write_text(text)
        self._sh(block, "mirror sql -f block.sql --csv > block.csv")

    def _toml(self, block: Block, text: str) -> None:
        read_config(self.meant(text), self.home / "config.toml", {})


@contextmanager
def desk(upstream: str, home: Path) -> Iterator[Desk]:
    """A desk in an empty folder, with the mirror of one page."""
    home.mkdir()
    for folder in FOLDERS:
        (home / folder.strip("/")).mkdir(parents=True)
    (home / "srv" / "jsoc-mirror").symlink_to(home / "store")
    for folder in (home, home / "etc" / "jsoc-mirror"):
        shutil.copy(ROOT / "config.toml", folder / "config.toml")
    settings = {
        "HOME": str(home),
        "PATH": f"{forkserver().bin}:{os.environ['PATH']}",
        "MIRROR_UPSTREAM__URL": upstream,
        "MIRROR_SERVER__PORT": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        PREPARE: BRIEFLY,
    }
    running = {**settings, "MIRROR_STORAGE__PATH": str(home / "store")}
    with server("serve", "--config", "config.toml", cwd=home, env=running) as url:
        aside = {"MIRROR_URL": url, "MIRROR_STORAGE__PATH": str(home / "aside"), "DOCS_BRIEFLY": "1"}
        made_desk = Desk(home, url, upstream, environment(**settings, **aside))
        try:
            yield made_desk
        finally:
            made_desk.close()
