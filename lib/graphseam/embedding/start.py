"""The vectors that training starts from: small random ones, or those of an earlier run."""

from __future__ import annotations

import numpy as np


def random_start(num_nodes: int, dim: int, seed: int, start: np.ndarray | None = None) -> np.ndarray:
    """float32[n, dim] in (-1 / 2dim, 1 / 2dim), as in word2vec; non-zero rows of `start` replace the random ones."""
    drawn = np.random.default_rng(seed).random((num_nodes, dim), np.float32)
    vectors = (drawn - np.float32(0.5)) / np.float32(dim)
    if start is not None:
        known = start.any(axis=1)
        vectors[known] = start[known]
    return vectors
