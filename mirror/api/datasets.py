"""Data sets to cite, with records in fixed versions and their files, and their crates."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from mirror.api.contract import Answer, Asked, Endpoint, Nothing, Stamp
from mirror.api.transfer import Folder

_LINES = ("application/x-ndjson",)
Sha256 = Annotated[str, Meta(description="a sha256 in hexadecimal")]


class CreateBody(Asked, frozen=True, kw_only=True):
    """The records of record sets ``ds``, or of a statement ``sql`` that gives recnum; with ``files`` theirs too."""

    name: Annotated[str, Meta(description="a name", examples=["ar-12192"])]
    ds: tuple[str, ...] = ()
    sql: str | None = None
    files: bool = False
    title: str = ""


class CrateBody(Asked, frozen=True, kw_only=True):
    """The folder of a crate on the mirror's machine; ``files``: with the files."""

    crate: Folder
    files: bool = False


class DatasetSeries(Answer, frozen=True, kw_only=True):
    """How many records of a series, with how many files."""

    series: str
    records: int
    files: int


class DatasetLine(Answer, frozen=True, kw_only=True):
    """A data set; ``sha256`` is computed from all its records and files, and identifies its content."""

    name: str
    title: str
    created: Stamp
    records: int
    files: int
    bytes: int
    sha256: Sha256


class Dataset(DatasetLine, frozen=True, kw_only=True):
    """A data set, with the statement and the program that made it, and how to cite it."""

    software: str
    ds: list[str]
    sql: str | None
    series: list[DatasetSeries]
    bibtex: str


class DatasetFile(Answer, frozen=True, kw_only=True):
    """A file of a record, and its path at JSOC."""

    segment: str
    path: str
    size: int
    sha256: Sha256


class DatasetRecord(Answer, frozen=True, kw_only=True):
    """A record; ``sha256`` is computed from the printed values of its keywords."""

    series: str
    recnum: int
    record: str
    sha256: Sha256
    files: list[DatasetFile]


class RecordProblem(Answer, frozen=True, kw_only=True):
    """What is wrong with a record, or with the file of its ``segment``."""

    record: str
    recnum: int
    segment: str
    problem: str


class Verified(Answer, frozen=True, kw_only=True):
    """Whether everything is in the store unchanged, and how many records and files were checked."""

    name: str
    ok: bool
    records: int
    files: int
    problems: list[RecordProblem]


class ChangedKeyword(Answer, frozen=True, kw_only=True):
    """A keyword as printed in the data set, and as it prints now; null: the series did not have it, or has lost it."""

    keyword: str
    old: str | None
    new: str | None


class ChangedRecord(Answer, frozen=True, kw_only=True):
    """A record of the data set that has a newer version."""

    record: str
    old: int
    new: int
    keywords: list[ChangedKeyword]


class Difference(Answer, frozen=True, kw_only=True):
    """The data set compared with what JSOC has now: ``unchanged`` records, and the others.

    ``withdrawn``: records that JSOC no longer has; ``added``: those of the same record sets that are not in it.
    """

    name: str
    unchanged: int
    reprocessed: list[ChangedRecord]
    withdrawn: list[str]
    added: list[str]


class Crate(Answer, frozen=True, kw_only=True):
    """A crate that was written; ``files`` and ``bytes`` are totals of its content."""

    name: str
    crate: str
    files: int
    bytes: int
    sha256: Sha256


DATASETS = Endpoint(
    method="GET", path="/api/datasets", role="read", asked=Nothing, answer=list[DatasetLine],
    text="The data sets, newest first.",
)  # fmt: skip
CREATE = Endpoint(
    method="POST", path="/api/datasets", role="export", asked=CreateBody, answer=Dataset, lines=True, media=_LINES,
    text="Make a data set: fetch what is missing of it, note records, versions and hashes, and pin its files.",
)  # fmt: skip
DATASET = Endpoint(
    method="GET", path="/api/datasets/{name}", role="read", asked=Nothing, answer=Dataset, text="One data set.",
)  # fmt: skip
RECORDS = Endpoint(
    method="GET", path="/api/datasets/{name}/records", role="read", asked=Nothing, answer=list[DatasetRecord],
    text="The records of a data set, with their files.",
)  # fmt: skip
VERIFY = Endpoint(
    method="POST", path="/api/datasets/{name}/verify", role="export", asked=Nothing, answer=Verified, lines=True, media=_LINES,
    text="Compare the store with a data set: records by the values of their keywords, files by their bytes.",
)  # fmt: skip
DIFF = Endpoint(
    method="POST", path="/api/datasets/{name}/diff", role="export", asked=Nothing, answer=Difference, lines=True, media=_LINES,
    text="Compare a data set with what JSOC has now, which is asked: by record and keyword.",
)  # fmt: skip
EXPORT = Endpoint(
    method="POST", path="/api/datasets/{name}/export", role="admin", asked=CrateBody, answer=Crate, lines=True, media=_LINES,
    text="Write a data set as an RO-Crate with BagIt checksums, in a new folder of the mirror's machine.",
)  # fmt: skip
FETCH = Endpoint(
    method="POST", path="/api/crates", role="admin", asked=CrateBody, answer=Dataset, lines=True, media=_LINES,
    text="Make the data set of a crate here: the same records in the same versions. What JSOC no longer has is an error "
    "that names it.",
)  # fmt: skip
DELETE = Endpoint(
    method="DELETE", path="/api/datasets/{name}", role="admin", asked=Nothing, answer=DatasetLine,
    text="Remove a data set and its pins; records and files stay cached.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (DATASETS, CREATE, DATASET, RECORDS, VERIFY, DIFF, EXPORT, FETCH, DELETE)
