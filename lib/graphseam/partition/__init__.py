"""partition: nodes, edges -> assignments, subgraph_edges, border_edges, partition_levels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.embedding import forecast_of_a_subgraph
from graphseam.errors import RunError
from graphseam.partition.budget import TRIES, Budget, Cut
from graphseam.partition.communities import LpaPartitioner, assigned_by_communities
from graphseam.partition.distributed import assigned_by_blocks
from graphseam.partition.hashing import HashPartitioner
from graphseam.partition.levels import (
    Wanted,
    assign_in_one_task,
    border_edges,
    captured_edges,
    check_memory,
    core_edges,
    level_sizes,
    placed_edges,
)
from graphseam.partition.metis import METIS_BYTES_AN_EDGE, MetisPartitioner
from graphseam.partition.multilevel import BLOCK_BYTES_AN_EDGE, MultilevelPartitioner
from graphseam.refine.layout import plan_blocks
from graphseam.seeds import derive_seed
from graphseam.session import persisted

if TYPE_CHECKING:
    from graphseam.runs import Run

PARTITIONERS: dict[str, Any] = {
    "multilevel": MultilevelPartitioner,
    "metis": MetisPartitioner,
    "hash": HashPartitioner,
    "graphframes_lpa": LpaPartitioner,
}


@dataclass(frozen=True)
class Level:
    """One level as it came out; kind: whole, cut or core, see schemas/partition_levels.sql."""

    level: int
    kind: str
    method: str
    num_subgraphs: int
    num_nodes: int
    num_edges: int
    seconds: float
    captured: int = 0
    border: int = 0
    border_nodes: int = 0
    imbalance: float = 1.0
    largest: int = 0
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)  # {subgraph: (nodes, edges)}


def partition(run: Run) -> dict[str, Any]:
    """Cut the graph into subgraphs, level by level, until the border fits one, or cutting it is not worth it.

    A level that captures less than partition.min_captured of its edges is the last that is cut by nodes. The border
    then ends in one subgraph, whole where it fits the budget, else its core, split by edges: the common frame starts
    there. Edges no level captured are counted as left over; refinement works over them too.
    """
    for table in ("assignments", "subgraph_edges", "border_edges"):  # a repeated run may have fewer levels than before
        run.tables.drop_run(table)
    num_nodes, num_edges = run.details("ingest")["nodes"], run.details("ingest")["edges"]
    budget = _budget(run, num_edges)
    levels = [_level(run, budget, [], num_nodes, num_edges)]
    while levels[-1].kind == "cut" and levels[-1].border and len(levels) < run.config.partition.max_levels:
        levels.append(_level(run, budget, levels, levels[-1].border_nodes, levels[-1].border))
    run.tables.write_rows("partition_levels", list(_rows(levels, num_nodes, num_edges)))
    plan_blocks(run)  # where no blocks would fit refinement's tasks, it is said before anything is embedded
    captured = sum(level.captured for level in levels)
    return {
        "levels": len(levels),
        "subgraphs": sum(level.num_subgraphs for level in levels),
        "captured_edges": captured,
        "left_over_edges": num_edges - captured,
    }


def _budget(run: Run, num_edges: int) -> Budget:
    settings = run.config.partition
    return Budget.of(
        settings.num_subgraphs,
        settings.max_subgraph_edges,
        num_edges,
        max_bytes=run.task_memory_mb() << 20,
        lone_bytes=run.task_memory_mb(num_tasks=1) << 20,
        bytes_of=forecast_of_a_subgraph(run),
        imbalance=settings.imbalance,
    )


def _level(run: Run, budget: Budget, before: list[Level], num_nodes: int, num_edges: int) -> Level:
    """Write one level's assignments and edges; cut once more where a subgraph came out over the budget."""
    started, settings, number = time.monotonic(), run.config.partition, len(before) + 1
    edges = run.tables.read("border_edges", level=number - 1) if before else run.tables.read("edges")
    edges = edges.select("src", "dst", "weight")
    cut = budget.cut(number, num_nodes, num_edges)
    level = Level(number, "cut", "", cut.num_subgraphs, num_nodes, num_edges, 0.0)
    first_id = sum(earlier.num_subgraphs for earlier in before)
    stuck = bool(before) and before[-1].captured < settings.min_captured * before[-1].num_edges
    if cut.num_subgraphs == 1:
        done = _whole_level(run, replace(level, kind="whole"), edges, first_id)
    elif before and (stuck or number == settings.max_levels):
        core = core_edges(edges, budget.border_edges, derive_seed(run.config.run.seed, "core"))
        done = _whole_level(run, replace(level, kind="core"), core, first_id)
    else:
        done = _cut_level(run, level, cut, edges, first_id)
        for _ in range(TRIES - 1):
            better = budget.better_cut(cut, list(done.sizes.values()))
            if better is None:
                break
            cut, done = (
                better,
                _cut_level(run, replace(level, num_subgraphs=better.num_subgraphs), better, edges, first_id),
            )
    return replace(done, seconds=time.monotonic() - started)


def _whole_level(run: Run, level: Level, edges: DataFrame, subgraph_id: int) -> Level:
    """Every edge given in one subgraph; no task has to hold them all here."""
    place = [F.lit(level.level).alias("level"), F.lit(subgraph_id).alias("subgraph_id")]
    captured = run.tables.write("subgraph_edges", edges.select(*place, "src", "dst", "weight"), level.level)
    nodes = (
        run.tables.read("nodes").select("node_id")
        if level.level == 1
        else run.tables.read("subgraph_edges", level=level.level)
        .select(F.explode(F.array("src", "dst")).alias("node_id"))
        .distinct()
    )
    num_nodes = run.tables.write("assignments", nodes.select(*place, "node_id"), level.level)
    return replace(
        level,
        method="none",
        num_subgraphs=1,
        num_nodes=num_nodes,
        captured=captured,
        border=level.num_edges - captured,
        largest=captured,
    )


def _cut_level(run: Run, level: Level, cut: Cut, edges: DataFrame, first_id: int) -> Level:
    """Nodes to subgraphs, then the edges inside and those between: two joins of the level's edges."""
    with _assigned(run, level, cut, edges, first_id) as (method, assignments):
        num_nodes = run.tables.write("assignments", assignments, level.level)
    assignments = run.tables.read("assignments", level=level.level)
    nodes_of = {row["subgraph_id"]: row["count"] for row in assignments.groupBy("subgraph_id").count().collect()}
    with persisted(placed_edges(edges, assignments)) as placed:
        sizes = level_sizes(placed)
        run.tables.write("subgraph_edges", captured_edges(placed, level.level), level.level)
        border = run.tables.write("border_edges", border_edges(placed, level.level), level.level)
    cut_edges = run.tables.read("border_edges", level=level.level)
    border_nodes = cut_edges.select(F.explode(F.array("src", "dst")).alias("node_id")).distinct().count()
    inside = sum(edges_inside for _, edges_inside in sizes.values())
    if inside + border != level.num_edges:
        raise RunError(
            f"level {level.level} had {level.num_edges:,} edges to place, and {inside:,} + {border:,} came "
            "out: the tables of this run do not belong together; start it again under another run id"
        )
    weights = {subgraph: ends + cut.node_cost * nodes_of[subgraph] for subgraph, (ends, _) in sizes.items()}
    captured = {subgraph: (nodes_of[subgraph], edges_inside) for subgraph, (_, edges_inside) in sizes.items()}
    return replace(
        level,
        method=method,
        num_nodes=num_nodes,
        border=border,
        border_nodes=border_nodes,
        sizes=captured,
        captured=inside,
        largest=max((edges_inside for _, edges_inside in captured.values()), default=0),
        imbalance=max(weights.values()) * level.num_subgraphs / sum(weights.values()) if weights else 1.0,
    )


@contextmanager
def _assigned(run: Run, level: Level, cut: Cut, edges: DataFrame, first_id: int) -> Iterator[tuple[str, DataFrame]]:
    """(the method that does it, ASSIGNMENTS). `multilevel` hands a graph that fits one task to METIS."""
    settings, memory_mb = run.config.partition, run.task_memory_mb(num_tasks=1)
    seed = derive_seed(run.config.run.seed, "partition", level.level)
    nodes = run.tables.read("nodes").select("node_id") if level.level == 1 else None
    wanted = Wanted(level.num_subgraphs, level.level, first_id, seed, run.tables.schema("assignments"))
    method = settings.method
    coarsest = settings.coarsest_edges or (memory_mb << 20) // METIS_BYTES_AN_EDGE
    metis = MetisPartitioner(imbalance=settings.imbalance, node_cost=cut.node_cost)
    if (
        method == "multilevel"
        and level.num_edges <= coarsest
        and metis.predict_bytes(level.num_nodes, level.num_edges) >> 20 <= memory_mb
    ):
        method = "metis"
    if method == "multilevel":
        block_edges = min(settings.block_edges, (run.task_memory_mb() << 20) // BLOCK_BYTES_AN_EDGE)
        partitioner = MultilevelPartitioner(settings.imbalance, cut.node_cost, block_edges, coarsest)
        with assigned_by_blocks(
            edges, nodes, partitioner, wanted, run.task_memory_mb(), run.checkpoint_dir()
        ) as assignments:
            yield method, assignments
        return
    if method == "graphframes_lpa":
        lpa = LpaPartitioner(settings.imbalance, cut.node_cost)
        with assigned_by_communities(edges, nodes, lpa, wanted, memory_mb, run.checkpoint_dir()) as assignments:
            yield method, assignments
        return
    whole = metis if method == "metis" else PARTITIONERS[method](imbalance=settings.imbalance)
    check_memory(whole, method, level.num_nodes, level.num_edges, memory_mb)
    yield method, assign_in_one_task(edges, nodes, whole, wanted)


def _rows(levels: list[Level], num_nodes: int, num_edges: int) -> Iterator[dict[str, Any]]:
    """Rows of partition_levels: each level's own numbers, and the totals up to it."""
    placed = captured = subgraphs = 0
    for level in levels:
        placed, captured = placed + level.num_nodes, captured + level.captured
        subgraphs += level.num_subgraphs
        yield {
            "level": level.level,
            "kind": level.kind,
            "method": level.method,
            "num_subgraphs": level.num_subgraphs,
            "num_nodes": level.num_nodes,
            "num_edges": level.num_edges,
            "captured_edges": level.captured,
            "largest_edges": level.largest,
            "imbalance": level.imbalance,
            "seconds": level.seconds,
            "cut_share": level.border / level.num_edges if level.num_edges else 0.0,
            "border_share": level.border_nodes / level.num_nodes if level.num_nodes else 0.0,
            "replication": placed / num_nodes if num_nodes else 0.0,
            "total_subgraphs": subgraphs,
            "total_captured": captured / num_edges if num_edges else 1.0,
        }
