"""``mirror import``: a bundle into the store."""

from __future__ import annotations

from pathlib import Path

import click

from mirror.api.transfer import IMPORT, ImportBody
from mirror.cli.support.daemon import Daemon, store_option
from mirror.cli.support.output import json_option, remark, show, watched
from mirror.cli.support.paths import GivenPath
from mirror.humanize import counted, in_words

_STEPS = {"checking": "checking the bundle", "records": "importing records", "files": "importing files"}


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
    done = watched(daemon, IMPORT, ImportBody(bundle=str(bundle.absolute())), _STEPS)
    if as_json:
        show(done, "json")
        return
    new = f"{done.new_files:,} of them new ({in_words(done.new_bytes)})"
    remark(
        f"{counted(done.records, 'record')} of {done.series:,} series, {counted(done.files, 'file')}, {new}; "
        f"as of {done.made_at}"
    )
