"""A finished level of the partition: its assignments and edges in the tables, and its row of partition_levels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.columns import EDGE
from graphseam.edges import end_nodes
from graphseam.errors import RunError
from graphseam.partition.levels import border_edges, captured_edges, level_sizes, placed_edges
from graphseam.runs import Run
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


def whole_level(run: Run, level: Level, edges: DataFrame, subgraph_id: int) -> Level:
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


def placed_level(run: Run, level: Level, edges: DataFrame, node_cost: int) -> Level:
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
    return filled_level(level, nodes_of, sizes, border, border_nodes, node_cost)


def filled_level(
    level: Level,
    nodes_of: dict[int, int],
    sizes: dict[int, tuple[int, int]],
    border: int,
    border_nodes: int,
    node_cost: int,
) -> Level:
    """The level with its numbers. nodes_of: {subgraph: nodes}; sizes: as levels.level_sizes."""
    weights = {subgraph: ends + node_cost * nodes_of[subgraph] for subgraph, (ends, _) in sizes.items()}
    captured = {subgraph: (nodes_of[subgraph], edges_inside) for subgraph, (_, edges_inside) in sizes.items()}
    return replace(
        level,
        border=border,
        border_nodes=border_nodes,
        sizes=captured,
        captured=sum(inside for _, inside in captured.values()),
        largest=max((edges_inside for _, edges_inside in captured.values()), default=0),
        imbalance=max(weights.values()) * level.num_subgraphs / sum(weights.values()) if weights else 1.0,
    )


def level_rows(levels: list[Level], num_nodes: int, num_edges: int) -> Iterator[dict[str, Any]]:
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
