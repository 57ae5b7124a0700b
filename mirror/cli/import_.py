"""``mirror import``: a bundle into the store."""

from __future__ import annotations

from pathlib import Path

import click

from mirror.api.transfer import IMPORT, ImportBody
from mirror.cli.support.daemon import Daemon, store_option
from mirror.cli.support.output import json_option, remark, show, watched
from mirror.humanize import counted, in_words

_STEPS = {"checking": "checking the bundle", "records": "taking records in", "files": "taking files in"}


@click.command("import")
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
@store_option
def import_(bundle: Path, daemon: Daemon, as_json: bool) -> None:
    """Take a bundle into the mirror's store; where no mirror runs, the store is opened or made.

    Everything is compared with its hash first; a bundle that is damaged changes nothing. Of a record that
    is held in two versions the newest counts. To import a bundle again changes nothing.

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
