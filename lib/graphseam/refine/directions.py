"""The direction of the sum of a node's neighbours' vectors: what an incremental run propagates."""

from __future__ import annotations

import numpy as np

from graphseam.compiled import compiled, read_only
from graphseam.refine.product import in_threads, product, vector_of
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
    some = np.flatnonzero(chosen)
    _put(rows, own, halo, (some, some), out, task.threads)


def directions_of(rows: Rows, own: np.ndarray, halo: Halo, some: np.ndarray) -> np.ndarray:
    """float32[k, dim]: the directions of the rows int64[k], rising, by one thread of a CPU; see `put_directions`."""
    out = np.empty((len(some), own.shape[1]), np.float32)
    _put(rows, own, halo, (some, np.arange(len(some))), out, threads=1)
    return out


def _put(
    rows: Rows, own: np.ndarray, halo: Halo, some: tuple[np.ndarray, np.ndarray], out: np.ndarray, threads: int
) -> None:
    """some: rows, int64[k], rising, and those of `out` that they go to."""
    given = [read_only(array) for array in (rows.indptr, rows.neighbours, rows.weights, own, *halo, *some)]

    def work(start: int, stop: int) -> None:
        _put_rows(*given, out, *np.searchsorted(some[0], (start, stop)))

    in_threads(work, rows, threads)


@compiled
def _put_rows(
    indptr: np.ndarray,
    neighbours: np.ndarray,
    weights: np.ndarray,
    own: np.ndarray,
    halo: np.ndarray,
    at_halo: np.ndarray,
    some: np.ndarray,
    places: np.ndarray,
    out: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Every term is a float32, so that float64 sums of very many of them are exact, in any order."""
    num_rows, dim = len(indptr) - 1, own.shape[1]
    total = np.empty(dim, np.float64)
    for at_some in range(start, stop):
        row, place = some[at_some], places[at_some]
        total[:] = 0.0
        for at in range(indptr[row], indptr[row + 1]):
            weight = np.float64(weights[at]) if len(weights) else 1.0
            vector = vector_of(neighbours[at], num_rows, own, halo, at_halo)
            for column in range(dim):
                total[column] += weight * np.float64(vector[column])
        size = 0.0
        for column in range(dim):
            size += total[column] * total[column]
        length = max(np.sqrt(size), SHORTEST)
        for column in range(dim):
            out[place, column] = total[column] / length


def by_product(task: Task, rows: Rows, own: np.ndarray, halo: Halo, chosen: np.ndarray, out: np.ndarray) -> None:
    """As `put_directions`, by a product: on a GPU."""
    rows = rows.only(chosen)
    ones = np.ones((rows.num_rows + rows.num_halo, 1), np.float32)
    sums = product(rows, own, halo, ones, [own.shape[1]], 0.0, task.place(), task.threads)
    for part in chunks(*sums.shape):
        some = part.start + np.flatnonzero(chosen[part])
        out[some] = unit_rows(sums[some].astype(np.float64))
