"""What an incremental run updates vectors from, read by each block from the tables' files: for a local session.

Spark would shuffle the edges, the nodes and the base's vectors to the blocks, and pass them from Java to Python. On one
machine with a few blocks each of them looks through the files for what is its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from graphseam.arrays import is_among
from graphseam.arrow import shifted_ids, vector_matrix
from graphseam.base_run import Base
from graphseam.columns import ENDS
from graphseam.parquet import VECTORS_AT_ONCE, batches_of
from graphseam.refine.block_plan import Blocks
from graphseam.refine.distributed import ENTRY, both_directions, entries_of
from graphseam.runs import Run

MOST_BLOCKS = 8  # each reads all of the files
ROWS_AT_ONCE = 1 << 18
TABLES = ("subgraph_edges", "border_edges", "assignments", "edge_changes", "nodes")
CHANGE = np.dtype([*ENTRY.descr[:-1], ("before", "<f8"), ("now", "<f8")])
HOMES = tuple(f"{end}_subgraph" for end in ENDS)


@dataclass(frozen=True)
class UpdateFiles:
    """Files by table; of the run, and of its base. shift: of its ids, if they follow from the numbers."""

    mine: dict[str, list[str]]
    base: dict[str, list[str]]
    blocks: Blocks
    shift: int | None

    @staticmethod
    def of(run: Run, base: Base, blocks: Blocks) -> UpdateFiles | None:
        """None where tasks cannot reach the files, or there are many blocks."""
        if blocks.num_blocks > MOST_BLOCKS or not run.tasks_read_files:
            return None
        mine = run.tables.files_of_all(TABLES, level=1)
        its = base.tables.files_of_all(("assignments", "embeddings"), level=1)
        if mine is None or its is None:
            return None
        return UpdateFiles(mine, its, blocks, run.ingested.id_shift)

    def entries(self, block: int) -> np.ndarray:
        """The block's entries, from both ends of each edge."""
        parts = [np.zeros(0, ENTRY)]
        for table in ("subgraph_edges", "border_edges"):
            columns = (*ENDS, "weight", *(["subgraph_id"] if table == "subgraph_edges" else HOMES))
            for batch in batches_of(self.mine[table], columns, ROWS_AT_ONCE):
                if table == "subgraph_edges":
                    ends = [*(batch[name] for name in (*ENDS, "weight")), *[batch["subgraph_id"]] * 2]
                    batch = pa.RecordBatch.from_arrays(ends, names=[*ENDS, "weight", *HOMES])
                parts.append(_own(block, entries_of(batch, self.blocks)))
        return np.concatenate(parts)

    def changes(self, block: int) -> np.ndarray:
        """Those of the block's entries that differ, with both weights, 0 where there is no edge."""
        parts = [np.zeros(0, CHANGE)]
        for batch in batches_of(self.mine["edge_changes"], (*ENDS, *HOMES, "base_weight", "weight"), ROWS_AT_ONCE):
            parts.append(_own(block, changes_of(batch, self.blocks)))
        return np.concatenate(parts)

    def nodes(self, block: int) -> pa.Table:
        """(node_id, id) of the block's nodes, in order of the number."""
        own = self._members(self.mine["assignments"], block)
        if self.shift is not None:
            return pa.table({"node_id": own, "id": shifted_ids(own, self.shift)})
        parts = [
            batch.filter(pa.array(is_among(batch["node_id"].to_numpy(), own)))
            for batch in batches_of(self.mine["nodes"], ("node_id", "id"), ROWS_AT_ONCE)
        ]
        schema = pa.schema([("node_id", pa.int64()), ("id", pa.string())])
        rows = pa.Table.from_batches(parts) if parts else schema.empty_table()
        return rows.sort_by("node_id").combine_chunks()

    def known(self, block: int) -> np.ndarray:
        """int64, rising: the block's nodes in the base that have a vector there."""
        own = self._members(self.base["assignments"], block)
        parts = [
            batch["node_id"].to_numpy() for batch in batches_of(self.base["embeddings"], ("node_id",), ROWS_AT_ONCE)
        ]
        return own[is_among(own, np.sort(np.concatenate([np.zeros(0, np.int64), *parts])))]

    def start(self, known: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(numbers, vectors) of these nodes of the base, rising."""
        for batch in batches_of(self.base["embeddings"], ("node_id", "vector"), VECTORS_AT_ONCE):
            numbers = batch["node_id"].to_numpy()
            chosen = np.flatnonzero(is_among(numbers, known))
            if len(chosen) == len(numbers):
                yield numbers, vector_matrix(batch["vector"])
            elif len(chosen):
                yield numbers[chosen], vector_matrix(batch["vector"].take(pa.array(chosen)))

    def _members(self, files: Sequence[str], block: int) -> np.ndarray:
        """int64, rising: the nodes of the block among those assigned."""
        parts = [np.zeros(0, np.int64)]
        for batch in batches_of(files, ("node_id", "subgraph_id"), ROWS_AT_ONCE):
            numbers = batch["node_id"].to_numpy()
            parts.append(numbers[self.blocks.of(batch["subgraph_id"].to_numpy(), numbers) == block])
        return np.sort(np.concatenate(parts))


def changes_of(batch: pa.RecordBatch, blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """(the block of each, rows of edge_changes as changes of both directions' entries); a weight not there is 0."""
    weights = {"before": batch["base_weight"], "now": batch["weight"]}
    filled = {name: column.fill_null(0.0).to_numpy() for name, column in weights.items()}
    return both_directions(batch, blocks, CHANGE, filled)


def _own(block: int, placed: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The entries that are in the block."""
    places, entries = placed
    return entries[places == block]
