"""Which groups a search for nearest vectors sends each node to: blocks of an exact one, or cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

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

    def __call__(self, ids: np.ndarray, unit: np.ndarray, role: np.ndarray) -> tuple[np.ndarray, ...]:
        far, near = (BASE, QUERY) if self.mirrored else (QUERY, BASE)
        goes_far = role & far > 0
        parts = [
            self._copies(some, unit[some], role[some], far, near) for some in map(np.flatnonzero, (goes_far, ~goes_far))
        ]
        rows, chosen, roles = (np.concatenate(column) for column in zip(*parts, strict=True))
        if self.asked is not None:
            kept = self.asked[chosen]
            rows, chosen, roles = rows[kept], chosen[kept], roles[kept]
        part = mix(ids[rows].astype(np.uint64)) % self.parts[chosen].astype(np.uint64)
        return rows, (np.cumsum(self.parts) - self.parts)[chosen] + part.astype(np.int64), roles

    def _copies(
        self, rows: np.ndarray, unit: np.ndarray, role: np.ndarray, far: int, near: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(row, cell, role) of each copy of these rows, of which all or none go to all cells within the gap."""
        any_far = bool((role & far).any())
        cells, gaps = self.cells.reach(unit, REACH if any_far or self.cells.found_gap else 1)
        is_near = ((gaps <= self.cells.found_gap) | (np.arange(gaps.shape[1]) == 0)) & (role & near > 0)[:, None]
        is_far = (gaps <= self.cells.gap) & (role & far > 0)[:, None]
        at, places = np.nonzero(is_near | is_far)
        return rows[at], cells[at, places], (is_far * far + is_near * near)[at, places].astype(role.dtype)
