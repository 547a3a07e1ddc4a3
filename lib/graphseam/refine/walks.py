"""Short random walks over a graph in blocks: the pairs of nodes that a window around a walk joins.

From each entry u -> v of the adjacency, walks of 1 to `steps` steps whose first step is that entry: the ends of such a
walk are distributed as the ends of a path sample of NetSMF (Qiu et al., WWW 2019), as a walk that begins at a random
edge is stationary. A walk that leaves its block goes on in the other in the next superstep. Each draw is a hash of the
entry and the step, and neighbours are ordered by id, so that the walks do not depend on the blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from graphseam.arrow import positions, slices
from graphseam.compiled import compiled, mix, read_only, unit_interval
from graphseam.refine.rounds import NO_SUMS, Task
from graphseam.refine.rows import Rows, find_rows

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


def send_homes(block: int, task: Task) -> np.ndarray:
    """Tell the peers the ids of the nodes in their halos, and this block's number."""
    rows = Rows.kept(block, task.store)
    rows.send(block, task.store, "ids", rows.node_ids)
    rows.send(block, task.store, "home", np.full(rows.num_rows, block, np.int32))
    return NO_SUMS


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
    arrivals = ((part, find_rows(rows.node_ids, part["node"]).astype(np.int32)) for part in parts)
    return _walk_on(block, rows, paths, task, step, arrivals, sampling.num_blocks)


@dataclass
class Outbox:
    """Records for other blocks, kept in parts, each sorted by the block it goes to; `received` reads them."""

    block: int
    task: Task
    name: str
    num_blocks: int
    ends: list[np.ndarray] = field(default_factory=list)

    def put(self, targets: np.ndarray, records: np.ndarray) -> None:
        """targets: the block of each record."""
        if self.num_blocks > 1:
            order = np.argsort(targets, kind="stable")
            targets, records = targets[order], records[order]
        self.task.store.put(self.block, f"{self.name}/{len(self.ends)}", records)
        self.ends.append(np.searchsorted(targets, np.arange(self.num_blocks + 1)))

    def close(self) -> None:
        ends = np.array(self.ends, np.int64).reshape(-1, self.num_blocks + 1)
        self.task.store.put(self.block, f"{self.name}/ends", ends)


def received(block: int, task: Task, name: str, num_blocks: int) -> Iterator[np.ndarray]:
    """What all blocks put for this one under a name, by sender and part, about a million records at once."""
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
    neighbours, weights = rows.neighbours, rows.weights
    if rows.num_halo:
        row_of = np.repeat(np.arange(rows.num_rows), np.diff(rows.indptr))
        order = np.lexsort((ids[neighbours], row_of))
        neighbours, weights = neighbours[order], weights[order] if len(weights) else weights
    cumulative = np.empty(len(weights))
    if len(weights):
        _add_up(read_only(rows.indptr), read_only(weights), cumulative)
    return _Paths(ids, blocks, neighbours, cumulative), weights


def _start(
    rows: Rows, paths: _Paths, weights: np.ndarray, task: Task, sampling: Sampling, block: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(walkers, the column where each is) after their first step, about a million at once."""
    whole, part_of_one = divmod(sampling.per_entry, 1)
    row_of = np.repeat(np.arange(rows.num_rows, dtype=np.int32), np.diff(rows.indptr))
    for part in slices(len(row_of), max(1, int(8 * (whole + 1))), 8 * WALKS_AT_ONCE):
        starts, columns = rows.node_ids[row_of[part]], paths.neighbours[part]
        keys = mix(mix(starts.astype(np.uint64) + np.uint64(sampling.seed)) + paths.ids[columns].astype(np.uint64))
        counts = np.int64(whole) + (unit_interval(mix(keys)) < part_of_one)
        entry = np.repeat(np.arange(len(starts)), counts)
        number = positions(np.ones(len(counts), np.int64), counts).astype(np.uint64)
        walkers = np.empty(len(entry), WALKER)
        walkers["start"], walkers["start_block"] = starts[entry], block
        walkers["node"] = paths.ids[columns][entry]
        walkers["key"] = mix(keys[entry] + number * np.uint64(1 << 32))
        walkers["left"] = unit_interval(mix(walkers["key"])) * sampling.steps
        walkers["mass"] = 1
        if sampling.weighted:
            own = weights[part] if len(weights) else np.ones(len(starts))
            walkers["mass"] = np.round(np.clip(own / task.mean_weight * MASS_UNIT, 1, HEAVIEST))[entry]
        yield walkers, columns[entry]


def _walk_on(
    block: int,
    rows: Rows,
    paths: _Paths,
    task: Task,
    step: int,
    arrivals: Iterator[tuple[np.ndarray, np.ndarray]],
    num_blocks: int,
) -> np.ndarray:
    """Store the pairs of walks that ended, and the walkers that left. arrivals: (walkers, the column of each)."""
    pairs, leaving = (Outbox(block, task, name, num_blocks) for name in (pairs_of(step), walkers_of(step)))
    graph = [read_only(array) for array in (rows.indptr, paths.neighbours, paths.cumulative)]
    away = 0
    for walkers, at in arrivals:
        left = walkers["left"].copy()
        _walk(*graph, at, walkers["key"].copy(), left)
        end, end_block, done = paths.ids[at], paths.blocks[at], left == 0
        ended = walkers[done]
        joined = np.empty((2, len(ended)), PAIR)
        joined["row"], joined["column"] = (ended["start"], end[done]), (end[done], ended["start"])
        joined["column_block"], joined["mass"] = (end_block[done], ended["start_block"]), ended["mass"]
        pairs.put(np.concatenate([ended["start_block"], end_block[done]]), joined.reshape(-1))
        gone = walkers[~done]
        if len(gone):
            gone["node"], gone["left"] = end[~done], left[~done]
            leaving.put(end_block[~done], gone)
            away += len(gone)
    pairs.close()
    leaving.close()
    return np.array([float(away)])


@compiled
def _add_up(indptr: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Running sums of the weights within each row."""
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
            number = unit_interval(mix(keys[walk] + np.uint64(left[walk])))
            if len(cumulative) == 0:
                chosen = start + np.int64(number * (stop - start))
            else:
                chosen = start + np.searchsorted(cumulative[start:stop], number * cumulative[stop - 1], side="right")
            at[walk] = neighbours[min(chosen, stop - 1)]
            left[walk] -= 1
