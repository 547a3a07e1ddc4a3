"""Subgraphs from GraphFrames' communities: label propagation finds them, and packing them balances the subgraphs.

Label propagation ignores balance: it may find one community with most of the graph beside thousands of tiny ones. So
the communities are contracted, and METIS cuts the contracted graph under the usual balance, which packs the small ones
together; a community larger than half a subgraph is not contracted, and its nodes are cut individually.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from graphseam.edges import end_nodes
from graphseam.errors import MemoryBudgetError
from graphseam.graphframes_jvm import connected_components, label_propagation, require_graphframes
from graphseam.partition.budget import balanced_weights, end_limits, max_ends_of_a_node
from graphseam.partition.coarsest import split
from graphseam.partition.levels import LevelRows, Room, Wanted, placed_edges
from graphseam.partition.metis import METIS_BYTES_PER_EDGE, weight_scale
from graphseam.session import persisted
from graphseam.spark_line import map_group_pairs


@dataclass(frozen=True)
class LpaPartitioner:
    """`partition.method = "graphframes_lpa"`: for comparison, and for anyone who uses these communities elsewhere too.

    Deterministic for a given seed. Cost: that of label_propagation and connected_components, four joins of the edges,
    and METIS on the contracted graph in one task.
    """

    imbalance: float = 0.05
    node_cost: int = 0

    @contextmanager
    def assigned(self, rows: LevelRows, wanted: Wanted, room: Room) -> Iterator[tuple[str, DataFrame]]:
        """As Partitioner.assigned."""
        with assigned_by_communities(
            rows.edges, rows.nodes, self, wanted, room.lone_task_mb, room.checkpoint_dir
        ) as assignments:
            yield "graphframes_lpa", assignments

    def cut(self, graph: pa.Table, nodes: pa.Table, num_subgraphs: int, seed: int) -> np.ndarray:
        """int32[n] in [0, num_subgraphs): the part of each group of `nodes`.

        graph: (src, dst, weight) between groups, each pair once, with integer weights. nodes: (group, ends, num_nodes,
        largest), one row per group in ascending order; largest: edge ends of its largest node.
        """
        groups, ends, counts, largest = (nodes[name].to_numpy() for name in ("group", "ends", "num_nodes", "largest"))
        rows, columns = (np.searchsorted(groups, graph[end].to_numpy()) for end in ("src", "dst"))
        half = sp.coo_matrix((graph["weight"].to_numpy(), (rows, columns)), shape=(len(groups),) * 2).tocsr()
        adjacency = sp.csr_matrix(half + half.T)
        adjacency.sort_indices()
        limits = end_limits(int(ends.sum()), num_subgraphs, self.imbalance)
        most = max_ends_of_a_node(
            limits, np.array([np.minimum(largest, limit).sum() for limit in limits]), num_subgraphs, self.imbalance
        )
        lone = counts == 1  # only a node can be a hub; for a community every end counts
        sizes = np.where(lone, balanced_weights(ends, 0, most), ends) + self.node_cost * counts
        return split(adjacency, sizes.astype(np.int64), num_subgraphs, self.imbalance, seed)

    def predict_bytes(self, num_groups: int, num_edges: int) -> int:
        return 200 * num_groups + METIS_BYTES_PER_EDGE * num_edges


@contextmanager
def assigned_by_communities(
    edges: DataFrame,
    nodes: DataFrame | None,
    partitioner: LpaPartitioner,
    wanted: Wanted,
    task_memory_mb: int,
    checkpoint_dir: str | None,
) -> Iterator[DataFrame]:
    """Assign every node of the level to a subgraph; the rows are valid inside the `with` block.

    edges: EDGES of the level. nodes: (node_id), including any without an edge, or None. Yields ASSIGNMENTS.
    Errors: ConfigError without GraphFrames' jar; MemoryBudgetError if the contracted graph does not fit in one task.
    """
    require_graphframes(edges.sparkSession, 'partition.method = "graphframes_lpa"')
    with (
        label_propagation(edges, wanted.seed, checkpoint_dir) as labels,
        connected_components(edges, checkpoint_dir) as components,
        persisted(_grouped(edges, labels, components, wanted.num_subgraphs)) as grouped,
        persisted(_between(edges, grouped)) as contracted,
    ):
        sizes = grouped.groupBy("group").agg(
            F.sum("ends").alias("ends"), F.count("*").alias("num_nodes"), F.max("ends").alias("largest")
        )
        _check_memory(partitioner, sizes.count(), contracted.count(), task_memory_mb)
        parts = _parts(contracted, sizes, partitioner, wanted)
        placed = grouped.join(parts, on="group", how="inner").select("node_id", "part")
        if nodes is not None:  # nodes without an edge are spread by their id
            alone = nodes.join(placed, on="node_id", how="left_anti")
            placed = placed.union(alone.select("node_id", F.pmod("node_id", F.lit(wanted.num_subgraphs))))
        subgraph = (F.col("part") + wanted.first_id).alias("subgraph_id")
        yield placed.select(F.lit(wanted.level).alias("level"), subgraph, "node_id").select(
            *[F.col(field.name).cast(field.dataType) for field in wanted.schema.fields]
        )


def _grouped(edges: DataFrame, labels: DataFrame, components: DataFrame, num_subgraphs: int) -> DataFrame:
    """(node_id, ends, group): a node's edge ends, and the group it is contracted into.

    A component that fits half a subgraph is one group, else a community that does; every other node is a group of its
    own. Group numbers of the three kinds cannot collide: three times a node id, plus the kind.
    """
    ends = end_nodes(edges).groupBy("node_id").agg(F.count("*").alias("ends"))
    placed = ends.join(labels, on="node_id", how="inner").join(components, on="node_id", how="inner")
    total = placed.agg(F.sum("ends")).head()
    room = (total[0] or 0) / num_subgraphs / 2 if total is not None else 0

    def fits(column: str) -> DataFrame:
        return placed.groupBy(column).agg((F.sum("ends") <= F.lit(room)).alias(f"{column}_fits"))

    def number(column: str, kind: int) -> Column:
        return F.col(column) * 3 + kind

    group = (
        F.when(F.col("component_fits"), number("component", 0))
        .when(F.col("label_fits"), number("label", 1))
        .otherwise(number("node_id", 2))
    )
    return (
        placed.join(fits("component"), on="component", how="inner")
        .join(fits("label"), on="label", how="inner")
        .select("node_id", "ends", group.alias("group"))
    )


def _between(edges: DataFrame, grouped: DataFrame) -> DataFrame:
    """(src, dst, weight): the weight between every two groups, each pair once.

    In integers, as METIS needs them: their sum does not depend on the order of the rows.
    """
    placed = placed_edges(edges, grouped.select("node_id", F.col("group").alias("subgraph_id")))
    lightest, heaviest = edges.agg(F.min("weight"), F.max("weight")).head() or (None, None)
    scale = weight_scale(lightest, heaviest) if lightest is not None and heaviest is not None else 0.0
    whole = F.greatest(F.lit(1), F.rint(F.col("weight") * scale)).cast("long")
    pair = [order("src_subgraph", "dst_subgraph").alias(end) for end, order in (("src", F.least), ("dst", F.greatest))]
    return placed.where("src_subgraph <> dst_subgraph").groupBy(*pair).agg(F.sum(whole).alias("weight"))


def _parts(contracted: DataFrame, sizes: DataFrame, partitioner: LpaPartitioner, wanted: Wanted) -> DataFrame:
    """(group, part), in one task."""

    def cut(pairs: pa.Table, groups: pa.Table) -> pa.Table:
        pairs, groups = pairs.sort_by([("src", "ascending"), ("dst", "ascending")]), groups.sort_by("group")
        parts = partitioner.cut(pairs, groups, wanted.num_subgraphs, wanted.seed)
        return pa.table({"group": groups["group"], "part": pa.array(parts, pa.int32())})

    return map_group_pairs(
        contracted.withColumn("task", F.lit(0)),
        sizes.withColumn("task", F.lit(0)),
        ("task", "task"),
        cut,
        "group LONG, part INT",
    )


def _check_memory(partitioner: LpaPartitioner, num_groups: int, num_edges: int, task_memory_mb: int) -> None:
    needed_mb = partitioner.predict_bytes(num_groups, num_edges) >> 20
    if needed_mb > task_memory_mb:
        raise MemoryBudgetError(
            f"label propagation leaves {num_groups:,} groups and {num_edges:,} edges between them, about "
            f"{needed_mb:,} MB in one task, and run.task_memory_mb is {task_memory_mb:,}; raise it if the executors "
            'have that much, or use partition.method = "multilevel", which needs no such task'
        )
