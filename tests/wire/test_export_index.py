"""Index files and tables of keywords of whole recorded exports."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from drms.client import ExportRequest as DrmsRequest
from hypothesis import given
from hypothesis import strategies as st

from mirror.drms.export import AppliedStep, ExportFile, Finished
from mirror.drms.exportrules import index_of
from mirror.errors import UpstreamBroken
from mirror.wire.answer import load_object
from mirror.wire.export import decode_answer, decode_fetch, encode_answer
from mirror.wire.export_index import (
    KeywordColumn,
    KeywordTable,
    decode_index_json,
    encode_index_html,
    encode_index_json,
    encode_index_txt,
    encode_keywords,
    read_number,
)
from tests.recorded import DATA
from tests.wire.export_tables import decode_index_txt, decode_keywords

EXPORTS = sorted((DATA / "exports").iterdir())
by_name = pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.name)


def recorded(export):
    return decode_index_txt((export / "index.txt").read_bytes())


@by_name
def test_recorded_index_files_are_encoded_to_the_same_bytes(export):
    index = recorded(export)
    assert encode_index_txt(index) == (export / "index.txt").read_bytes()
    assert encode_index_json(index) == (export / "index.json").read_bytes()
    assert encode_index_html(index) == (export / "index.html").read_bytes()


@by_name
def test_both_index_files_tell_the_same_but_for_the_processing(export):
    told = decode_index_json((export / "index.json").read_bytes())
    whole = recorded(export)
    assert told == Finished(
        **{name: getattr(whole, name) for name in Finished.__slots__} | {"processing": ()}
    )


@by_name
def test_an_index_made_from_the_request_is_the_recorded_one(export):
    steps = load_object(b'{"steps":' + (export / "trace.json").read_bytes() + b"}")["steps"]
    index = recorded(export)
    files = () if export.name == "fits_missing" else index.files
    made = index_of(
        index.request_id,
        decode_fetch(steps[0]["params"]),
        files,
        directory=index.dir,
        size=index.size << 20,
        made=datetime.strptime(index.exptime or "2000.01.01_00:00:00_UT", "%Y.%m.%d_%H:%M:%S_UT").replace(
            tzinfo=UTC
        ),
        processing=index.processing,
    )
    assert made == index


@by_name
def test_recorded_tables_of_keywords_are_encoded_to_the_same_bytes(export):
    for path in export.glob("*.keywords.txt"):
        table = decode_keywords(path.read_bytes())
        assert encode_keywords(table) == path.read_bytes()
        assert {"T_REC", "QUALITY"} <= {column.name for column in table.columns}


def test_links_lead_where_they_are_told():
    html = encode_index_html(recorded(EXPORTS[0]), base="http://localhost:8040").decode("latin-1")
    assert 'HREF="http://localhost:8040/SUM41/D600000701/S00000/hmi.v_45s.20140101_000000' in html
    assert "stanford" not in html


def test_nothing_in_a_page_is_taken_for_html():
    file = ExportFile("a.b[<script>alert('1')</script>]{s}", 'x"><b>.fits')
    html = encode_index_html(Finished("JSOC_20140101_001", "url", "as-is", 1, 1, "/d", (file,)))
    assert b"<script" not in html
    assert b"<b>.fits" not in html


def test_an_index_without_records_ends_after_its_header():
    index = Finished("JSOC_20140101_001", "url", "as-is", 0, 0, "")
    assert encode_index_txt(index).endswith(b"status=0\n")
    assert decode_index_txt(encode_index_txt(index)) == index
    assert decode_index_json(encode_index_json(index)) == index
    assert encode_index_html(index).endswith(b"</table></body></html>\n")


def test_several_processing_steps_are_read_back():
    steps = (
        AppliedStep("im_patch", (("t", "0"), ("x", "-1"))),
        AppliedStep("no_arguments"),
        AppliedStep("rebin"),
    )
    files = (ExportFile("a.b[1]", "s.fits"),)
    index = Finished(
        "JSOC_20140101_001", "url", "fits", 1, 1, "/d", files, "**IN FITS FILES**", None, "now", steps
    )
    assert decode_index_txt(encode_index_txt(index)) == index
    assert encode_index_html(index).count(b"<b>argument</b>") == 3


def test_a_value_cannot_break_a_table_of_keywords():
    table = KeywordTable((KeywordColumn("A", "int", "%d"),), ("a.b[1]",), (("one\ttwo\n",),))
    assert decode_keywords(encode_keywords(table)).rows == (("one two ",),)


plain = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/\\"), min_size=1)
names = plain.filter(lambda name: not name.startswith("#") and name != "..")
files = st.lists(st.builds(ExportFile, names, names), min_size=1).map(tuple)


@given(files, plain.filter(lambda text: "-tar" not in text), st.none() | plain)
def test_an_index_survives_both_of_its_files(rows, method, exptime):
    protocol = "as-is" if exptime is None else "fits"
    keywords = "/d/JSOC_20140101_001.keywords.txt" if exptime is None else "**IN FITS FILES**"
    index = Finished(
        "JSOC_20140101_001", method, protocol, len(rows), 1, "/d", rows, keywords, exptime=exptime
    )
    assert decode_index_json(encode_index_json(index)) == index
    assert decode_index_txt(encode_index_txt(index)) == index


# ---- as the drms client reads them ----------------------------------------------------------------

SERVER = SimpleNamespace(_server=SimpleNamespace(http_download_baseurl="http://jsoc.stanford.edu/"))


def read_by_drms(answer):
    """What the unmodified client makes of an answer."""
    return DrmsRequest(load_object(encode_answer(answer)), SERVER)


@by_name
def test_the_drms_client_finds_the_files_of_a_finished_export(export):
    index = recorded(export)
    request = read_by_drms(index)
    assert request.has_succeeded(skip_update=True)
    assert (request.id, request.dir, request.keywords) == (index.request_id, index.dir, index.keywords)
    assert request._d["size"]  # sunpy shows it
    if index.tarfile is not None:
        assert list(request.urls.url) == [f"http://jsoc.stanford.edu{index.tarfile}"]
    else:
        assert list(request.urls.url) == [
            f"http://jsoc.stanford.edu{index.dir}/{file.filename}" for file in index.files
        ]


def test_the_drms_client_finds_the_files_of_an_immediate_export():
    answer = decode_answer(
        b'{"status":0,"requestid":"","method":"url_quick","protocol":"as-is","rcount":1,"count":1,"size":1,'
        b'"data":[{"record":"a.b[1]{s}","filename":"\\/SUM1\\/D1\\/S00000\\/s.fits"}],"wait":0,"dir":""}'
    )
    request = read_by_drms(answer)
    assert (request.id, request.dir) == (None, None)
    assert list(request.urls.url) == ["http://jsoc.stanford.edu/SUM1/D1/S00000/s.fits"]
    assert list(request.urls.filename) == ["s.fits"]


@pytest.mark.parametrize("size", [float("inf"), float("-inf"), float("nan"), 10**400, "1e5", "9" * 19, True, None])
def test_a_number_that_no_file_has_is_no_number(size):
    with pytest.raises(UpstreamBroken, match="member 'size': expected a number"):
        read_number({"size": size}, "size")
