"""config.toml as a document that is edited: read with what it means, and replaced as a whole.

The file stays the user's: comments, order and layout are kept, and nothing is written that a mirror would
not take.
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
    """The file at ``path``; ``environ`` is what overrides it. Calls may block for a moment."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self._environ = environ

    def read(self) -> tuple[tomlkit.TOMLDocument, Config]:
        """The document, and what it means; an absent file is an empty one. ConfigError if it is not right now."""
        try:
            text = text_of(self.path) if self.path.exists() else ""
            config = read_config(text, self.path, self._environ)
            return tomlkit.parse(text), config
        except OSError as problem:
            raise ConfigError(f"{self.path}: cannot be read: {problem.strerror}") from problem
        except TOMLKitError as problem:
            raise ConfigError(f"{self.path}: is not TOML: {problem}") from problem

    def write(self, document: tomlkit.TOMLDocument) -> Config:
        """Replace the file as a whole, if what it says then is right; the file's own if it is a link."""
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
    """What keeps config.toml from being written, and what to do about it."""
    if problem.errno == errno.EROFS:
        return explained(problem)
    if problem.errno in (errno.EACCES, errno.EPERM):
        return "permission denied; the folder must belong to the user who runs the mirror"
    return str(problem.strerror)


def _take_the_place(new: _TemporaryFileWrapper[str], text: str, place: Path) -> None:
    """Write the text, let it last, and give the file its name; nothing is left of one that could not be written."""
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
