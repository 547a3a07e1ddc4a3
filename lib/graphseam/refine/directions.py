"""The direction of the sum of a node's neighbours' vectors: what an incremental run propagates."""

from __future__ import annotations

from functools import partial

import numpy as np

from graphseam.compiled import compiled, read_only
from graphseam.refine.product import in_threads, product
from graphseam.refine.rounds import Task
from graphseam.refine.rows import Halo, Rows
from graphseam.refine.tall_matrices import chunks
from graphseam.vectors import SHORTEST, unit_rows


def put_directions(task: Task, rows: Rows, own: np.ndarray, halo: Halo, chosen: np.ndarray, out: np.ndarray) -> None:
    """Set the chosen rows of `out` to the sums of vectors over their neighbours, at length 1; 0 without any.

    own: float32[m, dim], halo: the vectors; chosen: bool[m]; out: float32[m, dim]. On a CPU the same bytes for any
    number of threads. Cost: neighbours · dim, memory-bound.
    """
    if task.place() != "cpu":
        by_product(task, rows, own, halo, chosen, out)
        return
    given = [read_only(array) for array in (rows.indptr, rows.neighbours, rows.weights, own, *halo, chosen)]
    in_threads(partial(_put_rows, *given, out), rows, task.threads)


def directions_of(rows: Rows, own: np.ndarray, halo: Halo, some: np.ndarray) -> np.ndarray:
    """float32[k, dim]: the directions of the rows int64[k], by one thread of a CPU; see `put_directions`."""
    given = [read_only(array) for array in (rows.indptr, rows.neighbours, rows.weights, own, *halo, some)]
    out = np.empty((len(some), own.shape[1]), np.float32)
    _find_rows(*given, out)
    return out


@compiled
def _put_row(
    indptr: np.ndarray,
    neighbours: np.ndarray,
    weights: np.ndarray,
    own: np.ndarray,
    halo: np.ndarray,
    at_halo: np.ndarray,
    row: int,
    total: np.ndarray,
    out: np.ndarray,
) -> None:
    """Every term is a float32, so that float64 sums of very many of them are exact, in any order."""
    num_rows, dim = len(indptr) - 1, own.shape[1]
    total[:] = 0.0
    for at in range(indptr[row], indptr[row + 1]):
        other = neighbours[at]
        weight = np.float64(weights[at]) if len(weights) else 1.0
        if other < num_rows:
            vector = own[other]
        else:
            place = np.int64(other - num_rows)
            vector = halo[at_halo[place] if len(at_halo) else place]
        for column in range(dim):
            total[column] += weight * np.float64(vector[column])
    size = 0.0
    for column in range(dim):
        size += total[column] * total[column]
    length = max(np.sqrt(size), SHORTEST)
    for column in range(dim):
        out[column] = total[column] / length


@compiled
def _put_rows(
    indptr: np.ndarray,
    neighbours: np.ndarray,
    weights: np.ndarray,
    own: np.ndarray,
    halo: np.ndarray,
    at_halo: np.ndarray,
    chosen: np.ndarray,
    out: np.ndarray,
    start: int,
    stop: int,
) -> None:
    total = np.empty(own.shape[1], np.float64)
    for row in range(start, stop):
        if chosen[row]:
            _put_row(indptr, neighbours, weights, own, halo, at_halo, row, total, out[row])


@compiled
def _find_rows(
    indptr: np.ndarray,
    neighbours: np.ndarray,
    weights: np.ndarray,
    own: np.ndarray,
    halo: np.ndarray,
    at_halo: np.ndarray,
    some: np.ndarray,
    out: np.ndarray,
) -> None:
    total = np.empty(own.shape[1], np.float64)
    for place in range(len(some)):
        _put_row(indptr, neighbours, weights, own, halo, at_halo, some[place], total, out[place])


def by_product(task: Task, rows: Rows, own: np.ndarray, halo: Halo, chosen: np.ndarray, out: np.ndarray) -> None:
    """As `put_directions`, by a product: on a GPU."""
    rows = rows.only(chosen)
    ones = np.ones((rows.num_rows + rows.num_halo, 1), np.float32)
    sums = product(rows, own, halo, ones, [own.shape[1]], 0.0, task.place(), task.threads)
    for part in chunks(*sums.shape):
        some = part.start + np.flatnonzero(chosen[part])
        out[some] = unit_rows(sums[some].astype(np.float64))
