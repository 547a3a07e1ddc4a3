"""How well the graph cuts: a table of the levels, and one sentence."""

from __future__ import annotations

from typing import Any

from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table

from graphseam.errors import RunError, nearest
from graphseam.graphframes_jvm import connected_components, require_graphframes
from graphseam.tables import Tables

SMALL = 10  # nodes
CUTS_WELL, CUTS_FAIRLY = 0.8, 0.5  # share of the edges that the first level captures


def read_levels(tables: Tables, run_id: str | None) -> tuple[str, list[Any]]:
    """(run, its rows of partition_levels by level). RunError if there is no such run, or none was partitioned."""
    rows = tables.all_runs("partition_levels")
    done = (
        tables.all_runs("run_steps")
        .where("step = 'partition' AND status = 'finished'")
        .groupBy("run_id")
        .agg(F.max("started_at").alias("started_at"))
        .sort("started_at")
        .collect()
    )  # one row per run
    runs = [row["run_id"] for row in done]
    if not runs:
        raise RunError("no run has been partitioned here yet; start `graphseam run` or jobs/partition.py")
    wanted = runs[-1] if run_id is None else run_id
    if wanted not in runs:
        raise RunError(f"there is no partitioned run {wanted!r} here.{nearest(wanted, runs)}")
    return wanted, rows.where(F.col("run_id") == wanted).sort("level").collect()  # one row per level


def print_levels(levels: list[Any], console: Console) -> None:
    """The levels as a table, and what they say about the graph."""
    table = Table(title="Partition", title_justify="left")
    for name in (
        "level",
        "kind",
        "by",
        "subgraphs",
        "nodes",
        "edges",
        "captured",
        "cut",
        "border",
        "balance",
        "in all",
        "seconds",
    ):
        table.add_column(name, justify="left" if name in ("kind", "by") else "right")
    for row in levels:
        table.add_row(
            str(row["level"]),
            row["kind"],
            row["method"],
            f"{row['num_subgraphs']:,}",
            f"{row['num_nodes']:,}",
            f"{row['num_edges']:,}",
            f"{row['captured_edges']:,}",
            f"{row['cut_share']:.1%}",
            f"{row['border_share']:.1%}",
            f"{row['imbalance']:.2f}",
            f"{row['total_captured']:.1%}",
            f"{row['seconds']:.1f}",
        )
    console.print(table)
    console.print(f"[bold]Cut[/bold]    {verdict(levels)}", soft_wrap=True)


def components_told(tables: Tables, run_id: str, num_nodes: int) -> str:
    """The number and the sizes of the connected components of the run's edges. ConfigError without GraphFrames."""
    require_graphframes(tables.spark, "--components")
    mine = F.col("run_id") == run_id
    edges = tables.all_runs("edges").where(mine)
    with connected_components(edges, None) as components:
        sizes = components.groupBy("component").count()
        told = sizes.agg(F.count("*"), F.max("count"), F.sum("count"), F.count_if(F.col("count") <= SMALL)).head()
    assert told is not None  # an aggregate without groups has one row
    number, largest, joined, small = (value or 0 for value in told)
    alone = num_nodes - joined
    text = (
        f"{number:,} connected components with an edge; the largest has {largest:,} of {num_nodes:,} nodes"
        if number
        else "no component has an edge"
    )
    return (
        text
        + (f", {small:,} have at most {SMALL}" if small else "")
        + (f"; {alone:,} nodes have no edge" if alone else "")
    )


def verdict(levels: list[Any]) -> str:
    """One sentence for the reader; `levels` are rows of partition_levels in order."""
    first, last = levels[0], levels[-1]
    if first["num_edges"] == 0:
        return "there is no edge to cut"
    if first["kind"] == "whole" or (first["kind"] == "kept" and first["num_subgraphs"] == 1):
        return "nothing had to be cut: the graph fits one subgraph"
    captured = 1 - first["cut_share"]
    how = "well" if captured >= CUTS_WELL else "fairly" if captured >= CUTS_FAIRLY else "badly"
    if first["kind"] == "kept":
        return (
            f"the {first['num_subgraphs']:,} subgraphs of the base run fit {how}: {captured:.0%} of the edges lie "
            "inside; nothing was embedded again"
        )
    text = (
        f"the graph cuts {how}: {captured:.0%} of its edges lie inside the {first['num_subgraphs']:,} subgraphs of "
        f"level 1, {last['total_captured']:.0%} inside all {last['total_subgraphs']:,}; a node is embedded "
        f"{last['replication']:.2f} times on average"
    )
    left = round(first["num_edges"] * (1 - last["total_captured"]))
    if last["kind"] == "core":
        text += f"; level {last['level']} was split by edges, as cutting its nodes would capture too little"
    return text + (f"; {left:,} edges are left to refinement" if left else "")
