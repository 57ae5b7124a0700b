"""The tree of a condition, as it was written: nothing is known of columns and types yet."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from mirror.simulator.sql.types import TypeName


@dataclass(frozen=True, slots=True)
class Constant:
    """``type`` is unknown (a quoted text, or NULL where ``value`` is None), integer, numeric, boolean or bit."""

    value: str | int | Decimal | bool | None
    type: Literal["unknown", "integer", "numeric", "boolean", "bit"]
    position: int


@dataclass(frozen=True, slots=True)
class Column:
    """A column, in lower case; ``series`` is what stood before the last dot, "" for nothing."""

    name: str
    series: str
    position: int


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator with one operand (``left`` is None) or two; comparisons are operators too."""

    op: str
    left: Node | None
    right: Node
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function; coalesce, greatest, least and nullif are among them."""

    name: str
    args: tuple[Node, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Cast:
    """``operand::type``."""

    operand: Node
    type: TypeName
    position: int


@dataclass(frozen=True, slots=True)
class Logic:
    """AND or OR of two or more."""

    op: Literal["AND", "OR"]
    operands: tuple[Node, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Not:
    """``NOT operand``."""

    operand: Node
    position: int


@dataclass(frozen=True, slots=True)
class Is:
    """``operand IS [NOT] what``."""

    operand: Node
    what: Literal["null", "true", "false", "unknown"]
    negated: bool
    position: int


@dataclass(frozen=True, slots=True)
class Distinct:
    """``left IS [NOT] DISTINCT FROM right``."""

    left: Node
    right: Node
    negated: bool
    position: int


@dataclass(frozen=True, slots=True)
class InList:
    """``operand [NOT] IN (items)``."""

    operand: Node
    items: tuple[Node, ...]
    negated: bool
    position: int


@dataclass(frozen=True, slots=True)
class OfArray:
    """``operand op ANY (ARRAY[items])``, or ALL."""

    op: str
    operand: Node
    items: tuple[Node, ...]
    every: bool
    position: int


@dataclass(frozen=True, slots=True)
class Case:
    """``CASE [operand] WHEN .. THEN .. [ELSE ..] END``; ``default`` is NULL where there is no ELSE."""

    operand: Node | None
    branches: tuple[tuple[Node, Node], ...]
    default: Node
    position: int


Node = Constant | Column | Operation | Call | Cast | Logic | Not | Is | Distinct | InList | OfArray | Case
