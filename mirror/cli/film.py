"""``mirror film``: the images of a record set as an MP4."""

from __future__ import annotations

from pathlib import Path

import click

from mirror.api.exports import CANCEL, Job
from mirror.api.films import FILM, FILM_FILE, FilmBody
from mirror.cli.fill import wait_for
from mirror.cli.support.completion import segment_names, series_names
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option, limit_option, remark, show
from mirror.cli.support.paths import NewFile
from mirror.humanize import counted, in_words

#: Pixels that a frame may have on its longer side.
SIZES = (128, 256, 512, 1024)


@click.command
@click.argument("recordset", shell_complete=series_names)
@click.option("--to", "path", required=True, type=NewFile(".mp4"), help="File of the film: .mp4.")
@click.option("--seg", "--segments", "seg", metavar="NAME", shell_complete=segment_names, help="Segment. Default: the first image.")
@limit_option
@click.option("--size", type=click.Choice(SIZES), default=512, show_default=True, help="Pixels a side at most.")
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
    job: Job = daemon.ask(FILM, body)
    try:
        job = wait_for(daemon, job)
    except KeyboardInterrupt:
        daemon.ask(CANCEL, id=job.id)
        raise
    if job.state != "done":
        raise click.ClickException(f"{job.id} {job.state}{f': {job.error}' if job.error else ''}")
    part = path.with_name(f".{path.name}.part")
    with daemon.stream(FILM_FILE.path.format(id=job.id)) as answer:
        length = part.write_bytes(answer.read())
    part.replace(path)
    if as_json:
        show({"file": str(path.absolute()), "job": job.id, "frames": job.ready, "bytes": length, "notes": job.notes}, "json")
        return
    click.echo(path)
    for note in job.notes:
        remark(note)
    remark(f"{counted(job.ready, 'record')}, {in_words(length)}")
