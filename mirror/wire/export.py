"""jsoc_fetch, both directions: its parameters and its answers, in the bytes of the real server."""

from __future__ import annotations

from collections.abc import Mapping

from mirror.drms.export import ExportAnswer, FetchRequest, Format, StorageUnits


def decode_fetch(params: Mapping[str, str]) -> FetchRequest:
    """The request that ``params`` make; BadRequest for what cannot be one."""
    raise NotImplementedError


def encode_fetch(request: FetchRequest) -> dict[str, str]:
    """The parameters that make this request, as clients write them."""
    raise NotImplementedError


def encode_answer(answer: ExportAnswer | StorageUnits, format: Format = "json") -> bytes:
    """The bytes of the real server."""
    raise NotImplementedError


def content_type(answer: ExportAnswer | StorageUnits, format: Format = "json") -> str:
    """application/json, or text/plain."""
    raise NotImplementedError


def decode_answer(data: bytes) -> ExportAnswer:
    """What a JSON answer of exp_request or exp_status says; UpstreamBroken if it is none of them.

    A status that is an error is a ``Failed``, and not raised.
    """
    raise NotImplementedError


def decode_units(data: bytes) -> StorageUnits:
    """The answer of exp_su; UpstreamRefused for a status other than 0."""
    raise NotImplementedError
