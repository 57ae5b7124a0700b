"""What no condition may contain, whether or not JSOC would run it: statements, and functions that do more than compute.

The check looks at words, so that it also covers what the grammar does not read. A function's name without a call is a
column like any other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from mirror.drms.where.tokens import Source, Token

#: Functions that wait, write, reach files, other databases or settings, or run text as a statement.
_FUNCTIONS = re.compile(
    r"(?:pg_|lo_|dblink|_?postgres_fdw|file_fdw|binary_upgrade_|loread$|lowrite$|nextval$|setval$|lastval$|currval$|"
    r"set_config$|current_setting$|query_to_|table_to_|schema_to_|database_to_|cursor_to_|txid_|inet_|ts_stat$|"
    r"ts_rewrite$|suppress_redundant|copy_|adminpack|plpgsql|brin_|gin_clean|xpath_table$|crosstab|connectby)"
)
_STATEMENTS = frozenset(
    ["insert", "update", "delete", "merge", "drop", "create", "alter", "truncate", "grant", "revoke", "copy", "execute", "prepare", "do", "call", "vacuum", "analyze", "listen", "notify", "lock", "returning", "into"]
)
#: Words that are followed by the name of a table.
_BEFORE_TABLES = frozenset({"from", "join", "table"})
#: Functions whose own grammar has a FROM.
_OWN_FROM = frozenset({"extract", "substring", "trim", "overlay"})


def check_harmless(source: Source, tokens: Sequence[Token]) -> None:
    """Raise ``SyntaxProblem`` at the first word that could do harm."""
    selects = any(token.word == "select" for token in tokens)
    for token, behind in zip(tokens, (*tokens[1:], Token("end", "", 0)), strict=True):
        if token.kind != "name":
            continue
        if behind.word == "(" and _FUNCTIONS.match(token.text):
            source.fail(
                f"function {token.text!r} is not accepted in a condition: it does more than compute", token.position
            )
        if selects and token.text in _STATEMENTS:
            source.fail(f"{token.text.upper()} is not accepted in a condition", token.position)


def tables(tokens: Sequence[Token]) -> Iterator[tuple[str, Token]]:
    """The tables that subselects name, each with the first token of its name."""
    calls: list[bool] = []  # for each open parenthesis, whether it belongs to a function with a FROM of its own
    for i, token in enumerate(tokens):
        if token.word == "(":
            calls.append(i > 0 and tokens[i - 1].text in _OWN_FROM)
        elif token.word == ")" and calls:
            calls.pop()
        elif _names_tables(tokens, i, own=bool(calls and calls[-1])):
            yield from _listed(tokens, i + 1)


def _names_tables(tokens: Sequence[Token], i: int, *, own: bool) -> bool:
    token = tokens[i]
    if token.word not in _BEFORE_TABLES or own:
        return False
    return not (token.word == "from" and i > 0 and tokens[i - 1].word == "distinct")


def _listed(tokens: Sequence[Token], place: int) -> Iterator[tuple[str, Token]]:
    """``name { "." name } [ [ AS ] alias ] { "," name ... }``; parenthesised parts are checked separately."""
    while place < len(tokens):
        while place < len(tokens) and tokens[place].word in ("only", "lateral"):
            place += 1
        if place >= len(tokens) or tokens[place].word == "(":
            return
        first, name = tokens[place], tokens[place].text
        place += 1
        while place + 1 < len(tokens) and tokens[place].word == ".":
            name, place = f"{name}.{tokens[place + 1].text}", place + 2
        if place >= len(tokens) or tokens[place].word != "(":  # else it is a function
            yield name, first
        while place < len(tokens) and (tokens[place].word == "as" or _is_alias(tokens[place])):
            place += 1
        if place >= len(tokens) or tokens[place].word != ",":
            return
        place += 1


def _is_alias(token: Token) -> bool:
    return token.kind == "name" and token.text not in _CLAUSES


_CLAUSES: Collection[str] = frozenset(
    ["where", "group", "order", "limit", "offset", "having", "union", "except", "intersect", "window", "fetch", "for", "join", "inner", "left", "right", "full", "cross", "natural", "on", "using", "tablesample"]
)
