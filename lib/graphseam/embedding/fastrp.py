"""FastRP: random projections of the powers of the random walk, weighted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from graphseam.graph import Graph


@dataclass(frozen=True)
class FastrpEmbedder:
    """The cheapest embedder: one sparse product per weight, no training. Linear in the edges.

    Source: Chen, Sultan, Tian, Chen and Skiena, Fast and Accurate Network Embeddings via Very Sparse Random
    Projection, CIKM 2019. The projection, the weights, the normalisation of each power and the final standardisation
    of the columns follow the authors' code.
    """

    dim: int = 128
    weights: tuple[float, ...] = (1.0, 1.0, 7.81, 45.28)  # of the first power of the walk, the second, ...
    degree_power: float = -0.628  # a node's random row is scaled by its share of all degrees to this power

    def embed(self, graph: Graph, seed: int, device: str, start: np.ndarray | None = None) -> np.ndarray:
        """float32[n, dim]; a node without edges gets a zero row. Deterministic on a CPU. `start` is not used."""
        import torch
        from sklearn.random_projection import SparseRandomProjection

        from graphseam import linalg

        if graph.num_edges == 0:
            return np.zeros((graph.num_nodes, self.dim), np.float32)
        place, degrees = torch.device(device), graph.degrees
        reached = degrees > 0
        walk = linalg.to_torch(graph.walk, place)
        projection = SparseRandomProjection(self.dim, random_state=seed % (1 << 32))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The number of components is higher")  # a graph may be tiny
            signs = projection.fit(sp.csr_matrix((1, graph.num_nodes))).components_.T.tocsr()
        scale = np.where(reached, np.maximum(degrees, 1e-300) / degrees.sum(), 0.0)
        scale[reached] **= self.degree_power
        power = torch.from_numpy((sp.diags(scale) @ signs).toarray().astype(np.float32)).to(place)
        total = torch.zeros_like(power)
        for weight in self.weights:
            power = walk @ power
            total += weight * linalg.unit_rows(power)
        nodes = torch.from_numpy(reached).to(place)
        spread, middle = torch.std_mean(total[nodes], dim=0, correction=0)
        total = torch.where(nodes[:, None], (total - middle) / spread.clamp_min(1e-12), 0.0)
        return total.cpu().numpy()

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int:
        """Peak of `embed`: the walk matrix twice (scipy's and torch's), and six and a half dense matrices."""
        return 2 * num_edges * 44 + int(6.5 * num_nodes * (self.dim + 8) * 4)
