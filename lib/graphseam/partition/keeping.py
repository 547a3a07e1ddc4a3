"""The partition of an incremental run: the first level of its base, kept, in one task or by joins."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.base_run import Base, base_to_update
from graphseam.columns import EDGE
from graphseam.partition import kept
from graphseam.partition.budget import Budget, Cut
from graphseam.partition.level import Level, filled_level, level_rows, placed_level, whole_level
from graphseam.partition.whole_kept import keep_in_one_task
from graphseam.runs import Run
from graphseam.session import persisted


def keep_partition(run: Run, budget: Budget) -> dict[str, Any] | str:
    """Keep the base's first level; returns the details, or why it cannot be kept."""
    base = base_to_update(run)
    if isinstance(base, str):
        return base
    found = _kept_in_one_task(run, budget, base) or _kept_by_joins(run, budget, base)
    if isinstance(found, str):
        return found
    level, counts = found
    if reason := _too_much_changed(run, base, counts.nodes):
        return reason
    before, share = kept.captured_when_cut(base), level.captured / max(1, level.num_edges)
    if share < before - kept.MOST_LOST:
        return f"its subgraphs captured {before:.0%} of the edges when they were cut, and now {share:.0%}"
    cut = Cut(level.num_subgraphs, 0)
    if level.num_subgraphs > 1 and budget.better_cut(cut, list(level.sizes.values())) is not None:
        return "a subgraph has outgrown what a task may hold"
    run.tables.write_rows("partition_levels", list(level_rows([level], run.ingested.nodes, run.ingested.edges)))
    return {
        "levels": 1,
        "subgraphs": level.num_subgraphs,
        "captured_edges": level.captured,
        "left_over_edges": level.border,
        "kept_from": base.run_id,
        kept.CUT_SHARE: round(before, 4),
        "changes": dataclasses.asdict(counts),
    }


def _too_much_changed(run: Run, base: Base, changed: int) -> str:
    if changed <= kept.MOST_CHANGED * run.ingested.nodes:
        return ""
    return f"{changed:,} of {run.ingested.nodes:,} nodes have changed since {base.run_id}"


def _kept_in_one_task(run: Run, budget: Budget, base: Base) -> tuple[Level, kept.Changes] | None:
    """The level and what has changed, written by one task that can hold both graphs; None where it cannot."""
    started, nodes, edges = time.monotonic(), run.ingested.nodes, run.ingested.edges
    found = keep_in_one_task(run, base)
    if found is None:
        return None
    level = Level(1, "kept", "none", len(found.nodes), nodes, edges, 0.0)
    sizes = {number: (found.ends[number], found.captured[number]) for number in found.nodes}
    cost = budget.cut(1, nodes, edges).node_cost
    level = filled_level(level, found.nodes, sizes, found.border, found.border_nodes, cost)
    return replace(level, seconds=time.monotonic() - started), found.changes


def _kept_by_joins(run: Run, budget: Budget, base: Base) -> tuple[Level, kept.Changes] | str:
    """As `_kept_in_one_task`, in Spark; or why nothing was written."""
    with persisted(kept.edge_changes(run, base)) as changes:
        counts = kept.count_changes(run, base, changes)
        if reason := _too_much_changed(run, base, counts.nodes):
            return reason
        if 2 * counts.new_edges * kept.ARC_BYTES > run.task_memory_mb(num_tasks=1) << 20:
            return f"{counts.new_edges:,} edges are new since {base.run_id}, more than one task can look through"
        last = kept.last_subgraph(base)
        with kept.homes_of(run, base, changes, last) as homes:
            kept.write_changes(run, base, changes, homes)
            return _kept_level(run, budget, homes, last), counts


def _kept_level(run: Run, budget: Budget, homes: DataFrame, last: int) -> Level:
    started, nodes, edges = time.monotonic(), run.ingested.nodes, run.ingested.edges
    if last == 0:
        whole = Level(1, "kept", "none", 1, nodes, edges, 0.0)
        return replace(
            whole_level(run, whole, run.tables.read("edges").select(*EDGE), 0), seconds=time.monotonic() - started
        )
    homes = homes.join(run.tables.read("nodes").select("node_id"), on="node_id", how="left_semi")
    run.tables.write("assignments", homes.select(F.lit(1).alias("level"), "subgraph_id", "node_id"), 1)
    level = Level(1, "kept", "none", last + 1, nodes, edges, 0.0)
    level = placed_level(run, level, run.tables.read("edges").select(*EDGE), budget.cut(1, nodes, edges).node_cost)
    return replace(level, num_subgraphs=len(level.sizes), seconds=time.monotonic() - started)
