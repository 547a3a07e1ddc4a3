"""Nearest vectors by inner product, in one task's memory: exact by matrix product, or by a navigable graph (HNSW)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

EXACT_LIMIT = 50_000  # nodes up to which all-pairs products take seconds
SCORES_AT_ONCE = 16 << 20  # of a block of products, 64 MB


class Index(Protocol):
    """Holds some vectors and finds those of largest inner product with a query."""

    def build(self, vectors: np.ndarray, seed: int) -> None: ...

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass
class ExactIndex:
    """Every pair is scored. Cost: O(queries · vectors · dim); memory: a block of scores, 64 MB, beside the vectors."""

    device: str = "cpu"
    held: dict[str, Any] = field(default_factory=dict)

    def build(self, vectors: np.ndarray, seed: int) -> None:
        import torch

        self.held["vectors"] = torch.from_numpy(vectors).to(self.device)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(scores float32[q, k], rows int64[q, k]), best first."""
        import torch

        base = self.held["vectors"]
        step = max(1, SCORES_AT_ONCE // max(1, len(base)))
        found = [
            torch.topk(torch.from_numpy(queries[start : start + step]).to(self.device) @ base.T, min(k, len(base)))
            for start in range(0, len(queries), step)
        ]
        return (
            torch.cat([part.values for part in found]).cpu().numpy(),
            torch.cat([part.indices for part in found]).cpu().numpy(),
        )


@dataclass
class HnswIndex:
    """A navigable graph over the vectors (usearch). Approximate; built and searched in one thread, as several would
    link the vectors in another order each time. Always on the CPU.

    Cost: O(vectors · log(vectors) · dim) to build, O(log(vectors) · dim) a query. Memory: the vectors twice, and 150
    bytes of links each. Source: Malkov and Yashunin, arXiv:1603.09320.
    """

    device: str = "cpu"
    connectivity: int = 16  # links of a node
    build_width: int = 128  # nodes looked at where a vector is put in
    search_width: int = 64  # and where one is looked for, at least
    held: dict[str, Any] = field(default_factory=dict)

    def build(self, vectors: np.ndarray, seed: int) -> None:
        from usearch.index import Index as Graph

        index = Graph(
            ndim=vectors.shape[1],
            metric="ip",
            dtype="f32",
            connectivity=self.connectivity,
            expansion_add=self.build_width,
            expansion_search=self.search_width,
        )
        index.add(np.arange(len(vectors), dtype=np.uint64), vectors, threads=1)
        self.held["index"] = index

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """(scores float32[q, k], rows int64[q, k]), best first; row -1 where fewer than k were found."""
        index = self.held["index"]
        k = min(k, len(index))
        index.expansion_search = max(self.search_width, 2 * k)
        found = index.search(queries, k, threads=1)
        if len(queries) == 1:  # usearch drops the axis then
            rows = np.full((1, k), -1, np.int64)
            scores = np.full((1, k), -np.inf, np.float32)
            rows[0, : len(found.keys)] = np.asarray(found.keys, np.int64)
            scores[0, : len(found.keys)] = 1 - np.asarray(found.distances, np.float32)
            return scores, rows
        rows, scores = found.keys.astype(np.int64), (1 - found.distances).astype(np.float32)
        missing = np.arange(k)[None, :] >= np.asarray(found.counts)[:, None]
        rows[missing], scores[missing] = -1, -np.inf
        return scores, rows


def choose_index(method: str, num_nodes: int) -> str:
    """The index that "auto" stands for: exact while all pairs take seconds."""
    if method != "auto":
        return method
    return "exact" if num_nodes <= EXACT_LIMIT else "hnsw"
