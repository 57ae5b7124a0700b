"""Exported files, against the files that the real exporter made of the same records."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from astropy.io import fits

from mirror.errors import Refused, UnknownName, UpstreamBroken
from mirror.fits import Exporter, RecordValues, assemble, ones_complement, read_archive
from mirror.fits.header import Header
from tests.fits.recorded_cases import BREAKS_THE_FILE, HEADSUM_OPEN, Case, cards_of, cases

CASES = {case.number: case for case in cases()}
EXPORTED = [c for c in CASES.values() if c.failure is None and c.archived[:6] == b"SIMPLE"]
REFUSED = [c for c in CASES.values() if c.failure is not None and c.archived is not None]
#: Their series has an integer keyword EXTNAME; the recorded export breaks that rule of the standard too.
INTEGER_EXTNAME = {40, 41}
#: COMMENT and HISTORY cards move to the end each time.
STEADY = [c for c in EXPORTED if not any(c.exact.get(n) for n in ("HISTORY", "COMMENT")) and c.number != 94]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def named(case: Case) -> str:
    return f"{case.number:03d}-{case.record}-{case.segment}"


def export(case: Case, **changes) -> bytes:
    archive = read_archive(case.archived)
    arguments = {"now": case.export_time} | changes
    return assemble(archive, case.values, case.series, case.segment, **arguments).apply(case.archived)


def without(cards: list[str], *names: str) -> list[str]:
    return [card for card in cards if not card.startswith(names)]


@pytest.mark.parametrize("case", EXPORTED, ids=named)
def test_an_export_equals_the_recorded_one_card_for_card(case):
    ours, recorded = cards_of(export(case)), cards_of(case.exported)
    if case.number in HEADSUM_OPEN:
        # HEADSUM changed by the same sum as CHECKSUM makes up for; all else is equal.
        ours, recorded = without(ours, "HEADSUM", "CHECKSUM"), without(recorded, "HEADSUM", "CHECKSUM")
    assert ours == recorded


@pytest.mark.parametrize("case", [c for c in EXPORTED if c.number not in HEADSUM_OPEN], ids=named)
def test_an_export_equals_the_recorded_one_byte_for_byte(case):
    assert export(case) == case.exported


@pytest.mark.parametrize("case", EXPORTED, ids=named)
def test_astropy_accepts_an_export_its_checksums_and_its_pixels(case):
    with fits.open(io.BytesIO(export(case)), checksum=True) as ours, fits.open(
        io.BytesIO(case.archived)
    ) as archived:  # fmt: skip
        if case.number not in INTEGER_EXTNAME:
            ours.verify("exception")
        np.testing.assert_array_equal(ours[-1].data, archived[-1].data)


@pytest.mark.parametrize("case", REFUSED, ids=named)
def test_what_the_exporter_cannot_write_is_refused(case):
    archive = read_archive(case.archived)
    with pytest.raises(Refused):
        assemble(archive, case.values, case.series, case.segment, now=NOW)


def test_a_keyword_mapped_to_the_files_structure_is_named_in_the_refusal():
    case = CASES[BREAKS_THE_FILE]
    with pytest.raises(Refused, match="NAXIS"):
        assemble(read_archive(case.archived), case.values, case.series, case.segment, now=NOW)


def test_a_file_of_a_generic_segment_is_exported_as_it_is():
    case = CASES[69]
    assert case.archived == case.exported
    with pytest.raises(UpstreamBroken, match="not a FITS file"):
        read_archive(case.archived)


@pytest.mark.parametrize("case", STEADY, ids=named)
def test_an_export_of_an_export_changes_nothing_not_even_its_time(case):
    again = replace(case, archived=case.exported)
    assert export(again, now=NOW) == again.archived


# ---- values that are not exact ---------------------------------------------------------------------


@pytest.mark.parametrize("case", [CASES[n] for n in (1, 10, 21, 35, 84)], ids=named)
def test_printed_texts_give_a_valid_file_with_the_same_names_and_say_so(case):
    printed = RecordValues(int(case.exact["*recnum*"]), case.printed, exact=False)
    patch = assemble(read_archive(case.archived), printed, case.series, case.segment, now=NOW)
    assert not patch.exact
    ours, recorded = fits.Header(map(fits.Card.fromstring, cards_of(patch.head))), cards_of(case.exported)
    names = [card[:8] for card in recorded]
    assert [card[:8] for card in cards_of(patch.head)] == names
    exact = fits.Header(map(fits.Card.fromstring, recorded))
    for name in ("CRPIX1", "DATAMEAN", "EXPTIME", "OBS_VR", "QUALITY", "OWN"):
        if isinstance(exact.get(name), float):
            assert ours[name] == pytest.approx(exact[name], rel=1e-3, abs=1e-3)


def test_a_file_of_exact_texts_says_so():
    case = CASES[1]
    assert assemble(read_archive(case.archived), case.values, case.series, "dopplergram", now=NOW).exact


def test_a_record_without_one_of_its_values_is_an_error_that_names_the_keyword():
    case = CASES[1]
    texts = {name: text for name, text in case.exact.items() if name != "CRPIX1"}
    with pytest.raises(UnknownName, match="CRPIX1"):
        assemble(read_archive(case.archived), RecordValues(1, texts), case.series, case.segment, now=NOW)


def test_an_unknown_segment_is_an_error_that_names_it():
    case = CASES[1]
    with pytest.raises(UnknownName, match="bogus"):
        assemble(read_archive(case.archived), case.values, case.series, "bogus", now=NOW)


def test_a_text_that_is_no_value_of_its_keyword_is_an_error_that_names_both():
    case = CASES[1]
    texts = case.exact | {"CAMERA": "front"}
    with pytest.raises(UpstreamBroken, match=r"CAMERA.*'front'"):
        assemble(read_archive(case.archived), RecordValues(1, texts), case.series, case.segment, now=NOW)


# ---- the plan ----------------------------------------------------------------------------------------


def test_a_plan_needs_the_head_of_the_archived_file_only():
    case = CASES[8]
    archive = read_archive(case.archived)
    short = read_archive(case.archived[: archive.data_start])
    patch = assemble(short, case.values, case.series, case.segment, now=case.export_time)
    assert patch.apply(case.archived) == case.exported
    assert patch.size == len(case.exported)
    assert patch.copy_start == archive.data_start


# ---- checksums ---------------------------------------------------------------------------------------


def stripped(case: Case) -> bytes:
    """The archived file without CHECKSUM and DATASUM."""
    archive = read_archive(case.archived)
    header = Header(without(list(archive.cards), "CHECKSUM", "DATASUM"))
    return case.archived[:2880] + header.to_bytes() + case.archived[archive.data_start :]


def test_a_file_without_sums_gets_them_at_its_end_once_its_data_are_summed():
    case = CASES[8]
    bare = replace(case, archived=stripped(case))
    with pytest.raises(Refused, match="DATASUM"):
        export(bare, now=NOW)
    archive = read_archive(bare.archived)
    total = ones_complement(bare.archived[archive.data_start :])
    made = export(bare, now=NOW, data_sum=total)
    assert [card[:8] for card in cards_of(made)[-2:]] == ["CHECKSUM", "DATASUM "]
    with fits.open(io.BytesIO(made), checksum=True, disable_image_compression=True) as hdus:
        assert hdus[1].header["DATASUM"] == str(total)
        assert hdus[1].header.comments["CHECKSUM"] == "HDU checksum updated 2026-01-02T03:04:05"


def test_a_wrong_data_sum_in_the_archive_is_corrected_by_the_given_one():
    case = CASES[8]
    archive = read_archive(case.archived)
    wrong = tuple(
        c.replace(str(archive.stated_sum), "0".ljust(8)) if c.startswith("DATASUM") else c
        for c in archive.cards
    )
    patch = assemble(
        replace(archive, cards=tuple(c[:80].ljust(80) for c in wrong), stated_sum=0),
        case.values, case.series, case.segment, now=NOW, data_sum=archive.stated_sum,
    )  # fmt: skip
    with fits.open(
        io.BytesIO(patch.apply(case.archived)), checksum=True, disable_image_compression=True
    ) as hdus:
        assert hdus[1].header["DATASUM"] == str(archive.stated_sum)


def test_an_exporter_that_has_made_others_before_makes_the_same_file():
    by_segment = {}
    for case in (*EXPORTED, *EXPORTED[::-1]):
        exporter = by_segment.setdefault((case.series, case.segment), Exporter(case.series, case.segment))
        patch = exporter.assemble(read_archive(case.archived), case.values, now=case.export_time)
        assert patch.apply(case.archived) == export(case), named(case)
    assert len(by_segment) < len(EXPORTED)


def test_zeros_of_either_sign_are_told_apart_by_one_exporter():
    case = next(c for c in EXPORTED if "CRVAL1" in c.values.texts)
    exporter, heads = Exporter(case.series, case.segment), []
    for text in ("0", "-0", "0"):
        values = replace(case.values, texts={**case.values.texts, "CRVAL1": text})
        heads.append(exporter.assemble(read_archive(case.archived), values, now=NOW).head)
    assert (heads[0] == heads[2], heads[0] == heads[1]) == (True, False)
