"""``mirror cutout`` and ``mirror film``: parts of images as FITS files in a folder, and images as an MP4."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import click

from mirror.api.contract import Asked, Endpoint
from mirror.api.exports import CANCEL, Job, ListedFile
from mirror.api.images import FILM, FILM_FILE, FITS, CutoutQuery, FilmBody
from mirror.cli.jobs import wait_for
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option, limit_option, remark, show, warn_if_stale
from mirror.cli.support.parameters import GivenPath, NewFile, segment_names, series_names
from mirror.client.connection import begun
from mirror.client.cutouts import Cutout, address_of, images_of
from mirror.client.delivery import Delivered, Failure, kept, name_problem
from mirror.errors import BadRequest
from mirror.humanize import counted, in_words

#: Cutouts under way at a time; the mirror makes one after the other.
AT_ONCE = 2
#: Pixels that a frame of a film may have on its longer side.
FILM_SIZES = (128, 256, 512, 1024)


class Pair(click.ParamType[tuple[float, float]]):
    """Two numbers separated by a comma."""

    name = "numbers"

    def convert(
        self, value: str | tuple[float, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """The two numbers."""
        if isinstance(value, tuple):
            return value
        try:
            first, second = (float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r}; expected two numbers with a comma, such as 200,-300", param, ctx)
        return first, second


@click.command
@click.argument("recordset", shell_complete=series_names)
@click.option("--center", "--centre", "centre", type=Pair(), metavar="X,Y", help="The centre of the cutout.")
@click.option("--size", type=Pair(), metavar="W,H", help="Its width and height.")
@click.option("--units", type=click.Choice(["arcsec", "pixels"]), default="arcsec", show_default=True,
              help="Arcsec from disk centre, or FITS pixel numbers.")  # fmt: skip
@click.option("--scale", metavar="1/N", help="Average squares of N x N pixels.")
@click.option("--track", is_flag=True, help="Move the centre with the rotation of the Sun.")
@click.option("--t-ref", metavar="TIME", help="When the centre is at X,Y, for --track. Default: the first record.")
@click.option("--seg", "--segments", "seg", metavar="NAMES", shell_complete=segment_names, help="Segments, separated by commas. Default: all.")
@limit_option
@click.option("--to", "folder", type=GivenPath(file_okay=False, path_type=Path), default=".",
              help="Folder for the files, created if needed. Default: the current one.")  # fmt: skip
@json_option
@url_option
def cutout(
    recordset: str,
    daemon: Daemon,
    centre: tuple[float, float] | None,
    size: tuple[float, float] | None,
    units: Literal["arcsec", "pixels"],
    scale: str | None,
    track: bool,
    t_ref: str | None,
    seg: str | None,
    limit: int | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Cut parts out of images, as FITS files.

    The mirror cuts the files that it has, and fetches the others first. Pixels are not resampled; the header has all
    keywords of the record, with the pointing of the cutout. A cutout that reaches over the edge of the image is smaller.

    \b
        mirror cutout 'hmi.m_720s[2014.01.01/1h]' --center 200,-300 --size 600,600 --to data
        mirror cutout 'aia.lev1_euv_12s[2014.01.01/1h@5m][171]{image}' --center 0,0 --size 300,300 --track
        mirror cutout 'hmi.m_720s[2014.01.01]' --scale 1/4

    With --track all cutouts have the same number of pixels, as the frames of a film need.
    """
    wanted = Cutout(centre, size, units, scale, track or t_ref is not None, t_ref)
    if centre is None and size is None and not scale:
        raise click.UsageError("nothing to do: give --center and --size, or --scale")
    try:
        wanted.check()
    except BadRequest as problem:
        raise click.UsageError(str(problem)) from problem
    asked = wanted.query(recordset, daemon.ask)
    files = images_of(recordset, seg or "", limit, lambda *question: _with_warning(daemon, *question))
    if clash := name_problem([file.name for file in files]):
        raise click.ClickException(clash)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        came = list(pool.map(lambda file: _bring(daemon, folder, file, asked), files))
    _report(folder, came, as_json=as_json)
    if any(isinstance(each, Failure) for each in came):
        raise SystemExit(1)


def _with_warning(daemon: Daemon, endpoint: Endpoint[Any, Any], asked: Asked) -> Any:
    answer, headers = daemon.exchange(endpoint, asked)
    warn_if_stale(headers)
    return answer


def _bring(daemon: Daemon, folder: Path, file: ListedFile, asked: CutoutQuery) -> Delivered | Failure:
    """One cutout; the file gets its name only once it is whole."""
    try:
        with daemon.stream(FITS.path.format(recordset=address_of(file)), asked) as answer:
            data = answer.read()
        kept(folder, file.name, data)
    except click.ClickException as problem:
        return Failure(file.name, file.record, file.segment, problem.message)
    except OSError as problem:
        return Failure(file.name, file.record, file.segment, problem.strerror or str(problem))
    return Delivered(file.name, file.record, file.segment, "downloaded", len(data))


def _report(folder: Path, came: list[Delivered | Failure], *, as_json: bool) -> None:
    delivered = [each for each in came if isinstance(each, Delivered)]
    failed = [each for each in came if isinstance(each, Failure)]
    size = sum(each.size for each in delivered)
    if as_json:
        answer = {"folder": str(folder.absolute()), "files": [asdict(d) for d in delivered], "bytes": size}
        click.echo(json.dumps({**answer, "failed": [asdict(f) for f in failed]}, indent=2, ensure_ascii=False))
        return
    for each in delivered:
        click.echo(folder / each.name)
    for lost in failed:
        name = f"{lost.record}{{{lost.segment}}}"
        remark(f"failed: {lost.error if name in lost.error else f'{name}: {lost.error}'}")
    remark(f"{counted(len(delivered), 'cutout')}, {in_words(size)}")


@click.command
@click.argument("recordset", shell_complete=series_names)
@click.option("--to", "path", required=True, type=NewFile(".mp4"), help="File of the film: .mp4.")
@click.option("--seg", "--segments", "seg", metavar="NAME", shell_complete=segment_names, help="Segment. Default: the first image.")
@limit_option
@click.option("--size", type=click.Choice(FILM_SIZES), default=512, show_default=True, help="Pixels a side at most.")
@click.option("--fps", type=click.IntRange(1, 60), default=10, show_default=True, help="Frames a second.")
@click.option("--step", type=click.IntRange(1), default=1, show_default=True, help="Only every N-th record.")
@click.option("--fetch", is_flag=True, help="Fetch records and files that are not cached from JSOC.")
@json_option
@url_option
def film(
    recordset: str,
    daemon: Daemon,
    path: Path,
    seg: str | None,
    limit: int | None,
    size: int,
    fps: int,
    step: int,
    *,
    fetch: bool,
    as_json: bool,
) -> None:
    """Make a film of the images of a record set.

    The mirror makes it as a job, of the files that are cached; with --fetch the others are fetched first. Ctrl-C cancels it.
    Needs imageio-ffmpeg where the mirror runs: pip install 'jsoc-mirror[movies]'.

    \b
        mirror film 'aia.lev1_euv_12s[2014.01.01/1h@1m][171]{image}' --to 171.mp4
        mirror film 'hmi.m_720s[2014.01.01/10d@6h]{magnetogram}' --to field.mp4 --fps 5 --fetch
    """
    body = FilmBody(ds=recordset, seg=seg or "", n=limit, size=size, fps=fps, step=step, fetch=fetch)
    job: Job = begun(lambda: daemon.ask(FILM, body), lambda job: daemon.ask(CANCEL, id=job.id))
    try:
        job = wait_for(daemon, job)
    except KeyboardInterrupt:
        daemon.ask(CANCEL, id=job.id)
        raise
    if job.state != "done":
        raise click.ClickException(f"{job.id} {job.state}{f': {job.error}' if job.error else ''}")
    with daemon.stream(FILM_FILE.path.format(id=job.id)) as answer:
        made = answer.read()
    kept(path.parent, path.name, made)
    length = len(made)
    if as_json:
        show({"file": str(path.absolute()), "job": job.id, "frames": job.ready, "bytes": length, "notes": job.notes}, "json")
        return
    click.echo(path)
    for note in job.notes:
        remark(note)
    remark(f"{counted(job.ready, 'record')}, {in_words(length)}")
