"""Checks a condition against the columns of a series, as PostgreSQL does before it runs one.

Columns must exist, operators must fit their operands, the whole must be a truth value, and a quoted constant
takes the type of what it is compared with: ``QUALITY < '2'`` compares integers. Errors have PostgreSQL's wording
where there is one, and add the place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    Case,
    Cast,
    Column,
    Compare,
    Complement,
    Constant,
    Distinct,
    Expr,
    Function,
    InList,
    IsNull,
    IsTruth,
    Like,
    Negate,
    Not,
    Null,
    Number,
    Or,
    Regex,
    Similar,
    String,
    Unread,
    needs,
    walk,
)
from mirror.drms.where.tokens import Source, tables
from mirror.drms.where.types import SIGNATURES, fits, result
from mirror.errors import SyntaxProblem, UnknownName

_LARGEST_DOUBLE = Decimal("1.7976931348623157E+308")
#: Up to this many arguments of greatest and least are compared in pairs.
_MOST_COMPARED = 3
_CONDITIONAL = frozenset({"coalesce", "nullif", "greatest", "least"})


class Typed(NamedTuple):
    """A bound node and its type."""

    expr: Expr
    type: str


class _Common(NamedTuple):
    """Bound nodes, and their common type."""

    exprs: list[Expr]
    type: str


def bind_where(expr: Expr, columns: Mapping[str, str], *, text: str = "", series: str = "") -> Expr:
    """The condition with its constants read by the types of ``columns`` (lower-case name to DRMS type).

    ``series`` is the only table that a subselect may name. What PostgreSQL defines by CASE (COALESCE, NULLIF,
    GREATEST, LEAST) becomes a CASE, whose values all have one type.

    A constant that is compared with a float, double or time counts as a double. Only a quoted one becomes a float
    here, since in comparison with a float PostgreSQL rounds only that to single precision.

    Raises ``UnknownName`` for a column that does not exist and ``SyntaxProblem`` for operands that do
    not fit; both show the place in ``text``, the query that the positions of the nodes count in.
    """
    binder = _Binder(columns, text)
    if isinstance(expr, Unread):
        binder.check_tables(expr, series)
        return expr
    return binder.condition(expr, "WHERE")


@dataclass(frozen=True, slots=True)
class _Binder:
    columns: Mapping[str, str]
    text: str

    def fail(self, message: str, expr: Expr, expected: str = "") -> NoReturn:
        raise SyntaxProblem(message, text=self.text or str(expr), position=expr.position, expected=expected)

    def check_tables(self, expr: Unread, series: str) -> None:
        source = Source(expr.text, self.text or expr.text, expr.position if self.text else 0)
        for name, token in tables(source.tokens()):
            if name != series.lower():
                own = f" than {series}" if series else ""
                source.fail(f"subselects on other tables{own} are not accepted in a condition", token.position)

    # ---- truth values ----

    def condition(self, expr: Expr, place: str) -> Expr:
        """The bound node, which must be a truth value."""
        bound, type_ = self.typed(expr)
        if type_ == "unknown":
            return self.convert(bound, "boolean")
        if type_ not in ("boolean", "any"):
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
            case IsTruth(operand):
                return Typed(replace(expr, operand=self.condition(operand, "IS")), "boolean")
            case Compare() | Between() | InList() | Like() | Regex() | Similar() | Distinct():
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
            case Distinct(left, right):
                first, second = self.paired(self.typed(left), self.typed(right), "=", expr)
                return replace(expr, left=first.expr, right=second.expr)
            case Regex(op, operand, pattern):
                return replace(expr, operand=self.text_value(operand, op), pattern=self.text_value(pattern, op))
            case Similar(operand, pattern):
                return replace(expr, operand=self.text_value(operand, "~"), pattern=self.text_value(pattern, "~"))
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
        constant = [not needs(item.expr) for item in items]
        if operand.type == "float" and sum(constant) > 1 and all(
            item.type != "double" for item, alone in zip(items, constant, strict=True) if alone
        ):
            # PostgreSQL makes two and more constants an array of the operand's type.
            bound = [self.as_single(item) if alone else item for item, alone in zip(bound, constant, strict=True)]
        return replace(expr, operand=operand.expr, items=tuple(item.expr for item in bound))

    def as_single(self, item: Typed) -> Typed:
        if not isinstance(item.expr, Number):
            return item if item.type in ("float", "any") else Typed(Cast(item.expr, "float"), "float")
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
        if type_ not in ("string", "unknown", "any"):
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
            case Cast(operand, type_):
                return Typed(replace(expr, operand=self.cast(expr, self.typed(operand), type_)), type_)
            case Case(whens, otherwise):
                values = self.common([*(value for _, value in whens), otherwise], expr)
                conditions = [self.condition(condition, "CASE/WHEN") for condition, _ in whens]
                pairs = tuple(zip(conditions, values.exprs[:-1], strict=True))
                return Typed(Case(pairs, values.exprs[-1], position=expr.position), values.type)
            case _:
                # A truth value used as a value.
                return Typed(self.condition(expr, "WHERE"), "boolean")

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
        if isinstance(expr, Negate) and operand.type == "unknown":
            operand = Typed(self.convert(operand.expr, "double"), "double")
        allowed = (
            types.group(operand.type) == "number"
            if isinstance(expr, Negate)
            else operand.type in INTEGER_TYPES
        )
        if not allowed and operand.type != "any":
            sign = "-" if isinstance(expr, Negate) else "~"
            self.fail(f"operator does not exist: {sign} {types.postgres_name(operand.type)}", expr)
        return Typed(replace(expr, operand=operand.expr), _without_time(operand.type))

    def arithmetic(self, expr: Arithmetic, op: str, left: Typed, right: Typed) -> Typed:
        if op == "||":
            return self.joined(expr, left, right)
        if left.type == right.type == "unknown":
            self.fail(f"operator is not unique: unknown {op} unknown", expr, "a number")
        left, right = self.paired(left, right, op, expr)
        both = {left.type, right.type}
        bound = replace(expr, left=left.expr, right=right.expr)
        if "any" in both:
            return Typed(bound, "any")
        exact_only = op == "%" and both & types.INEXACT
        bits_only = op in ("&", "|", "#", "<<", ">>") and not both <= INTEGER_TYPES
        bits_only = bits_only or (op in ("<<", ">>") and right.type == "longlong")
        if types.group(left.type) != "number" or exact_only or bits_only:
            self.no_operator(left, op, right, expr)
        if op == "^":
            return Typed(bound, result("power", [left.type, right.type]))
        return Typed(bound, left.type if op in ("<<", ">>") else types.wider(left.type, right.type))

    def joined(self, expr: Arithmetic, left: Typed, right: Typed) -> Typed:
        """``left || right``: one is text, the other becomes text."""
        if not {left.type, right.type} & {"string", "unknown", "any"}:
            self.no_operator(left, "||", right, expr)
        sides = (
            side.expr if side.type in ("string", "unknown", "any") else Cast(side.expr, "string")
            for side in (left, right)
        )
        return Typed(replace(expr, left=next(sides), right=next(sides)), "string")

    def cast(self, expr: Cast, operand: Typed, type_: str) -> Expr:
        """The operand of a cast, a quoted constant read as the type says."""
        if operand.type == "unknown":
            return self.convert(operand.expr, type_)
        numbers = types.group(operand.type) == types.group(type_) == "number"
        truth = {operand.type, type_} in ({"boolean", "int"}, {"boolean", "string"})
        if not (numbers or truth or operand.type in (type_, "any", "string") or type_ == "string"):
            names = (types.postgres_name(t) for t in (operand.type, type_))
            self.fail(f"cannot cast type {' to '.join(names)}", expr)
        return operand.expr

    def common(self, values: Sequence[Expr], expr: Expr) -> _Common:
        """Alternative values, as in CASE, each cast to their common type."""
        bound = [self.typed(value) for value in values]
        known = {value.type for value in bound} - {"unknown"}
        if len({types.group(type_) for type_ in known}) > 1 and "any" not in known:
            names = " and ".join(sorted(map(types.postgres_name, known)))
            self.fail(f"types {names} cannot be matched", expr, "values of one kind")
        type_ = types.common(known)
        exprs = [
            self.convert(value.expr, type_)
            if value.type == "unknown"
            else value.expr
            if value.type in (type_, "any") or type_ == "any"
            else Cast(value.expr, type_, position=value.expr.position)
            for value in bound
        ]
        return _Common(exprs, type_)

    def function(self, expr: Function, name: str, args: list[Typed]) -> Typed:
        if name in _CONDITIONAL:
            return self.conditional(expr, name)
        if name == "substring" and _counts_characters(args):
            name = "substr"
        known = SIGNATURES.get(name)
        if known is None:
            return Typed(replace(expr, args=tuple(a.expr for a in args)), "any")
        if not known.least <= len(args) <= len(known.takes):
            self.fail(f"function {name} does not take {len(args)} arguments", expr)
        args = [self.read_argument(a, group) for a, group in zip(args, known.takes, strict=False)]
        # With digits to round to, PostgreSQL has round only for numeric; the same holds for log to a base.
        groups = ("exact", *known.takes[1:]) if known.gives == "digits" and len(args) > 1 else known.takes
        if not all(fits(group, a.type) for a, group in zip(args, groups, strict=False)):
            names = ", ".join(types.postgres_name(a.type) for a in args)
            self.fail(f"function {name}({names}) does not exist", expr)
        bound = Function(name, tuple(a.expr for a in args), position=expr.position)
        found = [a.type for a in args]
        return Typed(bound, "any" if "any" in found else result(name, found))

    def read_argument(self, arg: Typed, group: str) -> Typed:
        """A quoted constant as what a function takes."""
        if arg.type != "unknown":
            return arg
        type_ = {"string": "string", "integer": "int", "exact": "numeric"}.get(group, "double")
        return Typed(self.convert(arg.expr, type_), type_)

    def conditional(self, expr: Function, name: str) -> Typed:
        if not expr.args or (name == "nullif" and len(expr.args) != 2):
            self.fail(f"function {name} does not take {len(expr.args)} arguments", expr)
        values = self.common(expr.args, expr)
        first, *rest = values.exprs
        if name == "nullif":
            same = Compare("=", first, rest[0], position=expr.position)
            return Typed(Case(((same, Null()),), first, position=expr.position), values.type)
        if name == "coalesce":
            there = tuple((IsNull(value, negated=True), value) for value in values.exprs[:-1])
            last = values.exprs[-1]
            return Typed(Case(there, last, position=expr.position) if there else last, values.type)
        if len(values.exprs) > _MOST_COMPARED:
            return Typed(replace(expr, args=tuple(values.exprs)), values.type)
        op = ">=" if name == "greatest" else "<="
        chosen = first
        for value in rest:
            whens = ((IsNull(chosen), value), (IsNull(value), chosen), (Compare(op, chosen, value), chosen))
            chosen = Case(whens, value, position=expr.position)
        return Typed(chosen, values.type)

    # ---- operands that meet ----

    def paired(self, left: Typed, right: Typed, op: str, expr: Expr) -> tuple[Typed, Typed]:
        """Both operands, an unknown one read by the other's type; two unknown ones are text."""
        if left.type == "unknown":
            type_ = "string" if right.type == "unknown" else right.type
            left = Typed(self.convert(left.expr, type_), type_)
        if right.type == "unknown":
            right = Typed(self.convert(right.expr, left.type), left.type)
        if "any" in (left.type, right.type):
            return left, right
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
        """A quoted constant as a constant of ``type_``; NULL, and what may have any type, stay as they are."""
        if type_ == "any":
            return expr
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
    """Whether an unquoted constant is too large for a double."""
    return not isinstance(constant, float) and abs(Decimal(constant)) > _LARGEST_DOUBLE


def _ends_in_escape(pattern: str, escape: str) -> bool:
    """Whether the last escape character of the pattern has nothing to escape."""
    run = len(pattern) - len(pattern.rstrip(escape)) if escape else 0
    return run % 2 == 1


def _counts_characters(args: Sequence[Typed]) -> bool:
    """Whether ``substring`` gets positions; if all arguments are quoted, even digits are a regular expression."""
    pattern = all(isinstance(a.expr, String) for a in args[1:])
    return not pattern and all(fits("integer", a.type) for a in args[1:] if a.type != "unknown")


def _without_time(type_: str) -> str:
    return "double" if type_ == "time" else type_
