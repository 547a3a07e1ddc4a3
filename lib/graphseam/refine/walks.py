"""Short random walks over a graph in blocks: the pairs of nodes that a window around a walk joins.

From each entry u -> v of the adjacency, walks of 1 to `steps` steps whose first step is that entry: the ends of such a
walk are distributed as the ends of a path sample of NetSMF (Qiu et al., WWW 2019), as a walk that begins at a random
edge is stationary. A walk that leaves its block goes on in the other in the next superstep. Each draw is a hash of the
entry and the step, and neighbours are ordered by id, so that the walks do not depend on the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from graphseam.arrow import slices
from graphseam.compiled import compiled, mix
from graphseam.refine.rounds import Task
from graphseam.refine.rows import Rows, positions

WALKER = np.dtype(
    [("start", "<i8"), ("start_block", "<i4"), ("node", "<i8"), ("key", "<u8"), ("left", "<i1"), ("mass", "<i4")]
)
PAIR = np.dtype([("row", "<i8"), ("column", "<i8"), ("column_block", "<i4"), ("mass", "<i4")])
WALKS_AT_ONCE = 1 << 20
FOLDER = "walks"  # of all that is kept of them
MASS_UNIT, HEAVIEST = 256, 1 << 24  # of an entry of mean weight, of any; an unweighted graph counts walks


@dataclass(frozen=True)
class Sampling:
    """per_entry: walks from each entry of the adjacency on average. steps: the most of a walk."""

    per_entry: float
    steps: int
    seed: int
    num_blocks: int
    weighted: bool


@dataclass(frozen=True)
class _Paths:
    """A block's adjacency with neighbours ordered by node id. cumulative: of the weights within a row; empty: all 1.

    ids, blocks: of the block's rows, then of its halo.
    """

    ids: np.ndarray
    blocks: np.ndarray
    neighbours: np.ndarray
    cumulative: np.ndarray


def walkers_of(step: int) -> str:
    """Where the walks are kept that left their block in a superstep."""
    return f"{FOLDER}/walkers.{step}"


def pairs_of(step: int) -> str:
    """Where the pairs are kept of the walks that ended in a superstep."""
    return f"{FOLDER}/pairs.{step}"


def send_homes(block: int, task: Task) -> None:
    """Tell the peers the ids of the nodes in their halos, and this block's number."""
    rows = Rows.kept(block, task.store)
    rows.send(block, task.store, "ids", rows.node_ids)
    rows.send(block, task.store, "home", np.full(rows.num_rows, block, np.int32))


def begin(block: int, task: Task, sampling: Sampling) -> np.ndarray:
    """All walks from the block's entries, as far as they stay in it. Sums: the walks that left."""
    task.place()
    rows, store = Rows.kept(block, task.store), task.store
    paths, weights = _paths(block, rows, task)
    for name in ("neighbours", "cumulative"):
        store.put(block, f"{FOLDER}/{name}", getattr(paths, name))
    starts = _start(rows, paths, weights, task, sampling, block)
    return _walk_on(block, rows, paths, task, 0, starts, sampling.num_blocks)


def go_on(block: int, task: Task, step: int, sampling: Sampling) -> np.ndarray:
    """The walks that entered the block in the last superstep. Sums: those that left it again."""
    task.place()
    rows, store = Rows.kept(block, task.store), task.store
    ids, blocks = _homes(block, rows, task)
    paths = _Paths(ids, blocks, store.get(block, f"{FOLDER}/neighbours"), store.get(block, f"{FOLDER}/cumulative"))
    parts = received(block, task, walkers_of(step - 1), sampling.num_blocks)
    arrivals = (
        (
            part["start"],
            part["start_block"],
            positions(rows.node_ids, part["node"]).astype(np.int32),
            part["key"].copy(),
            part["left"].copy(),
            part["mass"],
        )
        for part in parts
    )
    return _walk_on(block, rows, paths, task, step, arrivals, sampling.num_blocks)


def received(block: int, task: Task, name: str, num_blocks: int) -> Iterator[np.ndarray]:
    """What all blocks sent to this one under a name, by sender and part, about a million records at once."""
    held: list[np.ndarray] = []
    for sender in range(num_blocks):
        ends = task.store.get(sender, f"{name}/ends")
        for part in np.flatnonzero(ends[:, block + 1] > ends[:, block]).tolist():
            start, stop = ends[part, block : block + 2].tolist()
            held.append(task.store.get(sender, f"{name}/{part}", start, stop))
            if sum(map(len, held)) >= WALKS_AT_ONCE:
                yield np.concatenate(held)
                held = []
    if held:
        yield np.concatenate(held)


def _homes(block: int, rows: Rows, task: Task) -> tuple[np.ndarray, np.ndarray]:
    ids = np.concatenate([rows.node_ids, rows.receive(block, task.store, "ids")])
    blocks = np.concatenate([np.full(rows.num_rows, block, np.int32), rows.receive(block, task.store, "home")])
    return ids, blocks


def _paths(block: int, rows: Rows, task: Task) -> tuple[_Paths, np.ndarray]:
    """(the block's paths; the weights of its entries in their order, empty if all are 1)."""
    ids, blocks = _homes(block, rows, task)
    neighbours, weights = np.asarray(rows.neighbours), np.asarray(rows.weights)
    if rows.num_halo:
        row_of = np.repeat(np.arange(rows.num_rows), np.diff(rows.indptr))
        order = np.lexsort((ids[neighbours], row_of))
        neighbours, weights = neighbours[order], weights[order] if len(weights) else weights
    cumulative = np.empty(len(weights))
    _add_up(np.asarray(rows.indptr), weights.astype(np.float64), cumulative)
    return _Paths(ids, blocks, neighbours, cumulative), weights


Walks = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _start(
    rows: Rows, paths: _Paths, weights: np.ndarray, task: Task, sampling: Sampling, block: int
) -> Iterator[Walks]:
    """(start, its block, column where the walk is, key, steps left, mass) of the walks, about a million at once."""
    whole, part_of_one = divmod(sampling.per_entry, 1)
    row_of = np.repeat(np.arange(rows.num_rows, dtype=np.int32), np.diff(rows.indptr))
    for part in slices(len(row_of), max(1, int(8 * (whole + 1))), 8 * WALKS_AT_ONCE):
        starts, columns = rows.node_ids[row_of[part]], paths.neighbours[part]
        keys = mix(mix(starts.astype(np.uint64) + np.uint64(sampling.seed)) + paths.ids[columns].astype(np.uint64))
        counts = np.int64(whole) + (_unit(mix(keys)) < part_of_one)
        entry = np.repeat(np.arange(len(starts)), counts)
        number = np.arange(len(entry)) - np.repeat(np.cumsum(counts) - counts, counts)
        key = mix(keys[entry] + (number.astype(np.uint64) + np.uint64(1)) * np.uint64(1 << 32))
        left = (_unit(mix(key)) * sampling.steps).astype(np.int8)
        mass = np.ones(len(entry), np.int32)
        if sampling.weighted:
            own = weights[part] if len(weights) else np.ones(len(starts))
            mass = np.round(np.clip(own / task.mean_weight * MASS_UNIT, 1, HEAVIEST)).astype(np.int32)[entry]
        yield starts[entry], np.full(len(entry), block, np.int32), columns[entry].astype(np.int32), key, left, mass


def _unit(keys: np.ndarray) -> np.ndarray:
    """float64 in [0, 1) from hashes."""
    return (keys >> np.uint64(11)).astype(np.float64) / (1 << 53)


def _walk_on(
    block: int, rows: Rows, paths: _Paths, task: Task, step: int, walks: Iterator[Walks], num_blocks: int
) -> np.ndarray:
    """Store the pairs of walks that ended and the walks that left, in parts, each sorted by the block it goes to."""
    ends: dict[str, list[np.ndarray]] = {"pairs": [], "walkers": []}
    names = {"pairs": pairs_of(step), "walkers": walkers_of(step)}
    away = 0

    def put(name: str, targets: np.ndarray, records: np.ndarray) -> None:
        if num_blocks > 1:
            order = np.argsort(targets, kind="stable")
            targets, records = targets[order], records[order]
        task.store.put(block, f"{names[name]}/{len(ends[name])}", records)
        ends[name].append(np.searchsorted(targets, np.arange(num_blocks + 1)))

    for start, start_block, at, key, left, mass in walks:
        _walk(np.asarray(rows.indptr), np.asarray(paths.neighbours), np.asarray(paths.cumulative), at, key, left)
        done = left == 0
        end, end_block = paths.ids[at], paths.blocks[at]
        pairs = np.empty((2, int(done.sum())), PAIR)
        pairs["row"], pairs["column"] = (start[done], end[done]), (end[done], start[done])
        pairs["column_block"], pairs["mass"] = (end_block[done], start_block[done]), mass[done]
        put("pairs", np.concatenate([start_block[done], end_block[done]]), pairs.reshape(-1))
        if not done.all():
            gone = ~done
            walkers = np.empty(int(gone.sum()), WALKER)
            for name, values in zip(WALKER.names or (), (start, start_block, end, key, left, mass), strict=True):
                walkers[name] = values[gone]
            put("walkers", end_block[gone], walkers)
            away += len(walkers)
    for name, found in ends.items():
        task.store.put(block, f"{names[name]}/ends", np.array(found, np.int64).reshape(-1, num_blocks + 1))
    return np.array([float(away)])


@compiled
def _add_up(indptr: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    if len(weights) == 0:
        return
    for row in range(len(indptr) - 1):
        total = 0.0
        for at in range(indptr[row], indptr[row + 1]):
            total += weights[at]
            out[at] = total


@compiled
def _walk(
    indptr: np.ndarray,
    neighbours: np.ndarray,
    cumulative: np.ndarray,
    at: np.ndarray,
    keys: np.ndarray,
    left: np.ndarray,
) -> None:
    """Each walk until it has no steps left or stands in the halo. at, left: changed in place."""
    num_rows = len(indptr) - 1
    for walk in range(len(at)):
        while left[walk] > 0 and at[walk] < num_rows:
            start, stop = indptr[at[walk]], indptr[at[walk] + 1]
            number = np.float64(mix(keys[walk] + np.uint64(left[walk])) >> np.uint64(11)) / (1 << 53)
            if len(cumulative) == 0:
                chosen = start + np.int64(number * (stop - start))
            else:
                chosen = start + np.searchsorted(cumulative[start:stop], number * cumulative[stop - 1], side="right")
            at[walk] = neighbours[min(chosen, stop - 1)]
            left[walk] -= 1
