"""A graph that one task can hold, in files that all tasks of this machine map into memory: for a local session.

Joins, shuffles and rows that pass between Java and Python cost a graph of this size more than all that is computed of
it. Here one task reads the run's tables, and what follows finds a node's vector and neighbours by its position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from graphseam.arrays import distinct
from graphseam.arrow import positions, vector_matrix
from graphseam.blocks.store import FileStore
from graphseam.runs import Run
from graphseam.vectors import unit_rows

SHARE_OF_TASK = 0.5  # of a task's memory that the graph may take while it is laid out
NODE_BYTES, END_BYTES = 200, 60  # beside the vectors, which are there three times: as read, and in order
NAMES = "names.arrow"
TABLES = ("embeddings", "edges", "nodes", "holdout_edges", "candidate_pairs")
End = tuple[str, str] | None  # a column of nodes and its value


@dataclass(frozen=True)
class Graph:
    """What a task sees of a WholeGraph; every array is mapped, not read.

    ids: int64[n], rising. unit: float32[n, dim], of length 1, zeros for a node without a vector. indptr int64[n + 1],
    known int64[ends]: the neighbours of each node, their ids rising. source, target: bool[n], whether links are
    predicted from and to it.
    """

    ids: np.ndarray
    unit: np.ndarray
    indptr: np.ndarray
    known: np.ndarray
    source: np.ndarray
    target: np.ndarray

    @property
    def degrees(self) -> np.ndarray:
        return np.diff(self.indptr)

    @property
    def live(self) -> np.ndarray:
        """bool[n]: nodes with a vector."""
        return np.asarray(self.unit.any(axis=1))

    def at(self, ids: np.ndarray) -> np.ndarray:
        """int64[k]: the positions of the ids, -1 of those that are no nodes of the graph."""
        found = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[found] == ids, found, -1) if len(self.ids) else np.full(len(ids), -1)

    def neighbours(self, rows: np.ndarray) -> pa.ListArray:
        """The ids of the neighbours of the nodes at these positions; of none, -1, no ids."""
        there = rows >= 0
        lengths = np.where(there, self.degrees[rows], 0) if len(self.ids) else np.zeros(len(rows), np.int64)
        known = (
            self.known[positions(np.where(there, self.indptr[rows], 0), lengths)] if lengths.any() else self.known[:0]
        )
        return pa.ListArray.from_arrays(pa.array(np.r_[0, np.cumsum(lengths)].astype(np.int32)), pa.array(known))


@dataclass(frozen=True)
class WholeGraph:
    """The graph's arrays in a store, and the files of the tables that they come from, by table."""

    store: FileStore
    files: dict[str, list[str]]
    ends: tuple[End, End]
    shift: int | None

    def lay_out(self) -> None:
        """Read the tables, and store the arrays. Cost: one pass over vectors, edges and nodes, in one task."""
        ids = self.column("embeddings", "node_id")
        order = np.argsort(ids)
        ids = ids[order]
        self._put("ids", ids)
        vectors = [vector_matrix(_read(path, ["vector"])["vector"]) for path in self.files["embeddings"]]
        unit = unit_rows(np.concatenate([part for part in vectors if len(part)] or [np.zeros((0, 1), np.float32)]))
        self._put("unit", unit[order])
        src, dst = (np.searchsorted(ids, self.column("edges", end)) for end in ("src", "dst"))
        size = max(1, len(ids))
        pairs = distinct(np.concatenate([src * size + dst, dst * size + src]))
        self._put("indptr", np.searchsorted(pairs, np.arange(len(ids) + 1) * size))
        self._put("known", ids[pairs % size] if len(ids) else pairs)
        nodes = pa.concat_tables([_read(path, ["node_id", "id", "type", "side"]) for path in self.files["nodes"]])
        nodes = nodes.take(pa.array(np.argsort(nodes["node_id"].to_numpy())))
        for name, end in zip(("source", "target"), self.ends, strict=True):
            chosen = np.ones(len(ids), bool)
            if end is not None:
                chosen = np.asarray(pc.equal(nodes[end[0]], end[1]).fill_null(False).combine_chunks())
            self._put(name, chosen)
        if self.shift is None:
            names = nodes.select(["id"])
            with pa.ipc.new_file(str(Path(self.store.folder, NAMES)), names.schema) as writer:
                writer.write_table(names)

    def opened(self) -> Graph:
        return Graph(*(self.store.get(0, name) for name in ("ids", "unit", "indptr", "known", "source", "target")))

    def column(self, table: str, name: str) -> np.ndarray:
        """int64[rows]: a column of one of the tables, of all its files."""
        parts = [_read(path, [name])[name].to_numpy() for path in self.files[table]]
        return np.concatenate([*parts, np.zeros(0, np.int64)])

    def names(self, graph: Graph, ids: np.ndarray) -> pa.Array:
        """The original ids of nodes of the graph, as text."""
        if self.shift is not None:
            return pa.array(ids - self.shift).cast(pa.string())
        with pa.memory_map(str(Path(self.store.folder, NAMES))) as file:
            names = pa.ipc.open_file(file).read_all()["id"]
            return names.take(pa.array(graph.at(ids))).combine_chunks()

    def _put(self, name: str, values: np.ndarray) -> None:
        self.store.put(0, name, values)


def _read(path: str, columns: Sequence[str]) -> pa.Table:
    return pq.ParquetFile(path).read(columns=list(columns))


def whole_graph(run: Run, ends: tuple[End, End]) -> WholeGraph | None:
    """The run's graph, for `lay_out` by a task, in a temporary folder that the caller removes; None if it is to stay in
    tables: where tasks cannot reach the tables' files, or one cannot hold the graph within half of its memory."""
    ingested, tables = run.ingested, run.tables
    taken = ingested.nodes * (12 * run.config.embed.dim + NODE_BYTES) + 2 * ingested.edges * END_BYTES
    if not tables.written_here or taken > SHARE_OF_TASK * (run.task_memory_mb() << 20):
        return None
    files = {name: tables.every_file(name) for name in TABLES}
    if any(found is None for found in files.values()):
        return None
    named = {name: found or [] for name, found in files.items()}
    return WholeGraph(FileStore.temporary(), named, ends, ingested.id_shift)
