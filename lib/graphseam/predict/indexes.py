"""Nearest vectors by inner product, in one task's memory: exact by matrix product, or by an inverted file (faiss)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

EXACT_LIMIT = 50_000  # nodes up to which all-pairs products take seconds


class Index(Protocol):
    """Holds some vectors and finds those of largest inner product with a query."""

    def build(self, vectors: np.ndarray, seed: int) -> None: ...

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass
class ExactIndex:
    """Every pair is scored. Cost: O(queries · vectors · dim); memory: one block of scores, 64 MB at most."""

    device: str = "cpu"
    held: dict[str, Any] = field(default_factory=dict)

    def build(self, vectors: np.ndarray, seed: int) -> None:
        import torch

        self.held["vectors"] = torch.from_numpy(vectors).to(self.device)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(scores float32[q, k], rows int64[q, k]), best first."""
        import torch

        base = self.held["vectors"]
        step = max(1, (16 << 20) // max(1, len(base)))
        found = [torch.topk(torch.from_numpy(queries[start:start + step]).to(self.device) @ base.T, min(k, len(base)))
                 for start in range(0, len(queries), step)]
        return (torch.cat([part.values for part in found]).cpu().numpy(),
                torch.cat([part.indices for part in found]).cpu().numpy())


@dataclass
class IvfIndex:
    """Vectors in 4·sqrt(n) cells around k-means centres; a query looks into 1/32 of the cells, 8 at least.

    Cost: O(queries · vectors · dim / 32). Approximate. Deterministic in the seed. Source: faiss, IndexIVFFlat.
    """

    device: str = "cpu"
    held: dict[str, Any] = field(default_factory=dict)

    def build(self, vectors: np.ndarray, seed: int) -> None:
        import faiss

        num_cells = max(1, min(int(4 * len(vectors) ** 0.5), len(vectors) // 40))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], num_cells,
                                   faiss.METRIC_INNER_PRODUCT)
        index.cp.seed, index.cp.min_points_per_centroid = seed % (1 << 31), 1
        index.cp.niter, index.cp.max_points_per_centroid = 8, 64
        index.train(vectors)
        index.add(vectors)
        index.nprobe = max(8, num_cells // 32)
        self.held["index"] = index

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(scores float32[q, k], rows int64[q, k]), best first; row -1 where the cells held fewer than k."""
        return self.held["index"].search(queries, min(k, self.held["index"].ntotal))


INDEXES: dict[str, Any] = {
    "exact": ExactIndex,
    "ivf": IvfIndex,
}


def choose_index(candidates: str, num_nodes: int) -> str:
    """The index that "auto" stands for: exact while all pairs take seconds."""
    if candidates != "auto":
        return candidates
    return "exact" if num_nodes <= EXACT_LIMIT else "ivf"
