"""Files and folders that commands are given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click


class GivenPath(click.Path):
    """A path as ``click.Path`` has it, but for an empty one: that is a variable without a value, and no folder to write to."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; wrong usage for one that cannot be."""
        if value == "":
            what = "folder" if not self.file_okay else "file" if not self.dir_okay else "file or folder"
            self.fail(f"it is empty; expected the name of a {what}", param, ctx)
        return super().convert(value, param, ctx)


class NewFile(GivenPath):
    """A file to be written, in a folder that exists: a command should not find that out after all its work."""

    def __init__(self, *endings: str) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self._endings = endings  #: of its name; none: any

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; wrong usage for a file that cannot be made."""
        path = Path(super().convert(value, param, ctx))
        if not path.parent.is_dir():
            self.fail(f"there is no folder {str(path.parent)!r}; make it first", param, ctx)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            self.fail(f"the folder {str(path.parent)!r} cannot be written", param, ctx)
        if self._endings and path.suffix.lower() not in self._endings:
            known = f"{', '.join(self._endings[:-1])} or " if self._endings[1:] else ""
            self.fail(f"{path.name!r}; expected a name that ends in {known}{self._endings[-1]}", param, ctx)
        return path
