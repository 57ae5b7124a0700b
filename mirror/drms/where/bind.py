"""Checking a condition against the columns of a series, as PostgreSQL does before it runs one.

Columns must exist, operators must fit their operands, the whole must be a truth value, and a quoted
constant becomes what it stands against: ``QUALITY < '2'`` compares integers. Errors keep PostgreSQL's
wording where there is one, and add the place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from typing import NamedTuple, NoReturn

from mirror.drms.series import INTEGER_TYPES
from mirror.drms.where import types
from mirror.drms.where.nodes import (
    And,
    Arithmetic,
    Between,
    Boolean,
    Column,
    Compare,
    Complement,
    Constant,
    Expr,
    Function,
    InList,
    IsNull,
    Like,
    Negate,
    Not,
    Null,
    Number,
    Or,
    String,
    walk,
)
from mirror.errors import SyntaxProblem, UnknownName

_ROUNDING = frozenset({"ceil", "ceiling", "floor", "round", "trunc", "sign", "sqrt"})
_TEXT = frozenset({"lower", "upper", "length"})
_TWO_ARGUMENTS = frozenset({"mod", "round", "trunc"})
_LARGEST_DOUBLE = Decimal("1.7976931348623157E+308")


class Typed(NamedTuple):
    """A bound node and its type."""

    expr: Expr
    type: str


def bind_where(expr: Expr, columns: Mapping[str, str], *, text: str = "") -> Expr:
    """The condition with its constants read by the types of ``columns`` (lower-case name to DRMS type).

    A constant that is compared with a float, double or time counts as a double; only a quoted one is
    turned into a float here, since against a float PostgreSQL rounds just that to single precision.

    Raises ``UnknownName`` for a column that does not exist and ``SyntaxProblem`` for operands that do
    not fit; both show the place in ``text``, the query that the positions of the nodes count in.
    """
    return _Binder(columns, text).condition(expr, "WHERE")


@dataclass(frozen=True, slots=True)
class _Binder:
    columns: Mapping[str, str]
    text: str

    def fail(self, message: str, expr: Expr, expected: str = "") -> NoReturn:
        raise SyntaxProblem(message, text=self.text or str(expr), position=expr.position, expected=expected)

    # ---- truth values ----

    def condition(self, expr: Expr, place: str) -> Expr:
        """The bound node, which must be a truth value."""
        bound, type_ = self.typed(expr)
        if type_ == "unknown":
            return self.convert(bound, "boolean")
        if type_ != "boolean":
            name = types.postgres_name(type_)
            self.fail(f"argument of {place} must be type boolean, not type {name}", expr, "a condition")
        return bound

    def typed(self, expr: Expr) -> Typed:
        """The bound node and its type."""
        match expr:
            case And(operands):
                return Typed(
                    replace(expr, operands=tuple(self.condition(e, "AND") for e in operands)), "boolean"
                )
            case Or(operands):
                return Typed(
                    replace(expr, operands=tuple(self.condition(e, "OR") for e in operands)), "boolean"
                )
            case Not(operand):
                return Typed(replace(expr, operand=self.condition(operand, "NOT")), "boolean")
            case IsNull(operand):
                return Typed(replace(expr, operand=self.typed(operand).expr), "boolean")
            case Compare() | Between() | InList() | Like():
                return Typed(self.test(expr), "boolean")
            case _:
                return self.value(expr)

    def test(self, expr: Expr) -> Expr:
        match expr:
            case Compare(op, left, right):
                first, second = self.paired(self.typed(left), self.typed(right), op, expr)
                return replace(expr, left=first.expr, right=second.expr)
            case Between(operand, low, high):
                return self.between(expr, self.typed(operand), self.typed(low), self.typed(high))
            case InList(operand, items):
                return self.in_list(expr, self.typed(operand), [self.typed(e) for e in items])
            case Like():
                return self.like(expr)
            case _:
                raise AssertionError(expr)

    def between(self, expr: Between, operand: Typed, low: Typed, high: Typed) -> Expr:
        if operand.type == "unknown" and low.type != "unknown":
            operand = Typed(self.convert(operand.expr, low.type), low.type)
        operand, low = self.paired(operand, low, ">=", expr)
        operand, high = self.paired(operand, high, "<=", expr)
        return replace(expr, operand=operand.expr, low=low.expr, high=high.expr)

    def in_list(self, expr: InList, operand: Typed, items: list[Typed]) -> Expr:
        if operand.type == "unknown":
            type_ = next((i.type for i in items if i.type != "unknown"), "string")
            operand = Typed(self.convert(operand.expr, type_), type_)
        bound = [self.paired(operand, item, "=", expr)[1] for item in items]
        if operand.type == "float" and len(items) > 1:
            # Of two and more constants PostgreSQL makes an array of the operand's type.
            bound = [self.as_single(item) for item in bound]
        return replace(expr, operand=operand.expr, items=tuple(item.expr for item in bound))

    def as_single(self, item: Typed) -> Typed:
        if not isinstance(item.expr, Number):
            return item
        try:
            return Typed(replace(item.expr, value=types.single(float(item.expr.value))), "float")
        except OverflowError:
            self.fail("the number is out of range for type real", item.expr)

    def like(self, expr: Like) -> Expr:
        operand, pattern = (self.text_value(e, "~~") for e in (expr.operand, expr.pattern))
        if isinstance(pattern, String) and _ends_in_escape(pattern.value, expr.escape):
            self.fail("LIKE pattern must not end with escape character", pattern)
        return replace(expr, operand=operand, pattern=pattern)

    def text_value(self, expr: Expr, operator: str) -> Expr:
        bound, type_ = self.typed(expr)
        if type_ not in ("string", "unknown"):
            self.fail(f"operator does not exist: {types.postgres_name(type_)} {operator} text", expr, "text")
        return bound

    # ---- values ----

    def value(self, expr: Expr) -> Typed:
        match expr:
            case Column(name):
                return Typed(expr, self.column_type(expr, name))
            case Number(value):
                return Typed(expr, types.type_of_number(value))
            case String() | Null():
                return Typed(expr, "unknown")
            case Boolean():
                return Typed(expr, "boolean")
            case Negate(operand) | Complement(operand):
                return self.unary(expr, self.typed(operand))
            case Arithmetic(op, left, right):
                return self.arithmetic(expr, op, self.typed(left), self.typed(right))
            case Function(name, args):
                return self.function(expr, name, [self.typed(e) for e in args])
            case _:
                raise AssertionError(expr)

    def column_type(self, expr: Column, name: str) -> str:
        type_ = self.columns.get(name)
        if type_ is not None:
            return type_
        near = get_close_matches(name, self.columns, n=3)
        hint = f"; there are {', '.join(near)}" if near else ""
        message = f'column "{name}" does not exist{hint}'
        problem = SyntaxProblem(message, text=self.text or name, position=expr.position)
        raise UnknownName(str(problem), problem)

    def unary(self, expr: Negate | Complement, operand: Typed) -> Typed:
        allowed = (
            types.group(operand.type) == "number"
            if isinstance(expr, Negate)
            else operand.type in INTEGER_TYPES
        )
        if not allowed:
            sign = "-" if isinstance(expr, Negate) else "~"
            self.fail(f"operator does not exist: {sign} {types.postgres_name(operand.type)}", expr)
        return Typed(replace(expr, operand=operand.expr), _without_time(operand.type))

    def arithmetic(self, expr: Arithmetic, op: str, left: Typed, right: Typed) -> Typed:
        if left.type == right.type == "unknown":
            self.fail(f"operator is not unique: unknown {op} unknown", expr, "a number")
        left, right = self.paired(left, right, op, expr)
        both = {left.type, right.type}
        exact_only = op == "%" and both & types.INEXACT
        bits_only = op in ("&", "|", "#", "<<", ">>") and not both <= INTEGER_TYPES
        if types.group(left.type) != "number" or exact_only or bits_only:
            self.no_operator(left, op, right, expr)
        bound = replace(expr, left=left.expr, right=right.expr)
        return Typed(bound, left.type if op in ("<<", ">>") else types.wider(left.type, right.type))

    def function(self, expr: Function, name: str, args: list[Typed]) -> Typed:
        most = 2 if name in _TWO_ARGUMENTS else 1
        if not (2 if name == "mod" else 1) <= len(args) <= most:
            self.fail(f"function {name} does not take {len(args)} arguments", expr)
        wanted = "string" if name in _TEXT else "double"
        args = [Typed(self.convert(a.expr, wanted), wanted) if a.type == "unknown" else a for a in args]
        if any(types.group(a.type) != types.group(wanted) for a in args):
            names = ", ".join(types.postgres_name(a.type) for a in args)
            self.fail(f"function {name}({names}) does not exist", expr)
        return Typed(replace(expr, args=tuple(a.expr for a in args)), _result(name, [a.type for a in args]))

    # ---- operands that meet ----

    def paired(self, left: Typed, right: Typed, op: str, expr: Expr) -> tuple[Typed, Typed]:
        """Both operands, an unknown one read by the other's type; two unknown ones are text."""
        if left.type == "unknown":
            type_ = "string" if right.type == "unknown" else right.type
            left = Typed(self.convert(left.expr, type_), type_)
        if right.type == "unknown":
            right = Typed(self.convert(right.expr, left.type), left.type)
        if types.group(left.type) != types.group(right.type):
            self.no_operator(left, op, right, expr)
        for one, other in ((left, right), (right, left)):
            if one.type in types.INEXACT:
                self.check_double(other.expr)
        return left, right

    def no_operator(self, left: Typed, op: str, right: Typed, expr: Expr) -> NoReturn:
        names = (types.postgres_name(t.type) for t in (left, right))
        self.fail(f"operator does not exist: {f' {op} '.join(names)}", expr, "operands of one kind")

    def check_double(self, expr: Expr) -> None:
        for node in walk(expr):
            if isinstance(node, Number) and _too_large(node.value):
                self.fail("the number is out of range for type double precision", node)

    def convert(self, expr: Expr, type_: str) -> Expr:
        """A quoted constant as a constant of ``type_``; NULL stays NULL."""
        if not isinstance(expr, String):
            return expr
        try:
            return _converted(expr, type_)
        except types.BadConstantError as problem:
            self.fail(str(problem), expr, f"a constant of type {types.postgres_name(type_)}")


def _converted(constant: String, type_: str) -> Expr:
    text, position = constant.value, constant.position
    if type_ in INTEGER_TYPES:
        return Number(types.read_integer(text, type_), position=position)
    if type_ == "numeric":
        return Number(types.read_numeric(text), position=position)
    if type_ in types.INEXACT:
        return Number(types.read_float(text, type_), position=position)
    return Boolean(types.read_boolean(text), position=position) if type_ == "boolean" else constant


def _too_large(constant: Constant) -> bool:
    """Whether an unquoted constant has no double."""
    return not isinstance(constant, float) and abs(Decimal(constant)) > _LARGEST_DOUBLE


def _ends_in_escape(pattern: str, escape: str) -> bool:
    """Whether the last escape character of the pattern has nothing to escape."""
    run = len(pattern) - len(pattern.rstrip(escape)) if escape else 0
    return run % 2 == 1


def _without_time(type_: str) -> str:
    return "double" if type_ == "time" else type_


def _result(name: str, args: list[str]) -> str:
    if name in _TEXT:
        return "int" if name == "length" else "string"
    if name in _ROUNDING:
        return "numeric" if args[0] == "numeric" or len(args) > 1 else "double"
    return types.wider(args[0], args[-1]) if name == "mod" else _without_time(args[0])
