"""Tall matrices, stored in float32 and summed in float64, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from graphseam.arrow import slices
from graphseam.vectors import unit_rows

CHUNK_BYTES = 4 << 20  # of rows at once, in float64: small enough to stay in a core's cache


def chunks(num_rows: int, width: int = 1) -> Iterator[slice]:
    """Slices of rows of `width` columns."""
    return slices(num_rows, 8 * width, CHUNK_BYTES)


def combined(blocks: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """float32[n, k]: the sum of block @ matrix over the pairs, block float32[n, w] and matrix float64[w, k]."""
    ends = np.cumsum([0, *[block.shape[1] for block, _ in blocks]]).tolist()
    matrix = np.concatenate([matrix for _, matrix in blocks])
    out = np.empty((len(blocks[0][0]), matrix.shape[1]), np.float32)
    side_by_side = np.empty((0, ends[-1]))
    for part in chunks(len(out), max(matrix.shape)):
        if len(side_by_side) != part.stop - part.start:
            side_by_side = np.empty((part.stop - part.start, ends[-1]))
        for (block, _), start, stop in zip(blocks, ends[:-1], ends[1:], strict=True):
            side_by_side[:, start:stop] = block[part]
        out[part] = side_by_side @ matrix
    return out


def gram(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """float64[w, k]: leftᵀ right of float32[n, w] and float32[n, k]."""
    return grams([left], right)[0]


def grams(lefts: Sequence[np.ndarray], right: np.ndarray) -> list[np.ndarray]:
    """`gram` of each left matrix with the same right one, which is read once."""
    totals = [np.zeros((left.shape[1], right.shape[1])) for left in lefts]
    for part in chunks(len(right), max(1, right.shape[1], *[left.shape[1] for left in lefts])):
        two = right[part].astype(np.float64)
        for total, left in zip(totals, lefts, strict=True):
            one = two if left is right else left[part].astype(np.float64)
            total += one.T @ two
    return totals


def unit_views(columns: np.ndarray, widths: list[int]) -> list[np.ndarray]:
    """The columns of each view, rows of length 1; a zero row stays zero."""
    return [unit_rows(part) for part in np.split(columns, np.cumsum(widths)[:-1], axis=1)]


def make_unit_views(columns: np.ndarray, widths: list[int]) -> None:
    """`unit_views` in place, a few rows at a time."""
    for part in chunks(*columns.shape):
        columns[part] = np.concatenate(unit_views(columns[part], widths), axis=1)
