"""``mirror bundle`` and ``mirror import``: a part of the mirror on a disk, and that added to another store."""

from __future__ import annotations

from pathlib import Path

import click

from mirror.api.transfer import BUNDLE, IMPORT, BundleBody, ImportBody
from mirror.cli.support.daemon import Daemon, store_option, url_option
from mirror.cli.support.output import json_option, remark, show, watched
from mirror.cli.support.parameters import GivenPath, series_names
from mirror.humanize import counted, in_words

#: Items that are listed one by one.
MOST_TOLD = 20
_STEPS = {
    "asking": "asking JSOC",
    "records": "records",
    "fetching": "fetching files",
    "files": "copying files",
}


@click.command
@click.argument("recordsets", shell_complete=series_names, nargs=-1, required=True)
@click.option("--to", "disk", required=True, type=GivenPath(file_okay=False, path_type=Path),
              help="Folder of the bundle; an existing bundle is extended.")  # fmt: skip
@click.option("--files/--no-files", default=True, show_default=True, help="Include the files of the records.")
@click.option("--cached", "held", is_flag=True, help="Include cached data only; never contact JSOC.")
@click.option("--held", "held", is_flag=True, hidden=True)
@click.option("--protocol", type=click.Choice(["as-is", "fits"]), default="as-is", show_default=True,
              help="fits: also include what FITS exports need.")  # fmt: skip
@click.option("--email", metavar="ADDRESS", help="Include that this address is registered at JSOC.")
@json_option
@url_option
def bundle(
    recordsets: tuple[str, ...],
    daemon: Daemon,
    disk: Path,
    files: bool,
    held: bool,
    protocol: str,
    email: str | None,
    as_json: bool,
) -> None:
    """Copy part of the mirror to a folder, to carry it to a laptop or another lab.

    A bundle has all keywords of the records, their coverage and their files. Missing data are fetched from
    JSOC first. After `mirror import`, searches, exports and downloads of these data work offline.

    \b
        mirror bundle 'hmi.m_720s[2014.01.01/1d]' --to /media/disk/january
        mirror bundle 'hmi.sharp_cea_720s[4864]{Br,Bt,Bp}' --to /media/disk/ar --protocol fits
        mirror bundle 'hmi.v_45s[2014.01.01/30d]' --to /media/disk/ar --no-files --cached
        mirror import /media/disk/january
    """
    body = BundleBody(
        recordsets=recordsets,
        to=str(disk.absolute()),
        files=files,
        held=held,
        fits=protocol == "fits",
        address=email,
    )
    made = watched(daemon, BUNDLE, body, _STEPS)
    if as_json:
        show(made, "json")
    else:
        click.echo(made.bundle)
        _tell("not cached, not in the bundle", made.missing)
        _tell("not available", [f"{failed.file}: {failed.error}" for failed in made.failed])
        remark(f"{counted(made.records, 'record')}, {counted(made.files, 'file')}, {in_words(made.size)}")
    if (made.missing or made.failed) and not held:
        raise SystemExit(1)


def _tell(what: str, lines: list[str]) -> None:
    for line in lines[:MOST_TOLD]:
        remark(f"{what}: {line}")
    if len(lines) > MOST_TOLD:
        remark(f"and {len(lines) - MOST_TOLD:,} more; --json lists all")


_IMPORT_STEPS = {"checking": "checking the bundle", "records": "importing records", "files": "importing files"}


@click.command("import")
@click.argument("bundle", type=GivenPath(exists=True, file_okay=False, path_type=Path))
@json_option
@store_option
def import_(bundle: Path, daemon: Daemon, as_json: bool) -> None:
    """Add a bundle to the store.

    The bundle is verified first; a damaged one changes nothing. If a record exists in two versions, the newer
    one is used. Importing a bundle twice is harmless.

    \b
        mirror import /media/disk/january
        MIRROR_UPSTREAM__POLICY=offline mirror serve
    """
    done = watched(daemon, IMPORT, ImportBody(bundle=str(bundle.absolute())), _IMPORT_STEPS)
    if as_json:
        show(done, "json")
        return
    new = f"{done.new_files:,} of them new ({in_words(done.new_bytes)})"
    remark(
        f"{counted(done.records, 'record')} of {done.series:,} series, {counted(done.files, 'file')}, {new}; "
        f"as of {done.made_at}"
    )
