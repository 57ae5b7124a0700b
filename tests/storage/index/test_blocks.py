"""Blocks give the fields of their records as the texts have them, cut or not, and in the server's order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.storage.index.blocks import (
    LOOKS,
    RECENT,
    SLOTS,
    Block,
    BlockRows,
    Blocks,
    Part,
    PlacedVersion,
    block_of,
    blocks_of,
    packed,
    unpacked,
)
from mirror.storage.index.layout import SEPARATOR
from mirror.wire.rs_list import GLUE

FIELDS = {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}
#: As they stand in an answer: a backslash never stands alone.
texts = st.text(st.characters(max_codepoint=0xFF, exclude_characters=SEPARATOR + '"'), max_size=9).map(
    lambda text: text.replace("\\", "\\\\")
)
records = st.lists(st.tuples(*[texts | st.just("same")] * len(FIELDS)), min_size=1, max_size=30) | st.builds(
    lambda row, count: [row] * count, st.tuples(*[texts] * len(FIELDS)), st.integers(1, 30)
)


def table(rows, keys=None, keysets=None):
    """What the index gives of records: numbers from 1, the places on an axis from 0."""
    n = len(rows)
    columns = {"at": pa.array(range(n), pa.int64())} if keys is None else keys
    return pa.table(
        {
            "recnum": pa.array(range(1, n + 1), pa.int64()),
            "_keyset": pa.array(keysets or [7] * n, pa.int32()),
            "_raw": pa.array([SEPARATOR.join(row) + SEPARATOR for row in rows], pa.string()),
            **columns,
        }
    )


def made(rows):
    block = block_of(table(rows), {7: FIELDS})
    assert block is not None
    return block


def refiled(rows):
    """The block as it comes back from the file."""
    found = unpacked(packed(5, made(rows)), {7: FIELDS})
    assert found is not None
    return found


def values(pieces):
    return [str(piece, "latin-1").split(GLUE) for piece in pieces]


@given(records, st.data())
def test_a_window_is_the_same_of_texts_and_of_cut_ones(rows, data):
    start = data.draw(st.integers(0, len(rows) - 1))
    stop = data.draw(st.integers(start + 1, len(rows)))
    places = data.draw(st.lists(st.sampled_from(range(len(FIELDS))), min_size=1, max_size=5).map(np.array))
    expected = [[row[place] for row in rows[start:stop]] for place in places]
    for block in (made(rows), made(rows).whole(), refiled(rows)):
        found = block.pieces(start, stop, places)
        assert values(found) == expected
        assert [bytes(piece) + GLUE.encode() for piece in found] == [
            bytes(piece) for piece in block.pieces(start, stop, places, go_on=True)
        ]
        assert [block.raw(i) for i in range(len(rows))] == [SEPARATOR.join(row) for row in rows]


@given(records, st.integers(1, 9))
def test_blocks_of_many_rows_are_those_of_each_stretch(rows, slots):
    keys = {"at": pa.array([(i * 7) % 31 - 15 for i in range(len(rows))], pa.int64())}
    whole = table(rows, keys)
    numbers = range(-15 // slots, 15 // slots + 1)
    for number, block in zip(numbers, blocks_of(whole, {7: FIELDS}, numbers, slots), strict=True):
        inside = [i for i in range(len(rows)) if number * slots <= keys["at"][i].as_py() < number * slots + slots]
        expected = block_of(whole.take(pa.array(inside, pa.int64())), {7: FIELDS})
        assert block is not None
        assert expected is not None
        assert (block.recnums, block.keys) == (expected.recnums, expected.keys)
        assert [block.raw(i) for i in range(len(inside))] == [expected.raw(i) for i in range(len(inside))]


@given(records)
def test_a_block_comes_back_from_the_file_as_it_was(rows):
    keys = {"at": pa.array(range(len(rows)), pa.int64()), "q": pa.array(["x", None] * len(rows), pa.string())[: len(rows)]}
    block = block_of(table(rows, keys), {7: FIELDS})
    assert block is not None
    found = unpacked(packed(5, block), {7: FIELDS})
    assert found is not None
    assert (found.fields, found.recnums, found.keys) == (block.fields, block.recnums, block.keys)
    assert [found.raw(i) for i in range(len(rows))] == [block.raw(i) for i in range(len(rows))]
    assert values(found.pieces(0, len(rows), np.arange(5))) == values(block.pieces(0, len(rows), np.arange(5)))


@pytest.mark.parametrize("block", [None, made([("x" * 70_000,) * 5])], ids=["no block", "long texts"])
def test_what_cannot_be_packed_is_known_not_to_be_a_block(block):
    assert packed(5, block) == (5, 0, b"")
    assert unpacked(packed(5, block), {}) is None


@given(records, st.data())
def test_named_records_are_the_same_of_texts_and_of_cut_ones(rows, data):
    named = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, unique=True).map(sorted))
    for block in (made(rows), made(rows).whole(), refiled(rows)):
        part = Part(block, 0, 0, np.asarray(named, np.int32))
        assert values(part.pieces(np.array([4, 1]))) == [[rows[i][4] for i in named], [rows[i][1] for i in named]]


@given(records, st.integers(-31, 31).filter(bool))
def test_rows_of_blocks_are_a_sequence_and_columns_alike(rows, n):
    found = BlockRows([Part(made(rows), 0, len(rows)), Part(made(rows).whole(), 0, len(rows))])
    both = [*rows, *rows]
    some, expected = found.first(n), both[:n] if n > 0 else both[n:]
    assert [tuple(row.raw.split(SEPARATOR)) for row in some] == expected
    assert [list(column) for column in some.columns(["e", "a"])] == [[r[4] for r in expected], [r[0] for r in expected]]
    assert found.uncut == len(rows)


@given(st.lists(st.tuples(st.integers(0, 3) | st.none(), st.sampled_from(["", "x", "é", "z"]) | st.none()), min_size=1))
def test_the_order_is_the_servers_with_missing_keys_first(keys):
    columns = {"p": pa.array([k[0] for k in keys], pa.int64()), "q": pa.array([k[1] for k in keys], pa.string())}
    block = block_of(table([("",) * 5] * len(keys), columns), {7: FIELDS})
    order = sorted(range(len(keys)), key=lambda i: [(k is not None, k) for k in keys[i]] + [(True, i)])
    assert block is not None
    assert block.recnums == [i + 1 for i in order]
    assert list(zip(*block.keys, strict=True)) == [keys[i] for i in order]


def test_no_records_are_a_block_too():
    block = block_of(table([]), {7: FIELDS})
    assert block is not None
    assert block.whole() is block
    assert not BlockRows([Part(block, 0, 0)])


@pytest.mark.parametrize(
    "rows",
    [table([("1",) * 5, ("2",) * 5], keysets=[7, 8]), table([("a", "b", "c", "d", "Ω")])],
    ids=["of two key sets", "not of Latin-1"],
)
def test_what_cannot_be_cut_in_one_way_is_no_block(rows):
    assert block_of(rows, {7: FIELDS, 8: FIELDS}) is None


def test_a_block_is_cut_when_somebody_comes_back_and_counts_until_its_stretch_changes():
    blocks, version = Blocks(), PlacedVersion()
    slots = blocks.slots("s")
    blocks.put("s", SLOTS, 3, made([("1",) * 5]), version.number)
    for _ in range(LOOKS - 1):
        assert not blocks.is_used("s", 3)
        found = blocks.find("s", 3, version)
        assert found is not None
    assert blocks.is_used("s", 3)
    blocks.put("s", SLOTS, 3, found.whole(), version.number, used=True)
    version.advance((0, 3 * slots - 1))
    assert blocks.find("s", 3, version) is not None
    version.advance((4 * slots - 1, 4 * slots))
    assert blocks.find("s", 3, version) is None


def test_who_looks_everywhere_drives_out_nothing_that_is_used():
    blocks, version = Blocks(), PlacedVersion()
    text = "x" * 300_000
    blocks.put("s", SLOTS, 0, made([(text,) * 5]).whole(), version.number, used=True)
    for number in range(1, 60):
        blocks.put("s", SLOTS, number, made([(text,) * 5]), version.number)
    assert blocks.find("s", 0, version) is not None
    assert blocks.find("s", 1, version) is None
    assert blocks.find("s", 59, version) is not None
    assert blocks.new.bytes <= blocks.new.most


def test_a_stretch_of_too_many_records_makes_blocks_shorter():
    blocks, version = Blocks(), PlacedVersion()
    slots = blocks.slots("s")
    blocks.put("s", SLOTS, 0, made([("1",) * 5] * 5000), version.number)
    assert blocks.find("s", 0, version) is None
    assert blocks.slots("s") < slots


def test_a_block_of_another_length_is_not_taken_for_one_of_this():
    blocks, version = Blocks(), PlacedVersion()
    blocks.put("s", SLOTS, 0, made([("1",) * 5] * 5000), version.number)
    blocks.put("s", SLOTS, 1, made([("1",) * 5]), version.number)
    blocks.put("s", SLOTS, 2, None, version.number)
    assert blocks.find("s", 1, version) is None
    assert blocks.is_fit("s", 2)


def test_blocks_of_wide_windows_are_worth_reading_when_people_come_back():
    blocks = Blocks()
    looks = [[blocks.is_worth_reading("s", number) for number in range(4)] for _ in range(LOOKS)]
    assert looks == [[False] * 4] * (LOOKS - 1) + [[True] * 4]
    for number in range(RECENT):  # and elsewhere since
        blocks.is_worth_reading("t", number)
    assert not blocks.is_worth_reading("s", 0)


def test_what_is_no_block_is_not_read_again():
    blocks = Blocks()
    assert blocks.is_fit("s", 1)
    blocks.put("s", SLOTS, 1, None, 0)
    assert not blocks.is_fit("s", 1)


def test_size_counts_what_is_in_memory():
    block = made([("x" * 1000,) * 5] * 100)
    assert isinstance(block, Block)
    assert 500_000 < block.size < 600_000
    assert 500_000 < block.whole().size < 600_000
