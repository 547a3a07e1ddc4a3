"""Rows of matrices as unit vectors."""

from __future__ import annotations

import numpy as np

SHORTEST = 1e-30  # a row shorter than this counts as having no direction, and stays close to zero


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """float[n, dim]: each row divided by its length, in the type it has; a zero row stays zero.

    `linalg.unit_rows` is the same in torch.
    """
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SHORTEST)


def row_cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float64[n]: the cosine of each row with the same row of `other`; NaN where one of them is zero."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = np.sqrt((one * one).sum(axis=1) * (other * other).sum(axis=1))
    cosines = np.divide((one * other).sum(axis=1), lengths, out=np.full(len(one), np.nan), where=lengths > 0)
    return np.clip(cosines, -1, 1)
