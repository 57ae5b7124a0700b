"""What downloads consist of: any part of them is that part of the whole, and tags tell them apart."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from mirror.services.exports.content import Content, ReplacedHeader, Stretch, content_of, length
from mirror.storage.files.table import Blob

DATA = bytes(range(256)) * 4
BLOB = Blob(hashlib.sha256(DATA).hexdigest(), len(DATA), 5.0, 0.0, 0.0)
FRONTS = {front.sha256: data for data in (b"", b"a", b"front" * 9) for front in [ReplacedHeader.of(data, 3, 50)]}


def bytes_of(part):
    if isinstance(part, bytes):
        return part
    return FRONTS[part.sha256] if isinstance(part, ReplacedHeader) else DATA[part.start : part.start + part.size]


stretches = st.builds(
    lambda lo, n: Stretch(BLOB, lo, min(n, len(DATA) - lo)), st.integers(0, 1024), st.integers(0, 99)
)
parts = st.one_of(
    st.binary(max_size=40), stretches, st.sampled_from([ReplacedHeader.of(d, 3, 50) for d in FRONTS.values()])
)
contents = st.builds(lambda each: Content(tuple(each), 0.0), st.lists(parts, max_size=6))


@given(contents, st.integers(0, 400), st.integers(0, 400))
def test_a_cut_is_that_part_of_the_whole(content, start, end):
    whole = b"".join(map(bytes_of, content.parts))
    assert content.size == len(whole)
    pieces = list(content.cut(start, end))
    assert all(0 <= lo < hi <= length(part) for part, lo, hi in pieces)
    assert b"".join(bytes_of(part)[lo:hi] for part, lo, hi in pieces) == whole[start:end]


@given(contents, contents)
def test_contents_with_one_tag_are_the_same_bytes(one, other):
    if one.tag == other.tag:
        assert b"".join(map(bytes_of, one.parts)) == b"".join(map(bytes_of, other.parts))


def test_the_tag_of_a_whole_blob_is_its_hash_and_a_part_of_it_has_another():
    assert content_of(BLOB).tag == BLOB.sha256
    assert Content((Stretch(BLOB, 0, 10),), 0.0).tag != BLOB.sha256


def test_a_file_with_a_front_is_that_and_what_follows_of_the_blob():
    front = ReplacedHeader.of(b"new headers", 100, 200)
    content = content_of(BLOB, front, modified=7.0)
    assert (content.size, content.modified, content_of(BLOB).modified) == (front.whole, 7.0, 5.0)
    assert content.parts == (front, Stretch(BLOB, 100, 200))
