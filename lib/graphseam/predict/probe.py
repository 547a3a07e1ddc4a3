"""What a few nodes need to find their nearest: from it follows how far nodes are copied to cells, and the recall."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graphseam.predict.cells import SHARES, Cells, gap_needed
from graphseam.predict.group_search import ALL, UNKNOWN, Members, excluded
from graphseam.predict.leaders import EXCLUDED, TELLABLE, leading

Best = tuple[np.ndarray, np.ndarray, np.ndarray]
PROBE_SCHEMA = "kind INT, query BIGINT, dst ARRAY<BIGINT>, score ARRAY<FLOAT>, needed ARRAY<FLOAT>"
LISTS = ("dst", "score", "needed")
ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Probe:
    """Some queries, scored against all of the base: their own cells are known, those of what they find are looked up.

    asked: the queries, sorted by id. wanted: nodes in an answer of each kind (group_search.wanted_of), of which UNKNOWN
    and ALL are probed. Memory: the vectors of all answers twice, queries · 30 · dim numbers, and 64 MB of scores.
    """

    asked: Members
    cells: Cells
    wanted: tuple[int, int, int]

    @property
    def kinds(self) -> list[int]:
        return [kind for kind in (ALL, UNKNOWN) if self.wanted[kind]]  # ALL first: it excludes less

    def stream(self, base: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[pa.RecordBatch]:
        """Rows of PROBE_SCHEMA, one per query and kind: the nearest of a task's share of the base, and the gap each
        needs.

        base: (ids int64[n], unit float32[n, dim]) of each batch. Cost: O(n · queries · dim), and the cells of the
        answers.
        """
        import torch

        asked, everyone = torch.from_numpy(self.asked.unit), np.arange(len(self.asked.ids))
        best = {kind: _nothing(self.asked.unit, self.wanted[kind]) for kind in self.kinds}
        for all_ids, all_unit in base:
            for start in range(0, len(all_ids), ROWS_AT_ONCE):
                part = np.argsort(all_ids[start : start + ROWS_AT_ONCE]) + start
                base_ids, unit = all_ids[part], all_unit[part]
                scores = asked @ torch.from_numpy(unit).T
                itself, known = excluded(self.asked, everyone, base_ids)
                for kind, without in ((ALL, itself), (UNKNOWN, known)):
                    at, columns = map(torch.from_numpy, without)
                    scores[at, columns] = EXCLUDED
                    if kind in best:
                        _enter(best[kind], scores.numpy(), base_ids, unit)
        own = self.cells.reach(self.asked.unit)
        for kind, (score, ids, vectors) in best.items():
            yield probe_batch(kind, self.asked.ids, ids, score, self._needed(own, ids, vectors))

    def _needed(self, own: tuple[np.ndarray, ...], ids: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """float32[q, count, shares]: the gap with which each query finds each of its answers."""
        _, first, which = np.unique(ids, return_index=True, return_inverse=True)
        cells, gaps = self.cells.reach(vectors.reshape(-1, vectors.shape[2])[first])
        rows, which = np.repeat(np.arange(len(ids)), ids.shape[1]), which.ravel()
        shares = [gap_needed(own[0][rows], own[1][rows], cells[which], gaps[which], share) for share in SHARES]
        return np.stack(shares, axis=1).reshape(*ids.shape, len(SHARES))

    def answer(self, found: pa.Table) -> tuple[dict[int, np.ndarray], np.ndarray]:
        """({kind: needed float32[pairs, shares]}, gaps float32[queries, m]): from all tasks' rows, those of the nearest
        overall, and the gaps of the queries' own copies. Computed in one task."""
        queries = len(self.asked.ids)
        answers = {}
        for kind in self.kinds:
            rows = found.filter(pc.equal(found["kind"], kind))
            order = np.argsort(rows["query"].to_numpy(), kind="stable")  # every task has one row for each query
            flat = (rows[name].combine_chunks().flatten().to_numpy() for name in LISTS)
            dst, score, needed = (part.reshape(rows.num_rows, -1)[order].reshape(queries, -1) for part in flat)
            needed = needed.reshape(*score.shape, len(SHARES))
            score, _, needed = _leaders(score, dst, needed, self.wanted[kind])
            answers[kind] = needed[score > EXCLUDED]
        return answers, self.cells.reach(self.asked.unit)[1]


def _nothing(queries: np.ndarray, count: int) -> Best:
    """(scores [q, count], ids likewise, vectors [q, count, dim]) before anything is scored."""
    shape = (len(queries), count)
    vectors = np.zeros((*shape, queries.shape[1]), np.float32)
    return np.full(shape, EXCLUDED, np.float32), np.full(shape, -1, np.int64), vectors


def _enter(best: Best, scores: np.ndarray, base_ids: np.ndarray, unit: np.ndarray) -> None:
    """Put new scores that are among the best so far in their place. Cells are looked up for those of the end only."""
    score, _, _ = best
    count = score.shape[1]
    values, places = leading(scores, np.ascontiguousarray(score[:, -1]), min(count, scores.shape[1]))
    rows = np.flatnonzero((values > score[:, -1:]).any(axis=1))
    new = (values[rows], base_ids[places[rows]], unit[places[rows]])
    scored, named, found = (
        np.concatenate([old[rows], entering], axis=1) for old, entering in zip(best, new, strict=True)
    )
    for kept, leaders in zip(best, _leaders(scored, named, found, count), strict=True):
        kept[rows] = leaders


def _leaders(score: np.ndarray, ids: np.ndarray, others: np.ndarray, count: int) -> Best:
    """The `count` best of each row, ties in order of the id; others: [rows, columns, numbers]."""
    order = np.lexsort((ids, -np.round(score.astype(np.float64) * TELLABLE)), axis=-1)[:, :count]
    one, two = (np.take_along_axis(part, order, 1) for part in (score, ids))
    return one, two, np.take_along_axis(others, order[:, :, None], 1)


def probe_batch(kind: int, query: np.ndarray, ids: np.ndarray, score: np.ndarray, needed: np.ndarray) -> pa.RecordBatch:
    """A batch of PROBE_SCHEMA from int64[q], ids and score [q, k], and needed [q, k, shares]."""
    offsets = np.arange(len(query) + 1, dtype=np.int32)
    columns = [
        pa.ListArray.from_arrays(pa.array(offsets * part[0].size if len(part) else offsets), pa.array(part.ravel()))
        for part in (ids, score, needed)
    ]
    kinds = pa.array(np.full(len(query), kind, np.int32))
    return pa.RecordBatch.from_arrays([kinds, pa.array(query), *columns], names=["kind", "query", *LISTS])
