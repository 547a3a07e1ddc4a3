"""Loops compiled by numba, with what Spark's workers need said in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """Compiled by numba, free of Python's lock, and kept on disk where it finds a place: inside a wheel given to
    spark-submit there is none, and each process compiles for itself, which takes some seconds."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@compiled
def mix(number: Any) -> Any:
    """splitmix64's finaliser: a hash of 64 bits, for one uint64 or an array of them."""
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))
