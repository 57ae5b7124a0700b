"""A condition bound to the columns of a series, and whether it is true for each of some rows.

Types are resolved as in PostgreSQL, before any row is read: a type error is an error even if no record would be
evaluated. Operations on constants are done then, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from mirror.errors import BadRequest, Refused, SyntaxProblem, UnknownName
from mirror.simulator.sql import types
from mirror.simulator.sql.functions import AGGREGATES, FUNCTIONS, NOT_SIMULATED
from mirror.simulator.sql.nodes import (
    Call,
    Case,
    Cast,
    Column,
    Constant,
    Distinct,
    InList,
    Is,
    Logic,
    Node,
    Not,
    OfArray,
    Operation,
)
from mirror.simulator.sql.operators import COMMUTED, COMPARISONS, OPERATORS, compare
from mirror.simulator.sql.parse import parse_condition
from mirror.simulator.sql.types import BOOLEAN, TEXT, UNKNOWN, Signature, TypeName

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mirror.simulator.base import Rows

Values = Sequence[Any]
_TRUE, _FALSE, _UNKNOWN = 1, 0, -1


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a series: ``holds`` says for each row whether it is true, rather than false or unknown."""

    text: str
    tree: Node  #: as it was written
    truths: Callable[[Rows], NDArray[np.int8]]

    def holds(self, rows: Rows) -> NDArray[np.bool_]:
        """Refused where PostgreSQL would stop: a division by zero, a column that is not simulated."""
        return np.asarray(self.truths(rows) == _TRUE, dtype=bool)


def read_condition(
    text: str, columns: Mapping[str, str], *, series: str, query: str | None = None, offset: int = 0
) -> Condition:
    """The condition in a clause on a series with these ``columns`` (lower-case name to keyword type).

    SyntaxProblem and UnknownName, in PostgreSQL's words, show the place in ``query``, where the clause begins at
    ``offset``; Refused for what PostgreSQL accepts and the simulator does not.
    """
    tree = parse_condition(text, query=query, offset=offset)
    binder = _Binder(columns, series.lower(), text if query is None else query)
    return Condition(text, tree, binder.condition(tree, "WHERE").truths)


@dataclass(frozen=True, slots=True)
class _Term:
    """A bound part: its type, and its value in each row. ``value`` is a list of one for a constant, else None."""

    type: str
    run: Callable[[Rows], Values]
    position: int
    value: tuple[Any, ...] | None = None
    column: str | None = None
    fast: Callable[[Rows], NDArray[np.int8]] | None = None  #: a condition, all rows at once

    def truths(self, rows: Rows) -> NDArray[np.int8]:
        """Of a condition: 1 for true, 0 for false, -1 for unknown."""
        if self.fast is not None:
            return self.fast(rows)
        return np.fromiter(
            (_UNKNOWN if v is None else v for v in self.run(rows)), dtype=np.int8, count=len(rows)
        )


def _constant(type_: str, value: Any, position: int) -> _Term:
    return _Term(type_, lambda rows: [value] * len(rows), position, (value,))


class _Binder:
    """One condition being bound; ``lazy`` counts the branches that PostgreSQL may never evaluate."""

    def __init__(self, columns: Mapping[str, str], series: str, query: str) -> None:
        self.columns, self.series, self.query = columns, series, query
        self.lazy = 0
        self.put_off: list[Refused] = []  #: errors of constants there

    def fail(self, message: str, position: int, expected: str = "") -> NoReturn:
        raise SyntaxProblem(message, text=self.query, position=position, expected=expected)

    def bind(self, node: Node) -> _Term:
        """Any part."""
        rules: Mapping[type, Callable[[Any], _Term]] = {
            Constant: self.constant,
            Column: self.column,
            Operation: self.operation,
            Call: self.call,
            Cast: self.cast,
            Logic: self.logic,
            Not: self.negation,
            Is: self.test,
            Distinct: self.distinct,
            InList: self.in_list,
            OfArray: self.of_array,
            Case: self.case,
        }
        return rules[type(node)](node)

    def condition(self, node: Node, place: str) -> _Term:
        """A part that must be a truth value."""
        term = self.bind(node)
        if term.type == UNKNOWN:
            return self.coerced(term, BOOLEAN)
        if term.type != BOOLEAN:
            self.fail(
                f"argument of {place} must be type boolean, not type {term.type}",
                term.position,
                "a condition",
            )
        return term

    # ---- leaves ---------------------------------------------------------------------------------

    def constant(self, node: Constant) -> _Term:
        value = node.value
        if node.type == "integer" and isinstance(value, int):
            kind = next((t for t in ("integer", "bigint") if types.fits(value, t)), "numeric")
            return _constant(kind, value if kind != "numeric" else Decimal(value), node.position)
        if isinstance(value, Decimal):
            value = types.plain(value)
        return _constant(node.type, value, node.position)

    def column(self, node: Column) -> _Term:
        if node.series not in ("", self.series, self.series.rpartition(".")[2]):
            self.fail(f'missing FROM-clause entry for table "{node.series}"', node.position, "a column")
        type_ = self.columns.get(node.name)
        if type_ is None:
            near = get_close_matches(node.name, self.columns, n=3)
            hint = f"; there are {', '.join(sorted(near))}" if near else ""
            problem = SyntaxProblem(
                f'column "{node.name}" does not exist{hint}', text=self.query, position=node.position
            )
            raise UnknownName(str(problem), problem)
        run = partial(_stored, node.name)
        return _Term(types.OF_KEYWORD[type_], run, node.position, column=node.name)

    # ---- conversion -----------------------------------------------------------------------------

    def coerced(self, term: _Term, target: str, *, explicit: bool = False) -> _Term:
        """The term as a value of another type; SyntaxProblem if it cannot be converted."""
        if term.type == target:
            return term
        if term.type == UNKNOWN:
            return self.constant_read(term, target)
        convert = types.converter(term.type, target, explicit=explicit)
        if convert is None:
            verb = "cast" if explicit else "use"
            self.fail(f"cannot {verb} type {term.type} to {target}", term.position)
        return self.applied(target, convert, [term], term.position)

    def constant_read(self, term: _Term, target: str) -> _Term:
        text = term.value[0] if term.value else None
        try:
            value = None if text is None else types.read(text, target)
        except types.BadValueError as problem:
            self.fail(str(problem), term.position, f"a constant of type {target}")
        return _constant(target, value, term.position)

    def cast(self, node: Cast) -> _Term:
        term = self.bind(node.operand)
        made = self.coerced(term, node.type.type, explicit=True)
        return self.sized(made, node.type, node.position)

    def sized(self, term: _Term, name: TypeName, position: int) -> _Term:
        """The result of ``varchar(5)`` and ``numeric(6, 2)``."""
        if not name.sizes and name.written not in ("char", "character", "name"):
            return replace(term, column=None)
        return self.applied(term.type, lambda value: types.sized(value, name), [term], position)

    # ---- operators and functions ------------------------------------------------------------------

    def operation(self, node: Operation) -> _Term:
        right = self.bind(node.right)
        if node.left is None:
            return self.chosen(OPERATORS.get(node.op, []), [right], node.position, _prefixed(node.op, right))
        left = self.bind(node.left)
        return self.operated(node.op, left, right, node.position)

    def operated(self, op: str, left: _Term, right: _Term, position: int) -> _Term:
        if op == "||":
            left, right = (self.as_text(term, other) for term, other in ((left, right), (right, left)))
        what = f"operator does not exist: {left.type} {op} {right.type}"
        made = self.chosen(OPERATORS.get(op, []), [left, right], position, what)
        fast = _fast_comparison(op, left, right) if op in COMPARISONS else None
        return made if fast is None or made.value is not None else _truth(fast, position)

    def as_text(self, term: _Term, other: _Term) -> _Term:
        """With a text as the other operand, anything can be concatenated."""
        if other.type in (TEXT, UNKNOWN) and term.type not in (TEXT, UNKNOWN):
            return self.coerced(term, TEXT, explicit=True)
        return term

    def chosen(
        self, candidates: Sequence[Signature], args: list[_Term], position: int, missing: str
    ) -> _Term:
        """The matching function, applied to its arguments."""
        if (
            missing.startswith("operator")
            and all(a.type == UNKNOWN for a in args)
            and not _takes_text(candidates)
        ):
            self.fail(
                missing.replace("does not exist", "is not unique"),
                position,
                "operands with types, as in '1'::int",
            )
        try:
            found = types.choose(candidates, [a.type for a in args])
        except types.AmbiguousError:
            names = missing.partition(":")[2] or missing
            self.fail(
                f"operator is not unique: {names.strip()}", position, "operands with types, as in '1'::int"
            )
        if found is None:
            self.fail(missing, position, _known(candidates))
        made = [self.coerced(a, t) for a, t in zip(args, found.args, strict=True)]
        return self.applied(found.result, found.run, made, position)

    def applied(self, type_: str, function: Callable[..., Any], args: list[_Term], position: int) -> _Term:
        """A strict function of its arguments: evaluated now if they are constants, NULL if one is."""
        if not args:
            return _constant(type_, function(), position)
        known = [a.value for a in args]
        if all(k is not None for k in known):
            row = [k[0] for k in known if k is not None]
            try:
                return _constant(type_, None if None in row else function(*row), position)
            except Refused as problem:
                if not self.lazy:
                    raise
                self.put_off.append(problem)
        if len(args) == 1:
            only = args[0].run
            return _Term(
                type_, lambda rows: [None if v is None else function(v) for v in only(rows)], position
            )
        runs = [a.run for a in args]
        return _Term(type_, partial(_strictly, function, runs), position)

    def call(self, node: Call) -> _Term:
        special = {
            "coalesce": self.coalesce,
            "greatest": self.extreme,
            "least": self.extreme,
            "nullif": self.nullif,
            "concat": self.concat,
            "concat_ws": self.concat,
            "num_nulls": self.num_nulls,
            "num_nonnulls": self.num_nulls,
        }.get(node.name)
        self.lazy += node.name == "coalesce"
        args = [self.bind(a) for a in node.args]
        if node.name == "coalesce":
            self.lazy -= 1
            self.put_off.clear()
        if special is not None:
            if not args:
                self.fail(f"function {node.name}() does not exist", node.position, "arguments")
            return special(node, args)
        names = ", ".join(a.type for a in args)
        if len(args) == 1 and node.name in types.TYPE_NAMES:
            return self.coerced(args[0], types.TYPE_NAMES[node.name], explicit=True)
        if node.name in AGGREGATES:
            self.fail("aggregate functions are not allowed in WHERE", node.position)
        if node.name in NOT_SIMULATED and node.name != "extract":
            raise Refused(f"the function {node.name}({names}) is not simulated")
        missing = f"function {node.name}({names}) does not exist"
        if node.name == "extract":
            missing = f"function pg_catalog.extract({names}) does not exist"
        return self.chosen(FUNCTIONS.get(node.name, []), args, node.position, missing)

    # ---- forms of their own -----------------------------------------------------------------------

    def shared(self, terms: Sequence[_Term], place: str, position: int) -> tuple[str, list[_Term]]:
        """Terms converted to one type."""
        try:
            type_ = types.common_type([t.type for t in terms], place)
        except types.BadValueError as problem:
            self.fail(str(problem), position)
        return type_, [self.coerced(t, type_) for t in terms]

    def coalesce(self, node: Call, args: list[_Term]) -> _Term:
        """An argument is evaluated only for the rows whose earlier ones are NULL."""
        type_, made = self.shared(args, "COALESCE", node.position)
        return _Term(type_, partial(_first_given, [m.run for m in made]), node.position)

    def extreme(self, node: Call, args: list[_Term]) -> _Term:
        """GREATEST and LEAST ignore NULL."""
        type_, made = self.shared(args, node.name.upper(), node.position)
        runs, wanted = [m.run for m in made], 1 if node.name == "greatest" else -1

        def pick(row: tuple[Any, ...]) -> Any:
            found = None
            for value in row:
                if value is not None and (found is None or compare(value, found) == wanted):
                    found = value
            return found

        return _Term(type_, lambda rows: [pick(row) for row in _across(runs, rows)], node.position)

    def nullif(self, node: Call, args: list[_Term]) -> _Term:
        if len(args) != 2:
            self.fail("syntax error: NULLIF takes two arguments", node.position)
        first, second = args
        equal = self.operated("=", first, second, node.position).run
        found = types.choose(OPERATORS["="], [first.type, second.type])
        type_ = TEXT if found is None else found.args[0]
        value = self.coerced(first, type_).run

        def run(rows: Rows) -> Values:
            return [None if same else v for v, same in zip(value(rows), equal(rows), strict=True)]

        return _Term(type_, run, node.position)

    def concat(self, node: Call, args: list[_Term]) -> _Term:
        """Texts put together, without those that are NULL."""
        runs = [self.coerced(a, TEXT, explicit=True).run for a in args]

        def joined(row: tuple[Any, ...]) -> str | None:
            if node.name == "concat":
                return "".join(v for v in row if v is not None)
            return None if row[0] is None else row[0].join(v for v in row[1:] if v is not None)

        return _Term(TEXT, lambda rows: [joined(row) for row in _across(runs, rows)], node.position)

    def num_nulls(self, node: Call, args: list[_Term]) -> _Term:
        runs, nulls = [a.run for a in args], node.name == "num_nulls"

        def run(rows: Rows) -> Values:
            return [sum((v is None) == nulls for v in row) for row in _across(runs, rows)]

        return _Term("integer", run, node.position)

    def case(self, node: Case) -> _Term:
        operand = None if node.operand is None else self.bind(node.operand)
        self.lazy += 1
        conditions = [self.when(operand, each, node.position) for each, _ in node.branches]
        values = [self.bind(value) for _, value in node.branches]
        type_, made = self.shared([self.bind(node.default), *values], "CASE", node.position)
        self.lazy -= 1
        self.put_off.clear()
        branches = list(zip((c.run for c in conditions), (m.run for m in made[1:]), strict=True))
        return _Term(type_, partial(_first_true, branches, made[0].run), node.position)

    def when(self, operand: _Term | None, node: Node, position: int) -> _Term:
        if operand is None:
            return self.condition(node, "CASE/WHEN")
        return self.operated("=", operand, self.bind(node), position)

    # ---- truth ------------------------------------------------------------------------------------

    def logic(self, node: Logic) -> _Term:
        """What a constant decides is not computed, as in PostgreSQL's planner."""
        before = len(self.put_off)
        self.lazy += 1
        operands = [self.condition(o, node.op) for o in node.operands]
        self.lazy -= 1
        decisive = node.op == "OR"
        if any(o.value == (decisive,) for o in operands):
            del self.put_off[before:]
            return _constant(BOOLEAN, decisive, node.position)
        if self.put_off[before:] and not self.lazy:
            raise self.put_off[before]
        truths = [o.truths for o in operands if o.value != (not decisive,)]
        return _truth(partial(_joined, truths, decisive), node.position)

    def negation(self, node: Not) -> _Term:
        return _truth(partial(_negated, self.condition(node.operand, "NOT").truths), node.position)

    def test(self, node: Is) -> _Term:
        if node.what == "null":
            term = self.bind(node.operand)
            run = term.run
            return _Term(
                BOOLEAN, lambda rows: [(v is None) != node.negated for v in run(rows)], node.position
            )
        place = f"IS {'NOT ' if node.negated else ''}{node.what.upper()}"
        wanted = {"true": True, "false": False, "unknown": None}[node.what]
        truth = self.condition(node.operand, place).run
        return _Term(
            BOOLEAN, lambda rows: [(v is wanted) != node.negated for v in truth(rows)], node.position
        )

    def distinct(self, node: Distinct) -> _Term:
        left, right = self.bind(node.left), self.bind(node.right)
        unequal = self.operated("<>", left, right, node.position).run
        runs = [left.run, right.run]

        def run(rows: Rows) -> Values:
            pairs = zip(unequal(rows), _across(runs, rows), strict=True)
            return [(((a is None) != (b is None)) if u is None else u) != node.negated for u, (a, b) in pairs]

        return _Term(BOOLEAN, run, node.position)

    def in_list(self, node: InList) -> _Term:
        """PostgreSQL makes an array of the common type from two and more constants; anything else it compares one by one."""
        operand = self.bind(node.operand)
        items = [self.bind(item) for item in node.items]
        fixed = [item for item in items if item.value is not None]
        if len(fixed) > 1:
            fixed = self.as_array(operand, fixed)
        items = [*fixed, *(item for item in items if item.value is None)]
        equal = [self.operated("=", operand, item, node.position).truths for item in items]
        found = partial(_joined, equal, True)
        return _truth(partial(_negated, found) if node.negated else found, node.position)

    def as_array(self, operand: _Term, items: list[_Term]) -> list[_Term]:
        try:
            type_ = types.common_type([operand.type, *(i.type for i in items)], "IN")
        except types.BadValueError:
            return items
        return [self.coerced(item, type_) for item in items]

    def of_array(self, node: OfArray) -> _Term:
        operand = self.bind(node.operand)
        type_, items = self.shared([self.bind(item) for item in node.items], "ARRAY", node.position)
        del type_
        each = [self.operated(node.op, operand, item, node.position).truths for item in items]
        return _truth(partial(_joined, each, not node.every), node.position)


def _takes_text(candidates: Sequence[Signature]) -> bool:
    return not candidates or any(TEXT in c.args for c in candidates)


def _prefixed(op: str, operand: _Term) -> str:
    return f"operator does not exist: {op} {operand.type}"


def _known(candidates: Sequence[Signature]) -> str:
    """What would have been right, if that is short enough to say."""
    forms = list(dict.fromkeys(f"({', '.join(c.args)})" for c in candidates))
    return f"arguments {' or '.join(forms)}" if 0 < len(forms) < 4 else ""


# ---- columns of values ----------------------------------------------------------------------------------


def _stored(name: str, rows: Rows) -> Values:
    values: Values = _column(name, rows).tolist()
    return values


def _column(name: str, rows: Rows) -> Any:
    try:
        return rows.stored(name)
    except (KeyError, BadRequest) as problem:
        raise Refused(f"column {name!r} is not simulated") from problem


def _across(runs: Sequence[Callable[[Rows], Values]], rows: Rows) -> Any:
    return zip(*(run(rows) for run in runs), strict=True)


def _strictly(function: Callable[..., Any], runs: Sequence[Callable[[Rows], Values]], rows: Rows) -> Values:
    return [None if None in row else function(*row) for row in _across(runs, rows)]


def _truth(truths: Callable[[Rows], NDArray[np.int8]], position: int) -> _Term:
    """A condition that is evaluated for all rows at once."""
    known = {_TRUE: True, _FALSE: False, _UNKNOWN: None}
    return _Term(BOOLEAN, lambda rows: [known[t] for t in truths(rows).tolist()], position, fast=truths)


def _negated(truths: Callable[[Rows], NDArray[np.int8]], rows: Rows) -> NDArray[np.int8]:
    found = truths(rows)
    return np.where(found == _UNKNOWN, found, 1 - found).astype(np.int8)


def _joined(
    operands: Sequence[Callable[[Rows], NDArray[np.int8]]],
    decisive: bool,
    rows: Rows,
) -> NDArray[np.int8]:
    """AND (False decides) or OR (True decides), each operand for the rows that are still undecided."""
    made = np.full(len(rows), not decisive, dtype=np.int8)
    left = np.arange(len(rows), dtype=np.intp)
    for operand in operands:
        if not len(left):
            break
        found = operand(rows if len(left) == len(rows) else rows.take(left))
        made[left[found == _UNKNOWN]] = _UNKNOWN
        made[left[found == decisive]] = decisive
        left = left[found != decisive]
    return made


def _first_given(runs: Sequence[Callable[[Rows], Values]], rows: Rows) -> Values:
    """COALESCE."""
    made: list[Any] = [None] * len(rows)
    left = np.arange(len(rows), dtype=np.intp)
    for run in runs:
        if not len(left):
            break
        for at, value in zip(left.tolist(), run(rows.take(left)), strict=True):
            made[at] = value
        left = left[[made[at] is None for at in left.tolist()]]
    return made


def _first_true(
    branches: Sequence[tuple[Callable[[Rows], Values], Callable[[Rows], Values]]],
    default: Callable[[Rows], Values],
    rows: Rows,
) -> Values:
    """CASE: a value is computed only for the rows that reach it."""
    made: list[Any] = [None] * len(rows)
    left = np.arange(len(rows), dtype=np.intp)

    def put(places: NDArray[np.intp], run: Callable[[Rows], Values]) -> None:
        if len(places):
            for at, value in zip(places.tolist(), run(rows.take(places)), strict=True):
                made[at] = value

    for condition, value in branches:
        if not len(left):
            break
        true = np.array([v is True for v in condition(rows.take(left))], dtype=bool)
        put(left[true], value)
        left = left[~true]
    put(left, default)
    return made


# ---- a column against a constant, all rows at once --------------------------------------------------------


def _fast_comparison(op: str, left: _Term, right: _Term) -> Callable[[Rows], NDArray[np.int8]] | None:
    """For a numeric column and a constant that is exact as a double or as an integer; else None."""
    if left.column is None:
        left, right, op = right, left, COMMUTED[op]
    if left.column is None or right.value is None or right.value[0] is None or left.type not in types.NUMBERS:
        return None
    limit, name, integral = right.value[0], left.column, left.type in types.INTEGERS
    if right.type == UNKNOWN:
        limit = types.read(limit, left.type)
    if isinstance(limit, bool | str):
        return None
    if integral and not isinstance(limit, int):
        return None
    if not integral:
        limit = float(limit)
        if limit != limit:  # noqa: PLR0124 # NaN
            return None
    ufunc = {
        "=": np.equal,
        "<>": np.not_equal,
        "<": np.less,
        "<=": np.less_equal,
        ">": np.greater,
        ">=": np.greater_equal,
    }[op]

    def truths(rows: Rows) -> NDArray[np.int8]:
        column = _column(name, rows)
        found = ufunc(column.values, limit)
        if not integral and op in (">", ">="):
            found = found | np.isnan(column.values)
        made: NDArray[np.int8] = found.astype(np.int8)
        if column.null is not None:
            made[column.null] = _UNKNOWN
        return made

    return truths
