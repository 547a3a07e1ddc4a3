"""NetMF: the full matrix that DeepWalk factorises implicitly, and its leading singular vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphseam.graph import Graph

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class NetmfEmbedder:
    """Exact, so only for small subgraphs: memory grows with the square of the nodes (10,000 take 0.5 GB, 50,000 13 GB);
    the partition step makes the subgraphs small enough for a task's budget.

    Source: Qiu et al., Network Embedding as Matrix Factorization, WSDM 2018. Cost: window * edges * nodes, then a
    product of nodes^2 * dim for each of 2 * svd_rounds + 2 passes.
    """

    dim: int = 128
    window: int = 10
    negatives: float = 1.0
    svd_rounds: int = 8  # power iterations of the factorisation; the spectrum decays slowly

    def embed(self, graph: Graph, seed: int, device: str, start: np.ndarray | None = None) -> np.ndarray:
        """float32[n, dim], left singular vectors times the square root of their values; zeros for isolated nodes."""
        import torch

        from graphseam import linalg

        if graph.num_edges == 0:
            return np.zeros((graph.num_nodes, self.dim), np.float32)
        proximity = self.log_proximity(graph, device)
        begin = None if start is None else torch.from_numpy(start).to(proximity.device)
        left, singular = linalg.randomized_svd(
            proximity, proximity, min(self.dim, graph.num_nodes), self.svd_rounds, seed, begin
        )
        vectors = linalg.pad_columns(left * singular.sqrt(), self.dim)
        vectors[torch.from_numpy(graph.degrees == 0).to(vectors.device)] = 0
        return vectors.cpu().numpy()

    def log_proximity(self, graph: Graph, device: str) -> torch.Tensor:
        """float32[n, n]: log(max(1, vol / (negatives * window) * (P + ... + P^window) D^-1)), which is symmetric.

        Computed in blocks of columns, so that the workspace is only a tenth of the result.
        """
        import torch

        from graphseam import linalg

        degrees, place = graph.degrees, torch.device(device)
        inverse = np.where(degrees > 0, 1 / np.maximum(degrees, 1e-300), 0)
        walk = linalg.to_torch(graph.walk, place)
        factor = torch.from_numpy(inverse * (degrees.sum() / (self.negatives * self.window))).float().to(place)
        proximity = torch.empty(graph.num_nodes, graph.num_nodes, device=place)
        step = max(1, graph.num_nodes // 30)
        for first in range(0, graph.num_nodes, step):
            last = min(first + step, graph.num_nodes)
            power = torch.zeros(graph.num_nodes, last - first, device=place)
            power[first:last] = torch.eye(last - first, device=place)
            total = torch.zeros_like(power)
            for _ in range(self.window):
                power = walk @ power
                total += power
            proximity[:, first:last] = (total * factor[first:last]).clamp_min_(1.0).log_()
        return proximity

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int:
        """Peak of `embed`: the proximity, a sixth of it as workspace, the walk matrix, and six thin matrices."""
        return int(4.7 * num_nodes * num_nodes) + 2 * num_edges * 44 + 6 * num_nodes * (self.dim + 10) * 4
