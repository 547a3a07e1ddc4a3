"""Cells of unit vectors: near vectors are mostly in the same or near cells, and each cell is searched whole.

A node looks for others in its nearest cell and in every other cell whose centroid is less than a gap farther from it
(in angle); it is found in its nearest cell, and in those within a share of that gap: none, half or all of it. Which
share and gap a wished recall needs is measured, see `best_reach`: where vectors lie in clusters, as on debian_files, to
be found once costs a quarter of the products; on dblp_2010 too many cells would have to be looked in for that.
Sources: Jégou, Douze and Schmid, PAMI 2011 (inverted lists, several of them probed); Chen et al., SPANN, NeurIPS 2021
(hierarchical clustering, a gap instead of a number of cells).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphseam.predict.leaders import leading_of_all, nearest_exactly, nearest_of_groups
from graphseam.vectors import unit_rows

if TYPE_CHECKING:
    import torch

NODES_PER_CELL = 500  # a node is scored with all of a cell, so the work per node grows with it
MOST_CELLS = 65_536  # whose centroids every task holds: 32 MB; beyond 33 million nodes cells get larger
SAMPLE_PER_CELL, LEAST_SAMPLE, MOST_SAMPLE = 96, 50_000, 1_000_000  # vectors that cells are trained on
REACH = 8  # cells that a node may have copies in
SHARES = (0.0, 0.5, 1.0)  # of the gap, that the cells may be farther in which a node is found
NEARLY = 0.01  # a recall so much below the wished one is good enough
MOST_COPIES = 5.0  # copies of a node, on average: what bounds the bytes shuffled
LEAST_SCORED = 4  # cells that are scored in double precision to find the nearest
BRANCHES = 64
PER_CENTROID = 256  # vectors that a centroid is found with, as in FAISS
ROUNDS = 10
ROWS_AT_ONCE = 8192
COMPARED_WITH_ALL = 4096  # cells, at most: one product costs less than to choose among groups of them
PROBED = 24  # groups of cells that a vector is compared with
SPARE = 8  # more of them that are scored in double precision
LEAST_DIVIDED = 16  # times as many columns as are wanted: fewer are not worth dividing
LAST_ROUNDS = 2  # over all cells at once, after they were divided one by one
NEVER = np.float32(4.0)  # larger than any gap: the two have no cell in common


@dataclass(frozen=True)
class Cells:
    """centroids: float32[cells, dim], unit vectors. groups: float32[groups, dim], centroids of groups of near cells;
    members: int64[groups, most], the cells of each, filled up with -1. gap: how much farther than the nearest another
    cell may be in which a node looks for others, in radians; found_gap: the same for those in which it is found."""

    centroids: np.ndarray
    groups: np.ndarray
    members: np.ndarray
    gap: float = 0.0
    found_gap: float = 0.0

    @staticmethod
    def of(centroids: np.ndarray, seed: int) -> Cells:
        """Cells with these centroids; a few are one group."""
        count = round((PROBED * len(centroids)) ** 0.5)
        if len(centroids) <= COMPARED_WITH_ALL:
            return Cells(centroids, unit_rows(centroids.mean(axis=0)[None]), np.arange(len(centroids))[None])
        groups = divided(centroids, count, seed)
        home = np.argmax(centroids.astype(np.float64) @ groups.T.astype(np.float64), axis=1)
        used, home = np.unique(home, return_inverse=True)
        sizes = np.bincount(home)
        order = np.argsort(home, kind="stable")
        members = np.full((len(used), sizes.max()), -1)
        members[home[order], np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)] = order
        return Cells(centroids, groups[used], members)

    def reach(self, unit: np.ndarray, most: int = REACH) -> tuple[np.ndarray, np.ndarray]:
        """(cells int64[n, m], gaps float32[n, m]): the m = min(most, cells) nearest cells of each row, nearest first.

        unit: float32[n, dim] of length 1; most: at most 8. A row is compared with the cells of the 24 groups nearest to
        it; a cell that is missed so costs recall, which is measured. Cost: O(n · sqrt(cells) · dim).
        """
        count = min(most, len(self.centroids))
        cells, gaps = np.empty((len(unit), count), np.int64), np.empty((len(unit), count), np.float32)
        for start in range(0, len(unit), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            # a single-precision product's last bits depend on the rows beside it: they decide what is scored again only
            places = self._leading(unit[rows], max(2 * count, LEAST_SCORED))
            cells[rows], cosines = nearest_exactly(unit[rows], self.centroids, places, count)
            angles = np.arccos(np.clip(cosines, -1, 1))
            gaps[rows] = angles - angles[:, :1]
        return cells, gaps

    def home(self, unit: np.ndarray, probed: int = PROBED) -> np.ndarray:
        """int64[n]: the nearest cell of each row, faster than `reach`, by single precision alone.

        probed: groups of cells that a row is compared with.
        """
        parts = [
            self._leading(unit[start : start + ROWS_AT_ONCE], 1, probed)[:, 0]
            for start in range(0, len(unit), ROWS_AT_ONCE)
        ]
        return np.concatenate([*parts, np.zeros(0, np.int64)])

    def _leading(self, unit: np.ndarray, count: int, most_probed: int = PROBED) -> np.ndarray:
        """int64[n, min(count, cells)]: the nearest cells of each row in single precision, in any order."""
        import torch

        count = min(count, len(self.centroids))
        if len(self.groups) == 1:
            scores = (torch.from_numpy(unit) @ torch.from_numpy(self.centroids).T).numpy()
            return leading_of_all(scores, count)[1]
        probed = min(most_probed, len(self.groups))
        near = (torch.from_numpy(unit) @ torch.from_numpy(self.groups).T).numpy()
        few = leading_of_all(near, min(probed + SPARE, len(self.groups)))[1]
        chosen = nearest_exactly(unit, self.groups, few, probed)[0]  # as the groups decide which cells are seen
        scores = np.empty((chosen.size, self.members.shape[1]), np.float32)  # a row per row and group, by group
        order = np.argsort(chosen.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(chosen.ravel(), minlength=len(self.groups)))
        sizes = (self.members >= 0).sum(axis=1)
        for group in np.flatnonzero(np.diff(ends, prepend=0)):
            part = slice(ends[group - 1] if group else 0, ends[group])
            listed = self.members[group, : sizes[group]]
            scores[part, : len(listed)] = unit[order[part] // probed] @ self.centroids[listed].T
        at = np.empty(chosen.size, np.int64)
        at[order] = np.arange(chosen.size)
        return nearest_of_groups(scores, at.reshape(chosen.shape), chosen, self.members, sizes, count)


def largest(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """torch.topk of each row, best first, faster where few of many columns are wanted.

    The `count` largest numbers of a row lie in the `count` sets of columns with the largest maxima; set s has every
    column c with c % sets = s, so that the maxima are taken along memory.
    """
    import torch

    rows, columns = scores.shape
    sets = round((columns * count) ** 0.5)
    if columns < LEAST_DIVIDED * count:
        return torch.topk(scores, min(count, columns))
    deep = columns // sets
    chosen = torch.topk(scores[:, : sets * deep].view(rows, deep, sets).amax(dim=1), count, sorted=False).indices
    places = (chosen[:, None, :] + (torch.arange(deep, device=scores.device) * sets)[None, :, None]).view(rows, -1)
    rest = torch.arange(sets * deep, columns, device=scores.device).expand(rows, -1)
    places = torch.cat([places, rest], dim=1)
    values, at = torch.topk(torch.gather(scores, 1, places), count)
    return values, torch.gather(places, 1, at)


def train_cells(sample: np.ndarray, num_cells: int, seed: int) -> np.ndarray:
    """float32[cells, dim]: centroids of about `num_cells` equally large groups of the sample, unit vectors.

    sample: float32[n, dim] of length 1. Groups are divided by k-means until they are small enough; vectors that are all
    alike stay together. Two rounds of k-means over all groups follow: a fiftieth more is found then. Cost: O(n ·
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
    """float32[groups, dim]: centroids of about `num_groups` groups of unit vectors, by k-means into 64 at a time.

    Centroids are found with at most 256 vectors each, drawn at random, and then all vectors go to the nearest.
    """
    from scipy.cluster.vq import kmeans2, vq

    rng = np.random.default_rng(seed)
    wanted = max(1.0, len(sample) / num_groups)
    pending, found = [np.arange(len(sample))], []
    while pending:
        rows = pending.pop()
        count = min(BRANCHES, round(len(rows) / wanted))
        parts = [rows]
        if count > 1:
            few = rows[rng.choice(len(rows), min(len(rows), count * PER_CENTROID), replace=False)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # clusters may be empty, which does no harm
                centroids, _ = kmeans2(
                    sample[few], sample[few[:count]], iter=ROUNDS, minit="matrix", check_finite=False
                )
            labels, _ = vq(sample[rows], centroids, check_finite=False)
            parts = [rows[labels == label] for label in range(count)]
            parts = [part for part in parts if len(part)]
        if len(parts) == 1:
            found.append(sample[rows].astype(np.float64).mean(axis=0))
        else:
            pending += parts[::-1]
    return unit_rows(np.stack(found)).astype(np.float32)


def gap_needed(
    cells: np.ndarray, gaps: np.ndarray, other_cells: np.ndarray, other_gaps: np.ndarray, share: float
) -> np.ndarray:
    """float32[n]: the smallest gap with which the first node of each pair finds the second; NEVER if none does.

    cells, gaps: [n, m] of `Cells.reach` for the first node of each pair, other_cells and other_gaps for the second,
    which is found in its nearest cell and in those within this share of the gap.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        other = np.where(other_gaps == 0, 0, other_gaps / np.float32(share))
    needed = np.maximum(gaps[:, :, None], other[:, None, :])
    needed[cells[:, :, None] != other_cells[:, None, :]] = NEVER
    return needed.reshape(len(cells), -1).min(axis=1, initial=NEVER)


@dataclass(frozen=True)
class Reached:
    """What a gap costs and gives. copies: of a node that looks for others, on average. work: copies times those of the
    nodes to be found. recall: by kind of answer."""

    share: float
    gap: float
    copies: float
    work: float
    recall: dict[int, float]


def best_reach(recall: float, needed: dict[float, dict[int, np.ndarray]], gaps: np.ndarray) -> Reached:
    """The gap, and the share of it in which nodes are found too, with which the wished recall costs least.

    needed: {share: {kind: float32[pairs] of `gap_needed`}}. gaps: float32[n, m] of some nodes, to count their copies.
    If no share gives the recall within MOST_COPIES, the one that gives most.
    """
    found = []
    for share, kinds in needed.items():
        gap = max((gap_for(recall, pairs, gaps) for pairs in kinds.values()), default=0.0)
        copies, found_in = (float((gaps <= limit).sum(axis=1).mean()) for limit in (gap, share * gap))
        reached = {kind: recall_at(gap, pairs) for kind, pairs in kinds.items()}
        found.append(Reached(share, gap, copies, copies * found_in, reached))
    wished = [one for one in found if min(one.recall.values(), default=1.0) >= recall - NEARLY]
    if wished:
        return min(wished, key=lambda one: one.work)
    return max(found, key=lambda one: min(one.recall.values()))


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
