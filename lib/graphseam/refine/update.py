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

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from graphseam.refine.directions import by_product, directions_of, put_directions
from graphseam.refine.driver import to_grid
from graphseam.refine.rounds import NO_SUMS, Task
from graphseam.refine.rows import Halo, Rows
from graphseam.refine.tall_matrices import chunks, grams
from graphseam.seeds import uniform_of
from graphseam.task import limit_threads
from graphseam.vectors import unit_rows

BEFORE = "before"  # the base's adjacency in the store, over the nodes of both runs
HOPS = 3  # as many as refinement propagates over
KEPT_HOPS = HOPS - 1  # whose sums are stored; those of the last one are made where they are used
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
    halo, and in each turn the last of them again, and those of today's for nodes with a change so near; W is fitted on
    about MOST_FITTED nodes, drawn by `seed`; 3 · dim² operations per corrected node. Memory: six times the vectors, as
    the last sums are made where they are used. The same bytes for any number of blocks.
    """
    unchanged = int(stages.run(partial(begin, task=task))[0])
    for step in range(KEPT_HOPS):
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
        for step in range(KEPT_HOPS if turn else 0):
            stages.run(partial(hop, task=task, step=step, turn=turn))
            if not step:
                task.store.drop(vectors_after(turn - 1))
        stages.run(partial(correct, task=task, correction=correction, turn=turn))
        task.store.drop(*(f"now.{turn}.{step + 1}" for step in range(KEPT_HOPS)))  # before the disk is given them
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
    store, rows = task.store, Rows.kept(block, task.store)
    if turn == 0:
        then = Rows.kept(block, store, BEFORE)
        own = store.get(block, f"{BEFORE}.{step}" if step else BASE)
        before = np.empty_like(own)
        received = Halo(then.receive(block, store, f"{BEFORE}.{step}"))
        put_directions(task, then, own, received, np.ones(len(own), bool), before)
        store.put(block, f"{BEFORE}.{step + 1}", before)
        then.send(block, store, f"{BEFORE}.{step + 1}", before)
    moved = _reached(block, task, rows, step, turn)
    own = store.get(block, f"now.{turn}.{step}" if step else vectors_after(turn - 1))
    now = np.array(store.get(block, f"{BEFORE}.{step + 1}"))
    put_directions(task, rows, own, Halo(rows.receive(block, store, f"now.{turn}.{step}")), moved, now)
    store.put(block, f"moved.{turn}.{step + 1}", moved)
    store.put(block, f"now.{turn}.{step + 1}", now)
    rows.send(block, store, f"moved.{turn}.{step + 1}", moved)
    rows.send(block, store, f"now.{turn}.{step + 1}", now)
    return NO_SUMS


def _reached(block: int, task: Task, rows: Rows, step: int, turn: int) -> np.ndarray:
    """bool[m]: the rows that the next hop may change: with other edges, or a neighbour that the last one changed."""
    store, name = task.store, f"moved.{turn}.{step}"
    moved = np.concatenate([store.get(block, name), rows.receive(block, store, name)])
    reached = np.cumsum(np.r_[0, moved[rows.neighbours]])
    return np.asarray(store.get(block, TOUCHED) | (reached[rows.indptr[1:]] > reached[rows.indptr[:-1]]))


def fit(block: int, task: Task, drawn: tuple[int, float]) -> np.ndarray:
    """Sums over some unchanged nodes: the features' products with each other and with the base's vectors, and the
    squared size of these. drawn: (seed, share of the nodes)."""
    device = task.place()
    store, (seed, share) = task.store, drawn
    ids = Rows.kept(block, store).node_ids
    chosen = np.flatnonzero(store.get(block, UNCHANGED) & (uniform_of(seed, ids) < share))
    base = store.get(block, BASE)[chosen]
    then = Rows.kept(block, store, BEFORE)
    features = np.concatenate(features_of(block, task, then, BEFORE, device)(chosen), axis=1)
    sums = grams([features], features) + grams([features], base)
    return np.concatenate([*[part.ravel() for part in sums], [float((base.astype(np.float64) ** 2).sum())]])


def features_of(block: int, task: Task, rows: Rows, name: str, device: str) -> Callable[[np.ndarray], list[np.ndarray]]:
    """A function from rows, int64[k], rising, to their features, float32[k, dim] for each hop. rows: of the graph that
    hops have gone over. name: of what they have left."""
    store = task.store
    kept = [store.get(block, f"{name}.{step + 1}") for step in range(KEPT_HOPS)]
    halo = Halo(rows.receive(block, store, f"{name}.{KEPT_HOPS}"))
    if device == "cpu":
        return lambda some: [*(part[some] for part in kept), directions_of(rows, kept[-1], halo, some)]
    last = np.empty_like(kept[-1])
    by_product(task, rows, kept[-1], halo, np.ones(len(last), bool), last)
    return lambda some: [part[some] for part in (*kept, last)]


def correct(block: int, task: Task, correction: Correction, turn: int) -> np.ndarray:
    """A turn's vectors, rows of the correction's length; zeros for a node without an edge now. Sent if another turn
    follows."""
    device, store, rows = task.place(), task.store, Rows.kept(block, task.store)
    base = store.get(block, BASE)
    before = features_of(block, task, Rows.kept(block, store, BEFORE), BEFORE, device)
    now = features_of(block, task, rows, f"now.{turn}", device)
    reached = _reached(block, task, rows, KEPT_HOPS, turn)
    for step in range(KEPT_HOPS):
        reached |= store.get(block, f"moved.{turn}.{step + 1}")
    vectors, all_moved = np.array(base), np.zeros(rows.num_rows, bool)
    all_moved[rows.degrees == 0] = True
    vectors[all_moved] = 0

    def work(part: slice) -> None:
        known = np.asarray(base[part].any(axis=1))
        some = part.start + np.flatnonzero((reached[part] | ~known) & (rows.degrees[part] > 0))
        known = known[some - part.start, None]
        change = np.concatenate([one - known * other for one, other in zip(now(some), before(some), strict=True)], 1)
        moved = np.flatnonzero(change.any(axis=1))
        some, change = some[moved], change[moved]
        corrected = base[some] + change.astype(np.float64) @ correction.weights
        vectors[some] = correction.length * unit_rows(corrected)
        all_moved[some] = True

    side_by_side(work, chunks(rows.num_rows, len(correction.weights)), task.threads)
    store.put(block, vectors_after(turn), vectors)
    if turn + 1 < TURNS:
        _send_start(block, task, turn + 1, vectors, all_moved)
    return NO_SUMS


def side_by_side(work: Callable[[slice], None], parts: Iterable[slice], threads: int) -> None:
    """Call work(part) for every part, so many at once, each with one thread of BLAS: the same bytes for any number."""
    limit_threads(1)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))
    limit_threads(threads)
