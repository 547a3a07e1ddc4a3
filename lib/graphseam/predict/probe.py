"""What a few nodes need to find their nearest: from it follows how far nodes are copied to cells, and the recall."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from graphseam.predict.cells import Cells, gap_needed, largest
from graphseam.predict.group_search import EXCLUDED, TELLABLE, Members, excluded

PROBE_SCHEMA = "query BIGINT, dst ARRAY<BIGINT>, score ARRAY<FLOAT>, needed ARRAY<FLOAT>"
LISTS = ("dst", "score", "needed")
ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Probe:
    """Some queries, scored against all of the base: their own cells are known, those of what they find are looked up.

    asked: the queries, sorted by id. Memory: a few arrays of queries · 20 numbers, and 32 MB of scores.
    """

    asked: Members
    cells: Cells
    top_k: int

    def stream(self, base: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[pa.RecordBatch]:
        """Rows of PROBE_SCHEMA, one per query: the nearest of a task's share of the base, and the gap each needs.

        base: (ids int64[n], unit float32[n, dim]) of each batch. Cost: O(n · queries · dim).
        """
        import torch

        queries = len(self.asked.ids)
        own_cells, own_gaps = self.cells.reach(self.asked.unit)
        asked = torch.from_numpy(self.asked.unit)
        ids = np.full((queries, self.top_k), -1, np.int64)
        score = np.full((queries, self.top_k), EXCLUDED, np.float32)
        needed = np.zeros((queries, self.top_k), np.float32)
        everyone = np.arange(queries)
        for all_ids, all_unit in base:
            for start in range(0, len(all_ids), ROWS_AT_ONCE):
                part = np.argsort(all_ids[start : start + ROWS_AT_ONCE]) + start
                base_ids, unit = all_ids[part], all_unit[part]
                scores = asked @ torch.from_numpy(unit).T
                for at, columns in excluded(self.asked, everyone, base_ids):
                    scores[torch.from_numpy(at), torch.from_numpy(columns)] = EXCLUDED
                values, places = (found.numpy() for found in largest(scores, min(self.top_k, len(part))))
                entering = (values > score[:, -1:]) & (values > EXCLUDED)
                rows, _ = np.nonzero(entering)
                new = places[entering]
                used, which = np.unique(new, return_inverse=True)
                cells, gaps = self.cells.reach(unit[used])
                gap = np.zeros(values.shape, np.float32)
                gap[entering] = gap_needed(own_cells[rows], own_gaps[rows], cells[which], gaps[which])
                values = np.where(entering, values, EXCLUDED).astype(np.float32)
                score, ids, needed = _leaders(
                    np.hstack([score, values]), np.hstack([ids, base_ids[places]]), np.hstack([needed, gap]), self.top_k
                )
        yield probe_batch(self.asked.ids, ids, score, needed)

    def answer(self, found: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """(needed float32[pairs], gaps float32[queries, m]): from all tasks' rows, those of the nearest overall, and
        the gaps of the queries' own copies. Computed in one task."""
        queries = len(self.asked.ids)
        query = found["query"].to_numpy()
        order = np.argsort(query, kind="stable")  # every task has one row for each query
        shape, wide = (len(query), self.top_k), (queries, -1)
        flat = (found[name].combine_chunks().flatten().to_numpy() for name in LISTS)
        dst, score, needed = (part.reshape(shape)[order].reshape(wide) for part in flat)
        score, _, needed = _leaders(score, dst, needed, self.top_k)
        return needed[score > EXCLUDED], self.cells.reach(self.asked.unit)[1]


def _leaders(
    score: np.ndarray, ids: np.ndarray, needed: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `count` best of each row, ties in order of the id."""
    order = np.lexsort((ids, -np.round(score.astype(np.float64) * TELLABLE)), axis=-1)[:, :count]
    one, two, three = (np.take_along_axis(part, order, 1) for part in (score, ids, needed))
    return one, two, three


def probe_batch(query: np.ndarray, ids: np.ndarray, score: np.ndarray, needed: np.ndarray) -> pa.RecordBatch:
    """A batch of PROBE_SCHEMA from int64[q] and three arrays [q, k]."""
    offsets = pa.array(np.arange(len(query) + 1, dtype=np.int32) * ids.shape[1])
    columns = [pa.ListArray.from_arrays(offsets, pa.array(part.ravel())) for part in (ids, score, needed)]
    return pa.RecordBatch.from_arrays([pa.array(query), *columns], names=["query", *LISTS])
