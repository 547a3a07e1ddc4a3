"""The first level of a base run, kept: what has changed since, and the subgraphs of the nodes that are new."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.base_run import Base
from graphseam.edges import both_ways, end_nodes
from graphseam.runs import Run
from graphseam.session import in_one_task, persisted

MOST_CHANGED = 0.5  # share of the nodes with a changed edge: beyond, a full run is better
MOST_LOST = 0.05  # of the edges, captured when the level was cut, and cut now
ARC_BYTES = 200  # of a new node's edge in the task that finds it a subgraph
HOMES = "node_id BIGINT, subgraph_id INT"
CUT_SHARE = "captured_when_cut"  # among the details: the share of the edges that the level captured then
FIRST = "level = 1"


@dataclass(frozen=True)
class Changes:
    """Counts of what differs from the base. nodes: those that are new or have another edge."""

    new_edges: int
    removed_edges: int
    reweighted_edges: int
    new_nodes: int
    vanished_nodes: int
    nodes: int


def edge_changes(run: Run, base: Base) -> DataFrame:
    """(src, dst, change, base_weight, weight) of the embedded edges that differ. Cost: one join of both runs' edges."""
    now = run.tables.read("edges").select("src", "dst", "weight")
    before = base.tables.read("edges").select("src", "dst", F.col("weight").alias("base_weight"))
    change = F.when(F.col("base_weight").isNull(), "new").when(F.col("weight").isNull(), "removed").otherwise("weight")
    both = now.join(before, on=["src", "dst"], how="full").where("NOT weight <=> base_weight")
    return both.select("src", "dst", change.alias("change"), "base_weight", "weight")


def count_changes(run: Run, base: Base, changes: DataFrame) -> Changes:
    """What the run reports. changes: as `edge_changes`. Cost: a join of both runs' nodes, and one of the ends."""
    kinds = {row["change"]: row["count"] for row in changes.groupBy("change").count().collect()}  # three at most
    now, before = (tables.read("nodes").select("node_id") for tables in (run.tables, base.tables))
    both = now.withColumn("now", F.lit(1)).join(before.withColumn("before", F.lit(1)), on="node_id", how="full")
    nodes = both.agg(F.count_if(F.col("before").isNull()), F.count_if(F.col("now").isNull())).collect()[0]
    return Changes(
        new_edges=kinds.get("new", 0),
        removed_edges=kinds.get("removed", 0),
        reweighted_edges=kinds.get("weight", 0),
        new_nodes=nodes[0],
        vanished_nodes=nodes[1],
        nodes=end_nodes(changes).distinct().join(now, on="node_id", how="left_semi").count(),
    )


@contextmanager
def homes_of(run: Run, base: Base, changes: DataFrame, last: int) -> Iterator[DataFrame]:
    """(node_id, subgraph_id) of every node of the base and of the run.

    A new node joins the subgraph that it has the heaviest edges to, the lower number of two; one that has edges to
    other new nodes only follows them; the rest are spread by their number. All edges of a new node are among the
    changes. last: the highest number of a subgraph. Cost: two joins of the changes, those of new nodes go to one task.
    """
    before = base.tables.read("assignments", level=1).select("node_id", "subgraph_id")
    new = run.tables.read("nodes").select("node_id").join(before.select("node_id"), on="node_id", how="left_anti")
    if last == 0:
        yield before.union(new.select("node_id", F.lit(0)))
        return
    arcs = both_ways(changes.where("weight IS NOT NULL"), "node_id", "other", "weight")
    of_new = arcs.join(before, on="node_id", how="left_anti")
    of_other = before.select(F.col("node_id").alias("other"), F.col("subgraph_id").alias("home"))
    joined = in_one_task(of_new.join(of_other, on="other", how="left"), join_neighbours, HOMES)
    spread = F.pmod("node_id", F.lit(last + 1)).cast("int")
    placed = new.join(joined, on="node_id", how="left").select(
        "node_id", F.coalesce("subgraph_id", spread).alias("subgraph_id")
    )
    with persisted(placed) as placed:
        yield before.union(placed)


def last_subgraph(base: Base) -> int:
    """The highest number of a subgraph of the base's first level."""
    found: int = base.tables.read("assignments", level=1).agg(F.max("subgraph_id")).collect()[0][0]
    return found


def join_neighbours(arcs: pa.Table) -> pa.Table:
    """(node_id, subgraph_id) of the nodes that reach a known subgraph, by rounds over all that are still without.

    arcs: (node_id, other, weight, home), home null where `other` is new too. Weights are added in order of size.
    """
    nodes, at = np.unique(arcs["node_id"].to_numpy(), return_inverse=True)
    others, weights = arcs["other"].to_numpy(), arcs["weight"].to_numpy()
    known = arcs["home"].fill_null(-1).to_numpy()
    if not len(nodes):
        return pa.table({"node_id": pa.array([], pa.int64()), "subgraph_id": pa.array([], pa.int32())})
    other_at = np.minimum(np.searchsorted(nodes, others), len(nodes) - 1)
    new = nodes[other_at] == others
    found = np.full(len(nodes), -1)
    while True:
        homes = np.where(new, found[other_at], known)
        use = np.flatnonzero((homes >= 0) & (found[at] < 0))
        if not len(use):
            break
        use = use[np.lexsort((weights[use], homes[use], at[use]))]
        first = np.flatnonzero((np.diff(at[use], prepend=-1) != 0) | (np.diff(homes[use], prepend=-1) != 0))
        sums, rows, places = np.add.reduceat(weights[use], first), at[use][first], homes[use][first]
        order = np.lexsort((places, -sums, rows))
        best = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
        found[rows[best]] = places[best]
    there = found >= 0
    return pa.table({"node_id": nodes[there], "subgraph_id": found[there].astype(np.int32)})


def write_changes(run: Run, base: Base, changes: DataFrame, homes: DataFrame) -> None:
    """Write edge_changes: each change with the subgraphs of its ends."""
    for end in ("src", "dst"):
        home = homes.select(F.col("node_id").alias(end), F.col("subgraph_id").alias(f"{end}_subgraph"))
        changes = changes.join(home, on=end, how="inner")
    run.tables.write("edge_changes", changes.withColumn("base_run_id", F.lit(base.run_id)))


def captured_when_cut(base: Base) -> float:
    """The share of the edges that the first level captured when it was cut, in the base or in a run before it."""
    told: dict[str, Any] = base.details("partition")
    if CUT_SHARE in told:
        return float(told[CUT_SHARE])
    rows = base.tables.read("partition_levels").where(FIRST).select("captured_edges", "num_edges").collect()
    return rows[0]["captured_edges"] / rows[0]["num_edges"] if rows and rows[0]["num_edges"] else 1.0
