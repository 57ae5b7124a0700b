"""``mirror dataset``: fixed versions of records, with their files, under a name that a paper can cite."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.api import datasets as api
from mirror.api.contract import Nothing, plain
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, json_option, readable, remark, show, watched
from mirror.cli.support.parameters import GivenPath, dataset_names
from mirror.client.connection import RemoteError
from mirror.humanize import counted, in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Items that are listed one by one.
MOST_TOLD = 20
_STEPS = {"asking": "asking JSOC", "records": "records", "files": "files", "writing": "writing"}


@click.group
def dataset() -> None:
    """Keep records and files as they are now, to cite them.

    A data set has the numbers of its records, so their versions, and the sha256 of their values and of their files. It
    stays as it is when JSOC reprocesses; its files are never evicted. A crate carries it to others, or to an archive.

    \b
        mirror dataset create ar-377 --ds 'hmi.sharp_cea_720s[377][2011.02.14/1d@1h]{Br,Bt,Bp}' --files
        mirror dataset show ar-377
        mirror dataset export ar-377 --to ar-377-crate
        mirror dataset fetch ar-377-crate
    """


@dataset.command
@click.argument("name")
@click.option("--ds", "recordsets", metavar="RECORDSET", multiple=True, help="Records to keep. Repeatable.")
@click.option("--sql", metavar="QUERY", help="A statement that gives recnum (and series, if it reads several).")
@click.option("--files", is_flag=True, help="Keep the files of the records too.")
@click.option("--title", default="", metavar="TEXT", help="Title, for citations.")
@json_option
@url_option
def create(
    name: str, daemon: Daemon, recordsets: tuple[str, ...], sql: str | None, files: bool, title: str, as_json: bool
) -> None:
    """Make a data set; what is missing of it is fetched first.

    Files are those of the segments in braces, or of all. If a record or a file is not available, it is named, and no data
    set is made; what was fetched stays cached.

    \b
        mirror dataset create quiet-sun --ds 'hmi.m_720s[2014.01.01/1d]' --files
        mirror dataset create strong --sql 'SELECT recnum FROM hmi.sharp_720s WHERE usflux > 5e22' --title 'Strong regions'
    """
    if bool(recordsets) == bool(sql):
        raise click.UsageError("expected record sets (--ds), or a statement (--sql), and not both")
    body = api.CreateBody(name=name, ds=recordsets, sql=sql, files=files, title=title)
    with _naming_all():
        made = watched(daemon, api.CREATE, body, _STEPS)
    _show(made, as_json=as_json)


@dataset.command("list")
@form_options
@url_option
def list_(daemon: Daemon, form: Form) -> None:
    """List the data sets, newest first."""
    found = daemon.ask(api.DATASETS)
    show(found, form)
    if form == "table" and not found:
        remark("no data sets yet; make one with `mirror dataset create`")


@dataset.command("show")
@click.argument("name", shell_complete=dataset_names)
@click.option("--records", is_flag=True, help="List its records.")
@click.option("--bibtex", is_flag=True, help="Print how it is cited.")
@form_options
@url_option
def show_(name: str, daemon: Daemon, records: bool, bibtex: bool, form: Form) -> None:
    """Show a data set, its records, or how it is cited."""
    if records:
        found = plain(daemon.ask(api.RECORDS, Nothing(), name=name))
        show(found if form == "json" else [{**each, "files": len(each["files"])} for each in found], form)
        return
    one = daemon.ask(api.DATASET, Nothing(), name=name)
    if bibtex:
        click.echo(one.bibtex, nl=False)
    elif form == "csv":
        show(one, form)
    else:
        _show(one, as_json=form == "json")


@dataset.command
@click.argument("name", shell_complete=dataset_names)
@json_option
@url_option
def verify(name: str, daemon: Daemon, as_json: bool) -> None:
    """Compare the store with a data set; exit code 1 if something is missing or changed.

    Records are compared by their values, files by all of their bytes.
    """
    found = watched(daemon, api.VERIFY, Nothing(), _STEPS, name=name)
    if as_json:
        show(found, "json")
    else:
        for wrong in found.problems[:MOST_TOLD]:
            part = f"{{{wrong.segment}}}" if wrong.segment else ""
            click.echo(readable(f"{wrong.record}{part} (recnum {wrong.recnum}): {wrong.problem}"))
        _tell_more(len(found.problems))
        looked = f"{counted(found.records, 'record')}, {counted(found.files, 'file')}"
        remark(f"{looked}: " + ("all as they were" if found.ok else counted(len(found.problems), "problem")))
    if not found.ok:
        raise SystemExit(1)


@dataset.command
@click.argument("name", shell_complete=dataset_names)
@json_option
@url_option
def diff(name: str, daemon: Daemon, as_json: bool) -> None:
    """Show what JSOC has reprocessed, withdrawn or added since, by record and keyword.

    JSOC is asked; while it cannot be, that is an error. The exit code is 1 if JSOC no longer has some of the records.
    """
    found = watched(daemon, api.DIFF, Nothing(), _STEPS, name=name)
    if as_json:
        show(found, "json")
    else:
        _differences(found)
    if found.withdrawn:
        raise SystemExit(1)


def _differences(found: api.Difference) -> None:
    for one in found.reprocessed:
        click.echo(readable(f"reprocessed: {one.record} (recnum {one.old}, now {one.new})"))
        for k in one.keywords:
            click.echo(readable(f"    {k.keyword}: {_value(k.old)} -> {_value(k.new)}"))
    for record in found.withdrawn:
        click.echo(readable(f"withdrawn: {record}"))
    for record in found.added:
        click.echo(readable(f"added: {record}"))
    parts = {"unchanged": found.unchanged, "reprocessed": len(found.reprocessed), "withdrawn": len(found.withdrawn)}
    remark(", ".join(f"{count:,} {word}" for word, count in {**parts, "added": len(found.added)}.items()))


@dataset.command
@click.argument("name", shell_complete=dataset_names)
@click.option("--to", "folder", required=True, type=GivenPath(file_okay=False, path_type=Path),
              help="Folder of the crate; it must not exist, or be empty.")  # fmt: skip
@click.option("--files/--no-files", default=None, help="Include the files.  [default: if the data set has any]")
@json_option
@url_option
def export(name: str, daemon: Daemon, folder: Path, files: bool | None, as_json: bool) -> None:
    """Write a data set as an RO-Crate with BagIt checksums, to publish or to carry.

    It has all keywords as Parquet, CITATION.cff and BibTeX, and the files if wished.
    """
    if files is None:
        files = daemon.ask(api.DATASET, Nothing(), name=name).files > 0
    body = api.CrateBody(crate=str(folder.absolute()), files=files)
    made = watched(daemon, api.EXPORT, body, _STEPS, name=name)
    if as_json:
        show(made, "json")
        return
    click.echo(made.crate)
    remark(f"{counted(made.files, 'file')}, {in_words(made.bytes)}, sha256:{made.sha256}")


@dataset.command
@click.argument("crate", type=str)
@json_option
@url_option
def fetch(crate: str, daemon: Daemon, as_json: bool) -> None:
    """Make the data set of a crate here: the same records, in the same versions.

    Records and files are asked of JSOC, files only if the crate has none. If JSOC no longer has some of them, each is
    printed, and no data set is made; what was fetched stays cached. A crate whose bytes were changed is refused.
    """
    if "://" in crate or not crate:
        raise click.UsageError(f"CRATE is {crate!r}; expected a folder: download the crate, and unpack it")
    body = api.CrateBody(crate=str(Path(crate).absolute()))
    with _naming_all():
        made = watched(daemon, api.FETCH, body, _STEPS)
    _show(made, as_json=as_json)


@dataset.command
@click.argument("name", shell_complete=dataset_names)
@url_option
def delete(name: str, daemon: Daemon) -> None:
    """Remove a data set; its records and files stay cached until space is needed."""
    gone = daemon.ask(api.DELETE, Nothing(), name=name)
    remark(f"removed {gone.name}: {counted(gone.records, 'record')}, {counted(gone.files, 'file')} are no longer kept")


@contextmanager
def _naming_all() -> Iterator[None]:
    """Print all that is missing, one a line, before the error that counts it."""
    try:
        yield
    except click.ClickException as problem:
        missing = problem.__cause__.missing if isinstance(problem.__cause__, RemoteError) else ()
        if not missing:
            raise
        for each in missing:
            click.echo(readable(each))
        raise click.ClickException(problem.message.partition(": ")[0]) from problem


def _show(one: api.Dataset, *, as_json: bool) -> None:
    if as_json:
        show(one, "json")
        return
    shown: dict[str, Any] = {
        "name": one.name, "title": one.title, "created": one.created, "made by": one.software,
        "statement": one.sql or ", ".join(one.ds), "records": one.records, "files": one.files, "size": in_words(one.bytes),
        "sha256": one.sha256,
    }  # fmt: skip
    shown |= {f"of {s.series}": f"{counted(s.records, 'record')}, {counted(s.files, 'file')}" for s in one.series}
    show({name: value for name, value in shown.items() if value != ""}, "table")


def _value(text: str | None) -> str:
    return "-" if text is None else text or "''"


def _tell_more(count: int) -> None:
    if count > MOST_TOLD:
        remark(f"and {count - MOST_TOLD:,} more; --json lists all")
