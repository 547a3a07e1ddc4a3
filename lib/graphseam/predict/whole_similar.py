"""Rows of similar_nodes from nearest_nodes where one task can hold the nodes' names: each task turns its files' lists
into rows, without a join."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from graphseam.parquet import batches_of, stored_bytes, table_of
from graphseam.runs import Run

LISTS_AT_ONCE = 1 << 13
SHARE_OF_TASK = 0.5  # of its memory that names may take
COPIES = 3  # of the names at once: as read, as one array, and by number


@dataclass(frozen=True)
class Named:
    """nearest, nodes: the files of the tables. shift: of the run's ids, if they follow from the numbers."""

    nearest: list[str]
    nodes: list[str]
    shift: int | None
    num_tasks: int

    @staticmethod
    def of(run: Run) -> Named | None:
        """None where tasks cannot read the files, or cannot hold the names."""
        files = run.tables.files_of_all(("nearest_nodes", "nodes")) if run.tasks_read_files else None
        if files is None:
            return None
        shift, allowed = run.ingested.id_shift, SHARE_OF_TASK * (run.task_memory_mb() << 20)
        if shift is None and COPIES * stored_bytes(files["nodes"], ("node_id", "id")) > allowed:
            return None
        cores = run.spark.sparkContext.defaultParallelism
        return Named(files["nearest_nodes"], files["nodes"], shift, max(1, min(cores, len(files["nearest_nodes"]))))

    def rows(self, task: int) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Rows of similar_nodes from every num_tasks-th file."""
        names = None if self.shift is not None else Names.of(self.nodes)
        for batch in batches_of(
            self.nearest[task :: self.num_tasks], ("node_id", "near", "cosine"), rows_at_once=LISTS_AT_ONCE
        ):
            lengths = batch["near"].value_lengths().to_numpy()
            starts = np.cumsum(lengths) - lengths
            src = batch["node_id"].to_numpy()
            dst = batch["near"].flatten().to_numpy()
            own = np.repeat(np.arange(len(src)), lengths)
            yield (
                "similar_nodes",
                pa.RecordBatch.from_pydict(
                    {
                        "src": self._named(names, src).take(pa.array(own)),
                        "src_node_id": src[own],
                        "dst": self._named(names, dst),
                        "dst_node_id": dst,
                        "rank": (np.arange(len(dst)) - starts[own] + 1).astype(np.int32),
                        "cosine": batch["cosine"].flatten(),
                    }
                ),
            )

    def _named(self, names: Names | None, numbers: np.ndarray) -> pa.Array:
        return pa.array(numbers - self.shift).cast(pa.string()) if names is None else names.of_nodes(numbers)


@dataclass(frozen=True)
class Names:
    """The original ids, as text, of nodes by number: numbers int64[n], rising."""

    numbers: np.ndarray
    texts: pa.Array

    @staticmethod
    def of(files: list[str]) -> Names:
        rows = table_of(files, ("node_id", "id"))
        assert rows is not None  # a graph without a node is refused
        numbers = rows["node_id"].to_numpy()
        order = np.argsort(numbers)
        texts = rows["id"].cast(pa.large_string()).combine_chunks()  # more than 2 GB need offsets of 64 bits
        return Names(numbers[order], texts.take(pa.array(order)))

    def of_nodes(self, numbers: np.ndarray) -> pa.Array:
        return self.texts.take(pa.array(np.searchsorted(self.numbers, numbers)))
