"""A graph in one task's memory, the input of the algorithms. Independent of Spark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from graphseam.arrays import distinct
from graphseam.columns import TRIPLE


@dataclass(frozen=True)
class Graph:
    """An undirected weighted graph with nodes 0..n-1, as a symmetric CSR matrix.

    node_ids: int64[n], ascending; row i of every result belongs to node_ids[i]. adjacency: float64 CSR [n, n],
    columns sorted, no diagonal; entry (i, j) is the weight of edge {i, j}, both directions added up.
    directed: the same with entry (i, j) for the edge from i to j alone; None where directions are ignored.
    """

    node_ids: np.ndarray
    adjacency: sp.csr_matrix
    directed: sp.csr_matrix | None = None

    @property
    def arcs(self) -> sp.csr_matrix:
        """The arcs that a walk may follow: along the directions, or both ways in an undirected graph."""
        return self.adjacency if self.directed is None else self.directed

    @property
    def num_nodes(self) -> int:
        return len(self.node_ids)

    @property
    def num_edges(self) -> int:
        return self.adjacency.nnz // 2

    @property
    def degrees(self) -> np.ndarray:
        """float64[n]: weighted degree of each node."""
        return np.asarray(self.adjacency.sum(axis=1)).ravel()

    @property
    def walk(self) -> sp.csr_matrix:
        """float64 CSR [n, n]: transition probabilities of a random walk, D^-1 A; empty rows for nodes without edges."""
        return sp.csr_matrix(sp.diags(1.0 / np.maximum(self.degrees, 1e-300)) @ self.adjacency)

    @staticmethod
    def from_edges(
        src: np.ndarray,
        dst: np.ndarray,
        weight: np.ndarray,
        extra_nodes: np.ndarray | None = None,
        directed: bool = False,
    ) -> Graph:
        """The graph of edges in any order; `extra_nodes` are nodes that may have no edge.

        Cost: one sort of the edges. The weights of duplicate and two-way edges are added up.
        """
        order = np.lexsort((dst, src))  # a sum's last bit must not depend on the order of the rows
        src, dst, weight = src[order], dst[order], weight[order]
        ids = [src, dst] if extra_nodes is None else [src, dst, extra_nodes]
        node_ids = distinct(np.concatenate(ids)).astype(np.int64, copy=False)
        rows, columns = np.searchsorted(node_ids, src), np.searchsorted(node_ids, dst)
        shape = (len(node_ids), len(node_ids))
        half = sp.coo_matrix((weight.astype(np.float64), (rows, columns)), shape=shape).tocsr()
        adjacency = sp.csr_matrix(half + half.T)
        adjacency.sort_indices()
        if not directed:
            return Graph(node_ids, adjacency)
        half.sort_indices()
        return Graph(node_ids, adjacency, half)

    @staticmethod
    def from_arrow(edges: pa.Table, nodes: pa.Table | None = None, directed: bool = False) -> Graph:
        """The graph of a table with columns src, dst, weight (and of nodes with column node_id), rows in any order."""
        src, dst, weight = (edges[name].to_numpy() for name in TRIPLE)
        return Graph.from_edges(src, dst, weight, None if nodes is None else nodes["node_id"].to_numpy(), directed)
