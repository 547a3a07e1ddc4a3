"""A graph that fits in one task: METIS, with small components kept whole and the balance repaired."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from graphseam.partition.sweeps import label_weights, refine_sweep

METIS_LARGEST_SUM = 1 << 30


def split(
    adjacency: sp.csr_matrix, node_weights: np.ndarray, num_parts: int, imbalance: float, seed: int
) -> np.ndarray:
    """int32[n] in [0, num_parts): METIS's k-way cut, no part above (1 + imbalance) * mean if the nodes allow it.

    adjacency: CSR with integer weights, symmetric, no diagonal. node_weights: int64[n]. A component of at most half a
    part is not cut, unless the balance requires it. Deterministic for a given seed.
    Cost: O(entries · log parts) time. Source: Karypis and Kumar, A fast and high quality multilevel scheme for
    partitioning irregular graphs, SIAM J. Sci. Comput. 1998.
    """
    if num_parts == 1 or len(node_weights) == 0:
        return np.zeros(len(node_weights), np.int32)
    _, component = connected_components(adjacency, directed=False)
    limit = (1 + imbalance) * node_weights.sum() / num_parts
    share = 0.5
    while True:
        whole = _pack_components(component, node_weights, share * node_weights.sum() / num_parts)
        packed, weights = contracted(adjacency, node_weights, whole)
        parts = _rebalance(packed, weights, _metis(packed, weights, num_parts, imbalance, seed), num_parts, limit)
        heaviest = label_weights(parts, weights, num_parts).max()
        if heaviest <= max(limit, weights.max()) or share < imbalance:
            return parts[whole]
        share /= 4


def contracted(
    adjacency: sp.csr_matrix, node_weights: np.ndarray, groups: np.ndarray
) -> tuple[sp.csr_matrix, np.ndarray]:
    """The graph of the groups: entries between groups summed, those inside dropped. groups: int[n], from 0."""
    num_groups = int(groups.max()) + 1
    if num_groups == len(groups):
        return adjacency, node_weights
    entries = adjacency.tocoo()
    rows, columns = groups[entries.row], groups[entries.col]
    between = rows != columns
    merged = sp.coo_matrix((entries.data[between], (rows[between], columns[between])), shape=(num_groups,) * 2).tocsr()
    merged.sort_indices()
    return merged, label_weights(groups, node_weights, num_groups)


def _pack_components(component: np.ndarray, node_weights: np.ndarray, max_weight: float) -> np.ndarray:
    """int64[n]: a group number per node, the same for all nodes of a component of at most `max_weight`.

    Tiny components share a number, up to a twentieth of `max_weight` together, so that METIS has fewer nodes to place.
    """
    weights = label_weights(component, node_weights, component.max() + 1)
    small = np.flatnonzero(weights <= max_weight)
    small = small[np.argsort(weights[small], kind="stable")]
    bins = np.cumsum(weights[small]) // max(1, int(max_weight / 20))
    bins = np.where(weights[small] <= max_weight / 20, bins, bins.max(initial=0) + 1 + np.arange(len(small)))
    group_of = np.full(len(weights), -1, np.int64)
    group_of[small] = bins
    groups = group_of[component]
    alone = groups < 0
    groups[alone] = bins.max(initial=0) + 1 + np.arange(int(alone.sum()))
    return np.unique(groups, return_inverse=True)[1]


def _metis(
    adjacency: sp.csr_matrix, node_weights: np.ndarray, num_parts: int, imbalance: float, seed: int
) -> np.ndarray:
    import pymetis  # only tasks that partition need it

    num_nodes = len(node_weights)
    if adjacency.nnz == 0 or num_nodes <= num_parts:
        return (np.arange(num_nodes) % num_parts).astype(np.int32)
    options = pymetis.Options(seed=seed % (1 << 31), ufactor=max(1, int(1000 * imbalance)), numbering=0)
    uniform = adjacency.data.min() == adjacency.data.max()
    _, parts = pymetis.part_graph(
        num_parts,
        adjacency=pymetis.CSRAdjacency(adjacency.indptr, adjacency.indices),
        vweights=_in_32_bits(node_weights),
        eweights=None if uniform else _in_32_bits(adjacency.data),
        recursive=False,
        options=options,
    )
    return np.asarray(parts, np.int32)


def _in_32_bits(weights: np.ndarray) -> np.ndarray:
    """Weights of at least 1 each, small enough for METIS to sum in 32 bits."""
    return np.maximum(weights // (weights.sum() // METIS_LARGEST_SUM + 1), 1)


def _rebalance(
    adjacency: sp.csr_matrix, node_weights: np.ndarray, parts: np.ndarray, num_parts: int, limit: float
) -> np.ndarray:
    """Move nodes out of parts heavier than `limit`: first those without edges, then those with the least loss."""
    loads = label_weights(parts, node_weights, num_parts)
    if loads.max() <= limit:
        return parts
    untied = np.flatnonzero(np.diff(adjacency.indptr) == 0)
    _move_to_lightest(untied, node_weights, parts, loads, limit)
    order = np.argsort(np.diff(adjacency.indptr), kind="stable")
    weights = np.ascontiguousarray(adjacency.data, np.int64)
    for sweep in range(4):
        room, excess = np.maximum(0, int(limit) - loads), np.maximum(0, loads - int(limit))
        if not excess.any():
            return parts
        refine_sweep(
            adjacency.indptr.astype(np.int64),
            adjacency.indices.astype(np.int32),
            weights,
            node_weights,
            parts,
            room,
            excess,
            order,
            sweep % 2 == 0,
        )
        loads = label_weights(parts, node_weights, num_parts)
    _move_to_lightest(order, node_weights, parts, loads, limit)
    return parts


def _move_to_lightest(
    nodes: np.ndarray, node_weights: np.ndarray, parts: np.ndarray, loads: np.ndarray, limit: float
) -> None:
    """Move nodes of overfull parts, heaviest first, to the lightest part while that helps. In place."""
    for node in nodes[np.argsort(-node_weights[nodes], kind="stable")].tolist():
        own, weight = parts[node], node_weights[node]
        if loads[own] <= limit:
            continue
        lightest = int(loads.argmin())
        if loads[lightest] + weight < loads[own]:
            parts[node] = lightest
            loads[own] -= weight
            loads[lightest] += weight
