"""Rows of matrices as unit vectors."""

from __future__ import annotations

import numpy as np

SHORTEST = 1e-30  # a row shorter than this counts as having no direction, and stays close to zero


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """float[n, dim]: each row divided by its length, in the type it has; a zero row stays zero.

    `linalg.unit_rows` is the same in torch.
    """
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SHORTEST)
