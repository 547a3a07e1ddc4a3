"""The small matrices of block Krylov iteration, for one view: the next basis from the blocks' Gram matrices.

With orthonormal blocks B_0, B_1, …, M B_j = B_(j-1) R_(j-1)ᵀ + B_j A_j + B_(j+1) R_j: three terms, as M is symmetric.
So a step needs two sums over the nodes, B_jᵀ W and Wᵀ W for W = M B_j, and the A and R determine M on the whole span.
Source: Golub and Underwood, The block Lanczos method for computing eigenvalues, 1977; the span is that of Musco and
Musco, Randomized block Krylov methods, NeurIPS 2015.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

WEAK = 3e-3  # relative to a block's size: a shorter direction is in the basis already, up to float32 precision
NOTHING = 1e-300
ROUNDS_PER_SPAN = 2  # then the iteration restarts from its Ritz vectors


@dataclass(frozen=True)
class BasisUpdate:
    """The next basis from the blocks' arrays: B = W · raw - B_last · last - B_before · before; None: no such term."""

    raw: np.ndarray
    last: np.ndarray | None = None
    before: np.ndarray | None = None


@dataclass
class Iteration:
    """The common part of both iterations. width: the number of leading vectors wanted."""

    width: int
    keeps_bases: ClassVar[bool] = True

    def advance(self, last_raw: np.ndarray, raw_raw: np.ndarray) -> BasisUpdate:
        raise NotImplementedError

    def begin(self, gram: np.ndarray) -> BasisUpdate:
        """The first basis from the Gram matrix of any block of columns."""
        return BasisUpdate(orthonormal_update(gram, np.trace(gram))[0])

    def ritz(self) -> tuple[list[np.ndarray | None], np.ndarray]:
        raise NotImplementedError


@dataclass
class Krylov(Iteration):
    """Uses all products so far. diagonal: A_j; below: R_j; float64, at most [width, width] each."""

    diagonal: list[np.ndarray] = field(default_factory=list)
    below: list[np.ndarray] = field(default_factory=list)

    def advance(self, last_raw: np.ndarray, raw_raw: np.ndarray) -> BasisUpdate:
        """The next basis. last_raw: B_jᵀ W; raw_raw: Wᵀ W. It has no columns if there is no new direction."""
        own = (last_raw + last_raw.T) / 2
        before = self.below[-1].T if self.below else None
        residual = raw_raw - own @ own - (before.T @ before if before is not None else 0)
        update, root = orthonormal_update(residual, np.trace(raw_raw))
        self.diagonal.append(own)
        self.below.append(root.T)
        return BasisUpdate(update, own @ update, before @ update if before is not None else None)

    def ritz(self) -> tuple[list[np.ndarray | None], np.ndarray]:
        """(coefficients of each basis, values): B_0 E_0 + B_1 E_1 + … are the leading left singular vectors of M on
        the span, each scaled by its value; at most `width` columns, largest first. Cost: (bases · width)³, no vectors.
        """
        starts = np.cumsum([0] + [len(block) for block in self.diagonal])
        image = np.zeros((starts[-1] + len(self.below[-1]), starts[-1]))
        for place, own in enumerate(self.diagonal):
            here = slice(starts[place], starts[place + 1])
            image[here, here] = own
            after = slice(starts[place + 1], starts[place + 1] + len(self.below[place]))
            image[after, here] = self.below[place]
            if place:
                image[starts[place - 1] : starts[place], here] = self.below[place - 1].T
        left, values, _ = np.linalg.svd(image, full_matrices=False)
        left, values = fixed_signs(left[:, : self.width]), values[: self.width]
        return list(np.split(left * values, starts[1:], axis=0)), values


@dataclass
class Subspace(Iteration):
    """Uses the last product only: the same number of products, less memory and fewer sums, but slower convergence."""

    keeps_bases: ClassVar[bool] = False
    lengths: list[np.ndarray] = field(default_factory=list)

    def advance(self, last_raw: np.ndarray, raw_raw: np.ndarray) -> BasisUpdate:
        update, root = orthonormal_update(raw_raw, np.trace(raw_raw))
        self.lengths.append(np.linalg.norm(root, axis=0))
        return BasisUpdate(update)

    def ritz(self) -> tuple[list[np.ndarray | None], np.ndarray]:
        """As `Krylov.ritz`, on the span of the last basis: only the newest basis has coefficients."""
        values = self.lengths[-1][: self.width]
        newest = np.eye(len(self.lengths[-1]), len(values)) * values
        return [*[None] * len(self.lengths), newest], values


def orthonormal_update(gram: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """(S, root): X S is orthonormal if XᵀX = gram, and gram = root rootᵀ on the directions kept.

    Directions shorter than WEAK times the root mean square column length are dropped; size: the sum of the squared
    column lengths.
    """
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    values, vectors = values[::-1], fixed_signs(vectors[:, ::-1])
    keep = values > max(WEAK**2 * size / max(1, len(gram)), NOTHING)
    lengths = np.sqrt(values[keep])
    return vectors[:, keep] / lengths, vectors[:, keep] * lengths


def fixed_signs(vectors: np.ndarray) -> np.ndarray:
    """Each column with its sign chosen so that its largest entry is positive: LAPACK leaves the sign open."""
    if vectors.size == 0:
        return vectors
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None, :], axis=0)
    return vectors * np.where(largest < 0, -1.0, 1.0)
