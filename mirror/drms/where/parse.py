"""Parses a where clause by recursive descent: one function per rule, with the rule in its docstring.

The precedence is PostgreSQL's, loosest first: OR, AND, NOT, IS, comparison, BETWEEN IN LIKE SIMILAR, all other
operators, sums, products, powers, signs, casts. The server puts the clause between parentheses *as text*, so
that ``1=1) or (1=1`` is a condition; the parser does the same with two tokens of its own.

What PostgreSQL has but this grammar lacks makes the whole clause ``Unread``, unless it could do harm
(``mirror.drms.where.tokens``). What PostgreSQL cannot read either is an error with its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from mirror.drms.where.nodes import (
    ARITHMETIC,
    COMPARISONS,
    REGEXES,
    And,
    Arithmetic,
    Between,
    Boolean,
    Case,
    Cast,
    Column,
    Compare,
    Complement,
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
)
from mirror.drms.where.tokens import Source, Token, check_harmless, mark

_DEEPEST = 40  # nested parentheses, NOTs and signs
_HIGHEST = 100  # levels of the tree; a sum has as many as terms
# PostgreSQL's reserved words: none of them names a column or a function.
_RESERVED = {
    "all", "and", "any", "array", "as", "asc", "asymmetric", "between", "both", "case", "cast", "check",
    "collate", "column", "constraint", "create", "current_date", "current_role", "current_time",
    "current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end",
    "except", "exists", "false", "fetch", "for", "foreign", "from", "grant", "group", "having", "ilike",
    "in", "initially", "interval", "into", "is", "isnull", "leading", "like", "limit", "localtime",
    "localtimestamp", "not", "notnull", "null", "offset", "on", "only", "or", "order", "placing", "primary",
    "references", "returning", "row", "select", "session_user", "similar", "some", "symmetric", "table",
    "then", "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "when", "where",
    "window", "with",
}  # fmt: skip
#: Reserved words, and others before a parenthesis, that begin constructs this grammar lacks.
_BEYOND = {
    "all", "any", "array", "collate", "current_date", "current_role", "current_time", "current_timestamp",
    "current_user", "distinct", "exists", "interval", "localtime", "localtimestamp", "row", "select",
    "session_user", "some", "symmetric", "table", "user", "variadic", "with",
}  # fmt: skip
_BEYOND_CALLS = {"extract", "normalize", "overlay", "treat", "xmlelement", "xmlexists", "grouping", "collation"}
#: Types of constants such as ``date '2014-01-01'``.
_TYPED = {"date", "time", "timestamp", "timestamptz", "interval", "bit", "json", "jsonb", "point", "bytea",
          "uuid", "inet", "cidr", "box", "circle", "oid", "name", "char", "timetz", "money", "regclass"}  # fmt: skip
_TYPES = {
    "smallint": "short", "int2": "short", "integer": "int", "int": "int", "int4": "int", "bigint": "longlong",
    "int8": "longlong", "real": "float", "float4": "float", "float8": "double", "float": "double",
    "numeric": "numeric", "decimal": "numeric", "text": "string", "varchar": "string", "boolean": "boolean",
    "bool": "boolean",
}  # fmt: skip
_TRIMS = {"both": "btrim", "leading": "ltrim", "trailing": "rtrim"}
_ROOTS = {"@": "abs", "|/": "sqrt", "||/": "cbrt"}
_LIKES = ("~~", "~~*", "!~~", "!~~*")


class _BeyondError(Exception):
    """A construct that PostgreSQL may have, but this grammar lacks."""


def parse_where(text: str, *, query: str | None = None, offset: int = 0) -> Expr:
    """The condition of a clause; ``SyntaxProblem`` if it is none, or could do harm.

    ``query`` and ``offset`` say where the clause is, for the positions in nodes and errors.
    """
    source = Source(text, text if query is None else query, offset)
    *tokens, end = source.tokens()
    if not tokens:
        source.fail("the condition is empty", end.position, "a condition such as QUALITY >= 0")
    check_harmless(source, tokens)
    _check_readable(source, tokens)
    early = _closing_early(tokens)
    try:
        expr = _Parser(source, [mark("(", offset), *tokens, mark(")", end.position), end]).whole()
    except _BeyondError:
        expr = None
    if expr is not None and _height(expr) <= _HIGHEST:
        return expr
    if early is not None:
        source.fail("a parenthesis is closed that was not opened", early.position)
    if sum({"(": 1, ")": -1}.get(token.word, 0) for token in tokens):
        source.fail("the condition ends here", end.position, "')'")
    blanks = len(text) - len(text.lstrip())
    return Unread(text.strip(), frozenset(t.text for t in tokens if t.kind == "name"), position=offset + blanks)


#: Marks that PostgreSQL has nowhere in a condition. A ``$`` would be a parameter, and there are none.
_NOWHERE = "{}\\$"


def _check_readable(source: Source, tokens: Sequence[Token]) -> None:
    """Refuse what PostgreSQL cannot read either, whatever it may have that this grammar lacks: marks, and brackets out of place."""
    opened: list[Token] = []
    for before, token in pairwise([None, *tokens]):
        assert token is not None
        if token.kind == "other" and token.text in _NOWHERE:
            source.fail(f"unexpected {token.text!r}", token.position, "a column, a constant or an operator")
        if token.word == "[":
            if not _takes_bracket(before, nested=bool(opened)):
                source.fail("unexpected '['", token.position, "a column or a constant")
            opened.append(token)
        elif token.word == "]":
            if not opened:
                source.fail("a bracket is closed that was not opened", token.position)
            opened.pop()
    if opened:
        source.fail("a bracket is not closed", opened[-1].position, "']' behind it")


def _takes_bracket(before: Token | None, *, nested: bool) -> bool:
    """True if a ``[`` may follow: as a subscript, as a list after ARRAY, or as a list in a list."""
    if before is None:
        return False
    name = before.kind == "name" and (before.word not in _RESERVED or before.word == "array")
    return name or before.word in (")", "]") or (nested and before.word in ("[", ","))


def closes_early(text: str) -> bool:
    """True for a clause such as ``1=1) or (1=1``, which closes the server's parenthesis before its end.

    If an OR is in between, such a clause also escapes from the other filters of its record set.
    """
    return _closing_early(Source(text, text, 0).tokens()) is not None


def _closing_early(tokens: Iterable[Token]) -> Token | None:
    """The first closing parenthesis among ``tokens`` that was not opened there."""
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.word, 0)
        if depth < 0:
            return token
    return None


def _height(expr: Expr) -> int:
    """The levels of the tree, counted without recursion: the bound that makes recursion elsewhere safe."""
    row, height = [expr], 0
    while row:
        row, height = [part for node in row for part in node.parts()], height + 1
    return height


@dataclass(slots=True)
class _Parser:
    """The tokens, and the position among them."""

    source: Source
    tokens: list[Token]
    place: int = 0
    depth: int = 0

    # ---- tokens ----

    @property
    def here(self) -> Token:
        return self.tokens[self.place]

    def take(self) -> Token:
        self.place += 1
        return self.tokens[self.place - 1]

    def at(self, *words: str, ahead: int = 0) -> bool:
        """True if the token is one of these reserved words, operators or marks."""
        place = self.place + ahead
        return place < len(self.tokens) and self.tokens[place].word in words

    def skip(self, *words: str) -> bool:
        found = self.tokens[self.place].word in words
        self.place += found
        return found

    def need(self, word: str) -> None:
        if not self.skip(word):
            self.unexpected(f"'{word.upper()}'")

    def unexpected(self, expected: str) -> NoReturn:
        token = self.here
        if token.kind == "other" or token.word in _BEYOND or token.word in ("[", "."):
            raise _BeyondError
        if self.at("at"):
            raise _BeyondError  # AT TIME ZONE
        at_end = token.kind == "end" or self.place >= len(self.tokens) - 2
        found = "the condition ends here" if at_end else f"unexpected {token.text!r}"
        self.source.fail(found, token.position, expected)

    def nested(self, rule: Callable[[], Expr]) -> Expr:
        """Read ``rule`` one level deeper."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _BeyondError
        expr = rule()
        self.depth -= 1
        return expr

    # ---- conditions ----

    def whole(self) -> Expr:
        """Read ``clause = "(" text ")" end``."""
        expr = self.disjunction()
        if self.at(")"):
            early = _closing_early(self.tokens[1:]) or self.here
            self.source.fail("a parenthesis is closed that was not opened", early.position)
        if self.here.kind != "end":
            self.unexpected("an operator or the end of the condition")
        return expr

    def disjunction(self) -> Expr:
        """Read ``disjunction = conjunction { OR conjunction }``."""
        first = self.conjunction()
        operands = [first]
        while self.skip("or"):
            operands.append(self.conjunction())
        return Or(tuple(operands), position=first.position) if len(operands) > 1 else first

    def conjunction(self) -> Expr:
        """Read ``conjunction = negation { AND negation }``."""
        first = self.negation()
        operands = [first]
        while self.skip("and"):
            operands.append(self.negation())
        return And(tuple(operands), position=first.position) if len(operands) > 1 else first

    def negation(self) -> Expr:
        """Read ``negation = NOT negation | test``."""
        position = self.here.position
        if self.skip("not"):
            return Not(self.nested(self.negation), position=position)
        return self.test()

    def test(self) -> Expr:
        """Read ``test = comparison { IS [ NOT ] is | ISNULL | NOTNULL }``.

        ``is = NULL | TRUE | FALSE | UNKNOWN | DISTINCT FROM comparison``
        """
        expr = self.comparison()
        while self.at("is", "isnull", "notnull"):
            position, word = self.here.position, self.take().text
            if word != "is":
                expr = IsNull(expr, word == "notnull", position=position)
                continue
            negated = self.skip("not")
            if self.skip("null"):
                expr = IsNull(expr, negated, position=position)
            elif self.at("true", "false", "unknown"):
                value = {"true": True, "false": False}.get(self.take().text)
                expr = IsTruth(expr, value, negated, position=position)
            elif self.skip("distinct"):
                self.need("from")
                expr = Distinct(expr, self.range(), negated, position=position)
            else:
                self.unexpected("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM")
        return expr

    def comparison(self) -> Expr:
        """Read ``comparison = range [ ( = | <> | < | <= | > | >= ) range ]``."""
        left = self.range()
        if not self.at(*COMPARISONS):
            return left
        op = self.take()
        return Compare(op.text, left, self.range(), position=op.position)

    def range(self) -> Expr:
        """Read ``range = others [ [ NOT ] ( between | in | like | similar ) ]``.

        ``between = BETWEEN [ SYMMETRIC ] others AND others``, ``in = IN list``,
        ``like = ( LIKE | ILIKE ) others [ ESCAPE string ]``, ``similar = SIMILAR TO others [ ESCAPE string ]``
        """
        operand = self.chain(0)
        negated = self.at("not") and self.at("between", "in", "like", "ilike", "similar", ahead=1)
        if negated:
            self.take()
        position = self.here.position
        if self.skip("between"):
            return self.between(operand, position, negated=negated)
        if self.skip("in"):
            return InList(operand, self.items(), negated, position=position)
        if self.at("like", "ilike"):
            any_case = self.take().text == "ilike"
            return Like(operand, self.chain(0), self.escape(), any_case, negated, position=position)
        if self.skip("similar"):
            self.need("to")
            return Similar(operand, self.chain(0), self.escape(), negated, position=position)
        return operand

    def between(self, operand: Expr, position: int, *, negated: bool) -> Expr:
        symmetric = self.skip("symmetric")
        self.skip("asymmetric")
        low = self.chain(0)
        self.need("and")
        high = self.chain(0)
        inside = Between(operand, low, high, negated, position=position)
        if not symmetric:
            return inside
        both = (inside, Between(operand, high, low, negated, position=position))
        return And(both, position=position) if negated else Or(both, position=position)

    def items(self) -> tuple[Expr, ...]:
        """Read ``list = "(" disjunction { "," disjunction } ")"``."""
        self.need("(")
        items = [self.nested(self.disjunction)]
        while self.skip(","):
            items.append(self.nested(self.disjunction))
        self.need(")")
        return tuple(items)

    def escape(self) -> str:
        if not self.skip("escape"):
            return "\\"
        if self.here.kind != "string" or len(self.here.text) > 1:
            self.unexpected("one character between quotes")
        return self.take().text

    # ---- values ----

    def chain(self, row: int) -> Expr:
        """Read ``others = sum { ( & | # << >> || ~ ~* !~ !~* ~~ ... ) sum }`` (row 0).

        ``sum = product { ( + - ) product }`` is row 1, ``product = power { ( * / % ) power }`` row 2,
        ``power = sign { ^ sign }`` row 3.
        """
        if row == len(ARITHMETIC):
            return self.sign()
        expr = self.chain(row + 1)
        while self.at(*ARITHMETIC[row]) or (not row and self.at(*REGEXES, *_LIKES)):
            op = self.take()
            right = self.chain(row + 1)
            if op.text in REGEXES:
                expr = Regex(op.text, expr, right, position=op.position)
            elif op.text in _LIKES:
                any_case, negated = op.text.endswith("*"), op.text.startswith("!")
                expr = Like(expr, right, any_case=any_case, negated=negated, position=op.position)
            else:
                expr = Arithmetic(op.text, expr, right, position=op.position)
        return expr

    def sign(self) -> Expr:
        """Read ``sign = ( - | + ) sign | ( ~ | @ | |/ | ||/ ) sum | cast``."""
        position = self.here.position
        if self.skip("-"):
            operand = self.nested(self.sign)
            if isinstance(operand, Number):
                return Number(-operand.value, position=position)
            return Negate(operand, position=position)
        if self.skip("+"):
            return self.nested(self.sign)
        if self.skip("~"):
            return Complement(self.nested(lambda: self.chain(1)), position=position)
        if self.at(*_ROOTS):
            name = _ROOTS[self.take().text]
            return Function(name, (self.nested(lambda: self.chain(1)),), position=position)
        return self.cast()

    def cast(self) -> Expr:
        """Read ``cast = atom { :: type }``."""
        bits = self.here.text if self.here.kind == "bits" else None
        expr = Null() if bits is not None and self.take() else self.atom()
        while self.at("::"):
            position = self.take().position
            type_ = self.type()
            if bits is not None:
                expr, bits = self.number_of_bits(bits, type_, position), None
            else:
                expr = Cast(expr, type_, position=position)
        if bits is not None:
            raise _BeyondError
        return expr

    def number_of_bits(self, bits: str, type_: str, position: int) -> Expr:
        """``x'1F'::int``: the bits as a number in two's complement, if they fit."""
        width = {"int": 32, "longlong": 64}.get(type_)
        if width is None or not bits or len(bits) > width:
            raise _BeyondError
        value = int(bits, 2)
        value -= (len(bits) == width and bits[0] == "1") << width
        return Cast(Number(value, position=position), type_, position=position)

    def type(self) -> str:
        """Read ``type = name``; an unknown type is beyond this grammar."""
        token = self.take()
        if token.kind == "name" and token.text == "double" and self.skip("precision"):
            return "double"
        if token.kind != "name" or token.text not in _TYPES or self.at("(", "[", "."):
            raise _BeyondError
        return _TYPES[token.text]

    def atom(self) -> Expr:
        """Read ``atom = number | string | TRUE | FALSE | NULL | column | function | "(" disjunction ")"``."""
        token = self.here
        if self.skip("("):
            expr = self.nested(self.disjunction)
            if self.at(","):
                raise _BeyondError  # a row
            if not self.skip(")"):
                self.unexpected("an operator or the end of the condition")
            return expr
        if token.kind == "number":
            return Number(self.take().value, position=token.position)
        if token.kind == "string":
            return String(self.take().text, position=token.position)
        if token.kind == "name":
            return self.name(self.take())
        return self.unexpected("a column or a constant")

    def name(self, token: Token) -> Expr:
        if token.text in ("true", "false"):
            return Boolean(token.text == "true", position=token.position)
        if token.text == "null":
            return Null(position=token.position)
        if token.text == "case":
            return self.case(token)
        if token.text == "cast":
            return self.cast_call(token)
        if token.text in _RESERVED:
            self.place -= 1
            self.unexpected("a column or a constant")
        if self.here.kind == "string" and token.text in _TYPED | _TYPES.keys():
            raise _BeyondError
        return self.call(token) if self.at("(") else Column(token.text, position=token.position)

    def case(self, token: Token) -> Expr:
        """Read ``case = CASE [ value ] { WHEN condition THEN value } [ ELSE value ] END``."""
        subject = None if self.at("when") else self.nested(self.disjunction)
        whens: list[tuple[Expr, Expr]] = []
        while self.skip("when"):
            position, condition = self.here.position, self.nested(self.disjunction)
            if subject is not None:
                condition = Compare("=", subject, condition, position=position)
            self.need("then")
            whens.append((condition, self.nested(self.disjunction)))
        if not whens:
            self.unexpected("'WHEN'")
        otherwise = self.nested(self.disjunction) if self.skip("else") else Null(position=token.position)
        self.need("end")
        return Case(tuple(whens), otherwise, position=token.position)

    def cast_call(self, token: Token) -> Expr:
        """Read ``cast = CAST "(" disjunction AS type ")"``."""
        self.need("(")
        bits = self.here.text if self.here.kind == "bits" and self.at("as", ahead=1) else None
        operand = Null() if bits is not None and self.take() else self.nested(self.disjunction)
        self.need("as")
        type_ = self.type()
        self.need(")")
        if bits is not None:
            return self.number_of_bits(bits, type_, token.position)
        return Cast(operand, type_, position=token.position)

    def call(self, token: Token) -> Expr:
        """Read ``function = name list``, and functions whose arguments are separated by words."""
        name, position = token.text, token.position
        if name in _BEYOND_CALLS or self.at("distinct", "all", "variadic", "*", ahead=1):
            raise _BeyondError
        if self.at(")", ahead=1):
            self.place += 2
            return Function(name, (), position=position)
        if name == "position":
            return self.position_call(position)
        if name == "trim":
            return self.trim_call(position)
        if name == "substring":
            return self.substring_call(position)
        args = self.items()
        if self.at("over", "filter", "within"):
            raise _BeyondError
        return Function(name, args, position=position)

    def position_call(self, position: int) -> Expr:
        """Read ``POSITION "(" others IN others ")"``."""
        self.need("(")
        part = self.nested(lambda: self.chain(0))
        self.need("in")
        whole = self.nested(lambda: self.chain(0))
        self.need(")")
        return Function("strpos", (whole, part), position=position)

    def trim_call(self, position: int) -> Expr:
        """Read ``TRIM "(" [ BOTH | LEADING | TRAILING ] [ characters ] [ FROM ] text [ "," characters ] ")"``."""
        self.need("(")
        name = _TRIMS[self.take().text] if self.at(*_TRIMS) else "btrim"
        args = [] if self.at("from") else [self.nested(self.disjunction)]
        if self.skip("from"):
            args.insert(0, self.nested(self.disjunction))
        while self.skip(","):
            args.append(self.nested(self.disjunction))
        self.need(")")
        return Function(name, tuple(args), position=position)

    def substring_call(self, position: int) -> Expr:
        """Read ``SUBSTRING "(" text ( FROM n [ FOR n ] | FOR n [ FROM n ] | "," ... ) ")"``."""
        self.need("(")
        text = self.nested(self.disjunction)
        start: Expr | None = None
        length: Expr | None = None
        while self.at("from", "for", ","):
            word = self.take().text
            if word == "for" or (word == "," and start is not None):
                length = self.nested(self.disjunction)
            else:
                start = self.nested(self.disjunction)
        if self.at("similar", "escape"):
            raise _BeyondError
        self.need(")")
        args = [text, start or Number(1, position=position), *([length] if length is not None else [])]
        return Function("substring", tuple(args), position=position)
