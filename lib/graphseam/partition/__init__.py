"""partition: nodes, edges -> assignments, subgraph_edges, border_edges, partition_levels."""

from __future__ import annotations

import dataclasses
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame

from graphseam.columns import EDGE
from graphseam.embedding import forecast_of_a_subgraph
from graphseam.methods import PARTITIONERS
from graphseam.partition.budget import TRIES, Budget, Cut
from graphseam.partition.keeping import keep_partition
from graphseam.partition.level import Level, level_rows, placed_level, whole_level
from graphseam.partition.levels import LevelRows, Partitioner, Room, Wanted, core_edges
from graphseam.refine.block_plan import plan_refinement
from graphseam.runs import Run
from graphseam.sections import PartitionConfig
from graphseam.seeds import derive_seed


def partition(run: Run) -> dict[str, Any]:
    """Cut the graph into subgraphs, level by level, until the border fits one subgraph or is not worth cutting.

    A level that captures less than partition.min_captured of its edges is the last to be cut by nodes. The border then
    becomes one subgraph: the whole border if it fits the budget, else its core, split by edges. The common frame starts
    there. Edges that no level captured are counted as left over; refinement uses them too.
    With run.incremental it keeps the first level of the base run instead, where that still fits, and there are no more:
    nothing is embedded then. The details say why if it does not.
    """
    _drop(run)
    num_nodes, num_edges = run.ingested.nodes, run.ingested.edges
    budget = _budget(run, num_edges)
    found = keep_partition(run, budget) if run.config.run.incremental else ""
    if not isinstance(found, str):
        return found
    if found:
        _drop(run)
    levels = [_level(run, budget, [], num_nodes, num_edges)]
    while levels[-1].kind == "cut" and levels[-1].border and len(levels) < run.config.partition.max_levels:
        levels.append(_level(run, budget, levels, levels[-1].border_nodes, levels[-1].border))
    run.tables.write_rows("partition_levels", list(level_rows(levels, num_nodes, num_edges)))
    plan_refinement(run)  # if no blocks fit refinement's tasks, fail before anything is embedded
    captured = sum(level.captured for level in levels)
    return {
        "levels": len(levels),
        "subgraphs": sum(level.num_subgraphs for level in levels),
        "captured_edges": captured,
        "left_over_edges": num_edges - captured,
        **({"cut_anew": found} if found else {}),
    }


def _drop(run: Run) -> None:
    for table in ("assignments", "subgraph_edges", "border_edges", "edge_changes"):  # repeated, it may write fewer
        run.tables.drop_run(table)


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
    """Write one level's assignments and edges; cut again, TRIES times in all, while a subgraph exceeds the budget."""
    started, settings, number = time.monotonic(), run.config.partition, len(before) + 1
    edges = run.tables.read("border_edges", level=number - 1) if before else run.tables.read("edges")
    edges = edges.select(*EDGE)
    cut = budget.cut(number, num_nodes, num_edges)
    level = Level(number, "cut", "", cut.num_subgraphs, num_nodes, num_edges, 0.0)
    first_id = sum(earlier.num_subgraphs for earlier in before)
    stuck = bool(before) and before[-1].captured < settings.min_captured * before[-1].num_edges
    if cut.num_subgraphs == 1:
        done = whole_level(run, replace(level, kind="whole"), edges, first_id)
    elif before and (stuck or number == settings.max_levels):
        core = core_edges(edges, budget.most_core_edges, derive_seed(run.config.run.seed, "core"))
        done = whole_level(run, replace(level, kind="core"), core, first_id)
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


def _cut_level(run: Run, level: Level, cut: Cut, edges: DataFrame, first_id: int) -> Level:
    """Assign nodes to subgraphs, then write the edges inside and between them: two joins of the level's edges."""
    with _assigned(run, level, cut, edges, first_id) as (method, assignments):
        num_nodes = run.tables.write("assignments", assignments, level.level)
    return placed_level(run, replace(level, method=method, num_nodes=num_nodes), edges, cut.node_cost)


def _assigned(
    run: Run, level: Level, cut: Cut, edges: DataFrame, first_id: int
) -> AbstractContextManager[tuple[str, DataFrame]]:
    """(the method used, ASSIGNMENTS)."""
    nodes = run.tables.read("nodes").select("node_id") if level.level == 1 else None
    rows = LevelRows(edges, nodes, level.num_nodes, level.num_edges)
    seed = derive_seed(run.config.run.seed, "partition", level.level)
    wanted = Wanted(level.num_subgraphs, level.level, first_id, seed, run.tables.schema("assignments"))
    room = Room(run.task_memory_mb(), run.task_memory_mb(num_tasks=1), run.checkpoint_dir())
    return build_partitioner(run.config.partition, cut.node_cost).assigned(rows, wanted, room)


def build_partitioner(settings: PartitionConfig, node_cost: int) -> Partitioner:
    """The partitioner of `partition.method`, with the section's settings that it accepts."""
    kind = PARTITIONERS[settings.method].load()
    given = {**dataclasses.asdict(settings), "node_cost": node_cost}
    wanted = {option.name for option in dataclasses.fields(kind)}
    partitioner: Partitioner = kind(**{name: given[name] for name in wanted & set(given)})
    return partitioner
