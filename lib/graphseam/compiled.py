"""Loops compiled by numba, with the options that Spark's workers need in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """Compile with numba, without the GIL, and cache on disk where possible: a wheel passed to spark-submit has no
    place for a cache, and each process compiles for itself, which takes some seconds."""
    return _compiled(function)


def compiled_fast(function: Callable[..., Any]) -> Any:
    """As `compiled`, but sums may be reordered, which lets them use vector instructions: the result has the same
    bytes every time on CPUs of one kind."""
    return _compiled(function, fastmath=True)


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    try:
        return njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:
        return njit(nogil=True, **options)(function)


def read_only(array: np.ndarray) -> np.ndarray:
    """One array type for the compiler, whether or not the array is mapped from a file."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


@compiled
def mix(number: Any) -> Any:
    """splitmix64's finaliser: a 64-bit hash of one uint64 or of an array of them."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


@compiled
def unit_interval(number: Any) -> Any:
    """float64 in [0, 1) from a 64-bit hash, or from an array of them: its upper 53 bits."""
    return (number >> np.uint64(11)) * (1.0 / (1 << 53))
