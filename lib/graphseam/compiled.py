"""Loops compiled by numba, with what Spark's workers need said in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """Compiled by numba, free of Python's lock, and kept on disk where it finds a place: inside a wheel given to
    spark-submit there is none, and each process compiles for itself, which takes some seconds."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)
