"""``mirror adopt``: give the mirror files that you already have."""

from __future__ import annotations

import json
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mirror.api.adoption import ADOPT, UPLOAD, AdoptBody, AdoptFile, AdoptOutcome, UploadQuery
from mirror.api.contract import plain
from mirror.cli.support.daemon import Daemon, store_option
from mirror.cli.support.output import json_option, one_of, remark, show
from mirror.cli.support.parameters import GivenPath
from mirror.errors import explained
from mirror.humanize import counted, in_words
from mirror.services.adoption.inbox import remove_unchanged
from mirror.services.adoption.scan import Stamp, files_below, unit_path

#: Files in one request: JSOC is asked once for all of a series among them.
AT_ONCE = 200
_STATES = {
    "placed": "adopted",
    "held": "already cached",
    "rejected": "not adopted",
    "later": "not adopted yet",
}
_COLUMNS = ("path", "state", "record", "segment", "kind", "reason")


@dataclass
class _Run:
    """One run of the command; ``outcomes`` are as the mirror reported them."""

    daemon: Daemon
    how: str
    dry_run: bool
    outcomes: list[AdoptOutcome] = field(default_factory=list)
    removed: int = 0

    def take(self, paths: Sequence[Path], went: Callable[[int], None]) -> None:
        """Give files to the mirror, a few hundred at a time; ``went`` is called with how many more are done."""
        for start in range(0, len(paths), AT_ONCE):
            some = paths[start : start + AT_ONCE]
            self._some(some)
            went(len(some))

    def _some(self, paths: Sequence[Path]) -> None:
        stamps: dict[Path, Stamp] = {}
        for path in paths:
            try:
                found = path.stat()
                if stat.S_ISREG(found.st_mode):
                    stamps[path] = Stamp.of(found)
                else:
                    self.outcomes.append(_failed(path, "it is not a regular file"))
            except OSError as problem:
                self.outcomes.append(_failed(path, f"cannot be read: {explained(problem)}"))
        answer = self._asked(stamps) if stamps else []
        for (path, stamp), outcome in zip(stamps.items(), answer, strict=True):
            known = self._uploaded(path) if outcome.state == "unseen" else outcome
            self.outcomes.append(replace(known, path=str(path)))
            if self.how == "move" and known.same and not self.dry_run:
                self.removed += remove_unchanged(path, stamp)

    def _asked(self, stamps: dict[Path, Stamp]) -> list[AdoptOutcome]:
        files = [
            AdoptFile(path=str(path), size=s.size, mtime_ns=s.mtime_ns, inode=s.inode) for path, s in stamps.items()
        ]
        body = AdoptBody(
            files=files,
            how="copy" if self.how == "copy" else "link",
            dry_run=self.dry_run,
            compare=self.how == "move",
        )
        return self.daemon.ask(ADOPT, body).outcomes

    def _uploaded(self, path: Path) -> AdoptOutcome:
        """Send a file that the mirror cannot see itself."""
        asked = UploadQuery(name=path.name, unit=unit_path(path), dry_run=self.dry_run)
        try:
            with path.open("rb") as file:
                return self.daemon.upload(UPLOAD, asked, file).outcomes[0]
        except OSError as problem:
            return _failed(path, f"cannot be read: {explained(problem)}")


@click.command
@click.argument("paths", nargs=-1, required=True, type=GivenPath(exists=True, path_type=Path), metavar="PATH...")
@one_of("--copy", "how", "copy", "copy", help="Copy the files.  [default]")
@one_of("--link", "how", "link", "copy", help="Make hard links; your files become read-only.")
@one_of("--move", "how", "move", "copy", help="Remove your files once they are in the store.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@click.option("--all", "everything", is_flag=True, help="List every file, not only those that were not adopted.")
@json_option
@store_option
def adopt(
    paths: tuple[Path, ...], daemon: Daemon, how: str, dry_run: bool, everything: bool, as_json: bool
) -> None:
    """Add FITS files that you already have to the mirror.

    PATH is a file, or a folder to search. The mirror identifies the record and segment of each file by its
    header (DRMS_ID, RECNUM, prime keys), its name, or its path below SUM, verifies that the file is
    unchanged, and caches it. It need not be fetched from JSOC any more.

    \b
        mirror adopt ~/sunpy/data
        mirror adopt ~/sunpy/data --dry-run --all
        mirror adopt /data/hmi --link           takes no space on the disk of the store
        mirror adopt /data/old --move

    Exported files (keywords in the header) serve exports with protocol fits and `mirror fetch --protocol
    fits`; archived files serve all. Files that were changed or cannot be identified are not adopted; they
    are listed with the reason, and the exit code is 1.
    """
    unreadable: list[AdoptOutcome] = []
    files = list(files_below(
        (path.absolute() for path in paths),
        lambda path, problem: unreadable.append(_failed(path, f"cannot be read: {explained(problem)}"))))  # fmt: skip
    run = _Run(daemon, how, dry_run, unreadable)
    with _bar() as progress:
        task = progress.add_task("adopting", total=len(files))
        run.take(files, lambda count: progress.advance(task, count))
    _report(run, everything=everything, as_json=as_json)
    if not run.outcomes or any(o.state not in ("placed", "held") for o in run.outcomes):
        raise SystemExit(1)


def _bar() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _failed(path: Path, reason: str) -> AdoptOutcome:
    return AdoptOutcome(path=str(path), state="rejected", reason=reason)


def _report(run: _Run, *, everything: bool, as_json: bool) -> None:
    states: Counter[str] = Counter(o.state for o in run.outcomes)
    if as_json:
        answer = {"dry_run": run.dry_run, "files": plain(run.outcomes), "removed": run.removed, **_counts(states)}
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    listed = [o for o in run.outcomes if everything or o.state not in ("placed", "held")]
    if listed:
        rows = [[getattr(o, name) for name in _COLUMNS] for o in listed]
        show({"columns": _COLUMNS, "rows": rows}, "table")
    size = sum(o.size for o in run.outcomes if o.state == "placed")
    parts = [f"{states[state]:,} {'would be ' if run.dry_run and state == 'placed' else ''}{words}"
             for state, words in _STATES.items() if states[state]]  # fmt: skip
    moved = f"; {run.removed:,} of yours removed" if run.how == "move" and not run.dry_run else ""
    found = ": " + ", ".join(parts) if parts else " found; folders are searched for *.fits"
    remark(f"{counted(len(run.outcomes), 'file')}{found}; {in_words(size)}{moved}")


def _counts(states: Counter[str]) -> dict[str, int]:
    return {state: states[state] for state in _STATES}
