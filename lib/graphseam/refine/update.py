"""Vectors of an incremental run: those of its base, corrected where the neighbourhoods have changed.

A vector is nearly a linear function of what its neighbourhood propagates: over nodes that have not changed, W is fitted
such that features(base graph) W gives the base's vectors, in which the features of a node are the directions of the
sums of vectors over its neighbours, over theirs, and over theirs again. The vector of a node is then corrected by the
change of its features, x + (features(graph now) - features(base graph)) W, and once more with the features that the
corrected vectors give over today's graph. A node without a change within six steps keeps its vector; a new one gets
features(now) W. Our own method: docs/nightly.md has the measurements. W is ridge regression (Hoerl and Kennard,
Technometrics 1970).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from graphseam.refine.directions import put_directions
from graphseam.refine.driver import to_grid
from graphseam.refine.rounds import NO_SUMS, Task
from graphseam.refine.rows import Halo, Rows
from graphseam.refine.tall_matrices import chunks, grams
from graphseam.seeds import uniform_of
from graphseam.vectors import unit_rows

BEFORE = "before"  # the base's adjacency in the store, over the nodes of both runs
HOPS = 3  # as many as refinement propagates over
RIDGE = 1e-2  # times the mean of the features' squared sizes
MOST_FITTED = 50_000  # unchanged nodes that W is fitted on: over a hundred for each feature of 128 columns
TURNS = 2  # in the second, neighbours have moved as well: labels after ten nights are 0.5 to 0.9 better
BASE, UPDATED = "base", "updated"  # vectors in the store
UNCHANGED, TOUCHED = "unchanged", "touched"  # flags in the store: of nodes with the same edges, and with others


@dataclass(frozen=True)
class Correction:
    """W, float64[3 · dim, dim], and the length of every row."""

    weights: np.ndarray
    length: float


def update(stages: Any, task: Task, dim: int, length: float, seed: int) -> float:
    """Leave each block's new vectors in the store; returns the fit, the share of the base's vectors' squared size that
    W explains on unchanged nodes.

    In the store: both graphs' rows over the same nodes, "base" float32[m, dim], zeros for new nodes, "touched" and
    "unchanged" bool[m]. Cost: three products of the base's adjacency with the vectors, each with an exchange of the
    halo, and in each turn those of today's for nodes with a change so near; W is fitted on about MOST_FITTED nodes,
    drawn by `seed`; 3 · dim² operations per corrected node. The same bytes for any number of blocks.
    """
    unchanged = int(stages.run(partial(begin, task=task))[0])
    for step in range(HOPS):
        stages.run(partial(hop, task=task, step=step, turn=0))
    width = HOPS * dim
    drawn = (seed, MOST_FITTED / max(1, unchanged))
    sums = to_grid(stages.run(partial(fit, task=task, drawn=drawn)))
    features, crossed = sums[: width * width].reshape(width, width), sums[width * width : -1].reshape(width, dim)
    ridge = RIDGE * np.trace(features) / width
    weights = np.linalg.solve(features + max(ridge, np.finfo(float).tiny) * np.eye(width), crossed)
    size = float(sums[-1])
    missed = size - 2 * float((weights * crossed).sum()) + float((weights * (features @ weights)).sum())
    correction = Correction(weights, length)
    for turn in range(TURNS):
        for step in range(HOPS if turn else 0):
            stages.run(partial(hop, task=task, step=step, turn=turn))
        stages.run(partial(correct, task=task, correction=correction, turn=turn))
        task.store.drop(*(f"now.{turn}.{step + 1}" for step in range(HOPS)))  # before the disk is given them
    return 1 - missed / size if size else 0.0


def vectors_after(turn: int) -> str:
    """The name of what a turn has left in the store; of the base's vectors before the first one."""
    return UPDATED if turn == TURNS - 1 else f"{UPDATED}.{turn}" if turn >= 0 else BASE


def begin(block: int, task: Task) -> np.ndarray:
    """Send the base's vectors, which both graphs propagate. Sums: the unchanged nodes."""
    task.place()
    store, base = task.store, task.store.get(block, BASE)
    Rows.kept(block, store, BEFORE).send(block, store, f"{BEFORE}.0", base)
    _send_start(block, task, 0, base, np.zeros(len(base), bool))
    return np.array([float(store.get(block, UNCHANGED).sum())])


def _send_start(block: int, task: Task, turn: int, start: np.ndarray, moved: np.ndarray) -> None:
    """Send what a turn propagates over today's graph. moved: bool[m], which rows of it may not be the base's."""
    store, rows = task.store, Rows.kept(block, task.store)
    store.put(block, f"moved.{turn}.0", moved)
    rows.send(block, store, f"moved.{turn}.0", moved)
    rows.send(block, store, f"now.{turn}.0", start)


def hop(block: int, task: Task, step: int, turn: int) -> np.ndarray:
    """The directions of the sums over each node's neighbours of what the last hop left: in the base's graph, once, and
    in today's.

    A row differs between them only if its own edges do, or the last hop's of a neighbour; all others are the same.
    """
    task.place()
    store, rows, last = task.store, Rows.kept(block, task.store), step + 1 == HOPS
    if turn == 0:
        then = Rows.kept(block, store, BEFORE)
        own = store.get(block, f"{BEFORE}.{step}" if step else BASE)
        before = np.zeros_like(own)
        received = Halo(then.receive(block, store, f"{BEFORE}.{step}"))
        put_directions(task, then, own, received, np.ones(len(own), bool), before)
        store.put(block, f"{BEFORE}.{step + 1}", before)
        if not last:
            then.send(block, store, f"{BEFORE}.{step + 1}", before)
    moved = np.concatenate(
        [store.get(block, f"moved.{turn}.{step}"), rows.receive(block, store, f"moved.{turn}.{step}")]
    )
    reached = np.cumsum(np.r_[0, moved[rows.neighbours]])
    moved = store.get(block, TOUCHED) | (reached[rows.indptr[1:]] > reached[rows.indptr[:-1]])
    own = store.get(block, f"now.{turn}.{step}" if step else vectors_after(turn - 1))
    now = np.array(store.get(block, f"{BEFORE}.{step + 1}"))
    halo = Halo(rows.receive(block, store, f"now.{turn}.{step}"))
    put_directions(task, rows, own, halo, moved, now)
    store.put(block, f"moved.{turn}.{step + 1}", moved)
    store.put(block, f"now.{turn}.{step + 1}", now)
    if not last:
        rows.send(block, store, f"moved.{turn}.{step + 1}", moved)
        rows.send(block, store, f"now.{turn}.{step + 1}", now)
    return NO_SUMS


def fit(block: int, task: Task, drawn: tuple[int, float]) -> np.ndarray:
    """Sums over some unchanged nodes: the features' products with each other and with the base's vectors, and the
    squared size of these. drawn: (seed, share of the nodes)."""
    task.place()
    store, (seed, share) = task.store, drawn
    ids = Rows.kept(block, store).node_ids
    chosen = np.flatnonzero(store.get(block, UNCHANGED) & (uniform_of(seed, ids) < share))
    base = store.get(block, BASE)[chosen]
    features = np.concatenate([store.get(block, f"{BEFORE}.{step + 1}")[chosen] for step in range(HOPS)], axis=1)
    sums = grams([features], features) + grams([features], base)
    return np.concatenate([*[part.ravel() for part in sums], [float((base.astype(np.float64) ** 2).sum())]])


def correct(block: int, task: Task, correction: Correction, turn: int) -> np.ndarray:
    """A turn's vectors, rows of the correction's length; zeros for a node without an edge now. Sent if another turn
    follows."""
    task.place()
    rows, store = Rows.kept(block, task.store), task.store
    base = store.get(block, BASE)
    before, now = ([store.get(block, f"{name}.{step + 1}") for step in range(HOPS)] for name in (BEFORE, f"now.{turn}"))
    vectors, all_moved = np.zeros_like(base), rows.degrees == 0
    for part in chunks(rows.num_rows, len(correction.weights)):
        vectors[part] = base[part]
        known = base[part].any(axis=1, keepdims=True)
        change = np.concatenate(
            [one[part] - known * other[part] for one, other in zip(now, before, strict=True)], axis=1
        )
        moved = np.flatnonzero(change.any(axis=1))
        some = base[part][moved] + change[moved].astype(np.float64) @ correction.weights
        vectors[part][moved] = correction.length * unit_rows(some)
        all_moved[part][moved] = True
        vectors[part][rows.degrees[part] == 0] = 0
    store.put(block, vectors_after(turn), vectors)
    if turn + 1 < TURNS:
        _send_start(block, task, turn + 1, vectors, all_moved)
    return NO_SUMS
