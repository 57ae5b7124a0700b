"""What bundles and backups say of themselves, written and read again; and what they may not say."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.coverage.coverage import Between, Box, Region
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.errors import StorageError
from mirror.services.transfer.manifests import (
    Backup,
    Bundle,
    Claim,
    Structure,
    Table,
    decode_manifest,
    decode_sums,
    encode_manifest,
    encode_sums,
    joined,
)

HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
NUMBERS = st.integers(MIN, MAX)
TIMES = st.floats(0, 1e10)
SERIES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}\.[A-Z][a-z0-9_]{0,8}", fullmatch=True)
STEPS = st.tuples(NUMBERS, NUMBERS, st.integers(1, 99)).map(lambda t: Steps(min(t[:2]), max(t[:2]), t[2]))
RESTRICTIONS = st.one_of(st.none(), st.text(max_size=9), st.builds(Between, NUMBERS, NUMBERS))
REGIONS = st.builds(Region, st.lists(RESTRICTIONS, max_size=3).map(tuple), st.booleans())
BOXES = st.builds(Box, REGIONS, st.lists(STEPS, max_size=3).map(tuple))
FILES = st.from_regex(r"tables/[a-z0-9_-][a-z0-9_.-]{0,20}\.parquet", fullmatch=True)
COUNTS = st.integers(0, 2**62)
RECORDS = st.builds(
    Table, st.just("records"), FILES, HASHES, COUNTS, COUNTS, SERIES,
    st.dictionaries(st.integers(0, 999), st.lists(st.text(max_size=5), max_size=3).map(tuple), max_size=2),
    st.lists(st.builds(Claim.of, BOXES, TIMES), max_size=3).map(tuple),
)  # fmt: skip
OTHERS = st.builds(Table, st.sampled_from(["holdings", "facts"]), FILES, HASHES, COUNTS, COUNTS)
STRUCTURES = st.builds(
    Structure, SERIES, st.text(max_size=20), TIMES,
    st.dictionaries(st.text(max_size=9), st.tuples(TIMES, TIMES), max_size=3),
)  # fmt: skip
BUNDLES = st.builds(
    Bundle, st.text(max_size=20), st.text(max_size=20), st.lists(st.text(max_size=20), max_size=3).map(tuple),
    st.lists(STRUCTURES, max_size=2, unique_by=lambda s: s.name.lower()).map(tuple),
    st.lists(RECORDS | OTHERS, max_size=3, unique_by=lambda t: t.file).map(tuple),
)  # fmt: skip


@given(BUNDLES)
def test_a_manifest_comes_back_as_it_was(bundle):
    assert decode_manifest(encode_manifest(bundle), Bundle, "x") == bundle


@given(BUNDLES, BUNDLES)
def test_a_bundle_that_was_added_to_has_the_tables_and_series_of_both(old, new):
    both = joined(old, new)
    assert {t.file for t in both.tables} == {t.file for t in (*old.tables, *new.tables)}
    assert both.tables[len(both.tables) - len(new.tables) :] == new.tables
    assert {s.name.lower() for s in both.series} == {s.name.lower() for s in (*old.series, *new.series)}
    assert joined(both, new).tables == both.tables


@given(st.binary(max_size=100))
def test_other_bytes_are_refused_in_words(data):
    with pytest.raises(StorageError, match="here"):
        decode_manifest(data, Bundle, "here")


def given_members():
    table = Table(
        "records",
        "tables/a.parquet",
        "0" * 64,
        1,
        1,
        "hmi.v_45s",
        {1: ("T_REC",)},
        (Claim.of(Box(Region((None,)), (Steps(1, 2),)), 1.0),),
    )
    bundle = Bundle("", "", ("a",), (Structure("hmi.v_45s", "{}", 1.0, {"a": (0.0, 1.0)}),), (table,))
    return json.loads(encode_manifest(bundle))


@pytest.mark.parametrize(
    "name",
    ["../x.parquet", "/etc/passwd", "tables/../../x.parquet", "tables/a/b.parquet", "tables/.parquet", "tables/a.txt",
     "tables/A.parquet", "tables/a.parquet\0", "tables/a.parquet\n", "tables//a.parquet", "", None, 7, ["tables/a.parquet"]],
)  # fmt: skip
def test_a_table_lies_among_the_tables_and_nowhere_else(name):
    members = given_members()
    members["tables"][0]["file"] = name
    with pytest.raises(StorageError, match=r"x is damaged: tables\[0\]\.file"):
        decode_manifest(json.dumps(members).encode(), Bundle, "x")


@pytest.mark.parametrize(
    "name", ['hmi."; DROP TABLE x', "mirror", "hmi.v.x", "hmi.v 45s", "hmi.v\n", "", None, 3]
)
def test_a_series_has_a_name_that_is_one(name):
    members = given_members()
    members["series"][0]["name"] = name
    with pytest.raises(StorageError, match=r"series\[0\]\.name"):
        decode_manifest(json.dumps(members).encode(), Bundle, "x")


@pytest.mark.parametrize(
    "path, value",
    [(("tables", 0, "size"), -1), (("tables", 0, "size"), True), (("tables", 0, "rows"), "1"), (("tables", 0, "rows"), 1e3),
     (("tables", 0, "sha256"), "0" * 63), (("tables", 0, "keysets"), {"a": []}), (("tables", 0, "keysets"), {"1": "T_REC"}),
     (("tables", 0, "claims", 0, "steps"), [[2, 1, 1]]), (("tables", 0, "claims", 0, "steps"), [[1, 2, 0]]),
     (("tables", 0, "claims", 0, "steps"), [[1, 2]]), (("tables", 0, "claims", 0, "others"), [[1]]),
     (("tables", 0, "claims", 0, "others"), [{}]), (("tables", 0, "claims", 0, "checked_at"), None), (("tables", 0, "kind"), "blobs"), (("tables",), {}), (("series",), None),
     (("series", 0, "precision"), {"a": [1]}), (("series", 0, "precision"), {"a": [-1, 0]}), (("asked",), "a"), (("made_at",), 1)],
)  # fmt: skip
def test_a_member_that_is_not_what_it_should_be_is_named(path, value):
    members = given_members()
    inner = members
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(StorageError, match=f"x is damaged: {path[0]}"):
        decode_manifest(json.dumps(members).encode(), Bundle, "x")


def test_a_newer_version_is_named():
    with pytest.raises(StorageError, match=r"version 2, this program knows 1; use a newer jsoc-mirror"):
        decode_manifest(json.dumps(given_members() | {"version": 2}).encode(), Bundle, "x")


def test_a_member_that_a_later_program_added_is_passed_over():
    assert decode_manifest(json.dumps(given_members() | {"colour": "red"}).encode(), Bundle, "x").asked == ("a",)


BACKUPS = st.builds(Backup, st.text(), st.text(), COUNTS, COUNTS, COUNTS, st.booleans(), HASHES)


@given(BACKUPS)
def test_the_manifest_of_a_backup_comes_back_as_it_was(manifest):
    assert decode_manifest(encode_manifest(manifest), Backup, "x") == manifest


@given(HASHES, st.lists(HASHES, unique=True))
def test_the_list_of_hashes_comes_back_in_order(index, blobs):
    assert decode_sums(encode_sums(index, blobs), "x") == (index, sorted(blobs))


@given(BACKUPS, st.sampled_from(["made_at", "schema", "files", "size", "index_only", "sums"]),
       st.one_of(st.none(), st.floats(), st.text(max_size=5), st.booleans(), st.integers(-9, -1), st.just([])))  # fmt: skip
def test_a_member_of_another_kind_is_refused_or_right(manifest, name, value):
    members = json.loads(encode_manifest(manifest)) | {name: value}
    with suppress(StorageError):
        found = decode_manifest(json.dumps(members).encode(), Backup, "x")
        assert type(getattr(found, name)) is type(getattr(manifest, name))


@given(st.binary(max_size=200))
def test_other_bytes_of_a_backup_are_refused_in_words(data):
    for decode in (lambda given, where: decode_manifest(given, Backup, where), decode_sums):
        with pytest.raises(StorageError, match="here"):
            decode(data, "here")


def test_a_newer_version_of_a_backup_is_named():
    text = encode_manifest(Backup("", "", 1, 0, 0, False, "0" * 64)).replace(
        b'"version": 1', b'"version": 2'
    )
    with pytest.raises(StorageError, match=r"version 2, this program knows 1; use a newer jsoc-mirror"):
        decode_manifest(text, Backup, "x")


@pytest.mark.parametrize(
    "line", ["0" * 64 + "  ../../../etc/passwd", "0" * 64 + "  ../blobs/00/" + "1" * 64, "x"]
)
def test_a_line_that_names_another_file_is_refused(line):
    with pytest.raises(StorageError, match="damaged in line 2"):
        decode_sums(encode_sums("0" * 64, []) + line.encode() + b"\n", "x")
