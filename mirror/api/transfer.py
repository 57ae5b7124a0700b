"""Backups, bundles and their import: folders of the mirror's own machine, so only that machine may ask."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from mirror.api.contract import UNSET, Answer, Asked, Count, Endpoint, UnsetType

Folder = Annotated[str, Meta(description="a folder", examples=["/disk/backup"])]


class BackupsQuery(Asked, frozen=True, kw_only=True):
    """The folder of the backups."""

    to: Folder


class Backup(Answer, frozen=True, kw_only=True):
    """An existing backup; ``sums`` is the sha256 of its SHA256SUMS. ``problem``: why its manifest cannot be read."""

    backup: str
    made_at: str
    program: str
    schema: int
    files: int
    size: int
    index_only: bool
    sums: str
    problem: str | UnsetType = UNSET


class BackupBody(Asked, frozen=True, kw_only=True):
    """``keep``: how many of the last backups stay; the others are removed."""

    to: Folder
    index_only: bool = False
    keep: Count | None = None


class BackedUp(Answer, frozen=True, kw_only=True):
    """``linked`` and ``copied`` files are new in the folder; ``skipped`` ones have left the store, or are damaged."""

    path: str
    files: int
    size: int
    linked: int
    copied: int
    copied_bytes: int
    skipped: list[str]
    removed: list[str]


class BundleBody(Asked, frozen=True, kw_only=True):
    """``held``: only what is cached already. ``fits``: also what exports with full headers need."""

    to: Folder
    recordsets: tuple[str, ...] = ()
    files: bool = True
    held: bool = False
    fits: bool = False
    address: Annotated[str | None, Meta(description="an e-mail address whose registration is included")] = None


class FailedFile(Answer, frozen=True, kw_only=True):
    """What is not available, and why."""

    file: str
    error: str


class Bundled(Answer, frozen=True, kw_only=True):
    """``missing``: spans that are not cached, and not in the bundle."""

    bundle: str
    records: int
    files: int
    size: int
    written: int
    missing: list[str]
    failed: list[FailedFile]


class ImportBody(Asked, frozen=True, kw_only=True):
    """The folder of a bundle."""

    bundle: Folder


class Imported(Answer, frozen=True, kw_only=True):
    """What came of a bundle."""

    bundle: str
    made_at: str
    asked: list[str]
    series: int
    records: int
    files: int
    new_files: int
    new_bytes: int


class Progress(Answer, frozen=True, kw_only=True):
    """The progress of a task: its step, ``done`` of ``total`` of that, the series."""

    step: str
    done: int | UnsetType = UNSET
    total: int | UnsetType = UNSET
    bytes: int | UnsetType = UNSET
    series: str | UnsetType = UNSET
    records: int | UnsetType = UNSET
    spans: list[str] | UnsetType = UNSET
    file: str | UnsetType = UNSET
    new: int | UnsetType = UNSET


BACKUPS = Endpoint(
    method="GET", path="/api/backups", role="admin", asked=BackupsQuery, answer=list[Backup],
    text="The backups in a folder, newest first.",
)  # fmt: skip
BACKUP = Endpoint(
    method="POST", path="/api/backup", role="admin", asked=BackupBody, answer=BackedUp, lines=True,
    media=("application/x-ndjson",), text="Make a backup below a folder.",
)  # fmt: skip
BUNDLE = Endpoint(
    method="POST", path="/api/bundle", role="admin", asked=BundleBody, answer=Bundled, lines=True,
    media=("application/x-ndjson",), text="Make or extend a bundle in a folder.",
)  # fmt: skip
IMPORT = Endpoint(
    method="POST", path="/api/import", role="admin", asked=ImportBody, answer=Imported, lines=True,
    media=("application/x-ndjson",), text="Import the bundle in a folder.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (BACKUPS, BACKUP, BUNDLE, IMPORT)
