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
    """Every term is a float32, so that float64 sums of very many of them are exact, in any order."""
    num_rows, dim = len(indptr) - 1, own.shape[1]
    total = np.empty(dim, np.float64)
    for row in range(start, stop):
        if not chosen[row]:
            continue
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
            out[row, column] = total[column] / length


def by_product(task: Task, rows: Rows, own: np.ndarray, halo: Halo, chosen: np.ndarray, out: np.ndarray) -> None:
    """As `put_directions`, by a product: on a GPU."""
    rows = rows.only(chosen)
    ones = np.ones((rows.num_rows + rows.num_halo, 1), np.float32)
    sums = product(rows, own, halo, ones, [own.shape[1]], 0.0, task.place(), task.threads)
    for part in chunks(*sums.shape):
        some = part.start + np.flatnonzero(chosen[part])
        out[some] = unit_rows(sums[some].astype(np.float64))
