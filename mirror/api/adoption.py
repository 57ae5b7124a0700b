"""Adoption of files that people have already: by path from the mirror's machine, as uploads from others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from mirror.api.contract import Answer, Asked, Endpoint, Whole

#: Files of one request.
MOST_FILES = 1000
UPLOAD_TYPE = "image/fits"


class AdoptFile(Asked, frozen=True, kw_only=True):
    """A file of the mirror's machine, and how the client sees it."""

    path: Annotated[str, Meta(description="an absolute path", examples=["/data/image.fits"], pattern=r"^/[^\0]*$")]
    size: Whole
    mtime_ns: Whole
    inode: Whole


class AdoptBody(Asked, frozen=True, kw_only=True):
    """``compare``: say for each file whether exactly its bytes are cached."""

    files: Annotated[list[AdoptFile], Meta(max_length=MOST_FILES, description="files with path, size, mtime_ns and inode")]
    how: Literal["copy", "link"] = "copy"
    dry_run: bool = False
    compare: bool = False


class UploadQuery(Asked, frozen=True, kw_only=True):
    """``name`` is the file's name, ``unit`` its path below /SUM."""

    name: Annotated[str, Meta(description="what the file is called", examples=["image.fits"])]
    unit: Annotated[str | None, Meta(description="a path", examples=["/SUM0/D1/S00000/name"])] = None
    dry_run: bool = False


class AdoptOutcome(Answer, frozen=True, kw_only=True):
    """What became of a file.

    ``placed``: it is cached now (in a dry run: it would be); ``held``: it already was; ``rejected``: ``reason`` says
    why it has no place; ``later``: why not now; ``unseen``: the mirror does not see that file. ``same``: exactly the
    file's bytes are cached. ``how``: copied, linked or uploaded.
    """

    path: str
    state: Literal["placed", "held", "rejected", "later", "unseen"]
    record: str = ""
    segment: str = ""
    kind: str = ""
    reason: str = ""
    how: str = ""
    size: int = 0
    sha256: str = ""
    same: bool = False


class Adopted(Answer, frozen=True, kw_only=True):
    """What became of each file, in the order of the request."""

    outcomes: list[AdoptOutcome]


ADOPT = Endpoint(
    method="POST", path="/api/adopt", role="admin", asked=AdoptBody, answer=Adopted,
    text="Adopt files of the mirror's machine, each given by path, size, time and inode. A file that differs or cannot "
    "be read has the state `unseen`, as have all files in requests from other machines.",
)  # fmt: skip
UPLOAD = Endpoint(
    method="POST", path="/api/adopt/upload", role="admin", asked=UploadQuery, answer=Adopted, taken=UPLOAD_TYPE,
    text="Adopt the FITS file in the body.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (ADOPT, UPLOAD)
