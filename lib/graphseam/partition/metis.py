"""METIS in one task: multilevel k-way partitioning, the cut that others are measured against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphseam.graph import Graph

LARGEST_WEIGHT = 1000  # METIS takes whole numbers; weights are scaled to 1..1000


@dataclass(frozen=True)
class MetisPartitioner:
    """Balances edge ends, as the budget bounds edges: a node weighs its number of neighbours.

    Cost: O(edges · log subgraphs) time, about 100 bytes an edge. Deterministic in the seed.
    Source: Karypis and Kumar, A fast and high quality multilevel scheme, SIAM J. Sci. Comput. 1998.
    """

    imbalance: float = 0.05

    def partition(self, graph: Graph, num_subgraphs: int, seed: int) -> np.ndarray:
        """int32[n] in [0, num_subgraphs): the subgraph of each node; some numbers may stay unused."""
        import pymetis  # only tasks that partition need it

        if num_subgraphs == 1 or graph.num_edges == 0:
            return (np.arange(graph.num_nodes) % num_subgraphs).astype(np.int32)
        adjacency = graph.adjacency
        neighbours = np.diff(adjacency.indptr)
        options = pymetis.Options(seed=seed % (1 << 31), ufactor=max(1, int(1000 * self.imbalance)), numbering=0)
        _, labels = pymetis.part_graph(
            num_subgraphs,
            xadj=adjacency.indptr,
            adjncy=adjacency.indices,
            vweights=np.maximum(neighbours, 1),
            eweights=_whole_weights(adjacency.data),
            recursive=False,
            options=options,
        )
        return np.asarray(labels, np.int32)

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int:
        """What the task holds at its peak: the edges as they come, the matrix, METIS' copy and its coarser graphs."""
        return 100 * num_nodes + 200 * num_edges


def _whole_weights(weights: np.ndarray) -> np.ndarray | None:
    """Weights as whole numbers from 1 to 1000; None where all are the same."""
    if weights.min() == weights.max():
        return None
    return np.maximum(1, np.rint(weights * (LARGEST_WEIGHT / weights.max()))).astype(np.int64)
