"""The layout of the real server's formatted answers: a tab a level, a new line after every comma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: JSON text that needs no more work, or a list or object of such.
Node = str | Sequence["Node"] | Mapping[str, "Node"]


def tabbed(node: Node, level: int = 0) -> str:
    """The JSON text of ``node``, whose first line begins where the caller stands."""
    outer, inner = "\n" + "\t" * level, "\n" + "\t" * (level + 1)
    if isinstance(node, str):
        return node
    if isinstance(node, Mapping):
        return "{" + ",".join(f'{inner}"{k}": {tabbed(v, level + 1)}' for k, v in node.items()) + outer + "}"
    # A list adds no level: its items stand where the member stands that holds it.
    return "[" + ("," + outer).join(tabbed(item, level) for item in node) + "]"
