"""Reading a where clause: a recursive descent, one function a rule, the rule in its docstring.

The precedence is PostgreSQL's, loosest first: OR, AND, NOT, IS, comparison, BETWEEN IN LIKE, bit
operators, sums, products, signs. The server puts the clause between parentheses *as text*, so that
``1=1) or (1=1`` is a condition; the parser does the same with two tokens of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

from mirror.drms.where.nodes import (
    ARITHMETIC,
    COMPARISONS,
    FUNCTIONS,
    And,
    Arithmetic,
    Between,
    Boolean,
    Column,
    Compare,
    Complement,
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
)
from mirror.drms.where.tokens import Source, Token, mark

_DEEPEST = 40  # parentheses, NOTs and signs within each other
_HIGHEST = 100  # levels of the tree; a long sum is as high as it is long
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
_REFUSED = {
    **dict.fromkeys(("select", "with", "table", "exists", "any", "some", "all"), "subselects are"),
    "case": "CASE is",
    "cast": "casts are",
    "array": "arrays are",
    "row": "rows are",
    "similar": "SIMILAR TO is",
    "collate": "COLLATE is",
}


def parse_where(text: str, *, query: str | None = None, offset: int = 0) -> Expr:
    """The condition that a clause says; ``SyntaxProblem`` for anything else.

    ``query`` and ``offset`` tell where the clause stands, for the positions in nodes and errors.
    """
    source = Source(text, text if query is None else query, offset)
    *tokens, end = source.tokens()
    if not tokens:
        source.fail("the condition is empty", end.position, "a condition such as QUALITY >= 0")
    expr = _Parser(source, [mark("(", offset), *tokens, mark(")", end.position), end]).whole()
    if _height(expr) > _HIGHEST:
        source.fail(f"the condition has more than {_HIGHEST} operations within each other", expr.position)
    return expr


def closes_early(text: str) -> bool:
    """True for a clause such as ``1=1) or (1=1``, which closes the server's parenthesis before its end.

    Such a clause, if an OR stands between, also escapes from the other filters of its record set.
    """
    return _closing_early(Source(text, text, 0).tokens()) is not None


def _closing_early(tokens: Iterable[Token]) -> Token | None:
    """The first parenthesis that closes what was not opened among ``tokens``."""
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token.word, 0)
        if depth < 0:
            return token
    return None


def _height(expr: Expr) -> int:
    """The levels of the tree, counted without recursion: this is what keeps recursion elsewhere safe."""
    row, height = [expr], 0
    while row:
        row, height = [part for node in row for part in node.parts()], height + 1
    return height


@dataclass(slots=True)
class _Parser:
    """The tokens, and how far reading has come."""

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
        return self.tokens[self.place + ahead].word in words

    def skip(self, *words: str) -> bool:
        found = self.tokens[self.place].word in words
        self.place += found
        return found

    def need(self, word: str) -> None:
        if not self.skip(word):
            self.unexpected(f"'{word.upper()}'")

    def unexpected(self, expected: str) -> NoReturn:
        token = self.here
        if token.kind == "name" and token.text in _REFUSED:
            self.source.fail(f"{_REFUSED[token.text]} not accepted in a condition", token.position)
        at_end = token.kind == "end" or self.place >= len(self.tokens) - 2
        found = "the condition ends here" if at_end else f"unexpected {token.text!r}"
        self.source.fail(found, token.position, expected)

    def nested(self, rule: Callable[[], Expr]) -> Expr:
        """What ``rule`` reads, one level deeper."""
        self.depth += 1
        if self.depth > _DEEPEST:
            self.source.fail(f"nested deeper than {_DEEPEST} levels", self.here.position)
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
        """Read ``test = comparison [ IS [ NOT ] NULL | ISNULL | NOTNULL ]``."""
        expr = self.comparison()
        position = self.here.position
        if self.at("isnull", "notnull"):
            return IsNull(expr, self.take().text == "notnull", position=position)
        if not self.skip("is"):
            return expr
        negated = self.skip("not")
        if not self.skip("null"):
            self.unexpected("NULL (of the IS tests only IS NULL and IS NOT NULL are accepted)")
        return IsNull(expr, negated, position=position)

    def comparison(self) -> Expr:
        """Read ``comparison = range [ ( = | <> | < | <= | > | >= ) range ]``."""
        left = self.range()
        if not self.at(*COMPARISONS):
            return left
        op = self.take()
        if self.at("any", "some", "all"):
            self.unexpected("a value")
        return Compare(op.text, left, self.range(), position=op.position)

    def range(self) -> Expr:
        """Read ``range = bits [ [ NOT ] ( between | in | like ) ]``.

        ``between = BETWEEN bits AND bits``, ``in = IN list``,
        ``like = ( LIKE | ILIKE ) bits [ ESCAPE string ]``
        """
        operand = self.chain(0)
        negated = self.at("not") and self.at("between", "in", "like", "ilike", ahead=1)
        if negated:
            self.take()
        position = self.here.position
        if self.skip("between"):
            low = self.chain(0)
            self.need("and")
            return Between(operand, low, self.chain(0), negated, position=position)
        if self.skip("in"):
            return InList(operand, self.items(), negated, position=position)
        if self.at("like", "ilike"):
            any_case = self.take().text == "ilike"
            return Like(operand, self.chain(0), self.escape(), any_case, negated, position=position)
        return operand

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
        """Read ``bits = sum { ( & | # << >> ) sum }`` (row 0).

        ``sum = product { ( + - ) product }`` is row 1, ``product = sign { ( * / % ) sign }`` row 2.
        """
        if row == len(ARITHMETIC):
            return self.sign()
        expr = self.chain(row + 1)
        while self.at(*ARITHMETIC[row]):
            op = self.take()
            expr = Arithmetic(op.text, expr, self.chain(row + 1), position=op.position)
        return expr

    def sign(self) -> Expr:
        """Read ``sign = ( - | + ) sign | ~ sum | atom``."""
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
        return self.atom()

    def atom(self) -> Expr:
        """Read ``atom = number | string | TRUE | FALSE | NULL | column | function | "(" disjunction ")"``."""
        token = self.here
        if self.skip("("):
            expr = self.nested(self.disjunction)
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
        if token.text in _RESERVED:
            self.place -= 1
            self.unexpected("a column or a constant")
        return self.call(token) if self.at("(") else Column(token.text, position=token.position)

    def call(self, token: Token) -> Expr:
        """Read ``function = name list``."""
        if token.text not in FUNCTIONS:
            known = ", ".join(sorted(FUNCTIONS))
            self.source.fail(f"function {token.text!r} is not accepted in a condition", token.position, known)
        return Function(token.text, self.items(), position=token.position)
