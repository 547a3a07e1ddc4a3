"""Graphs whose communities are known, and how well a partition finds them: for the tests of partitioners."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from graphs import planted_edges
from graphseam.graph import Graph


def graph_of(edges: np.ndarray, weights: np.ndarray | None = None) -> Graph:
    return Graph.from_edges(edges[:, 0], edges[:, 1], np.ones(len(edges)) if weights is None else weights)


def hidden_communities() -> tuple[np.ndarray, np.ndarray]:
    """(edges, community of each node): eight communities of 1,000, mixing 0.1, ids in no order."""
    shuffled = np.random.default_rng(0).permutation(8_000)
    community = np.empty(8_000, int)
    community[shuffled] = np.arange(8_000) // 1_000
    return shuffled[planted_edges(8, 1_000, degree=24, mixing=0.1, seed=11)], community


def cut_of(graph: Graph, parts: np.ndarray) -> float:
    entries = graph.adjacency.tocoo()
    return entries.data[parts[entries.row] != parts[entries.col]].sum() / 2


def balance_of(graph: Graph, parts: np.ndarray, count: int) -> float:
    ends = np.bincount(parts, weights=np.diff(graph.adjacency.indptr), minlength=count)
    return ends.max() / ends.mean()


def recovered_share(parts: np.ndarray, community: np.ndarray) -> float:
    """Share of the nodes whose subgraph is their community's, matched one to one."""
    agreement = np.zeros((parts.max() + 1, community.max() + 1))
    np.add.at(agreement, (parts, community), 1)
    return agreement[linear_sum_assignment(-agreement)].sum() / len(parts)
