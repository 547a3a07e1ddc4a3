"""Vectors of an incremental run: those of its base, corrected where the neighbourhoods have changed.

A vector is nearly a linear function of what its neighbourhood propagates: over nodes that have not changed, W is fitted
such that features(base graph) W gives the base's vectors, in which the features of a node are the directions of the
sums of vectors over its neighbours, over theirs, and over theirs again. The vector of a node is then corrected by the
change of its features, x + (features(graph now) - features(base graph)) W: a first-order update. A node without a
change within three steps keeps its vector; a new one gets features(now) W. Our own method: docs/nightly.md has the
measurements. W is ridge regression (Hoerl and Kennard, Technometrics 1970).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from graphseam.refine.driver import to_grid
from graphseam.refine.product import product
from graphseam.refine.rounds import NO_SUMS, Task
from graphseam.refine.rows import ADJACENCY, Rows
from graphseam.refine.tall_matrices import chunks, grams
from graphseam.vectors import unit_rows

BEFORE = "before"  # the base's adjacency in the store, over the nodes of both runs
HOPS = 3  # as many as refinement propagates over
RIDGE = 1e-2  # times the mean of the features' squared sizes
GRAPHS = (ADJACENCY, BEFORE)
BASE, UNCHANGED, UPDATED = "base", "unchanged", "updated"  # arrays in the store: vectors, flags, vectors


@dataclass(frozen=True)
class Correction:
    """W, float64[3 · dim, dim], and the length of every row."""

    weights: np.ndarray
    length: float


def update(stages: Any, task: Task, dim: int, length: float) -> float:
    """Leave each block's new vectors in the store; returns the fit, the share of the base's vectors' squared size that
    W explains on unchanged nodes.

    In the store: both graphs' rows over the same nodes, "base" float32[m, dim], zeros for new nodes, and "unchanged"
    bool[m]. Cost: six products of an adjacency with the vectors, each with an exchange of the halo, and 3 · dim² · 3
    operations per node. The same bytes for any number of blocks.
    """
    stages.run(partial(begin, task=task))
    for step in range(HOPS):
        stages.run(partial(hop, task=task, step=step))
    width = HOPS * dim
    sums = to_grid(stages.run(partial(fit, task=task)))
    features, crossed = sums[: width * width].reshape(width, width), sums[width * width : -1].reshape(width, dim)
    ridge = RIDGE * np.trace(features) / width
    weights = np.linalg.solve(features + max(ridge, np.finfo(float).tiny) * np.eye(width), crossed)
    size = float(sums[-1])
    missed = size - 2 * float((weights * crossed).sum()) + float((weights * (features @ weights)).sum())
    stages.run(partial(correct, task=task, correction=Correction(weights, length)))
    return 1 - missed / size if size else 0.0


def begin(block: int, task: Task) -> np.ndarray:
    """Send the base's vectors, which both graphs propagate."""
    task.place()
    base = task.store.get(block, BASE)
    for graph in GRAPHS:
        Rows.kept(block, task.store, graph).send(block, task.store, f"{graph}.features.0", base)
    return NO_SUMS


def hop(block: int, task: Task, step: int) -> np.ndarray:
    """The directions of the sums over each node's neighbours of what the last hop left, in both graphs."""
    device, store = task.place(), task.store
    for graph in GRAPHS:
        rows = Rows.kept(block, store, graph)
        own = store.get(block, f"{graph}.features.{step}" if step else BASE)
        halo = rows.receive(block, store, f"{graph}.features.{step}")
        ones = np.ones((rows.num_rows + rows.num_halo, 1), np.float32)
        sums = product(rows, own, halo, ones, [own.shape[1]], 0.0, device, task.threads)
        for part in chunks(*sums.shape):
            sums[part] = unit_rows(sums[part].astype(np.float64))
        store.put(block, f"{graph}.features.{step + 1}", sums)
        if step + 1 < HOPS:
            rows.send(block, store, f"{graph}.features.{step + 1}", sums)
    return NO_SUMS


def fit(block: int, task: Task) -> np.ndarray:
    """Sums over unchanged nodes: the features' products with each other and with the base's vectors, and the squared
    size of these."""
    task.place()
    store = task.store
    chosen = np.flatnonzero(store.get(block, UNCHANGED))
    base = store.get(block, BASE)[chosen]
    features = np.concatenate(
        [store.get(block, f"{BEFORE}.features.{step + 1}")[chosen] for step in range(HOPS)], axis=1
    )
    sums = grams([features], features) + grams([features], base)
    return np.concatenate([*[part.ravel() for part in sums], [float((base.astype(np.float64) ** 2).sum())]])


def correct(block: int, task: Task, correction: Correction) -> np.ndarray:
    """The new vectors, rows of the correction's length; zeros for a node without an edge now."""
    task.place()
    rows, store = Rows.kept(block, task.store), task.store
    base = store.get(block, BASE)
    now, before = ([store.get(block, f"{graph}.features.{step + 1}") for step in range(HOPS)] for graph in GRAPHS)
    vectors = np.zeros_like(base)
    for part in chunks(rows.num_rows, len(correction.weights)):
        vectors[part] = base[part]
        known = base[part].any(axis=1, keepdims=True)
        change = np.concatenate(
            [one[part] - known * other[part] for one, other in zip(now, before, strict=True)], axis=1
        )
        moved = np.flatnonzero(change.any(axis=1))
        some = base[part][moved] + change[moved].astype(np.float64) @ correction.weights
        vectors[part][moved] = correction.length * unit_rows(some)
        vectors[part][rows.degrees[part] == 0] = 0
    store.put(block, UPDATED, vectors)
    return NO_SUMS
