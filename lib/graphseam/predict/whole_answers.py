"""What is taken over from a base run (predict.carried), in a graph that one task can hold: arrays by position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graphseam.arrays import is_among, places_of
from graphseam.arrow import positions
from graphseam.base_run import SAME
from graphseam.blocks.store import FileStore
from graphseam.parquet import batches_of
from graphseam.predict.carried import SETTLED, Carried
from graphseam.predict.group_search import ALL, ARROW_FOUND, UNKNOWN, found_batch, wanted_of
from graphseam.predict.leaders import value_of_rank
from graphseam.predict.routes import Homes
from graphseam.runs import Run

ANSWER_BYTES = 24  # of an answer in the task that lays them out
FLOOR = "floor"
NO_LISTS = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
HOMES = "base/homes"
SPARED = 1e-4  # radians, that a home must be nearer: angles are of single precision
KINDS = {"candidate_lists": (UNKNOWN, "src", "dst"), "nearest_nodes": (ALL, "node_id", "near")}  # by table


@dataclass(frozen=True)
class AnswerFiles:
    """Where they are, by table; drift is the run's own, all else the base's. wanted: of group_search.wanted_of."""

    drift: list[str]
    tables: dict[str, list[str]]
    wanted: tuple[int, int, int]

    @staticmethod
    def of(run: Run, carried: Carried) -> AnswerFiles | None:
        """None if tasks cannot reach the files."""
        drift = run.tables.every_file("drift")
        found = carried.base.tables.files_of_all([*list(KINDS)[: 1 + carried.of_all], "node_cells"])
        if drift is None or found is None:
            return None
        links, similar = run.config.predict.links, run.config.predict.similar
        wanted = wanted_of(links.wanted_candidates, similar.top_k if carried.of_all else 0)
        return AnswerFiles(drift, found, wanted)

    def lay_out(self, store: FileStore, ids: np.ndarray) -> None:
        """Store which nodes are settled, their answers and homes, and the least cosine of those that are wanted.

        ids: of the graph's nodes, rising. Cost: one pass over the answers.
        """
        floor = np.full(len(ids), np.float32(np.inf))
        place = places_of(ids)
        settled, turned = self._settled(place, len(ids))
        asked = [
            _of_nodes(batch)["src"].to_numpy()
            for batch in batches_of(self.tables["candidate_lists"], ("src", "learning"))
        ]
        settled &= is_among(ids, np.sort(np.concatenate([np.zeros(0, np.int64), *asked])))
        store.put(0, "settled", settled)
        self._homes(place, settled, turned).keep(0, store, HOMES)
        for name, (kind, src, others) in KINDS.items():
            columns = (src, others, "cosine", *(["learning"] if name == "candidate_lists" else []))
            parts = [NO_LISTS] + [
                _answers_in(batch, (src, others), place, settled)
                for batch in batches_of(self.tables.get(name, []), columns)
            ]
            rows, sizes, dst, score = (np.concatenate(column) for column in zip(*parts, strict=True))
            order = np.argsort(rows)  # each node has one list
            at = positions((np.cumsum(sizes) - sizes)[order], sizes[order])
            lengths = np.zeros(len(ids), np.int64)
            lengths[rows] = sizes
            ends, score = np.r_[0, np.cumsum(lengths)], score[at]
            store.put(0, f"{name}.ends", ends)
            store.put(0, f"{name}.dst", dst[at])
            store.put(0, f"{name}.score", score)
            if self.wanted[kind]:
                floor = np.minimum(floor, value_of_rank(ends, score, self.wanted[kind]))
        store.put(0, FLOOR, floor)

    def _settled(self, place: Callable[[np.ndarray], np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
        """(bool[n], which nodes are settled by drift, float64[n], the angle by which each of them has turned)."""
        settled, turned = np.zeros(size, bool), np.zeros(size)
        for batch in batches_of(self.drift, ("node_id", "change", "cosine")):
            rows = _settled_in(batch)
            at = place(rows["node_id"].to_numpy())
            here = at >= 0
            settled[at[here]] = True
            turned[at[here]] = np.arccos(np.clip(rows["cosine"].to_numpy()[here], -1, 1))
        return settled, turned

    def _homes(self, place: Callable[[np.ndarray], np.ndarray], settled: np.ndarray, turned: np.ndarray) -> Homes:
        """Those of settled nodes that have not turned too far."""
        homes = Homes.unknown(len(settled))
        for batch in batches_of(self.tables["node_cells"], ("node_id", "cell", "margin")):
            at = place(batch["node_id"].to_numpy())
            kept = np.flatnonzero((at >= 0) & settled[at])
            homes.cell[at[kept]] = batch["cell"].to_numpy()[kept]
            homes.margin[at[kept]] = batch["margin"].to_numpy()[kept] - 2 * turned[at[kept]] - SPARED
        np.maximum(homes.margin, 0, out=homes.margin)
        return homes


@dataclass(frozen=True)
class Answers:
    """settled: bool[n], whose answers these are. floor: float32[n], a cosine that others must have to be among those
    wanted. lists: (kind, ends int64[n + 1], dst int32, positions, score) of each table. homes: in the base's cells,
    unknown where they may have changed."""

    settled: np.ndarray
    floor: np.ndarray
    ids: np.ndarray
    lists: tuple[tuple[int, np.ndarray, np.ndarray, np.ndarray], ...]
    homes: Homes

    @staticmethod
    def kept(store: FileStore) -> Answers:
        lists = tuple(
            (kind, store.get(0, f"{name}.ends"), store.get(0, f"{name}.dst"), store.get(0, f"{name}.score"))
            for name, (kind, _, _) in KINDS.items()
        )
        homes = Homes.kept(0, store, HOMES)
        return Answers(store.get(0, "settled"), store.get(0, FLOOR), store.get(0, "ids"), lists, homes)

    def rows(self, chosen: np.ndarray) -> pa.Table:
        """Rows of FOUND_SCHEMA of the nodes at these positions."""
        batches = []
        for kind, ends, dst, score in self.lists:
            lengths = ends[chosen + 1] - ends[chosen]
            some = np.flatnonzero(lengths)
            at = positions(ends[chosen][some], lengths[some])
            offsets = np.r_[0, np.cumsum(lengths[some])]
            kinds = np.full(len(some), kind)
            batches.append(found_batch(self.ids[chosen[some]], kinds, offsets, self.ids[dst[at]], score[at]))
        return pa.Table.from_batches(batches, ARROW_FOUND)


def _of_nodes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The rows that are not for learning."""
    return batch.filter(pc.invert(batch["learning"])) if "learning" in batch.schema.names else batch


def _settled_in(rows: pa.RecordBatch) -> pa.RecordBatch:
    chosen = pc.and_(pc.equal(rows["change"], SAME), pc.greater_equal(rows["cosine"], SETTLED))
    return rows.filter(chosen.fill_null(False))


def _answers_in(
    batch: pa.RecordBatch, names: tuple[str, str], place: Callable[[np.ndarray], np.ndarray], settled: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(position of src, how many answers, positions of dst, scores) of each settled node with a list, answers that are
    settled nodes."""
    batch = _of_nodes(batch)
    src = place(batch[names[0]].to_numpy())
    chosen = np.flatnonzero((src >= 0) & settled[src])
    batch = batch.take(pa.array(chosen))
    dst = place(batch[names[1]].flatten().to_numpy())
    kept = (dst >= 0) & settled[dst]
    sizes = np.diff(np.r_[0, np.cumsum(kept)][np.r_[0, np.cumsum(batch[names[1]].value_lengths().to_numpy())]])
    return src[chosen].astype(np.int64), sizes, dst[kept].astype(np.int32), batch["cosine"].flatten().to_numpy()[kept]
