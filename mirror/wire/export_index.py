"""The index files of an export directory: index.txt, index.json and index.html, byte for byte."""

from __future__ import annotations

from mirror.drms.export import Finished


def encode_index_json(index: Finished) -> bytes:
    """index.json, which is also the answer of exp_status."""
    raise NotImplementedError


def encode_index_txt(index: Finished) -> bytes:
    """index.txt, which is also the answer of exp_status with format=txt."""
    raise NotImplementedError


def encode_index_html(index: Finished, *, base: str = "https://jsoc1.stanford.edu") -> bytes:
    """index.html, whose links begin with ``base``."""
    raise NotImplementedError


def decode_index_json(data: bytes) -> Finished:
    """The index that index.json tells; UpstreamBroken if it is not one."""
    raise NotImplementedError


def decode_index_txt(data: bytes) -> Finished:
    """The index that index.txt tells; UpstreamBroken if it is not one."""
    raise NotImplementedError
