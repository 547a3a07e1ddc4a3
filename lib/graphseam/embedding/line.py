"""LINE: first- and second-order proximity, trained on sampled edges against drawn negatives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from graphseam.compiled import compiled_fast
from graphseam.embedding import batches
from graphseam.embedding.sampling import alias_table, draw, generator
from graphseam.embedding.skipgram import train_pair, visits_of
from graphseam.embedding.start import random_start
from graphseam.graph import Graph
from graphseam.vectors import unit_rows

if TYPE_CHECKING:
    import torch

SAMPLES_PER_CHUNK = 1 << 20


@dataclass(frozen=True)
class LineEmbedder:
    """Half the columns for first-order proximity (adjacent nodes are near), half for second-order (nodes with the same
    neighbours are near), each half normalised. Linear in the edges; uses weights, and directions in the second order.

    Source: Tang et al., LINE: Large-scale Information Network Embedding, WWW 2015.
    """

    dim: int = 128
    precision: str = "auto"
    samples: int = 100  # per arc on average, for each order; an edge is an arc in each direction
    negatives: int = 5
    alpha: float = 0.025  # learning rate, decaying linearly
    power: float = 0.75  # negatives are drawn in proportion to their degree to this power

    def embed(self, graph: Graph, seed: int, device: str, start: np.ndarray | None = None) -> np.ndarray:
        """float32[n, dim]; a node without edges gets a zero row. Deterministic on a CPU."""
        half = self.dim - self.dim // 2
        parts = []
        for order, columns, arcs in ((1, slice(0, half), graph.adjacency), (2, slice(half, self.dim), graph.arcs)):
            begin = None if start is None else start[:, columns]
            vectors = random_start(graph.num_nodes, columns.stop - columns.start, seed + order, begin)
            if arcs.nnz:
                train = self._train_on_cpu if device == "cpu" else self.train_in_batches
                vectors = train(arcs, vectors, order, seed + order, device)
            parts.append(unit_rows(vectors))
        joined = np.concatenate(parts, axis=1)
        joined[graph.degrees == 0] = 0
        return joined

    def _train_on_cpu(self, arcs: sp.csr_matrix, vectors: np.ndarray, order: int, seed: int, device: str) -> np.ndarray:
        contexts = vectors if order == 1 else np.zeros_like(vectors)
        negatives = alias_table(visits_of(arcs) ** self.power)
        _train(
            _sources(arcs),
            arcs.indices.astype(np.int32, copy=False),
            alias_table(arcs.data.astype(np.float64)),
            negatives,
            vectors,
            contexts,
            (self.samples * arcs.nnz, self.negatives, self.alpha),
            generator(seed),
        )
        return vectors

    def train_in_batches(
        self, arcs: sp.csr_matrix, vectors: np.ndarray, order: int, seed: int, device: str
    ) -> np.ndarray:
        """The same training in torch, in batches, on any device; used on a GPU."""
        import torch

        place = torch.device(device)
        trained = torch.from_numpy(vectors).to(place)
        contexts = trained if order == 1 else torch.zeros_like(trained)
        batches.batch_trainer(self.negatives, self.alpha, place, self.precision).train(
            trained, contexts, visits_of(arcs) ** self.power, seed, self._sampled_arcs(arcs, seed, place)
        )
        return trained.cpu().numpy()

    def _sampled_arcs(
        self, arcs: sp.csr_matrix, seed: int, place: torch.device
    ) -> Iterator[tuple[float, torch.Tensor, torch.Tensor]]:
        import torch

        sources, targets = torch.from_numpy(_sources(arcs)), torch.from_numpy(arcs.indices)
        cumulated = torch.from_numpy(np.cumsum(arcs.data / arcs.data.sum()))
        draws, total = torch.Generator().manual_seed(seed), self.samples * arcs.nnz
        for first in range(0, total, SAMPLES_PER_CHUNK):
            count = min(SAMPLES_PER_CHUNK, total - first)
            chosen = torch.searchsorted(cumulated, torch.rand(count, generator=draws, dtype=torch.float64))
            chosen = chosen.clamp_max(arcs.nnz - 1)
            yield first / total, sources[chosen].long().to(place), targets[chosen].long().to(place)

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int:
        """Peak of `embed`: the graph, sources and alias table of its arcs; vectors, contexts and the other half."""
        return 2 * num_edges * 56 + num_nodes * (4 * self.dim * 4 + 80)

    def predict_gpu_bytes(self, num_nodes: int, num_edges: int) -> int:
        """Peak on a GPU, with edges sampled on the CPU: the training of one order."""
        return batches.PairTrainer().train_bytes(num_nodes, self.dim - self.dim // 2, SAMPLES_PER_CHUNK)


def _sources(arcs: sp.csr_matrix) -> np.ndarray:
    """int32[m]: the source of each arc, in the order of the CSR matrix."""
    return np.repeat(np.arange(arcs.shape[0], dtype=np.int32), np.diff(arcs.indptr))


@compiled_fast
def _train(
    sources: Any, targets: Any, arcs: Any, negatives: Any, vectors: Any, contexts: Any, settings: Any, state: Any
) -> None:
    num_samples, num_negatives, alpha = settings
    chosen, error = np.empty(num_negatives + 1, np.int32), np.empty(vectors.shape[1], np.float32)
    for done in range(num_samples):
        arc = draw(arcs[0], arcs[1], state)
        chosen[0] = targets[arc]
        for at in range(1, len(chosen)):
            chosen[at] = draw(negatives[0], negatives[1], state)
        rate = np.float32(alpha * max(1.0 - done / num_samples, 1e-4))
        train_pair(vectors[sources[arc]], chosen, contexts, rate, error)
