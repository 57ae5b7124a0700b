"""``mirror.Client`` and ``mirror.AsyncClient`` in front of a whole mirror."""

from __future__ import annotations

import asyncio

import pandas as pd
import pytest
import pytest_asyncio

import mirror as package
from mirror.errors import BadRequest
from tests.lab import lab

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        await made.ask(HOUR)
        yield made


@pytest.fixture
def client(mirror):
    """Both clients, each method awaited: the one that waits does so in a thread."""

    class Both:
        def __init__(self) -> None:
            self.waiting = package.Client(mirror.url)
            self.awaited = package.AsyncClient(mirror.url)

        async def each(self, name: str, *arguments: object, **named: object) -> list[object]:
            return [
                await asyncio.to_thread(getattr(self.waiting, name), *arguments, **named),
                await getattr(self.awaited, name)(*arguments, **named),
            ]

    return Both()


async def test_sql_gives_a_frame_with_types(client):
    statement = "SELECT t_rec, quality FROM hmi.v_45s WHERE recnum > ? ORDER BY t_rec"
    for frame in await client.each("sql", statement, [0]):
        assert len(frame) == 80
        assert frame["T_REC"].iloc[0].isoformat() == "2013-12-31T23:59:25"
        assert frame["QUALITY"].dtype.kind == "i"


async def test_sql_gives_an_arrow_table(client):
    for table in await client.each("sql", "SELECT $a::INT AS a", {"a": 7}, kind="arrow"):
        assert table.to_pydict() == {"a": [7]}


async def test_sql_gives_a_polars_frame(client):
    for frame in await client.each("sql", "SELECT 7 AS a", kind="polars"):
        assert frame.to_dict(as_series=False) == {"a": [7]}


async def test_a_search_takes_a_condition_in_sql(client):
    whole, _ = await client.each("search", HOUR, "T_REC,DATAMEAN")
    for frame in await client.each("search", HOUR, "T_REC,DATAMEAN", where="datamean > 2"):
        assert list(frame["T_REC"]) == list(
            whole["T_REC"][pd.to_numeric(whole["DATAMEAN"], errors="coerce") > 2]
        )


async def test_a_search_gives_what_jsoc_prints(client):
    for frame in await client.each("search", HOUR, ["T_REC", "QUALITY"], n=2):
        assert list(frame["T_REC"]) == ["2014.01.01_00:00:00_TAI", "2014.01.01_00:00:45_TAI"]
    for frame in await client.each("search", HOUR, n=1):
        assert "T_REC" in frame


async def test_a_search_is_typed_as_drms_types_it(mirror, client):
    import drms

    names = "T_REC,QUALITY,DATAMEAN,CAMERA,DATE,*recnum*"
    theirs = await asyncio.to_thread(
        lambda: drms.Client(server=package.server_config(mirror.url)).query(HOUR, key=names.replace(",*recnum*", ""), rec_index=False)
    )
    for ours in await client.each("search", HOUR, names):
        for name in theirs:
            assert ours[name].dtype == theirs[name].dtype, name
            assert list(ours[name]) == list(theirs[name]) or theirs[name].isna().any()
        assert ours["*recnum*"].dtype.kind == "i"
    (frame, _) = await client.each("search", HOUR, names, times=True)
    assert frame["T_REC"].iloc[1].isoformat() == "2014-01-01T00:00:45"
    (text, _) = await client.each("search", HOUR, "QUALITY", typed=False)
    assert text["QUALITY"].iloc[0].startswith("0x")


async def test_columns_are_found_in_any_case(client):
    (frame, _) = await client.each("sql", "SELECT t_rec, quality FROM hmi.v_45s")
    assert frame["t_rec"].equals(frame["T_REC"])
    assert frame.Quality.equals(frame["QUALITY"])
    assert list(frame[["t_rec", "quality"]].columns) == list(frame.columns)
    assert frame.head()["quality"].size == 5
    with pytest.raises(KeyError):
        frame["nope"]


async def test_a_search_is_an_arrow_table_a_polars_frame_or_a_qtable_with_units(client):
    import astropy.units as u
    from astropy.time import Time

    names = "T_REC,DATAMEAN,OBS_VR,QUALITY"
    (arrow, _) = await client.each("search", HOUR, names, kind="arrow")
    (polars, _) = await client.each("search", HOUR, names, kind="polars")
    assert arrow.column_names == polars.columns == names.split(",")
    assert str(arrow.schema.field("OBS_VR").type) == "double"
    (table, _) = await client.each("search", HOUR, names, kind="astropy")
    assert table["OBS_VR"].unit == u.m / u.s
    assert isinstance(table["T_REC"], Time)
    assert (table["T_REC"].scale, table["T_REC"][1].isot) == ("tai", "2014-01-01T00:00:45.000")
    (empty, _) = await client.each("search", HOUR, names, kind="astropy", where="recnum < 0")
    assert (len(empty), empty.colnames) == (0, names.split(","))
    with pytest.raises(package.RemoteError.__mro__[1], match="expected one of pandas"):
        await asyncio.to_thread(client.waiting.search, HOUR, kind="excel")


async def test_what_is_not_installed_is_named_with_its_extra(client, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "polars", None)
    monkeypatch.setitem(sys.modules, "sunpy.map", None)
    monkeypatch.setitem(sys.modules, "xarray", None)
    for name, extra, more in (("search", "polars", {"kind": "polars"}), ("maps", "maps", {}), ("cube", "cube", {})):
        with pytest.raises(ImportError, match=rf"pip install 'jsoc-mirror\[{extra}\]'"):
            await asyncio.to_thread(getattr(client.waiting, name), HOUR, **more)


async def test_help_and_dir_and_notebooks_show_what_there_is(client):
    import pydoc

    assert {"Client", "AsyncClient", "Dataset", "use", "server_config"} <= set(dir(package))
    text = pydoc.plain(pydoc.render_doc(package))
    assert "class Client" in text and "def use" in text.replace("use(", "def use(")
    assert {"search", "cube", "dataset", "estimate"} <= set(dir(package.AsyncClient))
    assert "80 records of 1 series" in await asyncio.to_thread(client.waiting._repr_html_)
    assert "no mirror at" in await asyncio.to_thread(package.Client("http://127.0.0.1:1")._repr_html_)
    (estimate, _) = await client.each("estimate", HOUR)
    assert "<caption>Estimate</caption>" in estimate._repr_html_()


async def test_what_is_held_is_told(client):
    for frame in await client.each("series"):
        assert list(frame["series"]) == ["hmi.V_45s"]
    for frame in await client.each("coverage", "hmi.v_45s"):
        assert frame["slots"].sum() == 80
    for status in await client.each("status"):
        assert status["records"] == 80


async def test_a_refusal_comes_in_the_words_of_the_mirror(client):
    for method, argument in (("sql", "SELECT foo FROM hmi.v_45s"), ("search", "hmi.v_45s[")):
        with pytest.raises(package.RemoteError) as waiting:
            await asyncio.to_thread(getattr(client.waiting, method), argument)
        with pytest.raises(package.RemoteError) as awaited:
            await getattr(client.awaited, method)(argument)
        assert str(waiting.value) == str(awaited.value)
        assert waiting.value.code == awaited.value.code == 400


async def test_where_no_mirror_is_it_says_what_to_do():
    with pytest.raises(package.RemoteError, match="mirror serve"):
        await asyncio.to_thread(package.Client("http://127.0.0.1:1").status)
    with pytest.raises(package.RemoteError, match="mirror serve"):
        await package.AsyncClient("http://127.0.0.1:1").status()


async def test_the_environment_names_the_mirror(monkeypatch):
    monkeypatch.setenv("MIRROR_URL", "http://example.org:8040/")
    assert package.Client().url == package.AsyncClient().url == "http://example.org:8040"


async def test_an_answer_that_breaks_off_is_no_table(client):
    statement = (
        "SELECT CASE WHEN range = 3000000 THEN error('in the middle') ELSE range END FROM range(4000000)"
    )
    with pytest.raises(package.RemoteError, match="was lost"):
        await asyncio.to_thread(client.waiting.sql, statement)
    with pytest.raises(package.RemoteError, match="was lost"):
        await client.awaited.sql(statement)


async def test_sql_fills_when_it_is_told_to(client):
    statement = "SELECT count(*)::INT AS n FROM jsoc('hmi.v_45s[2014.01.02_TAI/10m]')"
    for table in await client.each("sql", statement, kind="arrow", fill=True):
        assert table.to_pydict()["n"][0] > 0


async def test_large_fetches_changes_and_pins(mirror, client):
    (job, again) = await client.each("fill", "hmi.v_45s[2014.01.03_TAI/10m]")
    assert (job.state, again.state) == ("done", "done")
    for frame in await client.each("changes"):
        assert len(frame) == 0
    with pytest.raises(package.RemoteError):
        await asyncio.to_thread(client.waiting.subscribe, "hmi.v_45s", "-1d")  # there is no config.toml to write to
    for pinned in await client.each("pin", HOUR):
        assert pinned.pinned == 0


WRONG = [
    (lambda c: c.search(5), "the record set is 5; expected a text"),
    (lambda c: c.search(b"x"), "the record set is b'x'; expected a text"),
    (lambda c: c.search("π"), "ds has the character 'π'; expected characters of Latin-1"),
    (lambda c: c.search(HOUR, key=5), "names are 5; expected a text with commas, or a list of texts"),
    (lambda c: c.search(HOUR, kind="table"), "kind is 'table'; expected one of pandas, polars, arrow, astropy"),
    (lambda c: c.sql(None), "the statement is None; expected SQL as a text"),
    (lambda c: c.sql("SELECT $u", {"u": object()}), "a parameter is of a type that SQL does not have"),
    (lambda c: c.fetch(HOUR, protocol="zip"), "protocol is 'zip'; expected as-is or fits"),
    (lambda c: c.cutout(HOUR, scale=4), "scale is 4; expected 1 over a whole number, such as 1/4"),
    (lambda c: c.changes(since="soon"), "since = 'soon'; expected a date"),
]


@pytest.mark.parametrize("call, words", WRONG, ids=range(len(WRONG)))
async def test_a_wrong_argument_is_one_clear_error(mirror, call, words):
    with pytest.raises((package.RemoteError, BadRequest)) as caught:
        await asyncio.to_thread(call, package.Client(mirror.url))
    assert words in str(caught.value)


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://", 5])
async def test_what_is_no_address_is_said_at_once(url):
    for make in (package.Client, package.AsyncClient, package.use, package.server_config):
        with pytest.raises(ValueError, match="is not the address of a mirror; expected something like 'http://host:8040'"):
            make(url)


async def test_a_table_without_records_has_the_types_of_its_columns(client):
    for table in await client.each("search", "hmi.v_45s[2030.01.01_TAI]", key="T_REC,DATAMEAN,QUALITY", kind="arrow"):
        assert [str(kind) for kind in table.schema.types] == ["string", "double", "int64"]
