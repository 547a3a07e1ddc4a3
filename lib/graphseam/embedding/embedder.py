"""The interface of every embedder."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from graphseam.graph import Graph


class Embedder(Protocol):
    """Embeds a graph in one task's memory; embedders know nothing of Spark. docs/embedders.md shows a complete one."""

    dim: int

    def embed(self, graph: Graph, seed: int, device: str, start: np.ndarray | None = None) -> np.ndarray: ...

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int: ...
