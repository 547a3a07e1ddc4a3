"""Negative sampling in batches of pairs, in torch: how node2vec and LINE train on a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch  # the driver only needs the forecasts, so it need not load torch

PAIR_BYTES = 64  # peak per pair of a chunk: both nodes, concatenated, and the order of the pairs


@dataclass(frozen=True)
class PairTrainer:
    """Stochastic gradient descent over batches whose pairs share a pool of negatives, so that a step is three dense
    products, which suit a GPU best; with `mixed` they are computed in bfloat16, with float32 vectors.

    Source (of the shared pool): Lerer et al., PyTorch-BigGraph, MLSys 2019.
    """

    negatives: int = 5  # negatives that the pool counts for, per pair
    pool: int = 256  # negatives drawn per batch
    alpha: float = 0.025  # learning rate per pair, decaying linearly
    max_batch: int = 1 << 16  # pairs per step, if the graph is large enough
    repeats: float = 8.0  # pairs that may move a row at their full rate in one step; more pairs share that rate
    mixed: bool = False

    def train(
        self,
        vectors: torch.Tensor,
        contexts: torch.Tensor,
        weights: np.ndarray,
        seed: int,
        chunks: Iterable[tuple[float, torch.Tensor, torch.Tensor]],
    ) -> None:
        """Train float32[n, dim] vectors and contexts (which may be the same) in place.

        weights: float64[n], the distribution of the negatives. chunks: (share done, rows, targets), int64 on the
        device. Cost: pool * dim * 6 operations per pair. On a GPU the order of summation varies, so results may differ
        by 1e-3.
        """
        import torch

        chances = torch.from_numpy(np.cumsum(weights / weights.sum()))
        draws = torch.Generator().manual_seed(seed)
        size = self.batch_size(len(vectors))
        for done, rows, targets in chunks:
            alpha = self.alpha * max(1 - done, 0.004)
            order = torch.randperm(len(rows), generator=draws).to(rows.device)
            for batch in order.split(size):
                drawn = torch.searchsorted(chances, torch.rand(self.pool, generator=draws, dtype=torch.float64))
                pool = drawn.clamp_max(len(weights) - 1).to(rows.device)
                self._step(vectors, contexts, rows[batch], targets[batch], pool, alpha)

    def batch_size(self, num_nodes: int) -> int:
        return min(self.max_batch, max(256, 4 * num_nodes))

    def train_bytes(self, num_nodes: int, dim: int, pairs_of_a_chunk: int) -> int:
        """Peak of `train` on its device: vectors and contexts, a chunk of pairs, and the workspace of a step."""
        step = self.batch_size(num_nodes) * (9 * dim + 3 * self.pool) * 4 + 16 * num_nodes
        return 2 * num_nodes * dim * 4 + pairs_of_a_chunk * PAIR_BYTES + step

    def _step(
        self,
        vectors: torch.Tensor,
        contexts: torch.Tensor,
        rows: torch.Tensor,
        targets: torch.Tensor,
        pool: torch.Tensor,
        alpha: float,
    ) -> None:
        import torch

        left, right, away = vectors[rows], contexts[targets], contexts[pool]
        near = alpha * (1 - torch.sigmoid((left * right).sum(dim=1, keepdim=True)))
        with torch.autocast(left.device.type, dtype=torch.bfloat16, enabled=self.mixed):
            far = torch.sigmoid(left @ away.T) * (-alpha * self.negatives / self.pool)
            pull, push = far @ away, far.T @ left
        self._add(vectors, rows, near * right + pull.float())
        self._add(contexts, torch.cat([targets, pool]), torch.cat([near * left, push.float()]))

    def _add(self, matrix: torch.Tensor, places: torch.Tensor, changes: torch.Tensor) -> None:
        """Add each row's changes; those of a row in many pairs of the batch are scaled down, or it would overshoot."""
        import torch

        counts = torch.bincount(places, minlength=len(matrix)).to(matrix.dtype)
        share = (self.repeats / counts.clamp_min(self.repeats))[places]
        matrix.index_add_(0, places, changes * share[:, None])


def batch_trainer(negatives: int, alpha: float, device: torch.device, precision: str) -> PairTrainer:
    """A trainer for the device: on a GPU with large batches, and bfloat16 unless `precision` is float32."""
    if device.type != "cuda":
        return PairTrainer(negatives, alpha=alpha, mixed=precision == "mixed", pool=64, max_batch=1 << 13)
    return PairTrainer(negatives, alpha=alpha, mixed=precision != "float32")
