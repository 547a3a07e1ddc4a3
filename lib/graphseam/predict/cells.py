"""Overlapping cells of unit vectors: near vectors have a cell in common, and no cell is too large to be searched whole.

A node goes to its nearest cell and to every other cell whose centroid is less than a gap farther from it (in angle).
Two nodes meet where both have a copy. How large the gap must be is measured, see `gap_for`. Sources: Chen et al.,
SPANN, NeurIPS 2021 (overlapping cells, hierarchical clustering); Jayaram Subramanya et al., DiskANN, NeurIPS 2019.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphseam.vectors import unit_rows

if TYPE_CHECKING:
    import torch

NODES_PER_CELL = 2_000  # all pairs of a cell are scored, so the work per node grows with it
MOST_CELLS = 32_768  # every node is compared with every centroid; beyond 64 million nodes cells get larger
SAMPLE_PER_CELL = 192
REACH = 8  # cells that a node may have copies in
MOST_COPIES = 4.0  # copies of a node, on average: what bounds the bytes shuffled
BRANCHES = 64
ROUNDS = 10
ROWS_AT_ONCE = 4096
CHUNK = 64
LAST_ROUNDS = 6  # over all cells at once, after they were divided one by one
NEVER = np.float32(4.0)  # larger than any gap: the two have no cell in common


@dataclass(frozen=True)
class Cells:
    """centroids: float32[cells, dim], unit vectors. gap: how much farther than the nearest another cell may be, in
    radians."""

    centroids: np.ndarray
    gap: float = 0.0

    def reach(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(cells int64[n, m], gaps float32[n, m]): the m = min(8, cells) nearest cells of each row, nearest first.

        unit: float32[n, dim] of length 1. Cost: O(n · cells · dim).
        """
        import torch

        count = min(REACH, len(self.centroids))
        base = torch.from_numpy(self.centroids.astype(np.float64))
        cells, gaps = np.empty((len(unit), count), np.int64), np.empty((len(unit), count), np.float32)
        for start in range(0, len(unit), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            # in double precision a product's last bits, which depend on the rows beside it, decide nothing
            scores = torch.from_numpy(unit[part].astype(np.float64)) @ base.T
            values, places = largest(scores, count)
            angles = torch.arccos(values.clamp(-1, 1))
            cells[part], gaps[part] = places.numpy(), (angles - angles[:, :1]).numpy()
        return cells, gaps

    def home(self, unit: np.ndarray) -> np.ndarray:
        """int64[n]: the nearest cell of each row, faster than `reach`, by single precision."""
        parts = [unit[start : start + ROWS_AT_ONCE] for start in range(0, len(unit), ROWS_AT_ONCE)]
        return np.concatenate([np.argmax(part @ self.centroids.T, axis=1) for part in parts])


def largest(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """torch.topk of each row, best first, several times faster where few of many columns are wanted.

    The `count` largest numbers of a row lie in the `count` chunks of columns with the largest maxima.
    """
    import torch

    rows, columns = scores.shape
    chunks = columns // CHUNK
    if chunks < 2 * count:
        return torch.topk(scores, min(count, columns))
    whole = scores[:, : chunks * CHUNK].view(rows, chunks, CHUNK)
    chosen = torch.topk(whole.amax(dim=2), count, sorted=False).indices
    places = (chosen[:, :, None] * CHUNK + torch.arange(CHUNK, device=scores.device)).view(rows, -1)
    rest = torch.arange(chunks * CHUNK, columns, device=scores.device).expand(rows, -1)
    places = torch.cat([places, rest], dim=1)
    values, at = torch.topk(torch.gather(scores, 1, places), count)
    return values, torch.gather(places, 1, at)


def train_cells(sample: np.ndarray, num_cells: int, seed: int) -> np.ndarray:
    """float32[cells, dim]: centroids of about `num_cells` equally large groups of the sample, unit vectors.

    sample: float32[n, dim] of length 1. Groups are divided by k-means until they are small enough; vectors that are all
    alike stay together. Six rounds of k-means over all groups follow: a fiftieth more is found then. Cost: O(n ·
    cells · dim).
    """
    from scipy.cluster.vq import kmeans2

    rng = np.random.default_rng(seed)
    wanted = max(1.0, len(sample) / num_cells)
    pending, found = [np.arange(len(sample))], []
    while pending:
        rows = pending.pop()
        count = min(BRANCHES, round(len(rows) / wanted))
        parts = [rows]
        if count > 1:
            start = sample[rows[rng.choice(len(rows), count, replace=False)]]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # clusters may be empty, which does no harm
                _, labels = kmeans2(sample[rows], start, iter=ROUNDS, minit="matrix", check_finite=False)
            parts = [rows[labels == label] for label in range(count)]
            parts = [part for part in parts if len(part)]
        if len(parts) == 1:
            found.append(sample[rows].astype(np.float64).mean(axis=0))
        else:
            pending += parts[::-1]
    centroids = unit_rows(np.stack(found)).astype(np.float32)
    for _ in range(LAST_ROUNDS if len(centroids) > 1 else 0):
        home = Cells(centroids).home(sample)
        order = np.argsort(home, kind="stable")
        _, starts = np.unique(home[order], return_index=True)
        centroids = unit_rows(np.add.reduceat(sample[order].astype(np.float64), starts)).astype(np.float32)
    return centroids


def gap_needed(cells: np.ndarray, gaps: np.ndarray, other_cells: np.ndarray, other_gaps: np.ndarray) -> np.ndarray:
    """float32[n]: the smallest gap with which the two nodes of each pair meet; NEVER if within reach of none.

    cells, gaps: [n, m] of `Cells.reach` for one node of each pair, other_cells and other_gaps for the other.
    """
    needed = np.maximum(gaps[:, :, None], other_gaps[:, None, :])
    needed[cells[:, :, None] != other_cells[:, None, :]] = NEVER
    return needed.reshape(len(cells), -1).min(axis=1, initial=NEVER)


def gap_for(recall: float, needed: np.ndarray, gaps: np.ndarray) -> tuple[float, float, float]:
    """(gap, recall, copies): the smallest gap with which the wished share of pairs meet, within MOST_COPIES copies.

    needed: float32[pairs] of `gap_needed` for pairs that should meet. gaps: float32[n, m] of some nodes, to count
    their copies.
    """
    if not len(needed):
        return 0.0, 1.0, 1.0
    ordered = np.sort(needed)
    wished = ordered[min(len(ordered) - 1, int(np.ceil(recall * len(ordered))) - 1)]
    # the gaps of all copies that the budget allows, the nearest first: one copy per node is for nothing
    affordable = np.sort(gaps.ravel())[min(gaps.size - 1, int(MOST_COPIES * len(gaps)) - 1)]
    gap = float(min(wished, affordable))
    return gap, float((needed <= gap).mean()), float((gaps <= gap).sum(axis=1).mean())
