"""Cells of unit vectors: near vectors are mostly in the same or near cells, and each cell is searched whole.

A node is found in its nearest cell, and looks for others there and in every other cell whose centroid is less than a
gap farther from it (in angle). How large the gap must be is measured, see `gap_for`. (To be found in several cells too
would score a pair several times: four times the products on debian_files, for the same recall and as many copies.)
Sources: Jégou, Douze and Schmid, PAMI 2011 (inverted lists, several of them probed); Chen et al., SPANN, NeurIPS 2021
(hierarchical clustering, a gap instead of a number of cells).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphseam.vectors import unit_rows

if TYPE_CHECKING:
    import torch

NODES_PER_CELL = 1_000  # a node is scored with all of a cell, so the work per node grows with it
MOST_CELLS = 65_536  # whose centroids every task holds: 32 MB; beyond 64 million nodes cells get larger
SAMPLE_PER_CELL, LEAST_SAMPLE, MOST_SAMPLE = 96, 200_000, 1_000_000  # vectors that cells are trained on
REACH = 8  # cells that a node may have copies in
MOST_COPIES = 4.0  # copies of a node, on average: what bounds the bytes shuffled
BRANCHES = 64
ROUNDS = 10
ROWS_AT_ONCE = 16_384
SCORES_AT_ONCE = 8 << 20  # 32 MB
GROUPS_AROUND = 8  # groups of cells that a vector is compared with, of those nearest to its own
CHUNK = 64
LAST_ROUNDS = 6  # over all cells at once, after they were divided one by one
NEVER = np.float32(4.0)  # larger than any gap: the two have no cell in common


@dataclass(frozen=True)
class Cells:
    """centroids: float32[cells, dim], unit vectors. gap: how much farther than the nearest another cell may be, in
    radians. coarse: float32[groups, dim], centroids of groups of near cells; near[near_ptr[g] : near_ptr[g + 1]]: the
    cells that a vector is compared with if it is nearest to group g, those of the groups around it too.
    """

    centroids: np.ndarray
    coarse: np.ndarray
    near_ptr: np.ndarray
    near: np.ndarray
    gap: float = 0.0

    @staticmethod
    def of(centroids: np.ndarray, seed: int) -> Cells:
        """Cells with these centroids, grouped so that a vector is compared with about sqrt(8 · cells) of them twice."""
        groups = round((GROUPS_AROUND * len(centroids)) ** 0.5)
        if groups > len(centroids) // GROUPS_AROUND:
            everything = np.arange(len(centroids))
            return Cells(centroids, unit_rows(centroids.mean(axis=0)[None]), np.array([0, len(centroids)]), everything)
        coarse = divided(centroids, groups, seed)
        around = coarse.astype(np.float64) @ coarse.T.astype(np.float64)
        home = np.argmax(centroids.astype(np.float64) @ coarse.T.astype(np.float64), axis=1)
        sizes = np.bincount(home, minlength=len(coarse))
        members = np.split(np.argsort(home, kind="stable"), np.cumsum(sizes)[:-1])
        near = []
        for group in range(len(coarse)):
            nearest = np.argsort(-around[group], kind="stable")
            enough = max(GROUPS_AROUND, 1 + int(np.searchsorted(np.cumsum(sizes[nearest]), 4 * REACH)))
            near.append(np.sort(np.concatenate([members[other] for other in nearest[:enough]])))
        return Cells(centroids, coarse, np.cumsum([0, *map(len, near)]), np.concatenate(near))

    def reach(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(cells int64[n, m], gaps float32[n, m]): the m = min(8, cells) nearest cells of each row, nearest first.

        unit: float32[n, dim] of length 1. A cell whose group is not around the row's own group is not seen, which the
        measured recall includes. Cost: O(n · sqrt(cells) · dim).
        """
        count = min(REACH, len(self.centroids))
        cells, gaps = np.empty((len(unit), count), np.int64), np.empty((len(unit), count), np.float32)
        for rows, listed, scores in self._compared(unit):
            # a single-precision product's last bits depend on the rows beside it: they decide what is scored again only
            _, at = largest(scores, min(2 * count, len(listed)))
            places = np.sort(listed[at.numpy()], axis=1)
            exact = np.einsum("ij,ikj->ik", unit[rows].astype(np.float64), self.centroids[places].astype(np.float64))
            best = np.argsort(-exact, axis=1, kind="stable")[:, :count]
            angles = np.arccos(np.clip(np.take_along_axis(exact, best, 1), -1, 1))
            cells[rows], gaps[rows] = np.take_along_axis(places, best, 1), angles - angles[:, :1]
        return cells, gaps

    def home(self, unit: np.ndarray) -> np.ndarray:
        """int64[n]: the nearest cell of each row, faster than `reach`, by single precision alone."""
        found = np.empty(len(unit), np.int64)
        for rows, listed, scores in self._compared(unit):
            found[rows] = listed[scores.argmax(dim=1).numpy()]
        return found

    def _compared(self, unit: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, torch.Tensor]]:
        """(rows, cells, cosines float32[rows, cells]) of each group, a few thousand rows at a time."""
        import torch

        for start in range(0, len(unit), ROWS_AT_ONCE):
            part = unit[start : start + ROWS_AT_ONCE]
            # in double precision, as the group decides which cells are seen
            group = np.argmax(part.astype(np.float64) @ self.coarse.T.astype(np.float64), axis=1)
            order = np.argsort(group, kind="stable")
            cuts = np.flatnonzero(np.diff(group[order])) + 1
            for rows in np.split(order, cuts):
                of = group[rows[0]]
                listed = self.near[self.near_ptr[of] : self.near_ptr[of + 1]]
                for some in np.array_split(rows, max(1, -(-len(rows) * len(listed) // SCORES_AT_ONCE))):
                    scores = torch.from_numpy(part[some]) @ torch.from_numpy(self.centroids[listed]).T
                    yield start + some, listed, scores


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
    sqrt(cells) · dim).
    """
    centroids = divided(sample, num_cells, seed)
    for _ in range(LAST_ROUNDS if len(centroids) > 1 else 0):
        home = Cells.of(centroids, seed).home(sample)
        order = np.argsort(home, kind="stable")
        _, starts = np.unique(home[order], return_index=True)
        centroids = unit_rows(np.add.reduceat(sample[order].astype(np.float64), starts)).astype(np.float32)
    return centroids


def divided(sample: np.ndarray, num_groups: int, seed: int) -> np.ndarray:
    """float32[groups, dim]: centroids of about `num_groups` groups of unit vectors, by k-means into 64 at a time."""
    from scipy.cluster.vq import kmeans2

    rng = np.random.default_rng(seed)
    wanted = max(1.0, len(sample) / num_groups)
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
    return unit_rows(np.stack(found)).astype(np.float32)


def gap_needed(cells: np.ndarray, gaps: np.ndarray, home: np.ndarray) -> np.ndarray:
    """float32[n]: the smallest gap with which the first node of each pair finds the second; NEVER if it reaches no such
    cell.

    cells, gaps: [n, m] of `Cells.reach` for the first node of each pair. home: int64[n], the nearest cell of the other.
    """
    return np.where(cells == home[:, None], gaps, NEVER).min(axis=1, initial=NEVER)


def gap_for(recall: float, needed: np.ndarray, gaps: np.ndarray) -> float:
    """The smallest gap with which the wished share of pairs meet, within MOST_COPIES copies.

    needed: float32[pairs] of `gap_needed` for pairs that should meet. gaps: float32[n, m] of some nodes, to count
    their copies.
    """
    if not len(needed):
        return 0.0
    ordered = np.sort(needed)
    wished = ordered[min(len(ordered) - 1, int(np.ceil(recall * len(ordered))) - 1)]
    # the gaps of all copies that the budget allows, the nearest first: one copy per node is for nothing
    affordable = np.sort(gaps.ravel())[min(gaps.size - 1, int(MOST_COPIES * len(gaps)) - 1)]
    return float(min(wished, affordable))


def recall_at(gap: float, needed: np.ndarray) -> float:
    """The share of the pairs that meet with this gap; needed: as in `gap_for`."""
    return float((needed <= gap).mean()) if len(needed) else 1.0
