"""Which groups a search for nearest vectors sends each node to: blocks of an exact one, or cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from graphseam.blocks.store import Store
from graphseam.compiled import mix
from graphseam.predict.cells import REACH, Cells
from graphseam.predict.group_search import BASE, QUERY


class Route(Protocol):
    """Which groups a node is sent to."""

    @property
    def num_groups(self) -> int: ...

    def __call__(self, ids: np.ndarray, unit: np.ndarray, role: np.ndarray) -> tuple[np.ndarray, ...]:
        """(row, group, role) of each copy. ids int64[n], unit float32[n, dim], role int32[n]."""
        ...

    def partitions(self, count: int) -> np.ndarray:
        """int64[groups]: the partition that holds each group, of about `count` equally large ones. Groups of near nodes
        share one, so that a node in several of them is sent once."""
        ...


@dataclass(frozen=True)
class Blocks:
    """For an exact search: each block of the base meets each block of the queries."""

    base: int
    queries: int

    @property
    def num_groups(self) -> int:
        return self.base * self.queries

    def partitions(self, count: int) -> np.ndarray:
        return np.arange(self.num_groups)  # all are as large, and each is a task's work

    def __call__(self, ids: np.ndarray, unit: np.ndarray, role: np.ndarray) -> tuple[np.ndarray, ...]:
        if self.num_groups == 1:
            return np.arange(len(ids)), np.zeros(len(ids), np.int64), role
        place = mix(ids.astype(np.uint64))
        based, asking = np.flatnonzero(role & BASE), np.flatnonzero(role & QUERY)
        own = (place[based] % np.uint64(self.base)).astype(np.int64) * self.queries
        own_chunk = (place[asking] % np.uint64(self.queries)).astype(np.int64)
        groups = [
            (own[:, None] + np.arange(self.queries)).ravel(),
            (own_chunk[:, None] + np.arange(self.base) * self.queries).ravel(),
        ]
        rows = [np.repeat(based, self.queries), np.repeat(asking, self.base)]
        roles = [np.full(len(rows[0]), BASE), np.full(len(rows[1]), QUERY)]
        return np.concatenate(rows), np.concatenate(groups), np.concatenate(roles)


@dataclass(frozen=True)
class Homes:
    """Nearest cells of some nodes: cell int32[n], and margin float32[n], how many radians farther the next one is; 0
    where neither is known.

    A node whose vector has turned by less than half of the margin is still nearest to that cell (the triangle
    inequality; Hamerly, Making k-means even faster, SDM 2010).
    """

    cell: np.ndarray
    margin: np.ndarray

    @staticmethod
    def unknown(count: int) -> Homes:
        return Homes(np.full(count, -1, np.int32), np.zeros(count, np.float32))

    def of(self, rows: np.ndarray) -> Homes:
        """Those of the nodes at these positions."""
        return Homes(self.cell[rows], self.margin[rows])

    def keep(self, block: int, store: Store, name: str) -> None:
        store.put(block, f"{name}/cell", self.cell)
        store.put(block, f"{name}/margin", self.margin)

    @staticmethod
    def kept(block: int, store: Store, name: str) -> Homes:
        return Homes(store.get(block, f"{name}/cell"), store.get(block, f"{name}/margin"))

    @staticmethod
    def joined(parts: Sequence[Homes]) -> Homes:
        return Homes(np.concatenate([part.cell for part in parts]), np.concatenate([part.margin for part in parts]))


@dataclass(frozen=True)
class ToCells:
    """To the cells within the gap; of a cell in several parts, to the one that a hash of the id names.

    parts: int64[cells]. rows: float64[cells], how many are expected in each. asked: bool[cells], those that any query
    goes to, if queries are so few that it matters. mirrored: nodes to be found go to all cells within the gap, and
    queries look in those where they would be found: a pair meets just as well, and less is sent where few are to be
    found.
    """

    cells: Cells
    parts: np.ndarray
    rows: np.ndarray
    asked: np.ndarray | None = None
    mirrored: bool = False

    @property
    def num_groups(self) -> int:
        return int(self.parts.sum())

    def partitions(self, count: int) -> np.ndarray:
        rows = np.repeat(self.rows / self.parts, self.parts)  # near cells have near numbers
        middle = np.cumsum(rows) - rows / 2
        return np.minimum((middle * (count / max(1.0, rows.sum()))).astype(np.int64), count - 1)

    def __call__(
        self, ids: np.ndarray, unit: np.ndarray, role: np.ndarray, homes: Homes | None = None
    ) -> tuple[np.ndarray, ...]:
        """homes: of these nodes. Known ones save the comparison with all cells where no other cell matters; the others
        are filled in."""
        far, near = (BASE, QUERY) if self.mirrored else (QUERY, BASE)
        goes_far, told = role & far > 0, np.zeros(len(role), bool)
        if homes is not None and not self.cells.found_gap:
            told = (homes.margin > 0) & ~goes_far
        parts = [
            self._copies(some, unit[some], role[some], (far, near), homes)
            for some in map(np.flatnonzero, (goes_far, ~goes_far & ~told))
        ]
        if homes is not None:
            at_home = np.flatnonzero(told & (role & near > 0))
            parts.append((at_home, homes.cell[at_home].astype(np.int64), role[at_home]))
        rows, chosen, roles = (np.concatenate(column) for column in zip(*parts, strict=True))
        if self.asked is not None:
            kept = self.asked[chosen]
            rows, chosen, roles = rows[kept], chosen[kept], roles[kept]
        part = mix(ids[rows].astype(np.uint64)) % self.parts[chosen].astype(np.uint64)
        return rows, (np.cumsum(self.parts) - self.parts)[chosen] + part.astype(np.int64), roles

    def _copies(
        self, rows: np.ndarray, unit: np.ndarray, role: np.ndarray, ways: tuple[int, int], homes: Homes | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(row, cell, role) of each copy of these rows, of which all or none go to all cells within the gap. ways: the
        roles that lead far, and near."""
        far, near = ways
        any_far = bool((role & far).any())
        cells, gaps = self.cells.reach(unit, REACH if any_far or self.cells.found_gap else 1 if homes is None else 2)
        if homes is not None:
            homes.cell[rows] = cells[:, 0]
            homes.margin[rows] = gaps[:, 1] if gaps.shape[1] > 1 else np.pi
        is_near = ((gaps <= self.cells.found_gap) | (np.arange(gaps.shape[1]) == 0)) & (role & near > 0)[:, None]
        is_far = (gaps <= self.cells.gap) & (role & far > 0)[:, None]
        at, places = np.nonzero(is_near | is_far)
        return rows[at], cells[at, places], (is_far * far + is_near * near)[at, places].astype(role.dtype)
