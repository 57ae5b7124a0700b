"""Conditions made by chance, and what PostgreSQL says to them on a few rows.

``python -m tests.drms.where.pgtable SOCKET_DIRECTORY USER SEED COUNT`` writes a table for ``tests/data/where`` as asked
of a PostgreSQL that answers there; with ``compare`` it shows where the mirror says something else.
"""

import gzip
import json
import math
import random
import subprocess
import sys

COLUMNS = {
    "i": "int", "s": "short", "l": "longlong", "f": "float", "d": "double", "t": "time", "st": "string", "sv": "string",
}  # fmt: skip
POSTGRES_TYPES = {
    "int": "integer", "short": "smallint", "longlong": "bigint", "float": "real", "double": "double precision",
    "time": "double precision", "string": "text",
}  # fmt: skip
ROWS = [
    [0, 0, 0, 0.0, 0.0, 0.0, "", ""],
    [1, -1, 2**40, 1.5, 0.5, 1076803234.0, "11158", "1.1 "],
    [-7, 3, -5, -2.5, 2.5, -3.5, "11158,11162", "a.b"],
    [65536, 2, 1 << 31, 1.100000023841858, 0.1, 1e9, "SDO/HMI", "sdo/hmi"],
    [-(2**31), -(2**15), -(2**63), math.nan, math.nan, -211087684800.0, "a\nb", "A_b%"],
    [None, None, None, None, None, None, None, None],
    [2147483647, 32767, 2**62, 1.0000000200408773e22, -1e-300, 3.0, " 12 ", "12"],
    [5, 0, 7, 3.0, math.pi, 4900.0, "-3", "x'y\\z"],
]
TEXTS = ["11158", "1", "", "a", "A", "SDO/HMI", "sdo/hmi", "a.b", ",", " ", "12", "MISSING", "a\nb", "%", "_"]
PATTERNS = [
    "11158", "^11158$", "1.1 ", "^1", "8$", "[0-9]+", "^[0-9]+,[0-9]+$", "a|b", "(11158|11162)", "1{3}", "1{2,3}5", "a.b",
    r"a\.b", "[^0-9]", "^$", "sdo", "SDO", r"\d+", r"^\w+$", r"\s", "[a-z]+", "1*", "1+?5", "(?:1|5)8", "[,.]", "[]a]",
    "[a-]", r"1\.1", "HMI$", "a$|8$", "x'?y", r"\y1", r"(a)\1", "(?i)sdo", "***=1.1", r"\mS", "[[:digit:]]", "a**", "(",
    "[z-a]", "1{5,2}", "^*", "a\\", "", "|a", "()", "a{", "a}", "{", "[^a]", "[A-Z]", "[^A-Z]", "[^a-z/]", "[.]", "[_%]",
    r"\S\S", r"\D", r"\W", "$", "^", "a^b", "1$1", "(1(1(5)))", "[1-58]", "b%", "/", "\\/", "A_b", "..", "^.{3}$", "-", "[0-9-]",
]  # fmt: skip
LIKES = ["%11158%", "1%", "%8", "_._", "a_b", "%/%", "11158", "%", "", "A\\_b\\%", "a%b", "s%i", "%'%"]
SIMILARS = ["1%", "(11158|a)%", "%[0-9]", "a.b", "1{3}58", "%(,|/)%", "_+", "a|b", "[A-Z]+/%", "^1", "A\\_b%", "1*58", "%"]
NUMBERS = ["0", "1", "2", "-1", "3", "7", "0.5", "1.5", "2.5", "-2.5", "0.1", "1e22", "65536", "4900", "1e-3", "100", "5e22"]
MATH = ["sqrt", "abs", "floor", "ceil", "round", "trunc", "sign", "exp", "ln", "log", "cbrt", "radians", "degrees",
        "sin", "cos", "tan", "asin", "acos", "atan"]  # fmt: skip
TYPES = ["smallint", "int", "bigint", "real", "float8", "double precision", "numeric", "text", "int4"]


class Maker:
    """Makes conditions."""

    def __init__(self, seed):
        self.r = random.Random(seed)

    def one(self, *choices):
        return self.r.choice(choices)()

    def pick(self, values):
        return self.r.choice(values)

    def number(self, depth=2):
        if depth == 0:
            if self.r.random() < 0.6:
                return self.pick(["i", "s", "l", "f", "d", "t", "i", "f", "d"])
            return self.pick(NUMBERS)
        return self.one(
            lambda: self.number(0),
            lambda: self.number(0),
            lambda: f"({self.number(depth - 1)} {self.pick('+-*/^')} {self.number(depth - 1)})",
            lambda: f"{self.number(depth - 1)} {self.pick('+-*/%')} {self.number(0)}",
            lambda: f"({self.integer(depth - 1)} {self.pick(['&', '|', '#', '<<', '>>', '%', '/'])} {self.integer(depth - 1)})",
            lambda: f"{self.pick(MATH)}({self.number(depth - 1)})",
            lambda: f"{self.pick(MATH)}({self.number(depth - 1)})",
            lambda: f"power({self.number(depth - 1)}, {self.pick(['2', '3', '0.5', '-1', '-2', '1.5', '0'])})",
            lambda: f"-{self.number(0)} ^ 2",
            lambda: f"mod({self.integer(0)}, {self.integer(0)})",
            lambda: f"cast({self.number(depth - 1)} as {self.pick(TYPES[:7])})",
            lambda: f"({self.number(0)})::{self.pick(TYPES[:7])}",
            lambda: f"{self.text(0)}::int",
            lambda: f"case when {self.truth(depth - 1)} then {self.number(0)} else {self.number(0)} end",
            lambda: f"coalesce({self.number(0)}, {self.number(0)})",
            lambda: f"nullif({self.number(0)}, {self.number(0)})",
            lambda: f"{self.pick(['greatest', 'least'])}({self.number(0)}, {self.number(0)})",
            lambda: f"length({self.text(depth - 1)})",
            lambda: f"position({self.text(0)} in {self.text(0)})",
            lambda: f"strpos({self.text(depth - 1)}, {self.text(0)})",
            lambda: f"x'{self.pick(['1F', 'ff', '80000000', '0', '7fffffff'])}'::{self.pick(['int', 'bigint'])}",
            lambda: f"round({self.number(0)}, {self.pick(['0', '1', '2'])})",
            lambda: f"({self.truth(0)})::int",
        )

    def integer(self, depth):
        if depth <= 0:
            return self.pick(["i", "s", "l", "1", "2", "3", "-1", "65536", "5"])
        return f"({self.integer(depth - 1)} {self.pick(['+', '-', '*', '/', '&'])} {self.integer(depth - 1)})"

    def quoted(self, text):
        text = text.replace("'", "''")
        return self.pick([f"'{text}'", f"'{text}'", f"$${text}$$".replace("''", "'")])

    def text(self, depth=1):
        if depth <= 0:
            return self.pick(["st", "sv", "st", self.quoted(self.pick(TEXTS))])
        return self.one(
            lambda: self.text(0),
            lambda: f"lower({self.text(depth - 1)})",
            lambda: f"upper({self.text(depth - 1)})",
            lambda: f"({self.text(depth - 1)} || {self.text(0)})",
            lambda: f"({self.text(0)} || {self.integer(0)})",
            lambda: f"substr({self.text(depth - 1)}, {self.pick(['1', '2', '0', '-1', '3'])}, {self.pick(['0', '1', '2', '5'])})",
            lambda: f"substring({self.text(0)} from {self.pick(['1', '2', '-2'])} for {self.pick(['2', '3'])})",
            lambda: f"substring({self.text(0)} from {self.pick(['1', '2', '0'])})",
            lambda: f"substring({self.text(0)} for 2)",
            lambda: f"trim({self.text(depth - 1)})",
            lambda: f"trim(leading '1' from {self.text(0)})",
            lambda: f"trim(both from {self.text(0)})",
            lambda: f"btrim({self.text(0)}, '18')",
            lambda: f"{self.pick(['left', 'right'])}({self.text(0)}, {self.pick(['2', '0', '-1', '-3'])})",
            lambda: f"replace({self.text(0)}, {self.text(0)}, 'x')",
            lambda: f"reverse({self.text(0)})",
            lambda: f"{self.integer(0)}::text",
            lambda: f"coalesce({self.text(0)}, {self.text(0)})",
            lambda: f"nullif({self.text(0)}, {self.text(0)})",
            lambda: f"case when {self.truth(0)} then {self.text(0)} else {self.text(0)} end",
        )

    def comparison(self):
        return self.pick(["=", "<>", "<", "<=", ">", ">=", "!="])

    def truth(self, depth=1):
        return self.one(
            lambda: f"{self.number(depth)} {self.comparison()} {self.number(min(depth, 1))}",
            lambda: f"{self.number(depth)} {self.comparison()} {self.number(0)}",
            lambda: f"{self.number(0)} {self.comparison()} {self.pick(['1', '2.5', 'NaN', '1e22', ' 3 ']).join(chr(39) * 2)}",
            lambda: f"{self.text(depth)} {self.comparison()} {self.text(0)}",
            lambda: f"{self.text(depth)} {self.pick(['~', '~', '~*', '!~', '!~*'])} {self.quoted(self.pick(PATTERNS))}",
            lambda: f"{self.text(0)} {self.pick(['~', '~', '~*', '!~', '!~*'])} {self.quoted(self.pick(PATTERNS))}",
            lambda: f"{self.text(depth)} {self.pick(['', 'not '])}{self.pick(['like', 'ilike'])} {self.quoted(self.pick(LIKES))}",
            lambda: f"{self.text(0)} {self.pick(['~~', '!~~', '~~*'])} {self.quoted(self.pick(LIKES))}",
            lambda: f"{self.text(0)} {self.pick(['', 'not '])}similar to {self.quoted(self.pick(SIMILARS))}",
            lambda: f"{self.number(depth)} {self.pick(['', 'not '])}between {self.number(0)} and {self.number(0)}",
            lambda: f"{self.number(0)} between symmetric {self.number(0)} and {self.number(0)}",
            lambda: f"{self.number(0)} {self.pick(['', 'not '])}in ({self.number(0)}, {self.number(0)}, {self.pick(NUMBERS)})",
            lambda: f"{self.text(0)} {self.pick(['', 'not '])}in ({self.text(0)}, {self.text(0)})",
            lambda: f"{self.pick(['i', 'f', 'st', 'd'])} is {self.pick(['', 'not '])}null",
            lambda: f"{self.number(0)} is {self.pick(['', 'not '])}distinct from {self.number(0)}",
            lambda: f"({self.truth(max(depth - 1, 0))}) is {self.pick(['', 'not '])}{self.pick(['true', 'false', 'unknown'])}",
            lambda: f"({self.truth(0)}) {self.pick(['and', 'or'])} {self.pick(['', 'not '])}({self.truth(0)})",
            lambda: f"({self.truth(0)}) {self.pick(['=', '<>'])} ({self.truth(0)})",
            lambda: f"not ({self.truth(0)})",
        )


SETUP = """
create table r (n int, {columns});
create function says(c text, k int) returns text language plpgsql as $f$
declare v boolean;
begin
  execute format('select (%s) from r where n = %s', c, k) into v;
  return case when v then 't' when v is null then 'n' else 'f' end;
exception when others then
  return case when sqlstate in ('42883','42725','42804','42601','42846','22P02','2201B','42703','42P18') and sqlstate <> '22P02'
              then 'S' else 'E' end;
end $f$;
"""


def literal(value, kind):
    if value is None:
        return "null"
    if kind == "string":
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, float):
        return f"'{value!r}'"
    return f"'{value}'"


def ask(socket, user, conditions):
    """What PostgreSQL says to each condition: a letter a row, t, f, n for NULL, E for an error, S for one at once."""
    columns = ", ".join(f"{name} {POSTGRES_TYPES[kind]}" for name, kind in COLUMNS.items())
    rows = ",".join(
        f"({n}, {', '.join(literal(v, k) for v, k in zip(row, COLUMNS.values(), strict=True))})" for n, row in enumerate(ROWS)
    )
    lines = [
        "begin;", "set client_min_messages = error; set escape_string_warning = off; set standard_conforming_strings = on;",
        SETUP.format(columns=columns), f"insert into r values {rows};",
    ]  # fmt: skip
    for condition in conditions:
        text = condition.replace("$q$", "")
        lines.append(f"select string_agg(says($q${text}$q$, n), '' order by n) from r;")
    lines.append("rollback;")
    done = subprocess.run(
        ["psql", "-h", socket, "-U", user, "-d", "postgres", "-AtqX"], input="\n".join(lines),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = done.stdout.split()
    assert len(found) == len(conditions), done.stderr[:500]
    return found


def made(seed, count):
    maker = Maker(seed)
    return [maker.truth(maker.pick([0, 1, 1, 2])) for _ in range(count)]


def main():
    socket, user, seed, count, path = sys.argv[1:6]
    conditions = sorted(set(made(int(seed), int(count))))
    table = list(zip(conditions, ask(socket, user, conditions), strict=True))
    with gzip.GzipFile(path, "wb", mtime=0) as file:
        file.write(json.dumps(table).encode())


if __name__ == "__main__":
    main()
