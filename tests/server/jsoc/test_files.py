"""Files over HTTP: parts of them, conditions, names that are none, and a store that is full."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from mirror.server.jsoc.files import Asked, what_is_asked
from tests.filelab import file_lab

BITMAP = "/SUM0/D440000100/S00000/bitmap.fits"
MAGNETOGRAM = "/SUM0/D440000100/S00000/magnetogram.fits"
RANGES = [
    ("bytes=0-", slice(0, None)),
    ("bytes=100-199", slice(100, 200)),
    ("bytes=2880-999999999", slice(2880, None)),
    ("bytes=-80", slice(-80, None)),
    ("bytes=-999999999", slice(0, None)),
]


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(params=["held", "not held"])
async def either(mirror, request):
    """A mirror that holds the file, and one that does not."""
    if request.param == "held":
        await mirror.get(BITMAP)
        await settled(mirror)
    return mirror


async def settled(mirror):
    while running := mirror.running.downloads.running():
        await asyncio.wait([download.blob for download in running])
        await asyncio.sleep(0)


async def test_a_file_that_is_evicted_while_it_is_looked_up_is_fetched_again(mirror, monkeypatch):
    whole = (await mirror.get(BITMAP)).body
    await settled(mirror)
    blobs = mirror.running.blobs
    look = blobs.is_sound

    async def evicting(blob):
        sound = await look(blob)
        monkeypatch.undo()
        await blobs.evict(blob.size)
        return sound

    monkeypatch.setattr(blobs, "is_sound", evicting)
    answer = await mirror.get(BITMAP)
    assert (answer.code, answer.body, answer.headers["X-Mirror"]) == (200, whole, "filled")


async def test_head_tells_length_and_kind(either):
    whole = await either.original(BITMAP)
    answer = await either.request("HEAD", BITMAP)
    assert (answer.code, int(answer.headers["Content-Length"]), answer.body) == (200, len(whole), b"")
    assert answer.headers["Content-Type"] == "image/fits"
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("asked, part", RANGES)
async def test_a_range_is_that_part_of_the_file(either, asked, part):
    whole = await either.original(BITMAP)
    answer = await either.get(BITMAP, headers={"Range": asked})
    first, last = range(len(whole))[part][0], range(len(whole))[part][-1]
    assert (answer.code, answer.body) == (206, whole[part])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"


@pytest.mark.parametrize("method, most", [("GET", 10_000), ("HEAD", 0)])
async def test_the_bytes_of_a_file_count_for_whoever_got_them(either, method, most):
    name = {"Authorization": "Basic YWRhOg=="}
    await either.request(method, BITMAP, headers={**name, "Range": "bytes=0-9999"} if most else name)
    (ada,) = [row for row in (await either.get("/api/usage")).json if row["who"] == "user:ada"]
    assert most < ada["bytes"] < most + 2000  # with the headers


async def test_a_range_beyond_the_end_is_416(either):
    answer = await either.get(BITMAP, headers={"Range": "bytes=99999999-"})
    assert (answer.code, answer.headers["Content-Range"][:8]) == (416, "bytes */")


async def test_head_with_a_range_then_get_with_a_range_as_parfive_does(either):
    whole = await either.original(BITMAP)
    assert (await either.request("HEAD", BITMAP)).code == 200
    answer = await either.get(BITMAP, headers={"Range": "bytes=0-"})
    assert (answer.code, answer.body) == (206, whole)


async def test_a_tag_says_whether_a_file_is_still_the_same(mirror):
    whole = await mirror.original(BITMAP)
    await mirror.get(BITMAP)
    await settled(mirror)
    tag = (await mirror.get(BITMAP)).headers["Etag"]
    assert (await mirror.get(BITMAP, headers={"If-None-Match": tag})).code == 304
    assert (await mirror.get(BITMAP, headers={"If-None-Match": '"old"'})).body == whole
    same = await mirror.get(BITMAP, headers={"If-Range": tag, "Range": "bytes=0-9"})
    assert (same.code, same.body) == (206, whole[:10])


async def test_a_range_on_condition_of_another_tag_is_the_whole_file(either):
    whole = await either.original(BITMAP)
    answer = await either.get(BITMAP, headers={"If-Range": '"old"', "Range": "bytes=10-"})
    assert (answer.code, answer.body) == (200, whole)


async def test_the_disk_in_a_path_does_not_matter_for_what_is_held(mirror):
    whole = await mirror.original(BITMAP)
    await mirror.get(BITMAP)
    await settled(mirror)
    for path in (BITMAP.replace("SUM0", "SUM77"), BITMAP.replace("SUM0", "SUM"), BITMAP.replace("S00000", "S0")):
        answer = await mirror.get(path)
        assert (answer.plan, answer.body) == ("local", whole), path


async def test_what_is_not_there_is_404_with_a_message(mirror):
    for path in ("/SUM0/D440000100/S00000/nosuch.fits", "/SUM0/D1/S00000/image.fits"):
        answer = await mirror.get(path)
        assert (answer.code, answer.body.decode()) == (
            404,
            f"JSOC refused, status 404: {path} is not available (HTTP 404)\n",
        )


# ---- names that are none ----------------------------------------------------------------------------

CLIMBING = [
    "..", "%2e%2e", ".%2e", "%2e%2e/%2e%2e/%2e%2e/etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd",
    "/etc/passwd", "a//b", "a%00b", "%00", "a%5cb", "..%5c..%5cindex.duckdb", "%252e%252e/x", ".", "%0d%0aX: y",
    "x" * 300, "%ff%fe", "a%0ab", "by-record", "%2e%2e/%2e%2e/index.duckdb", "....//....//etc/passwd",
]  # fmt: skip


async def test_no_name_leads_out_of_its_folder(mirror):
    (mirror.path.parent / "secret").write_text("secret")
    before = sorted(p.name for p in mirror.path.parent.iterdir())
    done = await mirror.exported("hmi.sharp_720s[3563][2014.01.01_TAI]{bitmap}")
    for name in CLIMBING:
        await nowhere(mirror, done["dir"], name)
    assert sorted(p.name for p in mirror.path.parent.iterdir()) == before
    assert (await mirror.get("/healthz")).code == 200


async def nowhere(mirror, export, name):
    """See that a name leads to nothing in any place where one becomes a path."""
    places = (f"/SUM0/D440000100/S00000/{name}", f"/SUM0/D440000100/{name}", f"/SUM0/{name}", f"{export}/{name}",
              f"/export/{name}/index.html", f"/export/{name}", f"/{name}")  # fmt: skip
    for place in places:
        answer = await mirror.get(place)
        assert answer.code >= 400 or b"A JSOC in a box" in answer.body or b"<title>Index of /SUM0/D440000100" in answer.body or place == f"{export}/.", place
        assert b"secret" not in answer.body and b"root:" not in answer.body


async def test_odd_numbers_of_units_are_errors(mirror):
    for number in ("0", "-1", "1e3", "9" * 18, "9" * 19, "9" * 400, "%31", "0x10", "%d9%a3"):
        for path in (f"/SUM0/D{number}/S00000/a.fits", f"/SUM0/D1/S{number}/a.fits", f"/SUM{number}/D1/S0/a.fits"):
            answer = await mirror.get(path)
            assert answer.code in (400, 403, 404), path
            assert answer.body.strip()


# ---- room -------------------------------------------------------------------------------------------


async def test_a_file_larger_than_the_quota_is_an_error_and_the_mirror_goes_on(tmp_path):
    async with file_lab(tmp_path, MIRROR_STORAGE__QUOTA="50000B") as mirror:
        answer = await mirror.get(MAGNETOGRAM)
        assert (answer.code, "quota" in answer.body.decode()) == (507, True)
        assert (await mirror.get(BITMAP)).body == await mirror.original(BITMAP)
        assert (await mirror.get("/healthz")).code == 200
        await settled(mirror)
        assert mirror.running.blobs.usage().reserved == 0


async def test_the_least_recently_used_file_makes_room(tmp_path):
    paths = [f"/SUM{n % 90}/D44000010{n}/S00000/bitmap.fits" for n in range(3)]
    async with file_lab(tmp_path) as mirror:
        paths = await bitmaps(mirror, 3)
        sizes = [len(await mirror.original(path)) for path in paths]
        await mirror.restart(MIRROR_STORAGE__QUOTA=f"{sum(sizes) - 1}B")
        for path in (paths[0], paths[1], paths[0], paths[2]):
            await mirror.get(path)
            await settled(mirror)
            mirror.clock.forward(minutes=1)
        origins = [(await mirror.get(path)).plan for path in (paths[0], paths[2], paths[1])]
        assert origins == ["local", "local", "filled"]


async def bitmaps(mirror, n):
    """The paths of some small files."""
    told = await mirror.export(f"hmi.sharp_720s[3563][2014.01.01_TAI/{n * 12}m]{{bitmap}}", "url_quick")
    paths = [row["filename"] for row in told["data"]]
    assert len(paths) == n
    return paths


async def test_files_of_an_export_are_not_evicted_while_it_lasts(tmp_path):
    async with file_lab(tmp_path) as mirror:
        paths = await bitmaps(mirror, 3)
        sizes = [len(await mirror.original(path)) for path in paths]
        await mirror.restart(MIRROR_STORAGE__QUOTA=f"{sum(sizes) - 1}B")
        done = await mirror.exported("hmi.sharp_720s[3563][2014.01.01_TAI/24m]{bitmap}")
        answer = await mirror.get(paths[2])
        assert (answer.code, "quota" in answer.body.decode()) == (507, True)
        for row in done["data"]:
            assert (await mirror.get(f"{done['dir']}/{row['filename']}")).code == 200


# ---- policies -----------------------------------------------------------------------------------------


async def test_offline_serves_what_is_held_and_says_of_the_rest_that_it_is_not(mirror):
    whole = await mirror.original(BITMAP)
    await mirror.get(BITMAP)
    await settled(mirror)
    await mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
    before = len(await mirror.log())
    assert (await mirror.get(BITMAP)).body == whole
    answer = await mirror.get(MAGNETOGRAM)
    assert (answer.code, "offline" in answer.json["error"]) == (503, True)
    assert len(await mirror.log()) == before


async def test_a_held_file_is_served_while_jsoc_is_away(mirror):
    whole = await mirror.original(BITMAP)
    await mirror.get(BITMAP)
    await settled(mirror)
    await mirror.faults({"fault": "outage"})
    assert (await mirror.get(BITMAP)).body == whole
    assert (await mirror.get(MAGNETOGRAM)).code == 504


TAG = "ab12"
MADE = 1_700_000_000.5
BEFORE, THEN, AFTER = (formatdate(MADE + days * 86400, usegmt=True) for days in (-1, 0, 1))


def asked(**headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return what_is_asked(named, 1000, tag=TAG, modified=MADE)


WHOLE, PART = Asked(200, 0, 1000), Asked(206, 10, 20)


def test_nothing_special_is_the_whole():
    assert asked() == WHOLE


@pytest.mark.parametrize(
    "text, expected",
    [
        ("bytes=0-", Asked(206, 0, 1000)),
        ("bytes=10-19", PART),
        ("bytes=990-5000", Asked(206, 990, 1000)),
        ("bytes=-5", Asked(206, 995, 1000)),
        ("bytes=-5000", Asked(206, 0, 1000)),
        ("bytes=1000-", Asked(416)),
        ("bytes=-0", Asked(416)),
        ("bytes=20-10", Asked(416)),
        *(
            (odd, WHOLE)
            for odd in ("bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=" + "9" * 5000 + "-")
        ),
    ],
)
def test_a_range_is_that_part_and_what_is_none_is_passed_over(text, expected):
    assert asked(Range=text) == expected


@given(st.integers(0, 60), st.integers(0, 80), st.integers(0, 80))
def test_a_range_gives_the_bytes_that_it_names(size, first, last):
    data = bytes(range(size))
    found = what_is_asked({"Range": f"bytes={first}-{last}"}, size, tag=TAG)
    if first < size and first <= last:
        assert data[found.start : found.end] == data[first : last + 1]
    else:
        assert found == Asked(416)


@pytest.mark.parametrize(
    "headers, expected",
    [
        ({"If_None_Match": f'"{TAG}"'}, Asked(304)),
        ({"If_None_Match": f'"x", W/"{TAG}"'}, Asked(304)),
        ({"If_None_Match": "*"}, Asked(304)),
        ({"If_None_Match": '"x"'}, WHOLE),
        ({"If_None_Match": '"x"', "If_Modified_Since": AFTER}, WHOLE),
        ({"If_Modified_Since": THEN}, Asked(304)),
        ({"If_Modified_Since": BEFORE}, WHOLE),
        ({"If_Modified_Since": "nonsense"}, WHOLE),
        ({"If_Match": f'"{TAG}"'}, WHOLE),
        ({"If_Match": f'W/"{TAG}"'}, Asked(412)),
        ({"If_Match": '"x"'}, Asked(412)),
        ({"If_Match": "*", "If_Unmodified_Since": BEFORE}, WHOLE),
        ({"If_Unmodified_Since": BEFORE}, Asked(412)),
        ({"If_Unmodified_Since": THEN}, WHOLE),
        ({"If_Range": f'"{TAG}"', "Range": "bytes=10-19"}, PART),
        ({"If_Range": '"x"', "Range": "bytes=10-19"}, WHOLE),
        ({"If_Range": f'W/"{TAG}"', "Range": "bytes=10-19"}, WHOLE),
        ({"If_Range": THEN, "Range": "bytes=10-19"}, PART),
        ({"If_Range": BEFORE, "Range": "bytes=10-19"}, WHOLE),
        ({"If_None_Match": f'"{TAG}"', "Range": "bytes=10-19"}, Asked(304)),
    ],
)
def test_conditions_compare_tags_before_dates(headers, expected):
    assert asked(**headers) == expected


def test_without_a_tag_conditions_are_passed_over_and_their_ranges_too():
    given_headers = {"If-None-Match": "*", "If-Match": '"x"', "Range": "bytes=10-19"}
    assert what_is_asked(given_headers, 1000) == PART
    assert what_is_asked({"If-Range": f'"{TAG}"', "Range": "bytes=10-19"}, 1000) == WHOLE
