"""Files and folders that commands are given."""

from __future__ import annotations

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
