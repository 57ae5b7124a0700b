"""Chance that is the same at every start: hashes of integers, a column at a time.

A value depends only on its number (a slot, an exposure) and on the name of the stream, never on earlier or other
parts of a request.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Values = NDArray[Any]  #: stored values of any keyword type

_GOLDEN, _MIX1, _MIX2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
_S11, _S27, _S30, _S31 = (np.uint64(bits) for bits in (11, 27, 30, 31))


def hashed(numbers: Values, stream: str) -> NDArray[np.uint64]:
    """64 well mixed bits for each number (the finalizer of splitmix64)."""
    seed = int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=8).digest(), "little")
    z = numbers.astype(np.int64).view(np.uint64) * _GOLDEN + np.uint64(seed)
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


def uniform(numbers: Values, stream: str) -> Floats:
    """A number in [0, 1) for each."""
    return (hashed(numbers, stream) >> _S11).astype(np.float64) * 2.0**-53


def around(numbers: Values, stream: str, mean: float, spread: float) -> Floats:
    """A number within ``spread`` of ``mean`` for each, likelier near it."""
    bits = hashed(numbers, stream)
    halves = (bits >> np.uint64(32)).astype(np.float64) + (bits & np.uint64(0xFFFFFFFF)).astype(np.float64)
    return mean + spread * (halves * 2.0**-32 - 1.0)


def below(numbers: Values, stream: str, limit: int) -> Ints:
    """An integer in 0 <= x < ``limit`` for each."""
    return (uniform(numbers, stream) * limit).astype(np.int64)
