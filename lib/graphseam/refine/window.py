"""The window matrix as a view: which pairs short walks join more often than chance would, factorised and propagated.

Source: NetMF (Qiu et al., WSDM 2018), its sampling NetSMF (Qiu et al., WWW 2019) and LightNE (Qiu et al., SIGMOD 2021).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from graphseam.arrays import distinct
from graphseam.refine import walks
from graphseam.refine.rounds import NO_SUMS, Task
from graphseam.refine.rows import Rows, find_rows
from graphseam.refine.walks import MASS_UNIT, Sampling

WINDOW = "window"  # the matrix's name in the store
STEPS = 10  # the most of a walk: NetMF's window
FULL_WEIGHT, MOST_WEIGHT, LEAST_WEIGHT = 1250.0, 1.5, 0.4
FEW_WALKS, WALKS_PER_EDGE = 4_000_000, 40.0
ID_BITS = 40  # of a node id beside the number of its block
LOG_GRID = 64.0  # logarithms are rounded to 1/64: products with float32 are then summed exactly, in any order


def weight_of(num_nodes: float, mean_degree: float) -> float:
    """How long the window view's rows are relative to the spectral views', by size and density; 0: too dense for it.

    A walk of ten steps tells what is near only where it has not reached everything by then: in a small or dense graph
    the ends of walks are nearly those of random edges, and their sampled logarithms are noise. docs/quality.md has the
    measurements behind the constants: full weight at 1,250 nodes per neighbour of a node.
    """
    weight = min(MOST_WEIGHT, num_nodes / (FULL_WEIGHT * mean_degree))
    return weight if weight >= LEAST_WEIGHT else 0.0


def walks_wanted(num_nodes: float, num_edges: float) -> float:
    """Of a graph: n log2(n) / 2, as LightNE shows that O(n log n) are enough, or four million, which cost a second."""
    return min(WALKS_PER_EDGE * num_edges, max(FEW_WALKS, num_nodes * math.log2(max(2.0, num_nodes)) / 2))


def build(stages: Any, task: Task, sampling: Sampling, volume: float) -> None:
    """The window matrix of all blocks in the store.

    Cost: the walks' steps in their blocks, one superstep for each time that the walk that leaves most often leaves its
    block, and one exchange of the pairs.
    """
    stages.run(partial(walks.send_homes, task=task))
    away = float(stages.run(partial(walks.begin, task=task, sampling=sampling))[0])
    step = 0
    while away:
        step += 1
        away = float(stages.run(partial(walks.go_on, task=task, step=step, sampling=sampling))[0])
        task.store.drop(walks.walkers_of(step - 1))
    stages.run(partial(_rows, task=task, steps=step + 1, sampling=sampling))
    task.store.drop(walks.FOLDER, "sent.ids", "sent.home")
    stages.run(partial(_logarithms, task=task, sampling=sampling, volume=volume))
    task.store.drop("window.counts", "sent.window_degrees")


def start(block: int, task: Task) -> np.ndarray:
    """The base vectors as the first block of the iteration."""
    task.store.put(block, "raw.0", task.store.get(block, "view.0"))
    return NO_SUMS


def _rows(block: int, task: Task, steps: int, sampling: Sampling) -> np.ndarray:
    """Count the block's pairs, and send its degrees to the blocks that it has pairs with."""
    task.place()
    store, own = task.store, Rows.kept(block, task.store)
    parts = [
        part for step in range(steps) for part in walks.received(block, task, walks.pairs_of(step), sampling.num_blocks)
    ]
    halo = _halo(block, parts)
    width = own.num_rows + len(halo)
    pairs = np.concatenate([np.zeros(0, np.int64), *[_places(block, part, own.node_ids, halo) for part in parts]])
    masses = np.concatenate([np.zeros(0, np.int64), *[part["mass"] for part in parts]]) if sampling.weighted else None
    del parts
    pairs, counts = _counted(pairs, masses)
    indptr = np.searchsorted(pairs, np.arange(own.num_rows + 1) * np.int64(width))
    entries = sp.csr_matrix((np.ones(len(pairs), np.int8), pairs % width, indptr), shape=(own.num_rows, width))
    others = halo >> ID_BITS, halo & ((1 << ID_BITS) - 1)
    rows = Rows.of(entries, own.node_ids, others, np.zeros(0, np.float32), own.degrees, WINDOW)
    rows.keep(block, store)
    store.put(block, "window.counts", counts)
    rows.send(block, store, "window_degrees", rows.degrees)
    return NO_SUMS


def _codes(pairs: np.ndarray) -> np.ndarray:
    """int64: (block << 40) | id of the nodes in the pairs' columns."""
    return (pairs["column_block"].astype(np.int64) << ID_BITS) | pairs["column"]


def _halo(block: int, parts: list[np.ndarray]) -> np.ndarray:
    """The codes of the nodes of other blocks that a pair ends in, ascending."""
    found = [distinct(_codes(part[part["column_block"] != block])) for part in parts]
    return distinct(np.concatenate([np.zeros(0, np.int64), *found]))


def _places(block: int, part: np.ndarray, node_ids: np.ndarray, halo: np.ndarray) -> np.ndarray:
    """int64: row · width + column of each pair in the block's matrix."""
    columns, own = np.empty(len(part), np.int64), part["column_block"] == block
    columns[own] = find_rows(node_ids, part["column"][own])
    columns[~own] = len(node_ids) + np.searchsorted(halo, _codes(part[~own]))
    return find_rows(node_ids, part["row"]) * np.int64(len(node_ids) + len(halo)) + columns


def _counted(pairs: np.ndarray, masses: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """(the distinct pairs, ascending; float64: the masses of each, summed). masses: int64; None if all are 1."""
    if masses is None:
        found, counts = np.unique(pairs, return_counts=True)
        return found, counts.astype(np.float64)
    order = np.argsort(pairs, kind="stable")
    pairs, masses = pairs[order], masses[order]
    first = np.flatnonzero(np.diff(pairs, prepend=-1))
    return pairs[first], np.add.reduceat(masses, first).astype(np.float64) if len(first) else np.zeros(0)


def _logarithms(block: int, task: Task, sampling: Sampling, volume: float) -> np.ndarray:
    """max(0, log of the ratio of each count to chance) as the weights of the rows."""
    task.place()
    rows, store = Rows.kept(block, task.store, WINDOW), task.store
    # What one unit of mass weighs, twice as many as walks, as each is counted from both of its ends.
    unit = task.mean_weight / ((MASS_UNIT if sampling.weighted else 1) * 2 * sampling.per_entry)
    degrees = np.concatenate([rows.degrees, rows.receive(block, store, "window_degrees")])
    row_of = np.repeat(np.arange(rows.num_rows), np.diff(rows.indptr))
    ratio = volume * unit * store.get(block, "window.counts") / (degrees[row_of] * degrees[rows.neighbours])
    logarithms = np.round(np.log(np.maximum(ratio, 1.0)) * LOG_GRID) / LOG_GRID
    store.put(block, "window.weights", logarithms.astype(np.float32))
    return NO_SUMS
