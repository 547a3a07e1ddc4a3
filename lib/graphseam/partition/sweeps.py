"""One block's label propagation, compiled: nodes are visited in order, and each sees the choices made before it.

Labels are indices into a list of the labels in the block and its halo; the halo's labels do not change in a sweep.
"""

from __future__ import annotations

import numpy as np

from graphseam.compiled import compiled, mix

NO_LABEL = -1


def label_weights(labels: np.ndarray, weights: np.ndarray, num_labels: int) -> np.ndarray:
    """int64[num_labels]: the sum of the weights by label, in integers and so exact."""
    sums = np.zeros(num_labels, np.int64)
    np.add.at(sums, labels, weights)
    return sums


@compiled
def _count_ties(
    row: int,
    indptr: np.ndarray,
    neighbours: np.ndarray,
    weights: np.ndarray,
    labels: np.ndarray,
    tie: np.ndarray,
    touched: np.ndarray,
) -> int:
    """Add the row's entries to `tie` by label; `touched` lists those labels. Returns the number of these labels."""
    num_touched = 0
    for entry in range(indptr[row], indptr[row + 1]):
        label = labels[neighbours[entry]]
        if tie[label] == 0:
            touched[num_touched] = label
            num_touched += 1
        tie[label] += weights[entry] if len(weights) else 1
    return num_touched


@compiled
def cluster_sweep(
    indptr: np.ndarray,
    neighbours: np.ndarray,
    weights: np.ndarray,
    node_weights: np.ndarray,
    labels: np.ndarray,
    label_weights: np.ndarray,
    label_hashes: np.ndarray,
    order: np.ndarray,
    max_weight: int,
    refused: np.ndarray,
) -> int:
    """Size-constrained label propagation: each row takes the label with the strongest tie among those with room.

    labels: int32[m + h], changed in place below m. label_weights: int64[labels], the weight of each label in this
    block, kept up to date. order: the rows to visit. refused: int32[m], the label with a row's strongest tie if that
    was full, else NO_LABEL. Equal ties go to the label with the larger hash of (label, row). Returns how many rows
    moved.
    Cost: O(entries). Source: Meyerhenke, Sanders and Schulz, Parallel graph partitioning for complex networks, 2017.
    """
    tie = np.zeros(len(label_weights), np.int64)
    touched = np.empty(len(label_weights), np.int32)
    moved = 0
    for row in order:
        num_touched = _count_ties(row, indptr, neighbours, weights, labels, tie, touched)
        own, weight = labels[row], node_weights[row]
        row_hash = mix(np.uint64(row))
        best, best_tie, best_hash = own, tie[own], mix(label_hashes[own] ^ row_hash)
        wish, wish_tie = own, tie[own]
        for place in range(num_touched):
            label = touched[place]
            if tie[label] < best_tie or label == own:
                continue
            if tie[label] > wish_tie:
                wish, wish_tie = label, tie[label]
            label_hash = mix(label_hashes[label] ^ row_hash)
            if (tie[label] > best_tie or label_hash > best_hash) and label_weights[label] + weight <= max_weight:
                best, best_tie, best_hash = label, tie[label], label_hash
        for place in range(num_touched):
            tie[touched[place]] = 0
        refused[row] = wish if wish_tie > best_tie else NO_LABEL
        if best != own:
            labels[row] = best
            label_weights[best] += weight
            label_weights[own] -= weight
            moved += 1
    return moved


@compiled
def refine_sweep(
    indptr: np.ndarray,
    neighbours: np.ndarray,
    weights: np.ndarray,
    node_weights: np.ndarray,
    parts: np.ndarray,
    room: np.ndarray,
    excess: np.ndarray,
    order: np.ndarray,
    upwards: bool,
) -> int:
    """Move rows to the part with the strongest tie, within the weight that each part may still gain in this block.

    parts: int32[m + h], changed in place below m. room: int64[parts], the weight a part may gain here, counted down.
    excess: int64[parts], the weight an overfull part must lose here: its rows may move at a loss. upwards: move only to
    higher-numbered parts, else only to lower: two blocks cannot swap neighbours and both lose (ParMETIS's rule).
    Returns how many rows moved. Cost: O(entries).
    """
    tie = np.zeros(len(room), np.int64)
    touched = np.empty(len(room), np.int32)
    moved = 0
    for row in order:
        num_touched = _count_ties(row, indptr, neighbours, weights, parts, tie, touched)
        own, weight = parts[row], node_weights[row]
        best, best_tie = own, tie[own] if excess[own] < weight else -1
        for place in range(num_touched):
            part = touched[place]
            if part != own and (part > own) == upwards and tie[part] > best_tie and room[part] >= weight:
                best, best_tie = part, tie[part]
        for place in range(num_touched):
            tie[touched[place]] = 0
        if best != own:
            parts[row] = best
            room[best] -= weight
            excess[own] = max(0, excess[own] - weight)
            moved += 1
    return moved
