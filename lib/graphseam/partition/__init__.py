"""partition: nodes, edges -> assignments, subgraph_edges, border_edges, partition_levels."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.base_run import base_to_update
from graphseam.columns import EDGE
from graphseam.edges import end_nodes
from graphseam.embedding import forecast_of_a_subgraph
from graphseam.errors import RunError
from graphseam.methods import PARTITIONERS
from graphseam.partition import kept
from graphseam.partition.budget import TRIES, Budget, Cut
from graphseam.partition.levels import (
    LevelRows,
    Partitioner,
    Room,
    Wanted,
    border_edges,
    captured_edges,
    core_edges,
    level_sizes,
    placed_edges,
)
from graphseam.refine.block_plan import plan_refinement
from graphseam.runs import Run
from graphseam.sections import PartitionConfig
from graphseam.seeds import derive_seed
from graphseam.session import persisted


@dataclass(frozen=True)
class Level:
    """One finished level; kind: whole, cut, core or kept, see schemas/partition_levels.sql."""

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
    found = _kept(run, budget) if run.config.run.incremental else ""
    if not isinstance(found, str):
        return found
    if found:
        _drop(run)
    levels = [_level(run, budget, [], num_nodes, num_edges)]
    while levels[-1].kind == "cut" and levels[-1].border and len(levels) < run.config.partition.max_levels:
        levels.append(_level(run, budget, levels, levels[-1].border_nodes, levels[-1].border))
    run.tables.write_rows("partition_levels", list(_rows(levels, num_nodes, num_edges)))
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


def _kept(run: Run, budget: Budget) -> dict[str, Any] | str:
    """Keep the base's first level; returns the details, or why it cannot be kept."""
    base = base_to_update(run)
    if isinstance(base, str):
        return base
    with persisted(kept.edge_changes(run, base)) as changes:
        counts = kept.count_changes(run, base, changes)
        if counts.nodes > kept.MOST_CHANGED * run.ingested.nodes:
            return f"{counts.nodes:,} of {run.ingested.nodes:,} nodes have changed since {base.run_id}"
        if 2 * counts.new_edges * kept.ARC_BYTES > run.task_memory_mb(num_tasks=1) << 20:
            return f"{counts.new_edges:,} edges are new since {base.run_id}, more than one task can look through"
        last = kept.last_subgraph(base)
        with kept.homes_of(run, base, changes, last) as homes:
            kept.write_changes(run, base, changes, homes)
            level = _kept_level(run, budget, homes, last)
    before, share = kept.captured_when_cut(base), level.captured / max(1, level.num_edges)
    if share < before - kept.MOST_LOST:
        return f"its subgraphs captured {before:.0%} of the edges when they were cut, and now {share:.0%}"
    cut = Cut(level.num_subgraphs, 0)
    if level.num_subgraphs > 1 and budget.better_cut(cut, list(level.sizes.values())) is not None:
        return "a subgraph has outgrown what a task may hold"
    run.tables.write_rows("partition_levels", list(_rows([level], run.ingested.nodes, run.ingested.edges)))
    return {
        "levels": 1,
        "subgraphs": level.num_subgraphs,
        "captured_edges": level.captured,
        "left_over_edges": level.border,
        "kept_from": base.run_id,
        kept.CUT_SHARE: round(before, 4),
        "changes": dataclasses.asdict(counts),
    }


def _kept_level(run: Run, budget: Budget, homes: DataFrame, last: int) -> Level:
    started, nodes, edges = time.monotonic(), run.ingested.nodes, run.ingested.edges
    if last == 0:
        whole = Level(1, "kept", "none", 1, nodes, edges, 0.0)
        return replace(
            _whole_level(run, whole, run.tables.read("edges").select(*EDGE), 0), seconds=time.monotonic() - started
        )
    homes = homes.join(run.tables.read("nodes").select("node_id"), on="node_id", how="left_semi")
    run.tables.write("assignments", homes.select(F.lit(1).alias("level"), "subgraph_id", "node_id"), 1)
    level = Level(1, "kept", "none", last + 1, nodes, edges, 0.0)
    level = _placed_level(run, level, run.tables.read("edges").select(*EDGE), budget.cut(1, nodes, edges).node_cost)
    return replace(level, num_subgraphs=len(level.sizes), seconds=time.monotonic() - started)


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
    """Put all given edges into one subgraph; no task has to hold them all at this step."""
    place = [F.lit(level.level).alias("level"), F.lit(subgraph_id).alias("subgraph_id")]
    captured = run.tables.write("subgraph_edges", edges.select(*place, *EDGE), level.level)
    nodes = (
        run.tables.read("nodes").select("node_id")
        if level.level == 1
        else end_nodes(run.tables.read("subgraph_edges", level=level.level)).distinct()
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
    """Assign nodes to subgraphs, then write the edges inside and between them: two joins of the level's edges."""
    with _assigned(run, level, cut, edges, first_id) as (method, assignments):
        num_nodes = run.tables.write("assignments", assignments, level.level)
    return _placed_level(run, replace(level, method=method, num_nodes=num_nodes), edges, cut.node_cost)


def _placed_level(run: Run, level: Level, edges: DataFrame, node_cost: int) -> Level:
    """Write the edges inside and between the subgraphs of the level's assignments."""
    assignments = run.tables.read("assignments", level=level.level)
    nodes_of = {row["subgraph_id"]: row["count"] for row in assignments.groupBy("subgraph_id").count().collect()}
    with persisted(placed_edges(edges, assignments)) as placed:
        sizes = level_sizes(placed)
        run.tables.write("subgraph_edges", captured_edges(placed, level.level), level.level)
        border = run.tables.write("border_edges", border_edges(placed, level.level), level.level)
    cut_edges = run.tables.read("border_edges", level=level.level)
    border_nodes = end_nodes(cut_edges).distinct().count()
    inside = sum(edges_inside for _, edges_inside in sizes.values())
    if inside + border != level.num_edges:
        raise RunError(
            f"level {level.level} had {level.num_edges:,} edges to place, but {inside:,} + {border:,} were "
            "placed: the tables of this run do not belong together; start it again under another run id"
        )
    weights = {subgraph: ends + node_cost * nodes_of[subgraph] for subgraph, (ends, _) in sizes.items()}
    captured = {subgraph: (nodes_of[subgraph], edges_inside) for subgraph, (_, edges_inside) in sizes.items()}
    return replace(
        level,
        border=border,
        border_nodes=border_nodes,
        sizes=captured,
        captured=inside,
        largest=max((edges_inside for _, edges_inside in captured.values()), default=0),
        imbalance=max(weights.values()) * level.num_subgraphs / sum(weights.values()) if weights else 1.0,
    )


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


def _rows(levels: list[Level], num_nodes: int, num_edges: int) -> Iterator[dict[str, Any]]:
    """Rows of partition_levels: each level's own numbers, and the totals up to that level."""
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
