"""What a backup says of itself, written and read again."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import StorageError
from mirror.services.transfer.backup_manifest import (
    Manifest,
    decode_manifest,
    decode_sums,
    encode_manifest,
    encode_sums,
)

HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
COUNTS = st.integers(0, 2**62)
MANIFESTS = st.builds(Manifest, st.text(), st.text(), COUNTS, COUNTS, COUNTS, st.booleans(), HASHES)


@given(MANIFESTS)
def test_a_manifest_comes_back_as_it_was(manifest):
    assert decode_manifest(encode_manifest(manifest), "x") == manifest


@given(HASHES, st.lists(HASHES, unique=True))
def test_the_list_of_hashes_comes_back_in_order(index, blobs):
    assert decode_sums(encode_sums(index, blobs), "x") == (index, sorted(blobs))


@given(MANIFESTS, st.sampled_from(["made_at", "schema", "files", "size", "index_only", "sums"]),
       st.one_of(st.none(), st.floats(), st.text(max_size=5), st.booleans(), st.integers(-9, -1), st.just([])))  # fmt: skip
def test_a_member_of_another_kind_is_refused_or_right(manifest, name, value):
    members = json.loads(encode_manifest(manifest)) | {name: value}
    with suppress(StorageError):
        found = decode_manifest(json.dumps(members).encode(), "x")
        assert type(getattr(found, name)) is type(getattr(manifest, name))


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_in_words(data):
    for decode in (decode_manifest, decode_sums):
        with pytest.raises(StorageError, match="here"):
            decode(data, "here")


def test_a_newer_version_is_named():
    text = encode_manifest(Manifest("", "", 1, 0, 0, False, "0" * 64)).replace(
        b'"version": 1', b'"version": 2'
    )
    with pytest.raises(StorageError, match=r"version 2, this program knows 1; use a newer one"):
        decode_manifest(text, "x")


@pytest.mark.parametrize(
    "line", ["0" * 64 + "  ../../../etc/passwd", "0" * 64 + "  ../blobs/00/" + "1" * 64, "x"]
)
def test_a_line_that_names_another_file_is_refused(line):
    with pytest.raises(StorageError, match="damaged in line 2"):
        decode_sums(encode_sums("0" * 64, []) + line.encode() + b"\n", "x")
