"""Edits config.toml: reads it as a document, and replaces it as a whole.

The file stays the user's: comments, order and layout are kept, and nothing is written that a mirror would reject.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import tomlkit
from tomlkit.exceptions import TOMLKitError

from mirror.config.loading import Config, read_config, text_of
from mirror.errors import ConfigError, explained

if TYPE_CHECKING:
    from collections.abc import Mapping
    from tempfile import _TemporaryFileWrapper


class ConfigFile:
    """The file at ``path``; ``environ`` overrides it. Calls may block for a moment."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self._environ = environ

    def read(self) -> tuple[tomlkit.TOMLDocument, Config]:
        """The document, and its configuration; an absent file counts as empty. ConfigError if it is not valid now."""
        try:
            text = text_of(self.path) if self.path.exists() else ""
            config = read_config(text, self.path, self._environ)
            return tomlkit.parse(text), config
        except OSError as problem:
            raise ConfigError(f"{self.path}: cannot be read: {problem.strerror}") from problem
        except TOMLKitError as problem:
            raise ConfigError(f"{self.path}: is not TOML: {problem}") from problem

    def write(self, document: tomlkit.TOMLDocument) -> Config:
        """Replace the file as a whole, if the new content is valid; if it is a link, the file that it leads to."""
        text = tomlkit.dumps(document)
        config = read_config(text, self.path, self._environ)
        place = self.path.resolve()
        try:
            with NamedTemporaryFile(
                "w", encoding="utf-8", dir=place.parent, prefix=f".{place.name}.", delete=False
            ) as new:
                _take_the_place(new, text, place)
        except OSError as problem:
            raise ConfigError(f"{self.path}: cannot be written: {_why(problem)}") from problem
        return config


def _why(problem: OSError) -> str:
    """Why config.toml cannot be written, and what to do about it."""
    if problem.errno == errno.EROFS:
        return explained(problem)
    if problem.errno in (errno.EACCES, errno.EPERM):
        return "permission denied; the folder must belong to the user who runs the mirror"
    return str(problem.strerror)


def _take_the_place(new: _TemporaryFileWrapper[str], text: str, place: Path) -> None:
    """Write and sync the text, and give the file its name; if that fails, nothing is left of it."""
    try:
        new.write(text)
        new.flush()
        os.fsync(new.fileno())
        with suppress(FileNotFoundError):
            os.chmod(new.name, place.stat().st_mode)  # noqa: PTH101
        Path(new.name).replace(place)
    except OSError:
        Path(new.name).unlink(missing_ok=True)
        raise
