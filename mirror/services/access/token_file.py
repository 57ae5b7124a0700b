"""Tables ``[[token]]`` of config.toml: made, listed and taken out. The token itself is told once, and kept nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomlkit
from tomlkit.items import AoT

from mirror.config.access import new_token
from mirror.config.readers import name as read_name
from mirror.errors import BadRequest, ConfigError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.config.editing import ConfigFile
    from mirror.config.loading import Token

TABLE = "token"


def create(file: ConfigFile, name: str, role: str, random: Callable[[int], bytes]) -> str:
    """A new token, whose hash stands in the file; BadRequest for a name that cannot be or is taken."""
    try:
        read_name(name)
    except ValueError as problem:
        raise BadRequest(f"{name!r} is no name of a token; expected {problem}") from None
    document, before = file.read()
    if any(known.name.lower() == name.lower() for known in before.token):
        raise BadRequest(
            f"{file.path} has a token {name!r} already; expected another name, or revoke it first"
        )
    token, hashed = new_token(name, random)
    table = tomlkit.table()
    table.update({"name": name, "role": role, "hash": hashed})
    _tables(document).append(table)
    file.write(document)
    return token


def listed(file: ConfigFile) -> tuple[Token, ...]:
    """The tokens of the file."""
    return file.read()[1].token


def revoke(file: ConfigFile, name: str) -> None:
    """Take a token out; UnknownName if there is none of that name."""
    document, before = file.read()
    names = [token.name.lower() for token in before.token]
    if name.lower() not in names:
        known = ", ".join(token.name for token in before.token) or "there are none"
        raise UnknownName(f"{file.path} has no token {name!r}; expected one of: {known}")
    tables = _tables(document)
    del tables[names.index(name.lower())]
    if not len(tables):
        del document[TABLE]
    file.write(document)


def _tables(document: tomlkit.TOMLDocument) -> AoT:
    if TABLE not in document:
        document.add(TABLE, tomlkit.aot())
    tables = document[TABLE]
    if not isinstance(tables, AoT):
        raise ConfigError("the tokens stand in one line; expected each under a heading [[token]]")
    return tables
