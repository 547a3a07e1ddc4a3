"""METIS in one task: multilevel k-way partitioning, the reference cut for the other methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from graphseam.graph import Graph
from graphseam.partition.budget import balanced_weights, end_limits, max_ends_of_a_node
from graphseam.partition.coarsest import split
from graphseam.partition.levels import InOneTask

LARGEST_WEIGHT = 1000  # METIS takes integers; weights are scaled to 1..1000
METIS_BYTES_PER_EDGE = 200


@dataclass(frozen=True)
class MetisPartitioner(InOneTask):
    """Balances edge ends, as the budget limits edges: a node's weight is its number of neighbours plus node_cost.

    Cost: O(edges · log subgraphs) time, about 200 bytes per edge. Deterministic for a given seed.
    """

    method: ClassVar[str] = "metis"
    imbalance: float = 0.05
    node_cost: int = 0

    def partition(self, graph: Graph, num_subgraphs: int, seed: int) -> np.ndarray:
        """int32[n] in [0, num_subgraphs): the subgraph of each node; some numbers may stay unused."""
        adjacency = graph.adjacency
        whole = scaled(adjacency.data, weight_scale(adjacency.data.min(), adjacency.data.max()) if adjacency.nnz else 0)
        neighbours = np.diff(adjacency.indptr)
        limits = end_limits(adjacency.nnz, num_subgraphs, self.imbalance)
        bounded = np.array([np.minimum(neighbours, limit).sum() for limit in limits])
        most = max_ends_of_a_node(limits, bounded, num_subgraphs, self.imbalance)
        parts = split(
            sp.csr_matrix((whole, adjacency.indices, adjacency.indptr), shape=adjacency.shape),
            balanced_weights(neighbours, self.node_cost, most),
            num_subgraphs,
            self.imbalance,
            seed,
        )
        alone = np.flatnonzero(neighbours == 0)  # no weight and no edges: spread evenly
        parts[alone] = np.arange(len(alone)) % num_subgraphs
        return parts

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int:
        """The task's peak memory: the edges as they come in, the matrix, METIS's copy and its coarser graphs."""
        return 100 * num_nodes + METIS_BYTES_PER_EDGE * num_edges


def weight_scale(smallest: float, largest: float) -> float:
    """The factor that scales weights to integers from 1 to 1000; 0 if all are equal and need no scaling."""
    return 0.0 if smallest == largest else LARGEST_WEIGHT / largest


def scaled(weights: np.ndarray, scale: float) -> np.ndarray:
    """int64: the weights as integers of at least 1; all 1 for a scale of 0."""
    return np.maximum(1, np.rint(weights * scale)).astype(np.int64)
