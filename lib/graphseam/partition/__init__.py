"""partition: nodes, edges -> assignments, subgraph_edges, partition_levels."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.embed import EMBEDDERS
from graphseam.partition.hashing import HashPartitioner
from graphseam.partition.levels import (
    Budget,
    Partitioner,
    assign_nodes,
    captured_edges,
    check_memory,
    core_edges,
    level_numbers,
    placed_edges,
)
from graphseam.partition.metis import MetisPartitioner
from graphseam.refine import check_refinement
from graphseam.seeds import derive_seed
from graphseam.session import memory_of_a_task, persisted

if TYPE_CHECKING:
    from graphseam.runs import Run

MEMORY_MARGIN = 1.5  # nodes are not spread as evenly as edges
PARTITIONERS: dict[str, Any] = {
    "metis": MetisPartitioner,
    "hash": HashPartitioner,
}


def partition(run: Run) -> dict[str, Any]:
    """Cut the graph into subgraphs, level by level, until the border fits one subgraph or max_levels is reached.

    The last level takes one subgraph, whole where it fits the budget, else the core of the border: the common frame
    starts there. Edges no level captured are counted as left over; refinement works over them too.
    """
    settings = run.config.partition
    partitioner = PARTITIONERS[settings.method](imbalance=settings.imbalance)
    num_nodes, num_edges = run.details("ingest")["nodes"], run.details("ingest")["edges"]
    check_refinement(run)
    budget = Budget.of(settings.num_subgraphs, _max_edges(run, num_nodes, num_edges), num_edges)
    for table in ("assignments", "subgraph_edges"):  # a repeated run may have fewer levels than before
        run.tables.drop_run(table)
    levels: list[dict[str, Any]] = []
    remaining = run.tables.read("edges")
    while not levels or (levels[-1]["border"] and not levels[-1]["last"]):
        levels.append(_partition_level(run, partitioner, budget, remaining, levels, num_nodes))
        remaining = _left_over(run)
    run.tables.write_rows("partition_levels", [_level_row(level, levels, num_nodes, num_edges) for level in levels])
    captured = sum(level["captured"] for level in levels)
    return {"levels": len(levels), "subgraphs": sum(level["num_subgraphs"] for level in levels),
            "captured_edges": captured, "left_over_edges": num_edges - captured}


def _max_edges(run: Run, num_nodes: int, num_edges: int) -> int:
    """Edges of a subgraph that both its bound and the memory of the task that embeds it allow.

    The embedder's forecast for the whole graph, nodes included, is taken to shrink with the subgraph.
    """
    settings = run.config.partition
    embedder = EMBEDDERS[run.config.embed.method](dim=run.config.embed.dim)
    whole_mb = embedder.predict_bytes(num_nodes, num_edges) >> 20
    task_mb = memory_of_a_task(run.spark, run.config.run.task_memory_mb, num_tasks=1 << 20)
    if whole_mb <= memory_of_a_task(run.spark, run.config.run.task_memory_mb, num_tasks=1):
        return settings.max_subgraph_edges
    return min(settings.max_subgraph_edges, max(1, int(num_edges * task_mb / (MEMORY_MARGIN * whole_mb))))


def _partition_level(run: Run, partitioner: Partitioner, budget: Budget, remaining: DataFrame,
                     before: list[dict[str, Any]], num_nodes: int) -> dict[str, Any]:
    """Write one level's assignments and captured edges; returns its numbers."""
    started, level, settings = time.monotonic(), len(before) + 1, run.config.partition
    num_edges = before[-1]["border"] if before else run.details("ingest")["edges"]
    num_subgraphs = budget.subgraphs(level, num_edges)
    last = level == settings.max_levels
    if last and level > 1 and num_subgraphs > 1:
        remaining, num_subgraphs = core_edges(remaining, budget.max_edges, derive_seed(run.config.run.seed, "core")), 1
    seed = derive_seed(run.config.run.seed, "partition", level)
    first_id = sum(earlier["num_subgraphs"] for earlier in before)
    nodes = run.tables.read("nodes").select("node_id") if level == 1 else None
    if num_subgraphs == 1:
        assignments = _one_subgraph(remaining, nodes, level, first_id)
    else:
        check_memory(partitioner, settings.method, num_nodes, num_edges,
                     memory_of_a_task(run.spark, run.config.run.task_memory_mb, num_tasks=1))
        assignments = assign_nodes(remaining, nodes, partitioner, num_subgraphs, level, first_id, seed,
                                   run.tables.schema("assignments"))
    level_nodes = run.tables.write("assignments", assignments, level)
    assignments = run.tables.read("assignments").where(F.col("level") == level)
    with persisted(placed_edges(remaining, assignments)) as placed:
        sizes = dict(level_numbers(placed))
        run.tables.write("subgraph_edges", captured_edges(placed, level), level)
        border_nodes = placed.where("src_subgraph <> dst_subgraph") \
            .select(F.explode(F.array("src", "dst"))).distinct().count()
    sizes.pop(None, 0)
    captured = sum(sizes.values())
    mean = captured / num_subgraphs
    return {"level": level, "num_subgraphs": num_subgraphs, "num_nodes": level_nodes, "num_edges": num_edges,
            "captured": captured, "border": num_edges - captured, "border_nodes": border_nodes,
            "imbalance": max(sizes.values(), default=0) / mean if mean else 1.0, "last": last or num_subgraphs == 1,
            "seconds": time.monotonic() - started}


def _one_subgraph(edges: DataFrame, nodes: DataFrame | None, level: int, subgraph_id: int) -> DataFrame:
    """ASSIGNMENTS that put every node of the level in the same subgraph; no task has to hold them all."""
    if nodes is None:
        nodes = edges.select(F.explode(F.array("src", "dst")).alias("node_id")).distinct()
    return nodes.select(F.lit(level).alias("level"), F.lit(subgraph_id).alias("subgraph_id"), "node_id")


def _left_over(run: Run) -> DataFrame:
    """The edges no level has captured yet, read from the tables: no plan grows with the levels."""
    captured = run.tables.read("subgraph_edges").select("src", "dst")
    return run.tables.read("edges").join(captured, on=["src", "dst"], how="left_anti")


def _level_row(level: dict[str, Any], levels: list[dict[str, Any]], num_nodes: int, num_edges: int) -> dict[str, Any]:
    so_far = [earlier for earlier in levels if earlier["level"] <= level["level"]]
    return {
        **{key: level[key] for key in ("level", "num_subgraphs", "num_nodes", "num_edges", "imbalance", "seconds")},
        "captured_edges": level["captured"],
        "cut_share": level["border"] / level["num_edges"] if level["num_edges"] else 0.0,
        "border_share": level["border_nodes"] / level["num_nodes"] if level["num_nodes"] else 0.0,
        "replication": sum(earlier["num_nodes"] for earlier in so_far) / num_nodes if num_nodes else 0.0,
        "total_captured": sum(earlier["captured"] for earlier in so_far) / num_edges if num_edges else 1.0,
    }
