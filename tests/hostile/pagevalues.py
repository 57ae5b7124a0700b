"""What each template of the pages may be given: strategies of values far beyond what a quiet mirror shows.

Every text may be markup, or unprintable; every number nothing, zero, negative or without end; every state one
that the template has no word for. ``PAGES`` has each template with its values; tests compare their names with
those that a running mirror really gives.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mirror.config.access import Role
from mirror.drms.compose import Span
from mirror.drms.series import Keyword, Link, PrimeKey, Segment, Series
from mirror.server.pages.console import FIELDS, Example
from mirror.server.pages.search import CHOICES, FRAMES, STARTS, Column, Field, Frame, address_with
from mirror.services.access.authentication import Principal
from mirror.services.search.snippets import Snippet

HOSTILE = (
    "", " ", "0", "None", "<script>alert(1)</script>", "</title><h1>", "\"' onmouseover=alert(1) x='", "&amp;<!--", "]]>",
    "{{ 7 * 7 }}", "../../etc/passwd", "javascript:alert(1)", "//elsewhere/", "?a=b&c=d#e", "a\nb\rc\td", "\x00\x1b[31m", "\u202eabc",
    "\udcff", "a\ud800b", "\U0001f31e" * 3, "e\u0301", "\u2028", "x" * 300, "%00%ff", "hmi.v_45s[2014.01.01_TAI/1h]",
)  # fmt: skip
texts = st.sampled_from(HOSTILE) | st.text(max_size=12)
numbers = st.sampled_from(
    [None, 0, 1, -1, 0.4, 999, 1000, 86400, 2**31, 2**63, -(2**63), 10**30, 1e300, -1e300, float("inf"), float("nan")]
) | st.integers(-(10**12), 10**12)  # fmt: skip
counts = st.integers(0, 10**9)
flags = st.booleans()


def states(*known: str) -> st.SearchStrategy[str]:
    """A state that the pages know, or one that they do not."""
    return st.sampled_from(known) | texts


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, max_size=2)


def have(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(members)


maybe = st.none() | texts
#: Addresses that the mirror makes by itself: whatever stands in them, they lead to it.
addresses = texts.map("/export/{}".format)

subscriptions = some(
    have(
        name=texts, series=texts, start=texts, end=texts, segments=some(texts), why=texts, records=numbers,
        state=states("current", "working", "waiting", "failing"), records_wanted=numbers, files=numbers,
        files_wanted=numbers, files_absent=numbers, bytes=numbers, rate=numbers, seconds_left=numbers, passes=numbers,
        last_look=maybe, next_look=maybe, problem=texts,
        budget=st.none() | have(limit=texts, bytes=numbers, used=numbers, until=texts),
    )
)  # fmt: skip
job_members = {
    "kind": states("export", "fill", "subscription"), "by": maybe, "counted": st.sampled_from(("files", "records")),
    "seconds_left": numbers,
    "id": texts, "state": states("waiting", "staging", "fetching", "done", "failed", "cancelled"), "ready": numbers,
    "total": numbers, "bytes": numbers, "ds": texts, "method": texts, "protocol": texts, "process": texts, "created": texts,
    "updated": texts, "upstream_id": maybe, "directory": addresses, "tar": st.none() | addresses, "error": maybe, "notes": some(texts),
    "waits": st.none() | have(why=texts, tries=numbers, next_try=texts),
    "server": st.none() | texts,
}  # fmt: skip
files = some(
    have(record=texts, name=texts, size=numbers, sha256=maybe, values=st.sampled_from(("printed", "exact")), path=st.just("") | addresses)
)  # fmt: skip
overview = have(
    answers=have(local=numbers, asked=numbers, all=numbers),
    bytes=have(spared=numbers, sent=numbers, asked=numbers, ahead=numbers, days=numbers),
    upstream=have(
        state=states("ok", "failing", "away", "offline"), requests=numbers, failed=numbers, refused=numbers, running=numbers,
        waiting=numbers, bytes=numbers,
    ),
    policy=texts, configured_policy=maybe, uptime_seconds=numbers, searches=have(), records=numbers, series=numbers,
    files=have(count=numbers, bytes=numbers, quota=numbers, reserved=numbers),
    disk=have(free=numbers, total=numbers),
    config=have(problem=maybe, file=maybe),
    fills=some(have(series=texts, done=numbers, total=numbers, who=some(texts), seconds_left=numbers)),
    downloads=some(have(who=texts, files=numbers, arriving=numbers, bytes=numbers, size=numbers, seconds_left=numbers)),
    jobs=some(have(**job_members)),
    subscriptions=subscriptions,
    changes=some(have(record=texts, series=texts, gone=flags, found_at=texts)),
    check=have(
        budget_per_day=maybe, read_today=numbers, running=flags, step=maybe, begun=numbers, ended=numbers, files=numbers,
        bytes=numbers, records=numbers, found=have(),
    ),
)  # fmt: skip
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
dataset = {"name": texts, "title": texts, "created": texts, "records": numbers, "files": numbers, "bytes": numbers, "sha256": hashes}
cluster = have(
    name=texts, id=texts, connected=flags, problem=texts, objects=texts, objects_problem=texts, rows=numbers, chunks=numbers,
    servers=some(have(name=texts, version=texts, address=texts, since=texts, here=flags)), records=numbers, bytes=numbers,
    flights=counts, fetching=some(have(series=texts, server=texts, since=texts)), owners=some(have(what=texts, server=texts)),
    unpublished=numbers, versions=texts, broken=some(texts), files=numbers, file_bytes=numbers, files_problem=texts,
)  # fmt: skip
checks = st.just({"running": False, "run": None, "findings": [], "ok": True}) | have(
    running=flags, ok=flags, more_findings=numbers,
    run=have(
        id=numbers, scope=texts, background=flags, step=texts, place=texts, files=numbers, records=numbers, bytes=numbers,
        started_at=numbers, ended_at=numbers, doing=texts, steps=some(texts),
    ),
    findings=some(have(kind=texts, place=texts, problem=texts, outcome=texts, action=texts)),
)  # fmt: skip
keywords = st.builds(
    Keyword, texts, texts, st.sampled_from(("variable", "constant", "ts_eq", "segment")), texts, texts, texts, linkinfo=maybe
)  # fmt: skip
series = st.builds(
    Series, name=texts, note=texts, retention=st.just(1), unitsize=st.just(1), archive=st.just(1), tapegroup=st.just(1),
    primekeys=st.lists(st.builds(PrimeKey, texts, flags, maybe), max_size=2).map(tuple), dbindex=st.just(()),
    keywords=st.lists(keywords, max_size=2).map(tuple), segments=st.lists(st.builds(Segment, *[texts] * 6), max_size=2).map(tuple),
    links=st.lists(st.builds(Link, *[texts] * 4), max_size=2).map(tuple),
)  # fmt: skip
snippets = st.lists(
    st.builds(Snippet, st.sampled_from(("drms", "sunpy")), texts, texts), max_size=2, unique_by=lambda s: s.id
)
spans = some(
    have(series=texts, restriction=texts, first=maybe, last=maybe, slots=numbers, checked_at=numbers)
)  # fmt: skip
fields = st.builds(
    Field, texts, texts, texts, st.just(True), texts, texts, st.builds(Span, texts, texts, texts, texts)
) | st.builds(Field, texts, texts, texts, st.just(False), texts, texts, texts)
builders = have(
    series=texts, note=texts, fields=some(fields), where=texts, whole=flags, chosen=some(texts),
    segments=st.lists(st.builds(Segment, *[texts] * 6), max_size=2),
)  # fmt: skip
problems = have(
    error=texts, expected=texts, position=st.none() | counts, before=texts, mark=texts, after=texts
)


@st.composite
def results(draw: st.DrawFn) -> dict[str, Any]:
    """A table: as many values in each row as there are columns, hidden ones first."""
    columns = draw(
        st.lists(
            st.builds(Column, texts, st.sampled_from(("time", "number", "text")), texts, texts, flags),
            max_size=3,
        )
    )
    columns.sort(key=lambda column: not column.hidden)
    values = st.sampled_from(("MISSING", "/SUM1/D2/S3/a.fits", "nan", 0, -1, 2**63)) | texts
    rows = draw(some(st.tuples(*[values] * len(columns))))
    return {
        "columns": columns, "hidden": sum(c.hidden for c in columns), "rows": rows, "count": draw(counts | st.just(0)),
        "plan": draw(states("local", "filled", "forwarded", "stale")), "cut": draw(flags), "first": draw(counts),
        "page": draw(counts), "pages": draw(counts), "data": {"rows": rows, "x": draw(texts), "y": draw(texts)},
        "age_seconds": draw(numbers),
    }  # fmt: skip


@st.composite
def searches(draw: st.DrawFn) -> dict[str, Any]:
    """The search page: blank, of a series, with a problem, with records."""
    known, found = draw(flags), draw(st.none() | results())
    given = draw(have(ds=texts, key=texts, seg=texts, where=texts, pictures=texts))
    codes = [Snippet("sql", draw(texts), draw(texts)), *draw(snippets)]
    frames = st.lists(st.builds(Frame, counts, texts, addresses, addresses, flags), max_size=2)
    return {
        **given, "n": draw(st.sampled_from(CHOICES) | st.integers(-5, 5)), "choices": CHOICES, "problem": draw(st.none() | problems),
        "builder": draw(builders) if known or found else None, "series": draw(series) if known or found else None, "result": found,
        "codes": codes, "images": draw(st.lists(texts, min_size=1, max_size=2) | st.just([])), "frames": draw(frames),
        "frame_choices": FRAMES, "fetch": draw(flags), "starts": STARTS, "wanted_frames": draw(counts), "address": address_with(given),
    }  # fmt: skip


askers = st.none() | st.builds(Principal, texts, st.sampled_from(Role), texts, flags, texts)
#: What every page is given.
FRAME = {
    "path": texts, "host": texts, "principal": askers, "form_token": texts,
    "role": st.sampled_from(("nobody", "read", "export", "admin")), "may_export": st.booleans(), "may_administer": st.booleans(),
}  # fmt: skip
#: Each template with the values of its own.
PAGES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "overview.html": have(state=overview),
    "coverage.html": have(all_series=some(texts), shown=series, spans=spans, more=counts, timed=flags)
    | st.just({"all_series": [], "shown": None, "spans": [], "more": 0, "timed": False}),
    "series_list.html": have(
        listed=some(
            have(series=texts, records=numbers, primekeys=some(texts), keywords=numbers, segments=some(texts), note=texts,
                 files=st.tuples(numbers, numbers))
        )
    ),
    "series.html": have(
        series=series, records=numbers, files=st.tuples(numbers, numbers), implicit=st.just(frozenset()), timed=flags,
        spans=spans, examples=snippets, usual=texts,
    ),
    "sql.html": have(query=texts, queries=some(have(name=texts, sql=texts, saved_by=texts)), examples=some(st.builds(Example, texts, texts))),
    "cluster.html": have(cluster=cluster),
    "datasets.html": have(datasets=some(have(**dataset))),
    "dataset.html": have(
        found=have(
            **dataset, software=texts, ds=some(texts), sql=maybe, series=some(have(series=texts, records=numbers)), bibtex=texts
        ),
        records=some(have(record=texts, recnum=counts, sha256=hashes, files=some(have(path=addresses, segment=texts)))), count=counts,
    ),
    "jobs.html": have(jobs=some(have(**job_members))),
    "job.html": have(job=have(**job_members, files=files), files=files, more=counts),
    "subscriptions.html": have(
        subscriptions=subscriptions, fields=st.just(FIELDS), file=maybe, problem=maybe,
        tables=st.dictionaries(texts.map(repr), have(series=texts, keep=counts), max_size=2),
    ),
    "upkeep.html": have(
        state=overview, check=checks, admin=flags, since=texts,
        usage=some(have(day=texts, who=texts, requests=numbers, records=numbers, bytes=numbers, upstream_bytes=numbers)),
    ),
    "login.html": have(onward=texts, problem=texts, tokens=flags),
    "problem.html": have(problem=texts),
    "not_found.html": have(near=st.lists(st.tuples(addresses, texts), max_size=3), passed=flags, why=texts),
    "search.html": searches(),
    "search-fields.html": have(builder=builders, series=series),
    "plot.html": st.just({}),
}  # fmt: skip
