"""Options whose value is a size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mirror.config.readers import size

F = TypeVar("F", bound=Callable[..., Any])


def size_option(name: str, **options: Any) -> Callable[[F], F]:
    """An option such as ``--need 20GB``; the function gets bytes, or None."""
    return click.option(name, metavar="SIZE", callback=_bytes, **options)


def _bytes(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else size(text)
    except ValueError as problem:
        raise click.BadParameter(f"{text!r}; expected {problem}") from problem
