"""ProNE: sparse factorisation of a log-proximity matrix, then propagation in the modulated spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.special import iv

from graphseam.graph import Graph

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ProneEmbedder:
    """Linear in the edges: about 12 products for the factorisation and 20 for the propagation.

    Source: Zhang, Dong, Wang, Tang and Ding, ProNE: Fast and Scalable Network Representation Learning, IJCAI 2019.
    The defaults are the authors'.
    """

    dim: int = 128
    order: int = 10  # terms of the Chebyshev expansion
    mu: float = 0.2  # centre of the spectral filter
    theta: float = 0.5  # its width
    power: float = 0.75  # of the context distribution for negative samples
    svd_rounds: int = 5  # power iterations of the randomised SVD; 2 cost 1 to 2 points of F1 on wikipedia_pos

    def embed(self, graph: Graph, seed: int, device: str, start: np.ndarray | None = None) -> np.ndarray:
        """float32[n, dim], rows of length 1; a node without edges gets a zero row. Deterministic on a CPU."""
        import torch  # takes seconds to import, and the driver does not need it

        from graphseam import linalg

        if graph.num_edges == 0:
            return np.zeros((graph.num_nodes, self.dim), np.float32)
        place = torch.device(device)
        proximity = log_proximity(graph, self.power)
        begin = None if start is None else torch.from_numpy(start).to(place)
        left, singular = linalg.randomized_svd(
            linalg.to_torch(proximity, place),
            linalg.to_torch(proximity.T.tocsr(), place),
            min(self.dim, graph.num_nodes),
            self.svd_rounds,
            seed,
            begin,
        )
        enhanced = self._propagate(graph, linalg.unit_rows(left * singular.sqrt()))
        left, singular = linalg.thin_svd(enhanced, self.dim)
        vectors = linalg.pad_columns(linalg.unit_rows(left * singular.sqrt()), self.dim)
        vectors[torch.from_numpy(graph.degrees == 0).to(place)] = 0
        return vectors.cpu().numpy()

    def _propagate(self, graph: Graph, start: torch.Tensor) -> torch.Tensor:
        """The Chebyshev expansion of a Gaussian band-pass filter of the graph's Laplacian, applied to `start`."""
        import torch

        from graphseam import linalg

        loops = graph.adjacency + sp.identity(graph.num_nodes, format="csr")
        walk = sp.diags(1.0 / np.asarray(loops.sum(axis=1)).ravel()) @ loops
        modulated = sp.identity(graph.num_nodes) * (1 - self.mu) - walk  # Laplacian - mu * I
        step, walk = linalg.to_torch(modulated.tocsr(), start.device), linalg.to_torch(walk.tocsr(), start.device)
        # five blocks of memory by turns: new memory for each product would take as long as the product
        spare, current, following = (torch.zeros_like(start) for _ in range(3))
        linalg.product(step, linalg.product(step, start, spare), current)
        current.mul_(0.5).sub_(start)
        before = start.clone()
        filtered = float(iv(0, self.theta)) * before - 2 * float(iv(1, self.theta)) * current
        for term in range(2, self.order):
            linalg.product(step, linalg.product(step, current, spare), following)
            following.sub_(current, alpha=2).sub_(before)
            before, current, following = current, following, before
            filtered += torch.mul(current, (-1) ** term * 2 * float(iv(term, self.theta)), out=spare)
        return linalg.product(walk, torch.sub(start, filtered, out=spare), filtered)

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int:
        """Peak of `embed`: five sparse matrices, scipy's and torch's (two entries per edge, 20 bytes per entry), and
        eleven dense ones."""
        return 5 * 2 * num_edges * 20 + 11 * num_nodes * (self.dim + 10) * 4


def log_proximity(graph: Graph, power: float) -> sp.csr_matrix:
    """log(P_ij) - log(Q_j) on the edges: P the random walk, Q the distribution of the contexts to the given power."""
    walk = graph.walk
    contexts = np.asarray(walk.sum(axis=0)).ravel() ** power
    contexts /= contexts.sum()
    logs = np.log(walk.data) - np.log(contexts[walk.indices])
    return sp.csr_matrix((logs, walk.indices, walk.indptr), shape=walk.shape)
