"""Nearest vectors by inner product, in one task's memory: exact by matrix products, or by a navigable graph (HNSW)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

EXACT_LIMIT = 50_000  # up to this many nodes, all-pairs products take seconds
SCORES_AT_ONCE = 16 << 20  # in one block of products, 64 MB


class Index(Protocol):
    """Holds vectors and finds those with the largest inner product with a query."""

    def build(self, vectors: np.ndarray, seed: int) -> None: ...

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]: ...


@dataclass
class ExactIndex:
    """Scores every pair. Cost: O(queries · vectors · dim). Memory: the vectors and a 64 MB block of scores."""

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
    """A navigable graph over the vectors (usearch). Approximate; built and searched in one thread, because several
    threads would link the vectors in a different order each time. Always on the CPU.

    Cost: O(vectors · log(vectors) · dim) to build, O(log(vectors) · dim) per query. Memory: the vectors twice, plus 150
    bytes of links per vector. Source: Malkov and Yashunin, arXiv:1603.09320.
    """

    device: str = "cpu"
    connectivity: int = 16  # links per node
    build_width: int = 128  # nodes examined to insert a vector
    search_width: int = 64  # nodes examined per query, at least
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
        """(scores float32[q, k], rows int64[q, k]), best first; padded with row -1 if fewer than k were found."""
        index = self.held["index"]
        k = min(k, len(index))
        index.expansion_search = max(self.search_width, 2 * k)
        found = index.search(queries, k, threads=1)
        if len(queries) == 1:  # usearch then drops the axis
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
    """The index that `method` stands for; "auto" is exact as long as scoring all pairs takes seconds."""
    if method != "auto":
        return method
    return "exact" if num_nodes <= EXACT_LIMIT else "hnsw"
