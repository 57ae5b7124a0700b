"""Quick looks: ``mirror search --open N`` shows the picture of a record."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import click

from mirror.api.exports import QUICKLOOK, QuicklookQuery
from mirror.api.search import SearchQuery
from mirror.cli.support.daemon import Daemon
from mirror.cli.support.output import remark


def open_quick_look(daemon: Daemon, search: SearchQuery, number: int) -> Path:
    """Save the picture of the ``number``-th record of a search, open it if there is a screen, and print its path."""
    asked = QuicklookQuery(ds=search.ds, seg=search.seg, n=search.n, number=number, fetch=True)
    with daemon.stream(QUICKLOOK.path, asked) as answer:
        png = answer.read()
        record = unquote(answer.headers.get("X-Mirror-Record", "record"))
        segment = unquote(answer.headers.get("X-Mirror-Segment", ""))
    path = Path(tempfile.mkdtemp(prefix="mirror-")) / f"{_file_name(record, segment)}.png"
    path.write_bytes(png)
    if has_screen(os.environ) and sys.stdout.isatty():
        click.launch(str(path))
    remark(f"quick look of {record}{{{segment}}}: {path}")
    return path


def has_screen(environ: Mapping[str, str]) -> bool:
    """True if a picture can be shown here: not over a plain ssh connection, for example."""
    return sys.platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _file_name(record: str, segment: str) -> str:
    """A plain name that says what the file is."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", f"{record}_{segment}").strip("._")[:100] or "quicklook"
