"""Baseline: nodes to subgraphs by a hash of their id. Balanced in nodes, and as bad a cut as possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphseam.compiled import mix
from graphseam.graph import Graph
from graphseam.partition.levels import InOneTask


@dataclass(frozen=True)
class HashPartitioner(InOneTask):
    """Cost: O(nodes). Every other method should cut fewer edges than this one."""

    method: ClassVar[str] = "hash"
    imbalance: float = 0.05
    node_cost: int = 0

    def partition(self, graph: Graph, num_subgraphs: int, seed: int) -> np.ndarray:
        """int32[n] in [0, num_subgraphs): a node's subgraph, from its id and the seed alone."""
        hashes: np.ndarray = mix(graph.node_ids.astype(np.uint64) + np.uint64(seed))
        return (hashes % np.uint64(num_subgraphs)).astype(np.int32)

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int:
        return 32 * num_nodes + 80 * num_edges
