"""The orthogonal rotation that brings vectors of the same nodes closest to each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RELATIVE_RANK = 1e-6  # singular values below this share of the largest determine no direction


@dataclass(frozen=True)
class Alignment:
    """A rotation and how well it fits: rotation float64[dim, dim], orthogonal."""

    rotation: np.ndarray
    rank: int
    fit_error: float
    status: str


def align(source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> Alignment:
    """The orthogonal R that brings `source @ R` closest to `target`, with weighted rows.

    source, target: float[n, dim], rows of the same nodes. weights: float[n] >= 0. Without any non-zero shared row the
    rotation is the identity ("unaligned"); with fewer than dim independent ones the undetermined directions are filled
    so that R stays orthogonal ("degenerate"). Cost: O(n · dim² + dim³).
    Source: Schönemann, Psychometrika 1966; as frames of patches: Jeub et al., Local2Global, arXiv:2201.04964.
    """
    dim = source.shape[1]
    x, y = source.astype(np.float64), target.astype(np.float64)
    cross = x.T @ (weights[:, None] * y)
    left, singular, right = np.linalg.svd(cross)
    rank = int((singular > RELATIVE_RANK * singular[0]).sum()) if singular[0] > 0 else 0
    if rank == 0:
        return Alignment(np.eye(dim), 0, 0.0, "unaligned")
    rotation = left @ right
    misfit = np.sqrt((weights * ((x @ rotation - y) ** 2).sum(axis=1)).sum())
    size = np.sqrt((weights * (y**2).sum(axis=1)).sum())
    return Alignment(rotation, rank, float(misfit / size) if size else 0.0, "aligned" if rank == dim else "degenerate")
