"""The part of Sphinx that writes what the code knows better than any page: run before pages are read.

What it writes is not kept in git: docs/reference/*.md (but its index) and docs/pictures/*.svg.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs.ext import api, commands, configuration, pictures, routes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]


def everything() -> dict[str, str]:
    """The text of each generated file, by its path below docs/."""
    told, metrics = routes.pages()
    return {
        "reference/configuration.md": configuration.page(),
        "reference/commands.md": commands.page(),
        "reference/http.md": told,
        "reference/api.md": api.page(),
        "reference/metrics.md": metrics,
        **{f"pictures/{name}.svg": text for name, text in pictures.pictures().items()},
    }


def write(folder: Path) -> None:
    """Write what has changed, so that Sphinx reads only that again."""
    for name, text in everything().items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
    return {"parallel_read_safe": True}
