"""What no client sends: every path of the table of roles answers it with one clear error, and goes on."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.errors import BadRequest
from mirror.server.requests import parse_json, whole
from mirror.server.roles import ROLES
from tests.lab import lab
from tests.waiting import PATIENCE

DS = "hmi.v_45s[2014.01.01_TAI]"
HUGE = 2**63
#: Texts that are none, or name nothing: for bodies as Python has them, for queries as bytes.
TEXTS = ["\ud800", "a\udfffb", "a\x00b", "\x7f\x80", "é" * 3, "", " ", "x" * 5000, "²", "٣", "NaN", "Infinity", "1e999", "9" * 400, "9" * 5000,
         "-9223372036854775809", "9223372036854775808", "%", "%zz", "%25", "[", "(" * 2000, "[" * 2000, "'" * 999, "\r\nX: y", "{0}", "xn--" + "a" * 99]  # fmt: skip
#: Record sets with numbers beyond what anything counts.
SETS = [f"hmi.v_45s[{inside}]" for inside in (
    f":#{HUGE}", f":#{'9' * 40}", f":#1-#{HUGE}", f"#{HUGE}", f"#-{HUGE}-#{HUGE}", f"{HUGE}", "1e400", "2014.01.01_TAI/1e308d",
    f"2014.01.01_TAI/{'9' * 30}d", "2014.01.01_TAI@1e308d", "2014.01.01_TAI/1d@0s", f"2014.01.01_TAI/{HUGE}u", "99999999.01.01_TAI",
    "-99999999999d", f"2014.01.01_TAI-{'9' * 9}.01.01_TAI", f"? recnum = {HUGE} ?", "? recnum = 1e400 ?", f"? QUALITY < -{'9' * 30} ?",
    "? QUALITY = 'NaN' ?", "? CRVAL1 = 1e309 ?", "? QUALITY / 0 = 1 ?", f"CAMERA={HUGE}", "\x00", "\ud800")]  # fmt: skip
SETS += [f"aia.lev1_euv_12s[][{HUGE}]", f"aia.lev1_euv_12s[][{'9' * 30}-]", f"hmi.sharp_720s[{HUGE}]", f"hmi.sharp_720s[-{HUGE + 1}]",
         ",".join([DS] * 20), "hmi.v_45s" + "[]" * 3000, "x" * 3000, f"{DS}{{{'a,' * 3000}}}"]  # fmt: skip
VALUES = [*TEXTS, *SETS, HUGE, -HUGE - 1, 10**30, 10**400, 1e308, -1, 0, 0.5, True, None, [], {}, ["\ud800"], {"\ud800": 1}, {"a": HUGE}]
#: JSON that Python would not write.
RAW = ["[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, "[" * 100_000, '"\\ud800"', "NaN", "Infinity", "1e999", "9" * 5000, "{", "", "\x00", "\ufeff{}"]
NAMES = [b"x", b"\xff", b"\x00", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"9" * 400, b"a" * 3000, b"a/b", b"..", b"%", b"\\", b"'", b"\r\n"]

#: What each path that takes a body is sent where everything is right.
BODIES = {
    "/api/jobs": {"ds": DS, "seg": "Dopplergram", "n": 1, "method": "url", "protocol": "as-is", "process": "", "name": "{seg}", "email": "a@b.org"},
    "/api/pins": {"ds": DS, "seg": "Dopplergram", "n": 1, "owner": "ada", "reason": "why", "seconds": 1},
    "/api/evict": {"need": 1, "dry_run": True},
    "/api/forget": {"ds": "mdi.none[1]", "files": True, "records": True, "force": False, "dry_run": True},
    "/api/check": {"scope": "files", "budget": 1, "restart": False},
    "/api/policy": {"policy": "fallback"},
    "/api/sync": {"name": "x"},
    "/api/fill": {"ds": DS},
    "/api/queries": {"name": "x", "sql": "SELECT 1"},
    "/api/sql": {"query": "SELECT 1", "params": [1], "fill": False},
    "/api/backup": {"to": "relative", "index_only": True, "keep": 1},
    "/api/bundle": {"recordsets": [DS], "to": "relative", "files": False, "held": True, "fits": False, "address": "x"},
    "/api/import": {"bundle": "relative"},
    "/api/adopt": {"files": [{"path": "/nowhere", "size": 1, "mtime_ns": 1, "inode": 1}], "how": "copy", "dry_run": True, "compare": True},
    "/api/subscriptions": {"series": "hmi.v_45s", "start": "2014.01.01_TAI", "end": "2014.01.02_TAI", "name": "x", "keys": {}, "where": "QUALITY=0",
                           "step": 60, "segments": [], "protocol": "as-is", "every": 600, "keep": 1, "priority": "low", "hours": "20:00-06:00", "budget": "1GB/day"},
}  # fmt: skip
BODIES["/api/subscriptions/x"] = BODIES["/api/subscriptions"]
#: What is asked for by address, where everything is right, and whatever else some path reads.
SQL = {"query": "SELECT 1", "params": "[1]", "format": "json", "fill": "0"}
SEARCH = {"ds": DS, "key": "T_REC", "seg": "Dopplergram", "n": "1", "where": "QUALITY = 0"}
QUERIES = {
    "/cgi-bin/ajax/jsoc_info": {"op": "rs_list", "ds": DS, "key": "T_REC", "seg": "Dopplergram", "link": "x", "n": "1", "R": "1"},
    "/cgi-bin/ajax/show_info": {"ds": DS, "key": "T_REC", "n": "1", "c": "0", "q": "0", "P": "0", "k": "0", "r": "1", "S": "0"},
    "/cgi-bin/ajax/jsoc_fetch": {"op": "exp_request", "ds": DS, "requestid": "JSOC_20140101_1", "sunum": "1", "method": "url", "protocol": "as-is",
                                 "filenamefmt": "{seg}", "process": "n=0", "sizeratio": "1", "max_recs": "1", "seg": "V", "format": "json", "notify": "a@b.org"},
    "/cgi-bin/ajax/show_series": {"filter": "hmi"}, "/cgi-bin/ajax/showextseries": {"filter": "hmi", "info": "1", "dbhost": "x"},
    "/cgi-bin/ajax/checkAddress.sh": {"address": "a@b.org", "checkonly": "1"},
    "/api/search": SEARCH, "/search": {**SEARCH, "page": "1", "x": "T_REC", "y": "QUALITY", "pictures": "Dopplergram", "frames": "2", "b.series": "hmi.v_45s", "b.where": "x"},
    "/search/builder": {"series": "hmi.v_45s"}, "/api/build-query": {"b.series": "hmi.v_45s", "b.where": "QUALITY=0", "b.seg": "Dopplergram", "b.from": "2014.01.01", "b.T_REC": "1"},
    "/api/check-query": {"ds": DS}, "/api/names": {"q": "hmi"}, "/api/files": {**SEARCH, "name": "x", "places": "1", "method": "url", "protocol": "fits", "process": "n=1"},
    "/api/jobs": {"n": "1"}, "/jobs": {"n": "1"}, "/api/quicklook": {**SEARCH, "number": "1", "size": "64"}, "/api/sql": SQL, "/sql": SQL,
    "/api/coverage": {"series": "hmi.v_45s"}, "/coverage": {"series": "hmi.v_45s"}, "/series": {"q": "hmi"},
    "/api/coverage/days": {"series": "hmi.v_45s", "year": "2014"}, "/api/coverage/hours": {"series": "hmi.v_45s", "day": "2014.01.01"},
    "/api/coverage/delays": {"series": "hmi.v_45s"}, "/api/gaps": {"ds": DS}, "/api/changes": {"series": "hmi.v_45s", "since": "7d", "n": "1"},
    "/api/audit": {"since": "7d", "n": "1"}, "/api/usage": {"since": "2014-01-01"}, "/upkeep": {"since": "2014-01-01"}, "/login": {"next": "/"},
    "/api/adopt/upload": {"name": "x", "unit": "/SUM0/D1/S00000/x", "dry_run": "1"},
}  # fmt: skip
#: An answer that the mirror gives on purpose: JSOC's fault, or a store that may not be asked.
MEANT = {502, 503, 504}
ENDLESS = "/api/events"


class Records(logging.Handler):
    """What was logged as an error."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record):
        self.lines.append(record.getMessage() + (logging.Formatter().formatException(record.exc_info) if record.exc_info else ""))


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def mirror(loop, tmp_path_factory):
    """A mirror for all examples of this file, and the errors that it logged."""
    entered = lab(tmp_path_factory.mktemp("hostile"), config="")
    made = loop.run(entered.__aenter__())
    errors = Records()
    logging.getLogger().addHandler(errors)
    loop.run(made.ask(DS))
    yield made, errors, loop
    logging.getLogger().removeHandler(errors)
    loop.run(entered.__aexit__(None, None, None))


def ask(mirror, method, path, query="", **more):
    """The answer, which is no crash and leaves none in the log."""
    made, errors, loop = mirror
    errors.lines.clear()
    answer = loop.run(asyncio.wait_for(made.request(method, path, query, allow_redirects=False, **more), PATIENCE))
    assert answer.code < 500 or answer.code in MEANT, (answer.code, answer.body[:300], errors.lines)
    assert errors.lines == [], (answer.code, answer.body[:300])
    assert answer.code < 400 or answer.body.strip(), answer
    return answer


def addresses(method, names=(b"x",)):
    """Paths of the table for a method, with these names in their braces."""
    found = {(m if m != "*" else method, path) for m, path in ROLES if m in (method, "*") and path != ENDLESS}
    for _, path in sorted(found):
        for name in names if "{" in path else names[:1]:
            yield re.sub(r"\{\w+\}", quote_from_bytes(name, safe=""), path.replace("{disk}", "SUM1").replace("{rest}", "D1/S00000/{rest}"))


def escaped(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"))


CHANGES = [(m, p.replace("{name}", "x")) for m, p in sorted(ROLES) if m in ("POST", "PUT", "DELETE") and p.replace("{name}", "x") in BODIES]


@given(st.sampled_from(sorted(QUERIES)), st.data(), st.sampled_from(VALUES))
@settings(max_examples=60)
def test_hostile_parameters_are_errors_and_not_failures(mirror, path, data, value):
    query = QUERIES[path]
    name = data.draw(st.sampled_from(sorted(query)))
    text = "&".join(f"{k}={escaped(value if k == name else v)}" for k, v in query.items())
    ask(mirror, "POST" if path.endswith("upload") else "GET", path, text)


@given(st.sampled_from(CHANGES), st.data(), st.sampled_from(VALUES))
@settings(max_examples=50)
def test_hostile_members_of_bodies_are_errors_and_not_failures(mirror, asked, data, value):
    (method, path), headers = asked, {"Content-Type": "application/json"}
    body = BODIES[path]
    name = data.draw(st.sampled_from(sorted(body)))
    ask(mirror, method, path, data=json.dumps({**body, name: value}), headers=headers)


def test_json_that_nobody_writes_is_refused_wherever_a_body_is_taken(mirror):
    for (method, path), raw in itertools.product(CHANGES, RAW):
        body = raw.encode("utf-8", "surrogatepass")
        answer = ask(mirror, method, path, data=body, headers={"Content-Type": "application/json"})
        expected = 400 if path != "/api/sql" or raw.startswith(("{", "[")) else answer.code
        assert answer.code in (expected, 404, 413) or raw == "{}", (path, raw[:20], answer)


@pytest.mark.parametrize("value, words", [
    (RAW[0], "nested too deep"), (RAW[1], "nested too deep"), ('"\\ud800"', "lone surrogates"), ('"a\\u0000b"', "NUL"), ("NaN", "finite"), ("-Infinity", "finite"),
    ("1e999", "too large"), ("9" * 50, "too large"), (str(HUGE), "64 bits"), ("01", "no JSON"), ("'x'", "no JSON"), ('"\\ud8', "no JSON"),
])  # fmt: skip
def test_one_clear_error_says_what_is_wrong_about_a_number_or_a_text(mirror, value, words):
    for path, name in (("/api/evict", "need"), ("/api/pins", "n"), ("/api/subscriptions", "step")):
        body = json.dumps({**BODIES[path], name: "@"}).replace('"@"', value)
        answer = ask(mirror, "POST", path, data=body, headers={"Content-Type": "application/json"})
        assert answer.code == 400 and words in answer.json["error"], (path, answer)
        assert len(answer.body) < 1000


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_hostile_names_in_paths_are_errors_and_not_failures(mirror, method):
    for path in addresses(method, NAMES):
        ask(mirror, method, path)


FORMS = ["application/x-www-form-urlencoded; charset=nope", "application/x-www-form-urlencoded; charset=utf-16", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain", "x"]
FIELDS = [b"\xff\xfe", b"token=%ED%A0%80&next=%00", b"token=\x00&next=//x", b"--x\r\n\r\n--x--", b"token", b"&=&=", b"token=" + b"x" * 3000,
          b'--x\r\nContent-Disposition: form-data; name="token"; filename="x"\r\n\r\nabc\r\n--x--\r\n']  # fmt: skip


@pytest.mark.parametrize("path", ["/login", "/logout", "/cgi-bin/ajax/jsoc_info", "/cgi-bin/ajax/jsoc_fetch", "/cgi-bin/ajax/show_info", "/api/sql"])
def test_forms_of_every_kind_are_errors_and_not_failures(mirror, path):
    for kind, body, more in itertools.product(FORMS, FIELDS, ({}, {"Sec-Fetch-Site": "same-origin"})):
        if path != "/api/sql" or more:
            ask(mirror, "POST", path, data=body, headers={"Content-Type": kind, **more})


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3)))
@settings(max_examples=50)
def test_what_json_can_say_is_read_as_it_is_or_refused(value):
    try:
        read = parse_json(json.dumps(value), "the body")
    except BadRequest:
        with pytest.raises(BadRequest, match=r"^the body (is|has) "):
            parse_json(json.dumps(value), "the body")
        return
    assert read == value


@given(st.text(max_size=30) | st.integers().map(str))
def test_a_whole_number_is_that_or_an_error(text):
    plain = re.fullmatch(r"\s*[+-]?[0-9]+\s*", text, re.ASCII) and abs(int(text)) < HUGE
    if text.strip() and not plain:
        with pytest.raises(BadRequest, match="whole number of at most 64 bits"):
            whole(text, "n", 7)
    else:
        assert whole(text, "n", 7) == (int(text) if text.strip() else 7)
