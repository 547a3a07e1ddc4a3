"""A graph that one task can hold, in files that all tasks of this machine map into memory: for a local session.

Joins, shuffles and rows that pass between Java and Python cost a graph of this size more than all that is computed of
it. Here one task reads the run's tables, and what follows finds a node's vector and neighbours by its position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graphseam.arrays import distinct, places_of
from graphseam.arrow import positions, shifted_ids, vector_matrix
from graphseam.blocks.store import FileStore
from graphseam.columns import ENDS
from graphseam.parquet import VECTORS_AT_ONCE, batches_of, table_of
from graphseam.predict.carried import Carried
from graphseam.predict.whole_answers import ANSWER_BYTES, AnswerFiles, Answers
from graphseam.runs import Run
from graphseam.session import can_map
from graphseam.vectors import unit_rows

SHARE_OF_TASK = 0.5  # of a task's memory that its own arrays may take
NODE_BYTES, END_BYTES = 200, 50  # of a task that lays the graph out, or searches it for paths
EDGES_AT_ONCE = 1 << 20
MOST_PARTS = 256  # in which the lists of neighbours are made: each looks through all edges
NAMES = "names.arrow"
LAYOUTS = 2  # parts in which arrays are laid out, side by side
TABLES = ("embeddings", "edges", "nodes", "holdout_edges", "evaluation_pairs", "candidate_pairs")
End = tuple[str, str] | None  # a column of nodes and its value


@dataclass(frozen=True)
class Graph:
    """What a task sees of a WholeGraph; every array is mapped, not read. Nodes are positions in `ids`.

    ids: int64[n], rising. unit: float32[n, dim], of length 1, zeros for a node without a vector; live: bool[n], whether
    it has one. indptr int64[n + 1], known int32[ends]: the neighbours of each node, rising. path_ptr, path_ends: those
    of them that paths may lead through and to. source, target: bool[n], whether links are predicted from and to it.
    asks: bool[n], the sources that have an edge.
    """

    ids: np.ndarray
    unit: np.ndarray
    live: np.ndarray
    indptr: np.ndarray
    known: np.ndarray
    path_ptr: np.ndarray
    path_ends: np.ndarray
    source: np.ndarray
    target: np.ndarray
    asks: np.ndarray

    def degrees(self, rows: np.ndarray) -> np.ndarray:
        """int64[k]: how many neighbours the nodes at these positions have; at -1, none."""
        return np.where(rows >= 0, self.indptr[rows + 1] - self.indptr[rows], 0)

    def at(self, ids: np.ndarray) -> np.ndarray:
        """int64[k]: the positions of the ids, -1 of those that are no nodes of the graph."""
        return self._places(ids)

    @cached_property
    def _places(self) -> Callable[[np.ndarray], np.ndarray]:
        return places_of(self.ids)

    def keys_of(self, src: np.ndarray, dst: np.ndarray) -> np.ndarray:
        """int64[k]: a number per pair of ids, the same for both of its directions."""
        low, high = np.sort([self.at(src), self.at(dst)], axis=0)
        return np.asarray(low * len(self.ids) + high)

    def neighbours(self, rows: np.ndarray) -> np.ndarray:
        """int64[sum of degrees]: the ids of the neighbours of the nodes at these positions, node by node."""
        lengths = self.degrees(rows)
        return self.ids[self.known[positions(np.where(rows >= 0, self.indptr[rows], 0), lengths)]]

    def sources(self) -> np.ndarray:
        """int64[k]: the nodes that links are predicted from."""
        return np.flatnonzero(self.asks)


@dataclass(frozen=True)
class WholeGraph:
    """The graph's arrays in a store, and the files of the tables that they come from, by table.

    three, hub_cap: of the paths, see paths.PathSearch. carried: of what is taken over from a base run. parts: in which
    lists of neighbours are made, as many as memory requires; 0 for none: every node asks, and knows no other.
    """

    store: FileStore
    files: dict[str, list[str]]
    ends: tuple[End, End]
    shift: int | None
    three: bool
    hub_cap: int
    carried: AnswerFiles | None = None
    parts: int = 1

    def lay_out(self, part: int) -> None:
        """Read the tables, and store the arrays: part 0 of LAYOUTS those of vectors, part 1 all others. Cost: one pass
        over vectors, edges and nodes."""
        ids = np.sort(self.column("embeddings", "node_id"))
        if part == 0:
            self._lay_out_vectors(ids)
            return
        self.store.put(0, "ids", ids)
        if self.carried is not None:
            self.carried.lay_out(self.store, ids)
        source, target = self._lay_out_nodes(ids)
        if self.parts:
            self._lay_out_neighbours(ids, target)
            source = source & (np.diff(self.store.get(0, "indptr")) > 0)
        else:
            for name in ("indptr", "path_ptr"):
                self.store.put(0, name, np.zeros(len(ids) + 1, np.int64))
            for name in ("known", "path_ends"):
                self.store.put(0, name, np.zeros(0, np.int32))
        self.store.put(0, "asks", source)

    def _lay_out_neighbours(self, ids: np.ndarray, target: np.ndarray) -> None:
        """Store the lists of neighbours, those of a part of the nodes after those of another."""
        ends, counts = self._ends(ids)
        size, kind = max(1, len(ids)), np.dtype(np.int32)
        before = np.cumsum(counts)
        shares = np.linspace(0, before[-1] if len(ids) else 0, self.parts + 1)[1:-1]
        bounds = [0, *np.searchsorted(before, shares).tolist(), len(ids)]
        degrees, through_degrees = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        with (
            self.store.growing(0, "known", kind) as add_known,
            self.store.growing(0, "path_ends", kind) as add_path_end,
        ):
            for first, last in pairwise(bounds):
                pairs = distinct(_pairs_from(ends, first, last, size))
                own, known = pairs // size, (pairs % size).astype(np.int32)
                degrees[first:last] = np.bincount(own - first, minlength=last - first)
                through = degrees[own] <= self.hub_cap
                if not self.three:
                    through &= target[known]
                through_degrees[first:last] = np.bincount(own[through] - first, minlength=last - first)
                add_known(known)
                add_path_end(known[through])
        for name, lengths in (("indptr", degrees), ("path_ptr", through_degrees)):
            self.store.put(0, name, np.r_[0, np.cumsum(lengths)])
        self.store.drop("edge_ends")

    def _ends(self, ids: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """((src, dst) of the edges, int32[m] positions, mapped; how many ends each node has)."""
        counts, kind = np.zeros(len(ids), np.int64), np.dtype(np.int32)
        for place, name in enumerate(ENDS):
            with self.store.growing(place, "edge_ends", kind) as add:
                for batch in batches_of(self.files["edges"], (name,), EDGES_AT_ONCE):
                    at = np.searchsorted(ids, batch[name].to_numpy())
                    counts += np.bincount(at, minlength=len(ids))
                    add(at)
        return (self.store.get(0, "edge_ends"), self.store.get(1, "edge_ends")), counts

    def _lay_out_vectors(self, ids: np.ndarray) -> None:
        path = Path(self.store.folder, "unit", "0.npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        unit, live = None, np.zeros(len(ids), bool)
        for batch in batches_of(self.files["embeddings"], ("node_id", "vector"), VECTORS_AT_ONCE):
            vectors, rows = vector_matrix(batch["vector"]), np.searchsorted(ids, batch["node_id"].to_numpy())
            if unit is None:
                unit = np.lib.format.open_memmap(path, "w+", np.float32, (len(ids), vectors.shape[1]))
            unit[rows] = unit_rows(vectors)
            live[rows] = vectors.any(axis=1)
        if unit is None:
            self.store.put(0, "unit", np.zeros((0, 1), np.float32))
        self.store.put(0, "live", live)

    def _lay_out_nodes(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Store which nodes are sources and targets, and their names; returns the former two."""
        nodes = table_of(self.files["nodes"], ("node_id", "id", "type", "side"))
        assert nodes is not None  # a graph without a node is refused
        # texts of more than 2 GB in all need offsets of 64 bits
        nodes = nodes.set_column(nodes.schema.get_field_index("id"), "id", nodes["id"].cast(pa.large_string()))
        nodes = nodes.take(pa.array(np.argsort(nodes["node_id"].to_numpy())))
        found = []
        for name, end in zip(("source", "target"), self.ends, strict=True):
            chosen = np.ones(len(ids), bool)
            if end is not None:
                chosen = np.asarray(pc.equal(nodes[end[0]], end[1]).fill_null(False).combine_chunks())
            self.store.put(0, name, chosen)
            found.append(chosen)
        second = pc.equal(nodes["side"], "dst").fill_null(False).combine_chunks()
        self.store.put(0, "second", np.asarray(second))
        if self.shift is None:
            names = nodes.select(["id"])
            with pa.ipc.new_file(str(Path(self.store.folder, NAMES)), names.schema) as writer:
                writer.write_table(names)
        return found[0], found[1]

    def answers(self) -> Answers | None:
        """What is taken over from a base run; None in a full run."""
        return None if self.carried is None else Answers.kept(self.store)

    def opened(self) -> Graph:
        return Graph(*(self.store.get(0, field.name) for field in fields(Graph)))

    def second(self) -> np.ndarray:
        """bool[n]: the nodes of the second kind, in a bipartite graph."""
        return self.store.get(0, "second")

    def held_keys(self, graph: Graph) -> np.ndarray:
        """int64[k], rising: the held-out edges, as `keys_of`."""
        return distinct(graph.keys_of(*(self.column("holdout_edges", end) for end in ENDS)))

    def column(self, table: str, name: str) -> np.ndarray:
        """int64[rows]: a column of one of the tables, of all its files."""
        rows = table_of(self.files[table], (name,))
        return rows[name].to_numpy() if rows is not None else np.zeros(0, np.int64)

    def names(self, graph: Graph, ids: np.ndarray) -> pa.Array:
        """The original ids of nodes of the graph, as text."""
        if self.shift is not None:
            return shifted_ids(ids, self.shift)
        with pa.memory_map(str(Path(self.store.folder, NAMES))) as file:
            names = pa.ipc.open_file(file).read_all()["id"]
            return names.take(pa.array(graph.at(ids))).combine_chunks()


def parts_that_fit(num_nodes: int, num_edges: int, dim: int, task_mb: int, more_bytes: int = 0) -> int:
    """Parts in which a task can lay the graph out; 0 if it cannot, or this machine cannot hold its vectors beside
    others' files."""
    room = int(SHARE_OF_TASK * (task_mb << 20)) - num_nodes * NODE_BYTES - more_bytes
    parts = max(1, -(-2 * num_edges * END_BYTES // max(1, room)))
    return parts if parts <= MOST_PARTS and can_map(num_nodes, dim) else 0


def _pairs_from(ends: tuple[np.ndarray, np.ndarray], first: int, last: int, size: int) -> np.ndarray:
    """int64: own · size + other of each edge from those of its ends that are among the nodes first to last - 1."""
    parts = []
    for own, other in (ends, ends[::-1]):
        for start in range(0, len(own), EDGES_AT_ONCE):
            some = own[start : start + EDGES_AT_ONCE]
            chosen = np.flatnonzero((some >= first) & (some < last))
            parts.append(some[chosen].astype(np.int64) * size + other[start + chosen])
    return np.concatenate([np.zeros(0, np.int64), *parts])


def whole_graph(run: Run, ends: tuple[End, End], carried: Carried | None) -> WholeGraph | None:
    """The run's graph, for `lay_out` by a task, in a temporary folder that the caller removes; None if it is to stay in
    tables: where tasks cannot reach the tables' files, or its arrays would take too much of their memory."""
    ingested, tables = run.ingested, run.tables
    more = ingested.nodes * ANSWER_BYTES * carried.per_node if carried is not None else 0
    parts = parts_that_fit(ingested.nodes, ingested.edges, run.config.embed.dim, run.task_memory_mb(), more)
    if not (parts and run.tasks_read_files):
        return None
    files = tables.files_of_all(TABLES)
    answers = AnswerFiles.of(run, carried) if carried is not None else None
    if files is None or (carried is not None and answers is None):
        return None
    return WholeGraph(
        FileStore.temporary(),
        files,
        ends,
        ingested.id_shift,
        ingested.bipartite,
        run.config.predict.links.hub_cap,
        answers,
        parts,
    )


def whole_vectors(run: Run) -> WholeGraph | None:
    """As `whole_graph`, without edges: for nodes that are compared by their vectors only."""
    ingested, names = run.ingested, ("embeddings", "nodes")
    fits = parts_that_fit(ingested.nodes, 0, run.config.embed.dim, run.task_memory_mb())
    files = run.tables.files_of_all(names) if fits and run.tasks_read_files else None
    if files is None:
        return None
    return WholeGraph(FileStore.temporary(), files, (None, None), ingested.id_shift, three=False, hub_cap=0, parts=0)
