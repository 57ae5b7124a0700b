"""The files of an export: which there are, and their bytes on request.

Nothing is made in advance except sizes: those of the members of a tar file must be known before its first byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from mirror.drms.export import NO_DATA_FILE, ExportFile
from mirror.errors import BadRequest
from mirror.simulator.exports.cards import record_cards, with_keywords
from mirror.simulator.exports.names import Named, product_name
from mirror.simulator.exports.pictures import FILMS, PICTURES, film, picture, shrink_of
from mirror.simulator.exports.processing import (
    INPUTS,
    VECTORS,
    Frame,
    Stored,
    component,
    made_from,
    outputs,
    process,
    processed_file,
    stored_values,
)
from mirror.simulator.exports.shelf import LINKED
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from mirror.drms.export import ExportRequest, Finished
    from mirror.drms.series import Series
    from mirror.simulator.base import Rows
    from mirror.simulator.exports.planning import Plan, Records, WantedFile
    from mirror.simulator.exports.shelf import Shelf

Make = Callable[[], bytes]

_WCS = ("CDELT1", "CDELT2", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2")
_OBSERVED = ("T_OBS", "T_REC")


@dataclass(frozen=True, slots=True)
class Directory:
    """The result of a finished export: its index, and its files by name."""

    index: Finished
    files: Mapping[str, Make]


@dataclass(frozen=True, slots=True)
class Product:
    """One row of an export's data; ``make`` is None where there is no file."""

    told: ExportFile
    make: Make | None


def products(request: ExportRequest, plan: Plan, shelf: Shelf) -> list[Product]:
    """The rows of the index, in order; BadRequest for files that cannot be made."""
    if request.protocol.as_is:
        return [_as_is(request, file, at, shelf) for at, file in enumerate(plan.files)]
    there = [file for file in plan.files if file.path is not None]
    names = outputs(request.process.steps)
    if names:
        return [made for part in plan.parts for made in _vectors(request, part, names, shelf)]
    if request.protocol.name in PICTURES:
        return [_drawn(request, file, at, shelf) for at, file in enumerate(there)]
    if request.protocol.name in FILMS:
        return [_film(request, there, shelf)] if there else []
    return [_as_fits(request, file, at, shelf) for at, file in enumerate(there)]


def _read(shelf: Shelf, path: str) -> bytes:
    data = shelf.read(path)
    if data is None:
        raise FileNotFoundError(path)
    return data


def label(file: WantedFile) -> str:
    """The record with its segment in braces; a linked segment has its name at the target."""
    name = file.segment.name
    if file.segment.protocol.startswith(LINKED) and file.path:
        name = file.path.rpartition("/")[2].rpartition(".")[0] or name
    return f"{file.record}{{{name}}}"


def _as_is(request: ExportRequest, file: WantedFile, at: int, shelf: Shelf) -> Product:
    if file.path is None:
        return Product(ExportFile(f"{file.record}{{{file.segment.name}}}", NO_DATA_FILE), None)
    name = product_name(request.filenamefmt, _named(file, at))
    return Product(ExportFile(label(file), name), partial(_read, shelf, file.path))


def _named(file: WantedFile, at: int) -> Named:
    records, name = file.records, (file.path or "").rpartition("/")[2]
    return Named(records.series, records.recnums[file.at], partial(records.printed, at=file.at), name, at)


def _as_fits(request: ExportRequest, file: WantedFile, at: int, shelf: Shelf) -> Product:
    if request.process.steps:
        return _modified(request, file, at, shelf)
    name = product_name(request.filenamefmt, _named(file, at))
    return Product(ExportFile(file.record, name), partial(_exported, file, shelf))


def _exported(file: WantedFile, shelf: Shelf) -> bytes:
    """The archived file with the keywords of the record; files that are not FITS are copied."""
    assert file.path is not None
    series, segment = file.records.series, file.segment.name
    recorded = shelf.exported(series.name, file.records.recnums[file.at], segment)
    if recorded is not None:
        return recorded
    data, archived = _read(shelf, file.path), shelf.find(file.path)
    if archived is None or not archived.is_image:
        return data
    return with_keywords(data, record_cards(series, file.row, segment, {}))


# ---- pictures ----------------------------------------------------------------------------------------


def _drawn(request: ExportRequest, file: WantedFile, at: int, shelf: Shelf) -> Product:
    """A picture in place of each file, with another ending."""
    fits = _as_fits(request, file, at, shelf)
    name = f"{fits.told.filename.removesuffix('.fits')}.{request.protocol.name}"
    return Product(
        ExportFile(fits.told.record, name), partial(_picture, request, fits, request.protocol.name)
    )


def _picture(request: ExportRequest, fits: Product, kind: str) -> bytes:
    assert fits.make is not None
    return picture(stored_values(fits.make(), shrink_of(request.protocol)), kind)


def _film(request: ExportRequest, files: Sequence[WantedFile], shelf: Shelf) -> Product:
    """One film of all files, named by the query; recorded: hmi.sharp_cea_720s.mpg."""
    series, kind = files[0].records.series.name, request.protocol.name
    name = f"{series}.mpg" if kind == "mpg" else f"{series}.{files[0].segment.name}.{kind}"
    return Product(ExportFile(request.ds, name), partial(_frames, request, files, shelf))


def _frames(request: ExportRequest, files: Sequence[WantedFile], shelf: Shelf) -> bytes:
    every = shrink_of(request.protocol)
    if request.process.steps:
        made = (_modified(request, file, at, shelf) for at, file in enumerate(files))
        datas = (each.make() for each in made if each.make is not None)
    else:
        datas = (_read(shelf, file.path) for file in files if file.path is not None)
    return film([stored_values(data, every) for data in datas], request.protocol.name)


# ---- processing --------------------------------------------------------------------------------------


def _modified(request: ExportRequest, file: WantedFile, at: int, shelf: Shelf) -> Product:
    """A file of the series with ``_mod`` appended to its name, where JSOC puts processed ones."""
    series = replace(file.records.series, name=f"{file.records.series.name}_mod")
    named = replace(_named(file, at), file=f"{file.segment.name}.fits")
    name = product_name(request.filenamefmt, named, series.name)
    record = series.name + file.record.removeprefix(file.records.series.name)
    return Product(ExportFile(record, name), partial(_processed, request, file, series, shelf))


def _processed(request: ExportRequest, file: WantedFile, series: Series, shelf: Shelf) -> bytes:
    assert file.path is not None
    archived, data = shelf.find(file.path), _read(shelf, file.path)
    if archived is None or not archived.is_image:
        return data
    turned = any(step.name.startswith("aia_scale") for step in request.process.steps)
    wanted = (*_WCS, "CROTA2") if turned else _WCS
    placed = {name: value for name in wanted if (value := _number(series, file.row, name)) is not None}
    frame = Frame(stored_values(data), placed, _time(series, file.row))
    for step in request.process.steps:
        frame = process(step, frame)
    made = processed_file(archived, frame.image)
    return with_keywords(made, record_cards(series, file.row, file.segment.name, frame.keywords))


def _vectors(
    request: ExportRequest, records: Records, names: Sequence[str], shelf: Shelf
) -> Iterator[Product]:
    """The components of the field of each record, whichever segments were requested."""
    segments = [records.series.segment(name) for name in INPUTS]
    if None in segments:
        raise BadRequest(
            f"{VECTORS} works on segments {', '.join(INPUTS)}; {records.series.name} has none of them"
        )
    if request.protocol.name != "fits":
        raise BadRequest(f"{VECTORS} with protocol {request.protocol.text!r} is not simulated; expected fits")
    series = replace(records.series, name=f"{records.series.name}_mod")
    number = 0
    for at, record in enumerate(records.names):
        row = records.row(at)
        paths = {name: from_wire(row.segment(name).paths[0]) for name in INPUTS}
        if not all(path.startswith("/") for path in paths.values()):
            continue
        for name in names:
            printed = partial(records.printed, at=at)
            named = Named(records.series, records.recnums[at], printed, f"{name}.fits", number)
            number += 1
            told = ExportFile(
                series.name + record.removeprefix(records.series.name),
                product_name(request.filenamefmt, named, series.name),
            )
            yield Product(told, partial(_component, name, paths, series, row, shelf))


def _component(name: str, paths: Mapping[str, str], series: Series, row: Rows, shelf: Shelf) -> bytes:
    inputs: dict[str, Stored] = {}
    for each, path in paths.items():
        file = shelf.find(path)
        if file is None:
            raise FileNotFoundError(path)
        inputs[each] = Stored(stored_values(_read(shelf, path)), file.bscale, file.bzero)
    like = shelf.find(paths[made_from(name)])
    assert like is not None
    wanted = (*_WCS, "RSUN_OBS")
    placed = {key: value for key in wanted if (value := _number(series, row, key)) is not None}
    made = processed_file(like, component(name, inputs, placed))
    return with_keywords(made, record_cards(series, row, made_from(name), {}))


def _number(series: Series, row: Rows, name: str) -> float | None:
    keyword = series.keyword(name)
    text = "MISSING" if keyword is None else row.printed(keyword.name, True)[0]
    try:
        return float(text)
    except ValueError:
        return None


def _time(series: Series, row: Rows) -> float | None:
    for name in _OBSERVED:
        keyword = series.keyword(name)
        if keyword is not None and keyword.linkinfo is None:
            return float(row.stored(keyword.name.lower()).values[0])
    return None


def directory_files(
    index: Finished,
    rows: Sequence[Product],
    extra: Mapping[str, bytes],
    keep: Callable[[str, Make], bytes],
) -> Directory:
    """The directory: the products by name, each made through ``keep``, and what describes them."""
    made: dict[str, Make] = {
        row.told.filename: partial(keep, row.told.filename, row.make) for row in rows if row.make is not None
    }
    told: dict[str, Make] = {name: partial(bytes, data) for name, data in extra.items()}
    return Directory(index, {**told, **made})
