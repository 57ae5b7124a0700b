"""The search page without a browser: what it shows, that a search is its address, and that it works without script."""

from __future__ import annotations

import itertools
import json
import re
from html import unescape
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from mirror.server.pages.search import FRAMES, spread
from tests.filelab import file_lab, synthetic
from tests.lab import lab
from tests.server.webcheck import Page

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        await made.ask("hmi.v_45s[2014.01.01_TAI/2h]")
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def files(tmp_path_factory):
    async with file_lab(tmp_path_factory.mktemp("files"), synthetic()) as made:
        yield made


async def search(mirror, code=200, **params):
    answer = await mirror.get("/search", params)
    assert answer.code == code, answer.body
    text = answer.body.decode()
    page = Page(text)
    assert page.problems == []
    return text, " ".join(page.text.split()), page


def data(text):
    return json.loads(re.search(r'<script type="application/json" id="found">(.*?)</script>', text, re.DOTALL)[1])


async def test_a_search_is_an_address_and_its_records_are_a_table(mirror):
    text, told, _ = await search(mirror, ds=HOUR, key="T_REC,DATAMEAN,QUALITY")
    assert "80 records" in told
    assert "from the cache" in told
    rows = (await mirror.get("/api/search", {"ds": HOUR, "key": "T_REC,DATAMEAN,QUALITY"})).json["rows"]
    cells = [unescape(re.sub("<[^>]+>", "", c)) for c in re.findall(r"<td[^>]*>(.*?)</td>", text)]
    assert [cells[i : i + 3] for i in range(0, len(cells), 3)] == rows
    assert '<span class="missing">MISSING</span>' in text


async def test_what_plots_need_is_in_the_page_hidden_keys_too(mirror):
    text, _, _ = await search(mirror, ds=HOUR, key="DATAMEAN")
    found = data(text)
    assert [(c["name"], c["kind"], c["hidden"]) for c in found["columns"]] == [
        ("*recnum*", "number", True), ("T_REC", "time", True), ("CAMERA", "number", True), ("DATAMEAN", "number", False),
    ]  # fmt: skip
    assert len(found["rows"]) == 80


async def test_long_tables_have_pages_without_script(mirror):
    text, told, page = await search(mirror, ds="hmi.v_45s[2014.01.01_TAI/2h]")
    assert "1 to 100 of" in told
    after = next(link for link in page.links if "page=2" in link)
    text = (await mirror.get(*after.split("?"))).body.decode()
    assert "101 to" in " ".join(Page(text).text.split())


@pytest.mark.parametrize(
    "ds, code, marked, words",
    [
        ("hmi.v_45s[2014.13]", 400, "2", "expected a time such as"),
        ("hmi.v_45s[2014.01.01][? NOPE = 1 ?]", 404, "N", "does not exist"),
        ("hmi.nothing[2014]", 400, "h", "no series hmi.nothing"),
        ("<script>alert(1)</script>", 400, "<", "the name of a series"),
        ("hmi.v_45s[2014.01.01/1h", 400, "[", "not closed"),
    ],
)
async def test_an_error_is_marked_in_its_place(mirror, ds, code, marked, words):
    text, told, _ = await search(mirror, code, ds=ds)
    assert unescape(re.search("<mark>(.*?)</mark>", text)[1]) == marked
    assert words in told
    assert 'aria-invalid="true"' in text


@pytest.mark.parametrize("name, value, words", [("n", "many", "no whole number"), ("page", "x", "no whole number"), ("where", "nope = 1", "nope"), ("key", "NOPE", "NOPE"), ("seg", "NOPE", "NOPE")])  # fmt: skip
async def test_other_wrong_parameters_are_told(mirror, name, value, words):
    answer = await mirror.get("/search", {"ds": HOUR, name: value})
    told = " ".join(Page(answer.body.decode()).text.split())
    assert words in told


async def test_a_condition_in_sql_chooses_records(mirror):
    _, told, _ = await search(mirror, ds=HOUR, where="obs_vr > 300")
    count = int(re.search(r"([\d,]+) records", told)[1])
    assert 0 < count < 80


async def test_the_builders_form_becomes_a_search_without_script(mirror):
    filled = {"b.series": "hmi.v_45s", "start.T_REC": "2014-01-01", "length.T_REC": "1h", "key": "DATAMEAN"}
    answer = await mirror.get("/search", filled, allow_redirects=False)
    assert (answer.code, answer.headers["Location"]) == (
        303, "/search?" + urlencode({"key": "DATAMEAN", "ds": "hmi.V_45s[2014.01.01_TAI/1h]"}).replace("+", "%20").replace("%2F", "/"),
    )  # fmt: skip
    _, told, _ = await search(mirror, 400, **{**filled, "length.T_REC": "", "end.T_REC": "2014", "start.T_REC": ""})
    assert "T_REC has no start" in told


async def test_the_builder_is_filled_in_as_the_record_set_says(mirror):
    text, _, _ = await search(mirror, ds="hmi.sharp_720s[3536][2014.01.01_TAI/1d@1h][? QUALITY = 0 ?]")
    for name, value in {"v.HARPNUM": "3536", "start.T_REC": "2014.01.01_TAI", "length.T_REC": "1d", "step.T_REC": "1h", "b.where": "QUALITY = 0"}.items():
        assert f'name="{name}" value="{value}"' in text, name
    text, told, _ = await search(mirror, ds="hmi.v_45s[:#1]")
    assert "The builder does not support everything in this record set" in told


async def test_the_fields_of_another_series_come_as_a_piece(mirror):
    piece = (await mirror.get("/search/builder", {"series": "hmi.sharp_720s"})).body.decode()
    assert 'name="v.HARPNUM"' in piece
    assert 'value="USFLUX"' in piece
    assert "<html" not in piece
    assert (await mirror.get("/search/builder", {"series": "hmi.nothing"})).code == 404


async def test_the_code_of_other_clients_names_this_mirror_and_this_search(mirror):
    _text, told, _ = await search(mirror, ds=HOUR, key="T_REC,DATAMEAN")
    for words in (f"mirror search '{HOUR}'", "drms.Client().query", "Fido.search", "curl -G", "IDLnetUrl", "FROM jsoc("):
        assert words in told
    assert mirror.url in told


async def test_a_search_that_finds_nothing_says_so(mirror):
    _, told, _ = await search(mirror, ds="hmi.v_45s[2014.01.01_TAI/1h][? QUALITY = 12345 ?]")
    assert "0 records" in told
    assert "No records match" in told


async def test_the_film_strip_shows_what_is_held_and_offers_the_rest(files):
    ds = "hmi.sharp_cea_720s[][2014.01.01/12m]"
    assert (await files.get("/api/quicklook", {"ds": ds + "{Br}", "number": "1", "fetch": "1"})).code == 200
    text, _, page = await search(files, ds=ds, pictures="Br")
    shown = [a for a in page.assets if a.startswith("/api/quicklook")]
    assert len(shown) == 1
    assert "size=256" in shown[0]
    assert text.count('class="absent"') == len(await files.recnums(ds)) - 1
    assert (await files.get(*unescape(shown[0]).split("?"))).body.startswith(b"\x89PNG")
    before = len(await files.downloads())
    text, _told, page = await search(files, ds=ds, pictures="Br", fetch="1")
    assert 'class="absent"' not in text
    assert len(await files.downloads()) == before  # the page itself fetches none


async def test_a_segment_that_is_no_image_has_no_film_strip(files):
    ds = "hmi.sharp_cea_720s[][2014.01.01/12m]"
    _, _, page = await search(files, ds=ds, pictures="nothing")
    assert not [a for a in page.assets if a.startswith("/api/quicklook")]


@given(st.integers(0, 5000), st.integers(2, FRAMES[-1]))
async def test_pictures_are_spread_over_all_records(total, most):
    places = spread(total, most)
    assert len(places) == min(total, most)
    assert places == sorted(set(places))
    if total > 1:
        assert (places[0], places[-1]) == (0, total - 1)
    if len(places) > 2:
        steps = [b - a for a, b in itertools.pairwise(places)]
        assert max(steps) - min(steps) <= 1
