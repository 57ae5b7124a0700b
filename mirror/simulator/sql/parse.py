"""Parses a condition: a recursive descent with PostgreSQL's precedence, loosest first.

OR, AND, NOT, IS, comparisons, BETWEEN IN LIKE SIMILAR, all other operators, sums, products, ``^``, signs, ``::``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NoReturn

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
from mirror.simulator.sql.tokens import Source, Token
from mirror.simulator.sql.types import TYPE_NAMES, TypeName

_DEEPEST = 100  #: the deepest nesting of parentheses, signs and the like
_COMPARISONS = ("<", ">", "=", "<=", ">=", "<>")
_SUMS, _PRODUCTS = ("+", "-"), ("*", "/", "%")
_PATTERNS = {"like": "~~", "ilike": "~~*"}
#: Words that name neither a column nor a function.
_RESERVED = frozenset({
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case", "cast", "check",
    "collate", "column", "constraint", "create", "current_catalog", "current_date", "current_role", "current_time",
    "current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except",
    "false", "fetch", "for", "foreign", "from", "grant", "group", "having", "in", "initially", "intersect", "into",
    "lateral", "leading", "limit", "localtime", "localtimestamp", "not", "null", "offset", "on", "only", "or",
    "order", "placing", "primary", "references", "returning", "select", "session_user", "some", "symmetric", "table",
    "then", "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "when", "where", "window",
    "with", "similar", "like", "ilike", "is", "isnull", "notnull", "between",
})  # fmt: skip
#: What PostgreSQL accepts and the simulator does not.
_NOT_SIMULATED = {
    **dict.fromkeys(("select", "with", "table", "exists"), "subselects are"),
    **dict.fromkeys(
        ("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"), "dates are"
    ),
    **dict.fromkeys(("current_user", "session_user", "user", "current_role", "current_catalog"), "users are"),
    "array": "arrays are",
    "row": "rows are",
    "collate": "COLLATE is",
    "interval": "intervals are",
}


def parse_condition(text: str, *, query: str | None = None, offset: int = 0) -> Node:
    """The tree of a condition; SyntaxProblem in PostgreSQL's words if it is not one.

    ``query`` and ``offset`` say where the clause is, for the positions in nodes and errors.
    """
    source = Source(text, text if query is None else query, offset)
    return _Parser(source, source.tokens()).whole()


def closes_early(text: str) -> bool:
    """True for a clause such as ``1=1) or (1=1``, which closes the server's parenthesis before its end."""
    depth = 0
    for token in Source(text, text, 0).tokens()[1:-2]:
        depth += {"(": 1, ")": -1}.get(token.word, 0)
        if depth < 0:
            return True
    return False


@dataclass(slots=True)
class _Parser:
    """The tokens, and the current position."""

    source: Source
    tokens: list[Token]
    place: int = 0
    depth: int = 0
    rows: dict[int, tuple[Node, ...]] = field(default_factory=dict)  #: by the place of the parenthesis

    # ---- tokens ---------------------------------------------------------------------------------

    @property
    def here(self) -> Token:
        return self.tokens[self.place]

    def take(self) -> Token:
        self.place += 1
        return self.tokens[self.place - 1]

    def at(self, *words: str, ahead: int = 0) -> bool:
        return self.tokens[min(self.place + ahead, len(self.tokens) - 1)].word in words

    def skip(self, *words: str) -> bool:
        found = self.here.word in words
        self.place += found
        return found

    def need(self, word: str) -> None:
        if not self.skip(word):
            self.unexpected(word.upper())

    def unexpected(self, expected: str) -> NoReturn:
        token = self.here
        if token.kind == "name" and token.text in _NOT_SIMULATED:
            self.source.fail(f"{_NOT_SIMULATED[token.text]} not simulated", token.position)
        if token.kind == "end":
            self.source.fail("syntax error at end of input", token.position, expected)
        self.source.fail(f'syntax error at or near "{token.text}"', token.position, expected)

    def nested(self, rule: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.source.fail(f"nested deeper than {_DEEPEST} levels", self.here.position)
        node = rule()
        self.depth -= 1
        return node

    # ---- conditions -----------------------------------------------------------------------------

    def whole(self) -> Node:
        node = self.expression()
        if self.here.kind != "end":
            self.unexpected("an operator or the end of the condition")
        return node

    def expression(self) -> Node:
        """``expression = conjunction { OR conjunction }``."""
        return self.logic("OR", lambda: self.logic("AND", self.negation))

    def logic(self, op: Literal["AND", "OR"], operand: Callable[[], Node]) -> Node:
        first = operand()
        operands = [first]
        while self.skip(op.lower()):
            operands.append(operand())
        return Logic(op, tuple(operands), first.position) if len(operands) > 1 else first

    def negation(self) -> Node:
        """``negation = NOT negation | test``."""
        position = self.here.position
        return Not(self.nested(self.negation), position) if self.skip("not") else self.test()

    def test(self) -> Node:
        """``test = comparison { IS [NOT] what | ISNULL | NOTNULL }``."""
        node = self.comparison()
        while self.at("is", "isnull", "notnull"):
            word = self.take()
            if word.text != "is":
                node = Is(node, "null", word.text == "notnull", word.position)
                continue
            negated = self.skip("not")
            if self.skip("distinct"):
                self.need("from")
                node = Distinct(node, self.comparison(), negated, word.position)
            else:
                node = Is(node, self.what(), negated, word.position)
        return node

    def what(self) -> Literal["null", "true", "false", "unknown"]:
        for word in ("null", "true", "false", "unknown"):
            if self.skip(word):
                return word
        return self.unexpected("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM")

    def comparison(self) -> Node:
        """``comparison = range [ ( < | > | = | <= | >= | <> ) range ]``."""
        left = self.range()
        if not self.at(*_COMPARISONS):
            return left
        op = self.take()
        made = self.of_array(op, left)
        if made is not None:
            return made
        right = self.range()
        if op.text in ("=", "<>") and (left.position in self.rows or right.position in self.rows):
            return self.rows_equal(left, right, op.position, negated=op.text == "<>")
        return Operation(op.text, left, right, op.position)

    def range(self) -> Node:
        """``range = others { [NOT] ( between | in | like | similar ) }``, of which PostgreSQL takes one."""
        operand = self.others()
        negated = self.at("not") and self.at("between", "in", "like", "ilike", "similar", ahead=1)
        if negated:
            self.take()
        word = self.here
        if self.skip("between"):
            return self.between(operand, word.position, negated=negated)
        if self.skip("in"):
            return self.in_list(operand, word.position, negated=negated)
        if self.skip("like", "ilike"):
            op = ("!" if negated else "") + _PATTERNS[word.text]
            if made := self.of_array(Token("operator", op, word.position), operand):
                return made
            return Operation(op, operand, self.pattern("like_escape"), word.position)
        if self.skip("similar"):
            self.need("to")
            pattern = self.pattern("similar_to_escape")
            return Operation("!~" if negated else "~", operand, pattern, word.position)
        return operand

    def between(self, operand: Node, position: int, *, negated: bool) -> Node:
        symmetric = self.skip("symmetric") or (self.skip("asymmetric") and False)
        low = self.others()
        self.need("and")
        high = self.others()

        def inside(first: Node, last: Node) -> Node:
            ends = (Operation(">=", operand, first, position), Operation("<=", operand, last, position))
            return Logic("AND", ends, position)

        node = inside(low, high)
        if symmetric:
            node = Logic("OR", (node, inside(high, low)), position)
        return Not(node, position) if negated else node

    def pattern(self, escaping: str) -> Node:
        """``pattern = others [ ESCAPE others ]``; SIMILAR TO is always translated, LIKE with another escape only."""
        node, position = self.others(), self.here.position
        if self.skip("escape"):
            return Call(escaping, (node, self.others()), position)
        return node if escaping == "like_escape" else Call(escaping, (node,), position)

    def in_list(self, operand: Node, position: int, *, negated: bool) -> Node:
        """``IN (items)``; of a row, rows."""
        items = self.items()
        if operand.position not in self.rows:
            return InList(operand, items, negated, position)
        equal = tuple(self.rows_equal(operand, item, position, negated=False) for item in items)
        node = Logic("OR", equal, position) if len(equal) > 1 else equal[0]
        return Not(node, position) if negated else node

    def rows_equal(self, left: Node, right: Node, position: int, *, negated: bool) -> Node:
        """``(a, b) = (1, 2)``: each member equals its own."""
        rows = [self.rows.get(side.position, ()) for side in (left, right)]
        if len(rows[0]) != len(rows[1]) or not rows[0]:
            self.source.fail("unequal number of entries in row expressions", position)
        equal = tuple(Operation("=", a, b, position) for a, b in zip(*rows, strict=True))
        node = Logic("AND", equal, position)
        return Not(node, position) if negated else node

    def items(self) -> tuple[Node, ...]:
        """``items = "(" expression { "," expression } ")"``."""
        self.need("(")
        items = [self.nested(self.expression)]
        while self.skip(","):
            items.append(self.nested(self.expression))
        self.need(")")
        return tuple(items)

    def of_array(self, op: Token, left: Node) -> Node | None:
        """``= ANY (ARRAY[1, 2])``."""
        if not self.at("any", "some", "all"):
            return None
        every = self.take().text == "all"
        self.need("(")
        self.need("array")
        self.need("[")
        items = [self.nested(self.expression)]
        while self.skip(","):
            items.append(self.nested(self.expression))
        self.need("]")
        self.need(")")
        return OfArray(op.text, left, tuple(items), every, op.position)

    # ---- values ---------------------------------------------------------------------------------

    def others(self) -> Node:
        """``others = prefixed { operator prefixed }``: ``||``, ``~``, ``&`` and all that are not named below."""
        node = self.prefixed()
        while self.here.kind == "operator" and not self.at(*_COMPARISONS):
            op = self.take()
            node = self.of_array(op, node) or Operation(op.text, node, self.prefixed(), op.position)
        return node

    def prefixed(self) -> Node:
        """``prefixed = operator prefixed | sum``: ``~ 5``, ``@ -5``."""
        named = (*_COMPARISONS, *_SUMS, *_PRODUCTS, "^")
        if self.here.kind != "operator" or self.at(*named):
            return self.chain(0)
        op = self.take()
        return Operation(op.text, None, self.nested(self.prefixed), op.position)

    def chain(self, row: int) -> Node:
        """Sums (row 0) of products (1) of powers (2), all from the left."""
        ops = (_SUMS, _PRODUCTS, ("^",))
        if row == len(ops):
            return self.sign()
        node = self.chain(row + 1)
        while self.at(*ops[row]):
            op = self.take()
            node = self.of_array(op, node) or Operation(op.text, node, self.chain(row + 1), op.position)
        return node

    def sign(self) -> Node:
        """``sign = ( - | + ) sign | casted``; a sign before a number is part of the number."""
        op = self.here
        if not self.skip("-", "+"):
            return self.casted()
        operand = self.nested(self.sign)
        if op.text == "-" and isinstance(operand, Constant) and operand.type in ("integer", "numeric"):
            return Constant(-operand.value, operand.type, op.position)  # type: ignore[operator]
        return Operation(op.text, None, operand, op.position)

    def casted(self) -> Node:
        """``casted = atom { "::" type }``."""
        node = self.atom()
        while self.at("::"):
            position = self.take().position
            node = Cast(node, self.type(), position)
        return node

    def atom(self) -> Node:
        token = self.here
        if token.kind == "number":
            self.take()
            kind: Literal["integer", "numeric"] = "integer" if isinstance(token.value, int) else "numeric"
            return Constant(token.value, kind, token.position)
        if token.kind in ("string", "bits"):
            self.take()
            return Constant(token.text, "unknown" if token.kind == "string" else "bit", token.position)
        if self.skip("("):
            node = self.nested(self.expression)
            return self.row(node, token) if self.at(",") else self.closed(node)
        if token.kind == "name":
            return self.name()
        return self.unexpected("a column or a constant")

    def closed(self, node: Node) -> Node:
        self.need(")")
        return node

    def row(self, first: Node, opening: Token) -> Node:
        """``(a, b)``: a placeholder that only a comparison with another row accepts."""
        members = [first]
        while self.skip(","):
            members.append(self.nested(self.expression))
        self.need(")")
        self.rows[opening.position] = tuple(members)
        return Call("row", tuple(members), opening.position)

    def name(self) -> Node:
        """A constant in words, a form with words of its own, a function or a column."""
        token = self.here
        if token.text in ("true", "false", "null"):
            self.take()
            value = {"true": True, "false": False}.get(token.text)
            return Constant(value, "unknown" if value is None else "boolean", token.position)
        special = {"case": self.case, "cast": self.cast}.get(token.text)
        if special is not None:
            self.take()
            return special(token.position)
        if token.text in _RESERVED and not (token.text in ("left", "right") and self.at("(", ahead=1)):
            self.unexpected("a column or a constant")
        if typed := self.typed_constant():
            return typed
        self.take()
        if self.at("("):
            return self.call(token)
        path = [token.text]
        while self.at(".") and self.tokens[self.place + 1].kind == "name":
            self.take()
            path.append(self.take().text)
        if self.at("("):
            return self.call(Token("name", path[-1], token.position))
        return Column(path[-1], ".".join(path[:-1]), token.position)

    def typed_constant(self) -> Node | None:
        """``double precision '1.5'``: a type and a quoted text."""
        start = self.place
        token = self.here
        if token.text in _NOT_SIMULATED and self.tokens[start + 1].kind == "string":
            self.unexpected("a column or a constant")
        if token.text not in TYPE_NAMES:
            return None
        found = self.type()
        if self.here.kind == "string":
            constant = self.take()
            return Cast(Constant(constant.text, "unknown", constant.position), found, token.position)
        self.place = start
        return None

    def type(self) -> TypeName:
        """``type = name [ "(" number { "," number } ")" ]``."""
        token = self.here
        if token.kind != "name":
            self.unexpected("a type")
        name = self.take().text
        if name == "double":
            self.need("precision")
        if name == "character":
            name = "character varying" if self.skip("varying") else name
        if name == "pg_catalog" and self.skip("."):
            return self.type()
        if name not in TYPE_NAMES:
            self.source.fail(
                f'type "{name}" does not exist, or is not simulated', token.position, ", ".join(TYPE_NAMES)
            )
        sizes: list[int] = []
        if self.at("(") and self.tokens[self.place + 1].kind == "number":
            self.take()
            sizes.append(int(self.take().value))
            while self.skip(","):
                sizes.append(-int(self.take().value) if self.skip("-") else int(self.take().value))
            self.need(")")
        return TypeName(TYPE_NAMES[name], name, tuple(sizes))

    def case(self, position: int) -> Node:
        """``CASE [ expression ] WHEN expression THEN expression { ... } [ ELSE expression ] END``."""
        operand = None if self.at("when") else self.nested(self.expression)
        branches: list[tuple[Node, Node]] = []
        while self.skip("when"):
            condition = self.nested(self.expression)
            self.need("then")
            branches.append((condition, self.nested(self.expression)))
        if not branches:
            self.unexpected("WHEN")
        default: Node = Constant(None, "unknown", position)
        if self.skip("else"):
            default = self.nested(self.expression)
        self.need("end")
        return Case(operand, tuple(branches), default, position)

    def cast(self, position: int) -> Node:
        """``CAST "(" expression AS type ")"``."""
        self.need("(")
        operand = self.nested(self.expression)
        self.need("as")
        found = self.type()
        self.need(")")
        return Cast(operand, found, position)

    # ---- functions ------------------------------------------------------------------------------

    def call(self, token: Token) -> Node:
        """A function with its arguments, some of which have words between them."""
        self.need("(")
        forms = {
            "position": self.position_of,
            "substring": self.substring,
            "overlay": self.overlay,
            "trim": self.trim,
            "extract": self.extract,
        }
        if token.text in forms:
            name, args = forms[token.text]()
        else:
            name, args = token.text, self.arguments()
        self.need(")")
        return Call(name, args, token.position)

    def arguments(self) -> tuple[Node, ...]:
        if self.at(")"):
            return ()
        args = [self.nested(self.expression)]
        while self.skip(","):
            args.append(self.nested(self.expression))
        return tuple(args)

    def position_of(self) -> tuple[str, tuple[Node, ...]]:
        """``position(text IN text)``; with commas it is not a function."""
        part = self.nested(self.others)
        self.need("in")
        return "position", (self.nested(self.others), part)

    def substring(self) -> tuple[str, tuple[Node, ...]]:
        """``substring(text FROM n FOR n)``, ``... FROM pattern``, ``... SIMILAR pattern ESCAPE c``, or commas."""
        args = [self.nested(self.expression)]
        if self.skip("similar"):
            pattern = self.nested(self.expression)
            self.need("escape")
            escape = self.nested(self.expression)
            return "substring", (args[0], Call("similar_to_escape", (pattern, escape), args[0].position))
        start = length = None
        while self.at("from", "for"):
            if self.take().text == "from":
                start = self.nested(self.expression)
            else:
                length = self.nested(self.expression)
        if length is not None and start is None:
            start = Constant(1, "integer", length.position)
        if start is not None:
            return "substring", tuple(a for a in (args[0], start, length) if a is not None)
        while self.skip(","):
            args.append(self.nested(self.expression))
        return "substring", tuple(args)

    def overlay(self) -> tuple[str, tuple[Node, ...]]:
        """``overlay(text PLACING text FROM n [ FOR n ])``, or commas."""
        args = [self.nested(self.expression)]
        while self.skip("placing", "from", "for", ","):
            args.append(self.nested(self.expression))
        return "overlay", tuple(args)

    def trim(self) -> tuple[str, tuple[Node, ...]]:
        """``trim([ LEADING | TRAILING | BOTH ] [ characters ] FROM text)``, or commas."""
        name = "btrim"
        if self.at("leading", "trailing", "both"):
            name = {"leading": "ltrim", "trailing": "rtrim", "both": "btrim"}[self.take().text]
        if self.skip("from"):
            return name, self.arguments()
        args = self.arguments()
        if self.skip("from"):
            return name, (*self.arguments(), *args)
        return name, args

    def extract(self) -> tuple[str, tuple[Node, ...]]:
        """``extract(field FROM value)``: the field is a name or a text."""
        field = self.take()
        self.need("from")
        return "extract", (Constant(field.text, "unknown", field.position), self.nested(self.expression))
