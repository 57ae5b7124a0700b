"""No e-mail address and no credential stays in a log, a list, an event, the audit or SQL, whoever repeats it."""

from __future__ import annotations

import json
import logging
import re
from urllib.parse import quote

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.errors import UpstreamBroken, UpstreamRefused
from mirror.logs import Json, KeyValue
from mirror.redaction import ADDRESS, redacted
from mirror.services.access.audit import about
from tests.accesslab import CONFIG as TOKEN_TABLES
from tests.accesslab import TOKENS, basic, bearer
from tests.hostile.rawhttp import exchange, head
from tests.lab import lab, rows

FETCH = "/cgi-bin/ajax/jsoc_fetch"
DS = "hmi.v_45s[2014.01.01_TAI]{Dopplergram}"
TOKEN = TOKENS["admin"]
SECRET = TOKEN.partition(".")[2]
NAMES = st.from_regex(r"[a-z][a-z0-9.+_-]{0,20}[a-z0-9]", fullmatch=True)
HOSTS = st.from_regex(r"[a-z][a-z0-9-]{0,10}(\.[a-z][a-z0-9]{0,8}){0,2}\.[a-z]{2,5}|[0-9]{2,4}\.(com|org)", fullmatch=True)
#: How an address travels.
SPELLED = {
    "plain": lambda a: a, "query": lambda a: quote(a, safe=""), "twice": lambda a: quote(quote(a, safe=""), safe=""),
    "thrice": lambda a: quote(quote(quote(a, safe=""), safe=""), safe=""), "json": lambda a: a.replace("@", "\\u0040"), "html": lambda a: a.replace("@", "&#64;"),
    "capital": str.upper, "dots": lambda a: a.replace(".", "%2E").replace("@", "%40"),
}  # fmt: skip
AROUND = st.sampled_from(["User {} has 3 pending requests", "notify={}&x=1", "'{}'", "<{}>", "({})", "mailto:{}", "a@b.org, {}; c@d.org", "email address {}.", "{}", '{{"notify": "{}"}}',
                          "GET /x?address={} HTTP/1.1", "http://jsoc.stanford.edu/x?notify={}", "b'{}\\r\\n'", "[{}]", "{}\n", "/{}/x"])  # fmt: skip
#: What looks like one, and is not.
HARMLESS = ["hmi.v_45s[2016.04.01_TAI/1d@6h]{Dopplergram}", "[2014.01.01/1d@67.5s]", "[$@2h]", "%2F1d%406h%5D", "aia.lev1[#1-#9@3]", "https://jsoc.stanford.edu/SUM1/D1/S00000/x.fits",
            "time=2026-11-28T11:00:00.000Z level=info", "@wraps", "token is missing; expected one", "basic usage", "hmi.sharp_720s[3563][2014.01.01_TAI]"]  # fmt: skip


@given(NAMES, HOSTS, st.sampled_from(sorted(SPELLED)), AROUND)
@settings(max_examples=200)
def test_no_address_is_left_in_any_spelling(name, host, spelling, around):
    address = f"{name}@{host}"
    clean = redacted(around.format(SPELLED[spelling](address)))
    assert ADDRESS in clean
    assert not re.search(rf"(?i){re.escape(host.rpartition('.')[0])}(\.|%(25)*2e){host.rpartition('.')[2]}(?![a-z])", clean.replace("jsoc.stanford.edu", "")), clean
    assert redacted(clean) == clean


@pytest.mark.parametrize("text", HARMLESS)
def test_steps_of_record_sets_and_plain_words_stay(text):
    assert redacted(text) == text


@pytest.mark.parametrize("text", ["Authorization: Bearer {}", "{{'Authorization': 'Bearer {}', 'Host': 'x'}}", "b'Proxy-Authorization: Basic {}\\r\\nHost: x'", "Cookie: jsoc-mirror={}",
                                  "http://ada:{}@mirror:8040/", "GET /x?token={}&y HTTP/1.1", "password={}", "bearer {}", "Basic {}", "Bearer%20{}", '"Authorization","{}"', "Set-Cookie: a={}; Path=/"])  # fmt: skip
def test_no_credential_is_left(text):
    assert SECRET not in redacted(text.format(TOKEN)) and SECRET not in redacted(text.format(SECRET))


@given(st.text())
@settings(max_examples=120)
def test_redaction_settles_at_once_and_says_where_something_stood(text):
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize("text", ["a" * 30_000, "a." * 15_000, "@" * 30_000, "a@1." * 8_000, "%25" * 10_000, "://" * 10_000, '"a' * 15_000, "basic " * 5_000, "authorization:" * 2_000])
def test_hostile_text_is_redacted_in_the_time_of_its_length(text):
    assert isinstance(redacted(text), str)  # a pattern that backtracks would take minutes


def test_what_jsoc_says_is_repeated_without_the_addresses_in_it():
    for problem in (UpstreamRefused(7, "ada@example.org has 3 requests"), UpstreamBroken("HTTP 400, url='http://x/?address=ada%2540example.org'")):
        assert "example" not in str(problem) and ADDRESS in str(problem)
    assert "example" not in about(json.dumps({"ds": "x[? a = 'ada@example.org' ?]", "ada@example.org": [{"x": "ada%40example.org"}]}).encode())


def logged(message, *args, error=None, name="mirror.part"):
    record = logging.LogRecord(name, logging.ERROR, "x.py", 1, message, args, (type(error), error, error.__traceback__) if error else None)
    return [form.format(record) for form in (Json(), KeyValue())]


def test_no_line_of_the_log_has_an_address_or_a_secret_wherever_it_stands():
    problem = ValueError(f"ada@example.org sent Authorization: Bearer {TOKEN}")
    lines = logged("failed path=%s error=%s", "/x/ada%40example.org", problem, error=problem) + logged("ada@example.org", name="asyncio")
    lines += logged("%s of %s", "x" * 50_000 + " ada@example.org", "b") + logged("a=%s", "x" * 19_980 + "ada@example.org" + "y" * 9_000)
    assert not [line for line in lines if "example" in line or SECRET in line or "ada@" in line]


# ---- the product ----------------------------------------------------------------------------------------


class Lines(logging.Handler):
    """Every line that the log of a running mirror would have."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record):
        if record.name.partition(".")[0] in ("mirror", "aiohttp"):
            self.lines.append(KeyValue().format(record))


@pytest.fixture
def lines():
    handler, root = Lines(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(before)


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with lab(tmp_path) as made:
        yield made


ADDRESSED = "lovelace@analytical.example"


async def test_a_refusal_that_names_an_address_leaves_it_nowhere(mirror, lines):
    await mirror.faults({"match": {"op": "exp_request"}, "fault": "status", "status": 4, "message": f"{ADDRESSED} or {quote(quote(ADDRESSED))} has too many requests"})
    for process in ("n=0|rebin,scale=0.5", f"n=0|rebin,scale=0.5,note={ADDRESSED}"):
        asked = {"op": "exp_request", "ds": DS, "method": "url", "protocol": "fits", "notify": "a@example.com", "process=n": process.removeprefix("n=")}
        await mirror.get(FETCH, asked)
    await mirror.request("POST", "/api/jobs", json={"ds": DS, "method": "url", "process": "n=0|rebin,scale=0.25", "email": "a@example.com"})
    await mirror.request("POST", "/api/forget", json={"ds": f"hmi.v_45s[? a='{ADDRESSED}' ?]", "dry_run": True})
    told = [await mirror.get(path) for path in ("/api/jobs", "/jobs", "/", "/api/status", "/api/audit", "/api/usage", "/metrics", "/upkeep")]
    listed = told[0].json
    assert any(job.get("error") for job in listed), listed
    told += [await mirror.get(f"/api/jobs/{job['id']}") for job in listed]
    texts = [answer.body.decode() for answer in told] + [str(await rows(mirror, "SELECT * FROM mirror.jobs")), *lines]
    assert not [text for text in texts if "analytical" in text or "a@example" in text or "lovelace" in text]
    assert any("export failed" in line for line in lines)


async def test_a_user_who_is_called_by_an_address_is_counted_without_it(mirror):
    await mirror.get("/api/status", headers={"Authorization": basic("read", ADDRESSED)})
    await mirror.get("/api/status", headers={"Authorization": basic("read", "bob")})
    who = {row["who"] for row in (await mirror.get("/api/usage")).json}
    assert "user:bob" in who and any(re.fullmatch("user:address-[0-9a-f]{8}", w) for w in who) and "analytical" not in str(who)


#: Requests that are none, each with a token or an address somewhere.
MALFORMED = [
    f"GET /?token={TOKEN} HTTP/9.9\r\n\r\n", f"GET /?token={TOKEN}\xff HTTP/1.1\r\nHost: x\r\n\r\n", f"GET / HTTP/1.1\r\nAuthorization : Bearer {TOKEN}\r\n\r\n",
    f"GET / HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\x00\r\n\r\n", f"GET / HTTP/1.1\r\n Authorization: Bearer {TOKEN}\r\n\r\n", f"Bearer {TOKEN}\r\n\r\n",
    f"GET /x y?notify={ADDRESSED} HTTP/1.1\r\n\r\n", f"G\x01T /?address={quote(ADDRESSED)} HTTP/1.1\r\n\r\n", f"POST / HTTP/1.1\r\nContent-Length: {TOKEN}\r\n\r\n",
    f"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{TOKEN}\r\n", f"GET http://ada:{TOKEN}@[x/ HTTP/1.1\r\n\r\n", f"GET http://ada:{TOKEN}@mirror:99999/ HTTP/1.1\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nCookie: jsoc-mirror={SECRET}\r\nHost: y\r\n\r\n", f"CONNECT {TOKEN} HTTP/1.1\r\n\r\n", f"{TOKEN} / HTTP/1.1\r\n\r\n",
]  # fmt: skip


async def test_requests_that_cannot_be_read_leave_nothing_of_what_was_in_them(mirror, lines):
    for request in MALFORMED:
        answer = await exchange(mirror.server.port, request.encode("latin-1").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        assert answer.code < 500, request
    assert not [line for line in lines if SECRET in line or "analytical" in line or "Traceback" in line], lines


async def test_tokens_and_addresses_in_addresses_and_headers_of_good_requests_stay_out_of_the_log(tmp_path, lines):
    async with lab(tmp_path, config=TOKEN_TABLES) as made:
        for target in (f"/nothing/{ADDRESSED}?token={TOKEN}", f"/api/jobs/{TOKEN}", f"/search?ds=x&token={TOKEN}", f"/{quote(ADDRESSED)}", f"http://ada:{TOKEN}@example.org/"):
            for headers in (bearer("admin"), {"Authorization": f"Bearer {TOKEN}x"}, {"Proxy-Authorization": basic("admin")}):
                await exchange(made.server.port, head("GET", target, **{k.replace("-", "_"): v for k, v in headers.items()}))
        shown = (await made.get("/api/audit", headers=bearer("admin"))).body.decode()
    assert lines and not [line for line in [*lines, shown] if SECRET in line or "analytical" in line]
