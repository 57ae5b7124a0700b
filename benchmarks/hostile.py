"""Requests that are designed to block a mirror: what each costs the daemon, and how long others wait.

    python benchmarks/hostile.py                       # every case; an hour
    python benchmarks/hostile.py --only path --limit 100
    python benchmarks/hostile.py --only body --roles read --sizes 1024 1048576

Each case sends one request. Its figures are processor times of the daemon: of the longest step of its event loop
(*block*), of the loop's thread in all, and of all threads. If a block takes more than ``--watch`` ms, or all threads
ten times that, the request is repeated several times while a client runs one warm search after the other; the longest
of these, minus the longest without the request, is the delay. The exit code is 1 if a delay is above ``--limit``.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import mmap
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from common import INFO, Program, run_simulator

from mirror.config.access import new_token
from mirror.server.roles import ROLES
from mirror.wire.paths import CGI

KIB, MIB = 1 << 10, 1 << 20
SIZES = (KIB, 8 * KIB, 64 * KIB, 512 * KIB, 4 * MIB, 16 * MIB)
WARM = "hmi.v_45s[2014.01.01_TAI/30m]"

#: What a text is made of.
PATTERNS: dict[str, bytes] = {
    "letters": b"a", "digits": b"1", "slashes": b"/", "dots": b"../", "dot": b".", "escapes": b"%41", "percents": b"%",
    "nul escapes": b"%00", "slash escapes": b"%2f", "semicolons": b";", "parameters": b"a=b;", "commas": b",", "pairs": b"a,",
    "quotes": b'"', "open quotes": b'a="', "backslashes": b"\\", "brackets": b"[", "braces": b"{", "parentheses": b"(",
    "blanks": b" ", "ampersands": b"&", "fields": b"a=b&", "equals": b"=", "high bytes": b"\xff", "utf-8": "é".encode(),
    "tabs": b"\t", "stars": b"*", "dashes": b"1-2,",
}  # fmt: skip
#: What a text in a query or a body may be besides, where DRMS is read.
WORDS: dict[str, tuple[bytes, bytes, bytes]] = {
    "sets": (b"", b"hmi.v_45s,", b""),
    "sets of recnums": (b"", b"hmi.v_45s[:#1],", b""),
    "brackets of a set": (b"hmi.v_45s", b"[]", b""),
    "recnums": (b"hmi.v_45s[:", b"#5,", b"#5]"),
    "times": (b"hmi.v_45s[", b"2014.01.01_TAI,", b"2014.01.02_TAI]"),
    "ranges": (b"hmi.v_45s[", b"2014.01.01_TAI/1d,", b"2014.01.02_TAI/1d]"),
    "integers": (b"aia.lev1_euv_12s[2014.01.01][", b"171,", b"171]"),
    "digits of a number": (b"hmi.v_45s[:#", b"9", b"]"),
    "blanks in a bracket": (b"hmi.v_45s[", b" ", b"]"),
    "text in a bracket": (b"su_test.zoo[", b"x", b"]"),
    "parentheses": (b"hmi.v_45s[? ", b"(", b" ?]"),
    "conditions": (b"hmi.v_45s[? ", b"QUALITY = 0 AND ", b"QUALITY = 0 ?]"),
    "negations": (b"hmi.v_45s[? ", b"NOT ", b"QUALITY = 0 ?]"),
    "minus signs": (b"hmi.v_45s[? QUALITY = ", b"- ", b"1 ?]"),
    "sums": (b"hmi.v_45s[? QUALITY = ", b"1+", b"1 ?]"),
    "lists": (b"hmi.v_45s[? QUALITY in (", b"1,", b"1) ?]"),
    "casts": (b"hmi.v_45s[? QUALITY", b"::int", b" = 1 ?]"),
    "strings": (b"hmi.v_45s[? CODEVER3 = '", b"''", b"' ?]"),
    "likes": (b"hmi.v_45s[? CODEVER3 like '", b"%a_", b"' ?]"),
    "times in a condition": (b"hmi.v_45s[? ", b"T_REC > $(2014.01.01_TAI) AND ", b"QUALITY = 0 ?]"),
    "segments": (b"hmi.v_45s{", b"a,", b"}"),
    "regular expression": (b"", b".*", b"x"),
    "groups": (b"", b"(a|", b""),
    "classes": (b"", b"\\w+", b"!"),
}
#: Texts that are short, and mean much.
SHORT: dict[str, bytes] = {
    "billions of points": b"hmi.v_45s[0001.01.01-9999.12.31@1s]",
    "points of a key": b"hmi.v_45s[1970.01.01_TAI/100000000000d@45s]",
    "all recnums": b"hmi.v_45s[:#1-#9223372036854775807]",
    "all of all": b"hmi.v_45s[],aia.lev1_euv_12s[],hmi.m_45s[]",
    "a huge number": b"hmi.v_45s[#1-#9223372036854775807@1]",
    "many stars": b".*.*.*.*.*.*x",
    "optional letters": b"a?a?a?a?a?a?aaaaaa",
    "infinity": b"1e400",
    "minus": b"-99999999999999999999",
}
HEADERS = (
    "Content-Type", "Cookie", "Host", "Range", "If-None-Match", "If-Match", "If-Range", "If-Modified-Since", "Accept",
    "Accept-Encoding", "Accept-Language", "Authorization", "Proxy-Authorization", "Cache-Control", "Forwarded",
    "X-Forwarded-For", "Via", "Origin", "Referer", "Sec-Fetch-Site", "User-Agent", "Expect", "Connection", "Upgrade",
    "Transfer-Encoding", "Content-Encoding", "Content-Length", "X-Other",
)  # fmt: skip
#: Parameters that handlers read.
NAMES = ("ds", "key", "n", "where", "filter", "q", "series", "year", "day", "query", "params", "format", "seg", "link",
         "b.series", "b.seg", "k", "x", "page", "frames", "name", "unit", "next", "since", "id", "requestid", "segment",
         "record", "op", "process", "filenamefmt", "protocol", "method", "limit", "max")  # fmt: skip
#: Bodies by their type; what is before, what is repeated, what is after.
JSONS: dict[str, tuple[bytes, bytes, bytes]] = {
    "nested lists": (b"", b"[", b""),
    "nested objects": (b"", b'{"a":', b""),
    "closed lists": (b"[", b"[],", b"[]]"),
    "numbers": (b"[", b"1,", b"1]"),
    "floats": (b"[", b"1e5,", b"1]"),
    "a long number": (b"", b"9", b""),
    "a long text": (b'{"ds":"', b"a", b'"}'),
    "escapes": (b'{"ds":"', b"\\u00e9", b'"}'),
    "members": (b"{", b'"a":1,', b'"b":1}'),
    "a statement": (b'{"query":"SELECT ', b"1,", b'1"}'),
    "files": (b'{"files":[', b"{},", b"{}]}"),
}
TOP = "op=rs_list&key=T_REC&n=2"


@dataclass(frozen=True)
class Case:
    """One request: its name, and its bytes."""

    name: str
    size: int
    data: bytes


def text(pattern: bytes, size: int) -> bytes:
    """A pattern, repeated as often as needed."""
    return (pattern * (size // len(pattern) + 1))[:size]


def around(parts: tuple[bytes, bytes, bytes], size: int) -> bytes:
    """The middle part repeated as often as needed, between the others."""
    return parts[0] + parts[1] * max(1, (size - len(parts[0]) - len(parts[2])) // len(parts[1])) + parts[2]


def request(method: str, target: bytes, headers: bytes = b"", body: bytes = b"", *, host: bytes = b"localhost") -> bytes:
    """The bytes of a request."""
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    named = b"Host: %b\r\n" % host if host else b""
    return b"%b %b HTTP/1.1\r\n%b%b%b\r\n%b" % (method.encode(), target, named, length, headers, body)


def routes() -> list[tuple[str, str]]:
    """Methods and paths of the table of roles, with values for what is in braces."""
    found = []
    for method, path in ROLES:
        plain = re.sub(r"\{[^}]*\}", "x", path)
        plain = plain.replace("/x/x", "/SUM0/D1/S00000/x") if path == "/{disk}/{rest}" else plain
        found += [(m, plain) for m in (("GET", "POST") if method == "*" else (method,))]
    return found


def cases(sizes: list[int], only: str) -> Iterator[Case]:
    """Every case whose name contains this, made one at a time: together they take a lot of memory."""
    groups = {
        ("path", "line"): of_lines,
        ("header", "requests"): of_headers,
        ("body",): of_bodies,
        ("ds", "where", "filter", "keys"): of_queries,
        ("route",): of_routes,
    }
    for names, group in groups.items():
        if not only.split() or only.split(maxsplit=1)[0].startswith(names):
            # Record sets are quoted: 16 MB of them would be 50, and are refused as any other body of that size.
            fitting = sizes if group in (of_lines, of_headers, of_bodies) else [s for s in sizes if s <= MIB]
            yield from (case for case in group(fitting) if only in case.name)


def of_lines(sizes: list[int]) -> Iterator[Case]:
    for (what, pattern), size in itertools.product(PATTERNS.items(), sizes):
        made = text(pattern, size)
        yield Case(f"path {what}", size, request("GET", b"/" + made))
        yield Case(f"path below search {what}", size, request("GET", b"/search/" + made))
        yield Case(f"path of a file {what}", size, request("GET", b"/SUM0/" + made))
        yield Case(f"path of an export {what}", size, request("GET", b"/export/JSOC_1/" + made))
        yield Case(f"line absolute {what}", size, request("GET", b"http://" + made + b"/"))
        yield Case(f"line absolute at JSOC {what}", size, request("GET", b"http://jsoc.stanford.edu/" + made))
        yield Case(f"line fragment {what}", size, request("GET", b"/#" + made))
        yield Case(f"line authority {what}", size, request("CONNECT", made))
        yield Case(f"line query {what}", size, request("GET", INFO.encode() + b"?" + made))
        yield Case(f"line xn-- {what}", size, request("GET", b"http://xn--" + made + b"/"))
        yield Case(f"line method {what}", size, made + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
        yield Case(f"line version {what}", size, b"GET / HTTP/" + made + b"\r\nHost: x\r\n\r\n")


def of_headers(sizes: list[int]) -> Iterator[Case]:
    for header, (what, pattern), size in itertools.product(HEADERS, PATTERNS.items(), sizes):
        made = text(pattern, size)
        host = b"" if header == "Host" else b"localhost"
        method = "POST" if header == "Content-Type" else "GET"
        start = {"Content-Type": b"multipart/form-data;", "Range": b"bytes=", "Authorization": b"Basic ", "If-Match": b'"'}.get(
            header, b""
        )
        for target in (b"/", INFO.encode() + b"?op=rs_list&ds=hmi.v_45s[$]"):
            line = header.encode() + b": " + start + made + b"\r\n"
            yield Case(f"header {header} {what}", size, request(method, target, line, b"x" if method == "POST" else b"", host=host))
    for size in sizes:
        yield Case("headers many", size, request("GET", b"/", b"".join(b"x%d: y\r\n" % n for n in range(size // 9))))
        yield Case("headers of one name", size, request("GET", b"/", b"Cookie: a=b\r\n" * (size // 13)))
        yield Case("headers of 8 kB", size, request("GET", b"/", b"".join(b"x%d: %b\r\n" % (n, b"y" * 8000) for n in range(size // 8000))))
        yield Case("header name", size, request("GET", b"/", b"x" * size + b": y\r\n"))
        yield Case("header without a colon", size, request("GET", b"/", b"x" * size + b"\r\n"))
        yield Case("header that is folded", size, request("GET", b"/", b"x: y\r\n" + b" y\r\n" * (size // 4)))
        yield Case("requests in a row", size, request("GET", b"/healthz/live") * (size // 50))


def of_bodies(sizes: list[int]) -> Iterator[Case]:
    form, many, plain = b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"application/json"
    for method, path in routes():
        if method not in ("POST", "PUT", "DELETE"):
            continue
        where = f"{method} {path}"
        for size in sizes:
            for what, pattern in PATTERNS.items():
                yield Case(f"body {where} form {what}", size, _post(method, path, form, text(pattern, size)))
            for what, parts in JSONS.items():
                yield Case(f"body {where} JSON {what}", size, _post(method, path, plain, around(parts, size)))
            for what, parts in PARTS.items():
                yield Case(f"body {where} multipart {what}", size, _post(method, path, many, around(parts, size)))
            yield Case(f"body {where} chunks", size, _chunked(method, path, form, b"1\r\na\r\n" * (size // 6)))
            yield Case(f"body {where} extensions", size, _chunked(method, path, form, b"1;" + b"x" * size + b"\r\na\r\n"))
            trailers = b"1\r\na\r\n0\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(size // 9))
            yield Case(f"body {where} trailers", size, _chunked(method, path, form, trailers))
            yield Case(f"body {where} SQL", size, _post(method, path, b"text/plain", b"SELECT 1" + b"+1" * (size // 2)))


_PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
PARTS: dict[str, tuple[bytes, bytes, bytes]] = {
    "parts": (b"", _PART, b"--x--\r\n"),
    "empty parts": (b"", b"--x\r\n", b"--x--\r\n"),
    "almost boundaries": (_PART, b"\r\n--y", b"\r\n--x--\r\n"),
    "line ends": (_PART[:-3], b"\r\n", b"\r\n--x--\r\n"),
    "a disposition": (b"--x\r\nContent-Disposition: form-data", b";a=b", b"\r\n\r\nb\r\n--x--\r\n"),
    "headers": (b"--x\r\n", b"a: b\r\n", b"\r\nb\r\n--x--\r\n"),
    "base64": (b'--x\r\nContent-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64\r\n\r\n', b"QUJD", b"\r\n--x--\r\n"),
    "parts in parts": (b"", b"--x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n", b"--x--\r\n"),
}


def _post(method: str, path: str, kind: bytes, body: bytes) -> bytes:
    return request(method, path.encode(), b"Content-Type: " + kind + b"\r\n", body)


def _chunked(method: str, path: str, kind: bytes, chunks: bytes) -> bytes:
    headers = b"Content-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n"
    return request(method, path.encode(), headers) + chunks + b"0\r\n\r\n"


def of_queries(sizes: list[int]) -> Iterator[Case]:
    """Record sets, conditions and patterns, by POST where a request line would be too long."""
    for (what, parts), size in itertools.product(WORDS.items(), sizes):
        for program, top in (("jsoc_info", TOP), ("jsoc_info", "op=rs_summary"), ("show_info", "key=T_REC")):
            body = f"{top}&ds=".encode() + urllib.parse.quote(around(parts, size)).encode()
            kind = b"application/x-www-form-urlencoded"
            yield Case(f"ds {program} {top[:13]} {what}", size, _post("POST", CGI + program, kind, body))
        yield Case(f"ds page {what}", size, _get("/search", "ds", around(parts, size)))
        yield Case(f"ds export {what}", size, _get(CGI + "jsoc_fetch", "op=exp_request&notify=a@b.cd&ds", around(parts, size)))
        yield Case(f"ds check {what}", size, _get("/api/check-query", "ds", around(parts, size)))
        yield Case(f"ds gaps {what}", size, _get("/api/gaps", "ds", around(parts, size)))
        yield Case(f"where {what}", size, _get("/api/search", f"ds={WARM}&where", around(parts, size)))
        yield Case(f"filter {what}", size, _get(CGI + "show_series", "filter", around(parts, size)))
        yield Case(f"keys {what}", size, _get(CGI + "jsoc_info", f"op=rs_list&ds={WARM}&key", around(parts, size)))


def _get(path: str, name: str, value: bytes) -> bytes:
    return request("GET", f"{path}?{name}=".encode() + urllib.parse.quote(value).encode())


def of_routes(sizes: list[int]) -> Iterator[Case]:
    """Each parameter on each route."""
    for method, path in routes():
        for name in NAMES:
            for what, value in SHORT.items():
                yield Case(f"route {method} {path} {name} {what}", 0, request(method, _get(path, name, value).split()[1]))
            for what in ("letters", "digits", "commas", "escapes", "parentheses"):
                for size in sizes:
                    target = _get(path, name, text(PATTERNS[what], size)).split()[1]
                    yield Case(f"route {method} {path} {name} {what}", size, request(method, target))


class Searches(threading.Thread):
    """One warm search after the other; ``worst`` is the longest since it was last set to 0, in ms."""

    def __init__(self, mirror: Program, token: str) -> None:
        super().__init__(daemon=True)
        self._address = (urllib.parse.urlsplit(mirror.url).hostname, urllib.parse.urlsplit(mirror.url).port)
        self._token = token
        self.worst, self.count, self.on = 0.0, 0, threading.Event()

    def run(self) -> None:
        path = f"{INFO}?op=rs_list&key=T_REC,DATAMEAN&ds={WARM}"
        headers = {"Authorization": f"Bearer {self._token}"}
        connection = http.client.HTTPConnection(*self._address, timeout=300)
        while self.on.wait():
            started = time.perf_counter()
            try:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()
                connection = http.client.HTTPConnection(*self._address, timeout=300)
                continue
            assert b'"status":0' in answer, answer[-300:]
            self.worst = max(self.worst, (time.perf_counter() - started) * 1e3)
            self.count += 1

    def watch(self, work: Callable[[], object]) -> float:
        """The longest search while some work is done."""
        self.on.set()
        before = self.count
        while self.count == before:
            time.sleep(0.001)
        self.worst, before = 0.0, self.count
        work()
        while self.count == before:
            time.sleep(0.001)
        time.sleep(0.02)
        self.on.clear()
        return self.worst


class Block:
    """The longest step of a mirror's event loop, in ms of processor time; shared with that process."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)

    def take(self) -> float:
        """The longest since the last call."""
        (longest,) = struct.unpack("d", self._shared)
        self._shared[:] = bytes(8)
        return longest


def serve(path: Path) -> None:
    """``mirror serve``, whose event loop measures each of its steps."""
    from mirror.cli.main import main

    with path.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 8)
    run = asyncio.Handle._run  # noqa: SLF001

    def timed(handle: asyncio.Handle) -> None:
        started = time.thread_time()
        run(handle)
        took = (time.thread_time() - started) * 1e3
        if took > struct.unpack("d", shared)[0]:
            shared[:] = struct.pack("d", took)

    asyncio.Handle._run = timed  # type: ignore[method-assign]  # noqa: SLF001
    sys.argv = ["mirror", "serve"]
    main()


@contextmanager
def run_watched_mirror(store: Path, upstream: str) -> Iterator[tuple[Program, Block]]:
    """A mirror whose blocks are measured."""
    block = Block(store.parent / "block")
    given = {"SERVER__PORT": "0", "STORAGE__PATH": str(store), "UPSTREAM__URL": upstream, "LOG__LEVEL": "error"}
    environment = os.environ | {f"MIRROR_{name}": value for name, value in given.items()}
    command = [sys.executable, __file__, "--serve", str(store.parent / "block")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise SystemExit("the mirror did not start")
        yield Program(words[1], process), block
    finally:
        process.terminate()
        process.wait(30)


def processor(pid: int) -> tuple[float, float]:
    """Milliseconds of the main thread, where the event loop runs, and of all threads."""
    spent = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # the thread has ended
            took = int((task / "schedstat").read_text().split()[0]) / 1e6
            spent.insert(0 if task.name == str(pid) else 1, took)
    return spent[0], sum(spent)


def send(mirror: Program, data: bytes, patience: float = 120.0) -> str:
    """Send a request as it is; the code of the answer."""
    parts = urllib.parse.urlsplit(mirror.url)
    answer = b""
    with socket.create_connection((parts.hostname, parts.port), 10) as sock:
        sock.settimeout(patience)
        with suppress(OSError):  # it is refused on the way
            sock.sendall(data)
        try:
            answer = sock.recv(4096)
        except OSError:
            return "closed"
    return answer[9:12].decode("latin-1") or "closed"


def measure(mirror: Program, block: Block, data: bytes, patience: float) -> tuple[float, float, float, str]:
    """Processor time of the longest block, of the loop and of all threads for one request, and its code."""
    before = last = processor(mirror.process.pid)
    block.take()
    code = send(mirror, data, patience)
    for _ in range(300):  # until nothing runs any more
        time.sleep(0.003)
        now = processor(mirror.process.pid)
        if now[1] - last[1] < 1:
            break
        last = now
    return block.take(), now[0] - before[0], now[1] - before[1], code


def with_token(data: bytes, token: str) -> bytes:
    """The request with somebody's token."""
    if not token:
        return data
    line, _, rest = data.partition(b"\r\n")
    return line + b"\r\nAuthorization: Bearer " + token.encode() + b"\r\n" + rest


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    first = "path, line, header, body, ds, where, filter, keys or route"
    parser.add_argument("--only", default="", help=f"cases whose name has this; its first word is {first}")
    parser.add_argument("--roles", nargs="+", default=["none", "read", "export", "admin"])
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--every", type=int, default=1, help="only every n-th case")
    parser.add_argument("--watch", type=float, default=30.0, help="ms of a block from which others are watched; 0: always")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for an answer")
    parser.add_argument("--limit", type=float, help="ms that others may wait; more is a failure")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return attack(Path(folder), given)


def attack(folder: Path, given: argparse.Namespace) -> int:
    """All cases, one after the other; 1 if others waited for too long."""
    tokens, config = {"none": ""}, ""
    for role in ("read", "export", "admin"):
        tokens[role], hashed = new_token(f"a-{role}", os.urandom)
        config += f'[[token]]\nname = "a-{role}"\nrole = "{role}"\nhash = "{hashed}"\n'
    (folder / "config.toml").write_text(config)
    os.environ["MIRROR_CONFIG"] = str(folder / "config.toml")
    with run_simulator() as jsoc, run_watched_mirror(folder / "store", jsoc.url) as (mirror, block):
        for role in ("read", "export", "admin"):  # the first use of a token costs its hash
            warm = request("GET", f"{INFO}?op=rs_list&key=T_REC,DATAMEAN&ds={WARM}".encode())
            assert send(mirror, with_token(warm, tokens[role])) == "200"
        return report(mirror, block, tokens, given)


def report(mirror: Program, block: Block, tokens: dict[str, str], given: argparse.Namespace) -> int:
    """Send the cases, print what they cost; 1 if others waited for too long."""
    searches = Searches(mirror, tokens["read"])
    searches.start()
    usual = max(searches.watch(lambda: time.sleep(0.3)) for _ in range(5))
    print(f"a warm search takes at most {usual:.0f} ms when nothing else goes on", flush=True)
    figures: list[tuple[tuple[float, ...], str]] = []
    chosen = itertools.islice(cases(given.sizes, given.only), 0, None, given.every)
    for case, role in ((case, role) for case in chosen for role in given.roles):
        data = with_token(case.data, tokens[role])
        longest, loop, whole, code = measure(mirror, block, data, given.patience)
        delay = 0.0
        if longest >= given.watch or whole >= 10 * given.watch:
            delays = [searches.watch(lambda data=data: send(mirror, data, given.patience)) - usual for _ in range(3)]
            delay = max(0.0, sorted(delays)[1])
        line = f"{code:>6} {role:6} {case.size:>9} {case.name}"
        if mirror.process.poll() is not None:
            print(f"the mirror has ended: {line}")
            return 1
        figures.append(((delay, longest, loop, whole), line))
        if max(delay, longest) > (given.limit or 100):
            print(shown(*figures[-1]), flush=True)
    print(f"\n{len(figures)} cases; the daemon had at most {mirror.memory('VmHWM'):.0f} MB of memory")
    for place, title in enumerate(("delay of others", "block", "time of the loop", "time of all threads")):
        print(f"\nlargest {title}; ms: delay, block, loop, all threads")
        for figure in sorted(figures, key=lambda f: -f[0][place])[:10]:
            print(shown(*figure))
    return int(given.limit is not None and any(times[0] > given.limit for times, _ in figures))


def shown(times: tuple[float, ...], line: str) -> str:
    """A case with its figures."""
    return "".join(f"{time:8.0f}" for time in times) + f"  {line}"


if __name__ == "__main__":
    sys.exit(main())
