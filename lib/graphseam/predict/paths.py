"""Short paths between nodes: candidates for links, and the structural half of a link model's features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from graphseam.arrays import distinct, is_among, places_of
from graphseam.arrow import positions
from graphseam.compiled import read_only
from graphseam.edges import both_ways
from graphseam.predict.kernels import find_paths, workspace
from graphseam.predict.query_blocks import answered_in_blocks, block_at, block_of, every_block, parts_of

PATHS_SCHEMA = (
    "src BIGINT, place DOUBLE, learning BOOLEAN, src_degree BIGINT, dst ARRAY<BIGINT>, known ARRAY<BOOLEAN>, "
    "num_paths ARRAY<BIGINT>, adamic_adar ARRAY<FLOAT>, resource_allocation ARRAY<FLOAT>"
)
QUERIES_AT_ONCE = 4096
BYTES_PER_END = 40  # per edge end in a task: as received, as the node's position, and Arrow's batch


@dataclass(frozen=True)
class PathSearch:
    """How to search for paths: two steps or `three`, `top` non-neighbours per query, no path through a node with more
    than hub_cap edges, in num_blocks blocks of queries. A block gets all lists if they fit (`whole`), otherwise those
    it needs, the shortest first, up to max_ends ends."""

    three: bool
    top: int
    hub_cap: int
    num_blocks: int
    max_ends: int
    whole: bool


def plan_paths(num_edges: int, task_mb: int, cores: int, shape: tuple[bool, int, int]) -> PathSearch:
    """shape: (three, top, hub_cap). One block per core if the graph fits in a task's memory, otherwise more blocks."""
    max_ends = (task_mb << 20) // 2 // BYTES_PER_END
    whole = 2 * num_edges <= max_ends
    num_blocks = cores if whole else max(cores, -(-4 * 2 * num_edges // max_ends))
    three, top, hub_cap = shape
    return PathSearch(three, top, hub_cap, num_blocks, max_ends, whole)


def neighbour_lists(edges: DataFrame) -> DataFrame:
    """(node_id, known BIGINT[], degree INT): the neighbours of each node, each once, in order.

    Cost: one shuffle of the edges.
    """
    return (
        both_ways(edges, "node_id", "other")
        .groupBy("node_id")
        .agg(F.array_sort(F.array_distinct(F.collect_list("other"))).alias("known"))
        .withColumn("degree", F.size("known"))
    )


def paths(lists: DataFrame, queries: DataFrame, search: PathSearch) -> DataFrame:
    """For each query its wanted nodes and the nodes that most short paths lead to; one row per query.

    lists: (node_id, known, degree), from `neighbour_lists`. queries: (node_id, known, wanted BIGINT[], learning
    BOOLEAN, place DOUBLE); see kernels.find_paths. place: in [0, 1), near for nodes that are likely to need the same
    lists: it decides the block if no task can hold all lists. Returns rows of PATHS_SCHEMA.
    Cost: each block's lists and queries are shuffled once; O(paths) on executors. Memory: search.max_ends ends per
    task.
    """
    between = lists.where(F.col("degree") <= search.hub_cap)
    block = block_of("node_id", search.num_blocks) if search.whole else block_at("place", search.num_blocks)
    asked = queries.select(
        block.alias("block"), "node_id", "place", "known", F.size("known").alias("degree"), "wanted", "learning"
    )
    if search.whole:
        held = between.withColumn("block", every_block(search.num_blocks))
    else:
        held = _needed(between, asked, search)
    held = held.select("block", "node_id", "known", "degree")
    return answered_in_blocks(held, asked, search.num_blocks, _path_stream(search), PATHS_SCHEMA)


def _needed(between: DataFrame, asked: DataFrame, search: PathSearch) -> DataFrame:
    """(block, node_id, known, degree): the lists that the paths of a block's queries use, within its budget."""
    needed = asked.select("block", F.explode("known").alias("node_id")).distinct()
    if search.three:
        further = needed.join(between, on="node_id", how="inner").select("block", F.explode("known").alias("node_id"))
        needed = needed.union(further).distinct()
    order = Window.partitionBy("block").orderBy("size", "node_id")
    sized = needed.join(between.select("node_id", F.size("known").alias("size")), on="node_id", how="inner").withColumn(
        "so_far", F.sum("size").over(order.rowsBetween(Window.unboundedPreceding, Window.currentRow))
    )
    return (
        sized.where(F.col("so_far") <= search.max_ends)
        .select("block", "node_id")
        .join(between, on="node_id", how="inner")
    )


def to_targets(lists: DataFrame, targets: DataFrame) -> DataFrame:
    """`lists` reduced to neighbours in `targets`; `degree` still counts all. Cost: two shuffles of the edges."""
    ends = lists.select("node_id", "degree", F.explode("known").alias("other")).join(
        targets.select(F.col("node_id").alias("other")), on="other", how="left_semi"
    )
    return (
        ends.groupBy("node_id", "degree")
        .agg(F.array_sort(F.collect_list("other")).alias("known"))
        .select("node_id", "known", "degree")
    )


def wanted_of(pairs: DataFrame) -> DataFrame:
    """(node_id, wanted BIGINT[]): each src with its dst, each once, in order. pairs: (src, dst)."""
    return pairs.groupBy(F.col("src").alias("node_id")).agg(
        F.array_sort(F.array_distinct(F.collect_list("dst"))).alias("wanted")
    )


def _path_stream(search: PathSearch) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def path_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held: list[pa.RecordBatch] = []
        adjacency: Adjacency | None = None
        for batch in batches:
            lists, queries = parts_of(batch)
            if lists.num_rows:
                held.append(lists.select(["node_id", "known", "degree"]))
            for start in range(0, queries.num_rows, QUERIES_AT_ONCE):
                if adjacency is None:
                    adjacency = Adjacency.of(held, search)
                    held.clear()
                yield adjacency.answer(queries.slice(start, QUERIES_AT_ONCE))

    return path_stream


class Adjacency:
    """A task's neighbour lists in CSR form, and its workspace.

    ids: int64[n], rising; indptr int64[n + 1], indices int32: positions of the neighbours that paths lead to, rising;
    degrees: float64[n], of all neighbours. Nodes that occur only in lists have none.
    """

    def __init__(
        self, ids: np.ndarray, indptr: np.ndarray, indices: np.ndarray, degrees: np.ndarray, search: PathSearch
    ) -> None:
        self.search, self.seen, self.ids, self._place = search, 0, ids, places_of(ids)
        self.indptr, self.indices = np.append(indptr, indptr[-1]), read_only(indices)  # of all absent nodes, too
        self.degrees = np.append(degrees, 1.0)
        self.space = workspace(len(ids) + 1, search.three)

    @staticmethod
    def of(batches: list[pa.RecordBatch], search: PathSearch) -> Adjacency:
        """From rows (node_id, known, degree), sorted by node_id."""
        nodes = np.concatenate([batch["node_id"].to_numpy() for batch in batches] or [np.zeros(0, np.int64)])
        ends = np.concatenate([batch["known"].flatten().to_numpy() for batch in batches] or [np.zeros(0, np.int64)])
        lengths = np.concatenate([batch["known"].value_lengths().to_numpy() for batch in batches] or [np.zeros(0, int)])
        ids = distinct(np.concatenate([nodes, ends]))
        size = np.zeros(len(ids) + 1, np.int64)
        size[np.searchsorted(ids, nodes) + 1] = lengths
        degrees = np.ones(len(ids))
        for batch in batches:
            degrees[np.searchsorted(ids, batch["node_id"].to_numpy())] = batch["degree"].to_numpy()
        return Adjacency(ids, np.cumsum(size), np.searchsorted(ids, ends).astype(np.int32), degrees, search)

    def _places(self, lists: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
        """(positions, offsets) of lists of ids; an absent id gets the last position, which no path reaches."""
        ids = lists.flatten().to_numpy()
        places = self._place(ids)
        offsets = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy())])
        return np.where(places >= 0, places, len(self.ids)), offsets.astype(np.int64)

    def answer(self, queries: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of PATHS_SCHEMA, one per query."""
        node_ids = pa.array(queries["node_id"])
        known, known_ptr = self._places(queries["known"])
        wanted, wanted_ptr = self._places(queries["wanted"])
        own, _ = self._places(pa.ListArray.from_arrays(np.arange(len(node_ids) + 1, dtype=np.int32), node_ids))
        rows, nodes, flags, sums = find_paths(
            own,
            known_ptr,
            known,
            wanted_ptr,
            wanted,
            queries["learning"].to_numpy(zero_copy_only=False),
            self.indptr,
            self.indices,
            self.degrees,
            self.search.top,
            self.seen,
            self.space,
        )
        self.seen += len(node_ids)
        dst = np.append(self.ids, -1)[nodes]
        counts = np.bincount(rows, minlength=len(node_ids))
        given = np.diff(wanted_ptr)
        start = np.concatenate([[0], np.cumsum(counts)])[:-1]
        at = positions(start, given)
        dst[at] = queries["wanted"].flatten().to_numpy()  # absent nodes have lost their id,
        lost = wanted == len(self.ids)
        flags[at[lost]] = _listed(dst[at[lost]], rows[at[lost]], queries["known"])  # and their neighbour flag
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        columns = (
            pa.array(dst),
            pa.array(flags),
            pa.array(sums[:, 0].astype(np.int64)),
            pa.array(sums[:, 1].astype(np.float32)),
            pa.array(sums[:, 2].astype(np.float32)),
        )
        names = ("dst", "known", "num_paths", "adamic_adar", "resource_allocation")
        lists = [pa.ListArray.from_arrays(offsets, column) for column in columns]
        return pa.RecordBatch.from_arrays(
            [node_ids, queries["place"], queries["learning"], pa.array(np.diff(known_ptr)), *lists],
            names=["src", "place", "learning", "src_degree", *names],
        )


def _listed(ids: np.ndarray, rows: np.ndarray, lists: pa.ListArray) -> np.ndarray:
    """Whether each id is in the list of its row."""
    members = lists.flatten().to_numpy()
    owners = np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy())
    names = distinct(np.concatenate([ids, members]))
    listed = distinct(owners * len(names) + np.searchsorted(names, members))
    return is_among(rows * len(names) + np.searchsorted(names, ids), listed)
