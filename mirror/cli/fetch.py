"""``mirror fetch``: the files of a record set, into a folder, with a progress bar."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from http.client import HTTPMessage
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from mirror.api.exports import FILES, JOB, ExportBody, FilesQuery, Job, JobFile, JobQuery, ListedFile
from mirror.api.fills import Estimate
from mirror.cli.export import begin, why_failed
from mirror.cli.jobs import wait_for
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import (
    announce_estimate,
    dry_run_option,
    estimate_of_export,
    json_option,
    limit_option,
    remark,
    show_estimate,
    warn_if_stale,
)
from mirror.cli.support.parameters import GivenPath, segment_names, series_names, why_empty
from mirror.client.delivery import Delivered, Delivery, Failure, Item, name_problem
from mirror.humanize import counted, in_words

#: Files under way at a time, and failures that are listed one by one.
AT_ONCE, MOST_TOLD = 4, 20
#: How often, and after how many seconds each, to check whether a download has its place in the store.
NOTED_TRIES, NOTED_PAUSE = 20, 0.1
#: Seconds after which a waiting user is shown the reason.
QUIET = 3.0
_WHY = {
    "nowhere": "this record has no such file",
    "offline": "on tape at JSOC; staging did not succeed",
}
_NEEDS_ADDRESS = (
    "on tape at JSOC; staging needs a registered address: --email ADDRESS"
)
_NOT_MADE = (
    "JSOC has no file, or its keywords cannot be written as FITS; try --protocol as-is"
)


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch, in the words of the API."""

    ds: str
    seg: str | None
    n: int | None
    name: str | None
    email: str | None


@click.command
@click.argument("recordset", shell_complete=series_names)
@click.option("--to", "folder", type=GivenPath(file_okay=False, path_type=Path), default=".",
              help="Target folder; created if missing.  [default: current folder]")  # fmt: skip
@click.option("--protocol", type=click.Choice(["as-is", "fits"]), default="as-is", show_default=True,
              help="as-is: the archived files; fits: with keywords in the FITS header.")  # fmt: skip
@click.option("--seg", "--segments", "seg", metavar="NAMES", shell_complete=segment_names, help="Segments, comma-separated.  [default: all]")
@limit_option
@click.option("--name", metavar="FORMAT", help="Format of file names, as JSOC's filenamefmt.")
@click.option(
    "--email", metavar="ADDRESS", help="Registered address for files that JSOC must stage from tape."
)
@click.option("--copy", is_flag=True, help="Make copies instead of hard links into the store.")
@click.option("--cached", is_flag=True, help="Fetch cached files only; never contact JSOC.")
@click.option("--held", "cached", is_flag=True, hidden=True)
@click.option("--overwrite", is_flag=True, help="Replace existing files of a different size.")
@dry_run_option
@json_option
@url_option
def fetch(
    recordset: str,
    daemon: Daemon,
    folder: Path,
    protocol: str,
    seg: str | None,
    limit: int | None,
    name: str | None,
    email: str | None,
    copy: bool,
    cached: bool,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Download the files of records into a folder.

    Cached files are available at once; missing ones are fetched from JSOC and cached. On the mirror's own
    machine files are read-only hard links into its store, which take no space (--copy makes copies); with
    --protocol fits they are always copies. Files that are already in the folder are skipped, so an
    interrupted fetch can be repeated.

    \b
        mirror fetch 'hmi.m_720s[2014.01.01/1h]' --to data
        mirror fetch 'hmi.m_720s[2014.01.01/1h]' --to data --protocol fits
        mirror fetch 'aia.lev1_euv_12s[2014.01.01/1m][171]{image}' --name '{T_REC:A}.{WAVELNTH}.fits'
        mirror fetch 'hmi.sharp_cea_720s[4864][$]' --seg Br,Bt,Bp --json
        mirror fetch 'hmi.m_720s[2014.01.01/1d]' --to data --cached
        mirror fetch 'hmi.m_720s[2014.01.01/30d]' --dry-run

    Prints one file name per line. Files that could not be fetched are listed on stderr, and the exit code is 1.
    As in every export, records without an image (QUALITY below 0) are skipped, unless the record set has a
    condition on QUALITY.
    """
    def estimate() -> Estimate:
        return estimate_of_export(daemon, recordset, seg, limit)

    if dry_run:
        show_estimate(estimate(), as_json=as_json)
        return
    if cached and protocol == "fits":
        raise click.UsageError("--cached fetches archived files; expected it without --protocol fits")
    if not cached:
        announce_estimate(estimate)
    started = time.monotonic()
    wanted = FetchRequest(recordset, seg, limit, name, email)
    console = Console(stderr=True)
    with _bar(console) as progress:
        found = _cached if cached else _as_fits if protocol == "fits" else _as_is
        items, failed = found(daemon, wanted, progress)
        problem = name_problem([item.name for item in items])
        if problem:
            raise click.ClickException(problem)
        _make(folder)  # only now: where no mirror answers, nothing is left behind
        came = _bring_all(items, progress, lambda arrived: Delivery(
            daemon.connection, folder, arrived, link=not copy, overwrite=overwrite))  # fmt: skip
        if protocol == "as-is" and not copy:
            came = _linked_now(daemon, wanted, folder, came)
    delivered = [each for each in came if isinstance(each, Delivered)]
    failed += [each for each in came if isinstance(each, Failure)]
    _report(folder, delivered, failed, time.monotonic() - started, as_json=as_json)
    if not items and not failed and not as_json:
        remark(why_empty(daemon, recordset) or ("Nothing of this set is cached." if cached else "No record of this set has an image."))
    if failed or not delivered:
        raise SystemExit(1)


# ---- what there is ------------------------------------------------------------------------------


def _as_is(daemon: Daemon, wanted: FetchRequest, progress: Progress) -> tuple[list[Item], list[Failure]]:
    """The archived files; those on tape are brought back first."""
    listed, answer = _listed(daemon, wanted)
    warn_if_stale(answer)
    why = dict(_WHY)
    if offline := sum(file.state == "offline" for file in listed):
        remark(
            f"{offline:,} of {counted(len(listed), 'file')} are on tape; JSOC must stage them, which may take hours"
        )
        job = _made(daemon, wanted, "as-is", progress)
        why["offline"] = _why_offline(wanted, job)
        listed, _ = _listed(daemon, wanted)
    items = [_item(file, file.segment) for file in listed if file.path]
    missing = [file for file in listed if not file.path]
    return items, [Failure(f.name, f.record, f.segment, why[f.state]) for f in missing]


def _cached(daemon: Daemon, wanted: FetchRequest, _: Progress) -> tuple[list[Item], list[Failure]]:
    """The archived files that are cached; how many are not is printed, and is not a failure."""
    listed, _answer = _listed(daemon, wanted, {"Cache-Control": "only-if-cached"})
    items = [_item(file, file.segment) for file in listed if file.state == "held"]
    if lacking := len(listed) - len(items):
        remark(f"{lacking:,} of {counted(len(listed), 'file')} {'is' if lacking == 1 else 'are'} not cached")
    return items, []


def _as_fits(daemon: Daemon, wanted: FetchRequest, progress: Progress) -> tuple[list[Item], list[Failure]]:
    """The files of an export by the mirror."""
    job = _made(daemon, wanted, "fits", progress)
    if job.state == "failed":
        raise click.ClickException(f"{job.id} failed: {why_failed(job)}")
    files = daemon.ask(JOB, JobQuery(places=True), id=job.id).files or []
    items = [_item(file) for file in files if file.path]
    lost = records_without(_listed(daemon, wanted)[0], [item.record for item in items])
    return items, [Failure("", record, "", _NOT_MADE) for record in lost]


def _why_offline(wanted: FetchRequest, job: Job) -> str:
    """Why files are still on tape after the export that should have brought them back."""
    error = job.error or ""
    return _NEEDS_ADDRESS if not wanted.email and "email" in error else error or _WHY["offline"]


def records_without(listed: Sequence[ListedFile], made: Sequence[str]) -> list[str]:
    """The records of which an export has fewer files than segments with one, in their order."""
    wanted = Counter(file.record for file in listed if file.state != "nowhere")
    return list(wanted - Counter(made))


def _listed(
    daemon: Daemon, wanted: FetchRequest, headers: Mapping[str, str] | None = None
) -> tuple[list[ListedFile], HTTPMessage]:
    """The archived files, and how the mirror found them."""
    asked = FilesQuery(ds=wanted.ds, seg=wanted.seg or "", n=wanted.n, name=wanted.name, places=True)
    return daemon.exchange(FILES, asked, headers)


def _made(daemon: Daemon, wanted: FetchRequest, protocol: str, progress: Progress) -> Job:
    """The job of an export of these files, once it has ended."""
    task = progress.add_task("preparing at the mirror", total=None, files="")
    export = ExportBody(
        ds=wanted.ds, seg=wanted.seg or "", n=wanted.n, name=wanted.name, email=wanted.email, protocol=protocol
    )
    job = begin(daemon, export)
    quiet_until: float | None = time.monotonic() + QUIET

    def watch(ready: int, total: int) -> None:
        nonlocal quiet_until
        progress.update(task, files=f"{ready}/{total} files")
        if quiet_until is not None and time.monotonic() > quiet_until:
            quiet_until = None
            remark(
                f"waiting for {job.id}; after Ctrl-C the job continues, and the same command resumes"
            )

    try:
        return wait_for(daemon, job, watch)
    finally:
        progress.remove_task(task)


def _item(file: ListedFile | JobFile, segment: str = "") -> Item:
    return Item(file.name, file.record, segment, file.path, file.size, file.sha256, file.place or None)


# ---- how it comes -------------------------------------------------------------------------------


def _bring_all(
    items: Sequence[Item], progress: Progress, delivery_to: Callable[[Callable[[int], None]], Delivery]
) -> list[Delivered | Failure]:
    """Every file, or why it failed, in order; ctrl-C ends all at once."""
    sizes = {item.name: item.size for item in items}
    task = progress.add_task("fetching", total=expected_bytes(sizes), files=f"0/{len(items)} files")
    delivery = delivery_to(lambda count: progress.advance(task, count))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures: list[Future[Delivered | Failure]] = [pool.submit(delivery.bring, item) for item in items]
        try:
            for count, ended in enumerate(as_completed(futures), start=1):
                each = ended.result()
                sizes[each.name] = each.size if isinstance(each, Delivered) else 0
                progress.update(task, files=f"{count}/{len(items)} files", total=expected_bytes(sizes))
        except BaseException:
            delivery.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _linked_now(
    daemon: Daemon, wanted: FetchRequest, folder: Path, came: Sequence[Delivered | Failure]
) -> list[Delivered | Failure]:
    """The same files, with downloads replaced by links, if the mirror is on this machine.

    A file that was not cached before has its place in the store only after the download.
    """
    loaded = {each.name for each in came if isinstance(each, Delivered) and each.how == "downloaded"}
    if not loaded:
        return list(came)
    for _ in range(NOTED_TRIES):  # the mirror records a file just after it has sent the last byte
        listed = [file for file in _listed(daemon, wanted)[0] if file.name in loaded]
        if all(file.state == "held" for file in listed):
            break
        time.sleep(NOTED_PAUSE)
    items = [_item(f, f.segment) for f in listed if f.place and Path(f.place).exists()]
    delivery = Delivery(daemon.connection, folder, lambda _: None, link=True, overwrite=True)
    linked = {item.name for item in items if delivery.link(item)}
    return [
        replace(each, how="linked") if isinstance(each, Delivered) and each.name in linked else each
        for each in came
    ]


def expected_bytes(sizes: Mapping[str, int | None]) -> int | None:
    """The bytes of all files, unknown sizes assumed to be the average; None if no size is known."""
    known = [size for size in sizes.values() if size is not None]
    return sum(known) * len(sizes) // len(known) if any(known) else None


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[files]}"))
    figures = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*columns, *figures, console=console, transient=True, disable=not console.is_terminal)


# ---- what is told -------------------------------------------------------------------------------


def _report(
    folder: Path, delivered: Sequence[Delivered], failed: Sequence[Failure], seconds: float, *, as_json: bool
) -> None:
    size = sum(each.size for each in delivered)
    if as_json:
        files, missing = ([asdict(each) for each in group] for group in (delivered, failed))
        answer = {"folder": str(folder.absolute()), "files": files, "failed": missing, "bytes": size}
        click.echo(json.dumps({**answer, "seconds": round(seconds, 3)}, indent=2, ensure_ascii=False))
        return
    for each in delivered:
        click.echo(folder / each.name)
    for lost in failed[:MOST_TOLD]:
        part = f"{{{lost.segment}}}" if lost.segment else ""
        remark(f"not fetched: {lost.record}{part}: {lost.error}")
    if len(failed) > MOST_TOLD:
        remark(f"and {len(failed) - MOST_TOLD:,} more not fetched; --json lists all")
    ways = Counter(each.how for each in delivered)
    parts = ", ".join(f"{count:,} {_WAYS[how]}" for how, count in ways.items())
    remark(
        f"{counted(len(delivered), 'file')}, {in_words(size)} in {seconds:.1f} s"
        + (f": {parts}" if parts else "")
    )


_WAYS = {"linked": "linked from the store", "downloaded": "downloaded", "there": "already there"}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise click.ClickException(f"cannot create folder {folder}: {problem.strerror}") from problem
