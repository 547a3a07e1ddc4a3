"""DistNE's recursion: partition, capture the edges inside the subgraphs, continue with the border."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from graphseam.columns import EDGE, TRIPLE
from graphseam.edges import end_nodes
from graphseam.errors import MemoryBudgetError
from graphseam.graph import Graph
from graphseam.seeds import uniform
from graphseam.spark_line import map_group_pairs

CORE_MARGIN = 0.98  # sampling by hash gives about the requested share, not exactly


@dataclass(frozen=True)
class Wanted:
    """The ASSIGNMENTS required of a level: subgraph ids are first_id, first_id + 1, ...; schema: the table's."""

    num_subgraphs: int
    level: int
    first_id: int
    seed: int
    schema: StructType


@dataclass(frozen=True)
class LevelRows:
    """The input of a level. edges: EDGES. nodes: (node_id), including any without an edge; None if each has one."""

    edges: DataFrame
    nodes: DataFrame | None
    num_nodes: int
    num_edges: int


@dataclass(frozen=True)
class Room:
    """A task's memory in MB, alongside others and alone; and where supersteps are kept, as for SparkEngine."""

    task_mb: int
    lone_task_mb: int
    checkpoint_dir: str | None = None


class Partitioner(Protocol):
    """What an entry of methods.PARTITIONERS names: a frozen dataclass with `imbalance`, `node_cost` (a node's weight
    besides its edge ends) and, if it uses them, block_edges and coarsest_edges."""

    def assigned(self, rows: LevelRows, wanted: Wanted, room: Room) -> AbstractContextManager[tuple[str, DataFrame]]:
        """(the method used, ASSIGNMENTS), valid inside the `with` block."""
        ...


class InOneTask(ABC):
    """A partitioner that gets the whole graph in one task's memory; it knows nothing of Spark."""

    method: ClassVar[str]

    @abstractmethod
    def partition(self, graph: Graph, num_subgraphs: int, seed: int) -> np.ndarray:
        """int32[n] in [0, num_subgraphs): the subgraph of each node."""

    @abstractmethod
    def predict_bytes(self, num_nodes: int, num_edges: int) -> int:
        """The task's peak memory."""

    @contextmanager
    def assigned(self, rows: LevelRows, wanted: Wanted, room: Room) -> Iterator[tuple[str, DataFrame]]:
        """As Partitioner.assigned. Errors: MemoryBudgetError if the graph does not fit in one task."""
        check_memory(self, self.method, rows.num_nodes, rows.num_edges, room.lone_task_mb)
        yield self.method, assign_in_one_task(rows.edges, rows.nodes, self, wanted)


def assign_in_one_task(edges: DataFrame, nodes: DataFrame | None, partitioner: InOneTask, wanted: Wanted) -> DataFrame:
    """Assign every node of the level to a subgraph, in one task.

    edges: EDGES of the level. nodes: (node_id), including any without an edge, or None. Returns ASSIGNMENTS.
    Cost: the edges are sent to one task, once.
    """

    def assign_all(edge_rows: pa.Table, node_rows: pa.Table) -> pa.Table:
        graph = Graph.from_arrow(edge_rows, node_rows)
        labels = partitioner.partition(graph, wanted.num_subgraphs, wanted.seed)
        columns = [np.full(graph.num_nodes, wanted.level, np.int32), labels + np.int32(wanted.first_id), graph.node_ids]
        return pa.table(dict(zip(("level", "subgraph_id", "node_id"), columns, strict=True)))

    if nodes is None:
        nodes = edges.select(F.col("src").alias("node_id")).limit(0)
    edge_rows = edges.select(F.lit(0).alias("task"), *TRIPLE)
    node_rows = nodes.select(F.lit(0).alias("task"), "node_id")
    return map_group_pairs(edge_rows, node_rows, ("task", "task"), assign_all, wanted.schema)


def check_memory(partitioner: InOneTask, method: str, num_nodes: int, num_edges: int, task_memory_mb: int) -> None:
    """MemoryBudgetError if the graph is predicted not to fit in the one task that partitions it."""
    needed_mb = partitioner.predict_bytes(num_nodes, num_edges) >> 20
    if needed_mb > task_memory_mb:
        raise MemoryBudgetError(
            f"partition.method {method!r} would hold {num_nodes:,} nodes and {num_edges:,} edges in one task, about "
            f"{needed_mb:,} MB, and run.task_memory_mb is {task_memory_mb:,}; raise it to {needed_mb:,} if the "
            "executors have that much"
        )


def placed_edges(edges: DataFrame, assignments: DataFrame) -> DataFrame:
    """`edges` with the subgraph of each end: src_subgraph, dst_subgraph. Cost: two joins of `edges`."""

    def subgraph_of(end: str) -> DataFrame:
        return assignments.select(F.col("node_id").alias(end), F.col("subgraph_id").alias(f"{end}_subgraph"))

    return edges.join(subgraph_of("src"), on="src", how="inner").join(subgraph_of("dst"), on="dst", how="inner")


def captured_edges(placed: DataFrame, level: int) -> DataFrame:
    """SUBGRAPH_EDGES: the edges with both ends in one subgraph."""
    return placed.where("src_subgraph = dst_subgraph").select(
        F.lit(level).alias("level"), F.col("src_subgraph").alias("subgraph_id"), *EDGE
    )


def border_edges(placed: DataFrame, level: int) -> DataFrame:
    """BORDER_EDGES: the edges with ends in different subgraphs; they induce the border subgraph.

    Source: Lin, Large-Scale Network Embedding in Apache Spark, KDD 2021, arXiv:2106.10620.
    """
    return placed.where("src_subgraph <> dst_subgraph").select(
        F.lit(level).alias("level"), *EDGE, "src_subgraph", "dst_subgraph"
    )


def core_edges(edges: DataFrame, most_edges: Callable[[int], int], seed: int) -> DataFrame:
    """The edges between the nodes of highest degree, as many as one subgraph may have: for the frame.

    most_edges: how many a subgraph of so many nodes may have. Edges are ranked by the smaller degree of their ends, in
    steps of an eighth of a doubling; the step that crosses the budget is sampled by the edge's hash. Every subgraph of
    an earlier level shares its best-connected border nodes with the core. Cost: one aggregation and two joins of
    `edges`; the driver receives two rows per step, of which there are at most 520.
    """
    ends = end_nodes(edges)
    degrees = ends.groupBy("node_id").agg(F.count("*").alias("degree"))
    step_of = F.floor(8 * F.log2(F.col("degree")))

    def degree_of(end: str) -> DataFrame:
        return degrees.select(F.col("node_id").alias(end), F.col("degree").alias(f"{end}_degree"))

    ranked = (
        edges.join(degree_of("src"), on="src", how="inner")
        .join(degree_of("dst"), on="dst", how="inner")
        .withColumn("step", F.floor(8 * F.log2(F.least("src_degree", "dst_degree"))))
    )
    nodes_of = {row["step"]: row["count"] for row in degrees.groupBy(step_of.alias("step")).count().collect()}
    edges_of = {row["step"]: row["count"] for row in ranked.groupBy("step").count().collect()}
    kept, nodes, threshold, chance = 0, 0, 1 << 30, 0.0
    for step in sorted(nodes_of, reverse=True):
        nodes += nodes_of[step]  # no edge of this step, or of one before it, has another end
        count, most = edges_of.get(step, 0), most_edges(nodes)
        if kept >= most:
            break
        if count:
            threshold, chance = step, min(1.0, CORE_MARGIN * (most - kept) / count)
        kept += count
    drawn = uniform(seed, F.lit("core"), "src", "dst") < F.lit(chance)
    return ranked.where((F.col("step") > threshold) | ((F.col("step") == threshold) & drawn)).select(*EDGE)


def level_sizes(placed: DataFrame) -> dict[int, tuple[int, int]]:
    """{subgraph: (edge ends, edges captured)}. One row per subgraph reaches the driver."""
    inside = (F.col("src_subgraph") == F.col("dst_subgraph")).cast("long")
    ends = [
        F.struct(F.col("src_subgraph").alias("subgraph"), inside.alias("captured")),
        F.struct(F.col("dst_subgraph").alias("subgraph"), F.lit(0).cast("long").alias("captured")),
    ]
    rows = (
        placed.select(F.explode(F.array(*ends)).alias("end"))
        .groupBy("end.subgraph")
        .agg(F.count("*").alias("ends"), F.sum("end.captured").alias("captured"))
        .collect()
    )
    return {row["subgraph"]: (row["ends"], row["captured"]) for row in rows}  # at most num_subgraphs rows
