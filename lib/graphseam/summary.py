"""The summary printed after a run: the graph, its partition, time and memory, quality, and where the results are."""

from __future__ import annotations

import os

from rich.console import Console
from rich.table import Table

from graphseam.files import has_table, size_told
from graphseam.partition.report import print_levels
from graphseam.report import report_path
from graphseam.report.measures import (
    LABEL_MEASURES,
    LINK_MEASURES,
    LINK_SCORERS,
    best_links,
    mean_error,
    remark_on_scorers,
)
from graphseam.runs import USAGE, Run
from graphseam.schemas import public_names, view_names
from graphseam.steps import ALL_STEPS
from graphseam.usage import DISK_MB, MB, SHUFFLED_MB, TABLES_MB, TASK_SECONDS

NUM_EXAMPLES = 5


def print_summary(run: Run, console: Console | None = None) -> None:
    """Print the results of the run, from its own tables. Cost: a few small queries."""
    console = console or Console(highlight=False, width=None if os.isatty(1) else 110)
    console.rule(f"run {run.run_id}")
    _print_graph(run, console)
    _print_changes(run, console)
    print_levels(run.tables.read("partition_levels").sort("level").collect(), console)  # one row per level
    console.print(_steps(run))
    _print_memory(run, console)
    _print_quality(run, console)
    _print_labels(run, console)
    _print_links(run, console)
    _print_places(run, console)


def _print_graph(run: Run, console: Console) -> None:
    told = run.ingested
    kind = "directed" if run.config.input.directed else "undirected"
    weights = "weighted" if run.config.input.weighted else "unweighted"
    num_edges = told.edges + told.holdout_edges
    console.print(
        f"[bold]Graph[/bold]  {told.nodes:,} nodes, {num_edges:,} edges, {kind}, {weights}, "
        f"{told.id_type} ids; from {told.rows:,} rows"
    )
    console.print(f"       {told.loops:,} loops and {told.duplicate_edges:,} duplicate edges merged", end="")
    if run.config.holds_out:
        console.print(
            f"; {told.holdout_edges:,} edges ({_share(told.holdout_edges, num_edges)}) held out before "
            "anything saw them"
        )
        if told.nodes_held_out:
            console.print(f"       {told.nodes_held_out:,} nodes have held-out edges only, and so a zero vector")
    else:
        console.print("; every edge is embedded, none held out, so there are no link metrics")
    if told.rejected:
        reasons = ", ".join(
            f"{count:,} {reason}"
            for reason, count in sorted(told.rejected.items(), key=lambda item: (-item[1], item[0]))
        )
        console.print(f"       [yellow]{sum(told.rejected.values()):,} rows rejected[/yellow]: {reasons}")
    if told.until:
        console.print(f"       {told.rows_outside:,} rows lie outside the window that ends at {told.until}")
    if told.null_like_rows:
        console.print(
            f"       [yellow]{told.null_like_rows:,} rows have an id such as NULL[/yellow], which is a node like any "
            "other; take them out of the input if it stands for no node"
        )
    if told.label_rows is not None:
        unknown = told.labels_of_unknown_nodes
        console.print(
            f"       {told.labelled_nodes:,} nodes with labels of {told.label_classes:,} classes"
            + (f"; {unknown:,} labels of nodes that are not in the graph left out" if unknown else "")
        )
        if unknown > told.label_rows:
            console.print(
                "       [yellow]most labels are of nodes that are not in the graph[/yellow]: are input.labels and "
                "input.node those of this graph?"
            )


def _print_changes(run: Run, console: Console) -> None:
    """What has changed since the base of an incremental run, or why there is none to compare with."""
    told = run.details("partition")
    if "cut_anew" in told:
        console.print(f"[bold]Changes[/bold]  [yellow]a full run all the same[/yellow]: {told['cut_anew']}")
    if "kept_from" not in told:
        return
    counts = told["changes"]
    console.print(
        f"[bold]Changes[/bold]  since {told['kept_from']}: {counts['new_edges']:,} edges are new, "
        f"{counts['removed_edges']:,} gone, {counts['reweighted_edges']:,} weigh differently; {counts['new_nodes']:,} "
        f"nodes are new, {counts['vanished_nodes']:,} gone; {counts['nodes']:,} have another edge"
    )


def _steps(run: Run) -> Table:
    """Tasks: seconds that tasks ran, on all cores. Disk: how much more of this machine's disks was filled at most."""
    table = Table(title="Where time, memory and disk went", title_justify="left")
    names = ("step", "seconds", "share", "tasks", "peak memory", "shuffled", "disk", "tables")
    for name in names:
        table.add_column(name, justify="left" if name == "step" else "right")
    records = [record for record in map(run.newest, ALL_STEPS) if record is not None]
    usages = [run.details(record["step"]).get(USAGE, {}) for record in records]
    total = sum(record["seconds"] for record in records)
    for record, usage in zip(records, usages, strict=True):
        table.add_row(
            record["step"],
            f"{record['seconds']:.1f}",
            _share(record["seconds"], total),
            f"{usage[TASK_SECONDS]:,.1f} s" if TASK_SECONDS in usage else "",
            f"{record['peak_memory_mb']:,.0f} MB",
            *(size_told(usage[name] * MB) if name in usage else "" for name in (SHUFFLED_MB, DISK_MB, TABLES_MB)),
        )
    table.add_section()
    peak = max((record["peak_memory_mb"] for record in records), default=0)
    tasks = sum(usage.get(TASK_SECONDS, 0) for usage in usages)
    shuffled, tables = (
        size_told(MB * sum(usage.get(name, 0) for usage in usages)) for name in (SHUFFLED_MB, TABLES_MB)
    )
    table.add_row("all", f"{total:.1f}", "", f"{tasks:,.1f} s", f"{peak:,.0f} MB", shuffled, "", tables)
    return table


def _print_memory(run: Run, console: Console) -> None:
    told = run.details("embed")
    if told.get("subgraphs"):
        console.print(
            f"[bold]Memory[/bold] of a subgraph: at most {told['predicted_mb']:,.0f} MB predicted, "
            f"{told['peak_mb']:,.0f} MB measured, in workers of {told['worker_mb']:,.0f} MB; on "
            f"{', '.join(told['devices'])}; each in subgraph_stats"
        )


def _print_quality(run: Run, console: Console) -> None:
    """The few metrics that distinguish a good embedding from a bad one; all metrics are in run_metrics."""
    rows = run.tables.read("metrics").where("stratum = 'all'").collect()  # about a hundred rows
    value = {
        (row["task"], row["metric"], row["variant"], row["scorer"]): (row["value"], row["support"])
        for row in rows
        if row["task"] != "link_prediction" or row["scorer"] in LINK_SCORERS
    }
    for task, measures, title in (
        ("link_prediction", LINK_MEASURES, "How good it is: links"),
        ("node_classification", LABEL_MEASURES, "How good it is: labels"),
    ):
        groups = sorted(
            {(variant, scorer) for told, metric, variant, scorer in value if told == task and metric in measures},
            reverse=True,
        )
        if not groups:
            continue
        table = Table(title=title, title_justify="left")
        for name in ("measured on", "by", *measures.values(), "of"):
            table.add_column(name, justify="left" if name in ("measured on", "by") else "right")
        for variant, scorer in groups:
            told = [value.get((task, metric, variant, scorer)) for metric in measures]
            against = f"{variant} negatives" if task == "link_prediction" else variant
            counts = sorted({found[1] for found in told if found is not None}, reverse=True)  # all, and those ranked
            table.add_row(
                against,
                scorer.replace("_", " "),
                *[f"{found[0]:.4f}" if found is not None else "" for found in told],
                ", ".join(f"{count:,}" for count in counts),
            )
        console.print(table)
        remark = remark_on_scorers([row.asDict() for row in rows]) if task == "link_prediction" else ""
        if remark:
            console.print(f"[yellow]{remark}[/yellow]", soft_wrap=True)


def _print_labels(run: Run, console: Console) -> None:
    told = run.details("predict_nodes")
    if "labels" not in told:
        return
    counts = ", ".join(f"{count:,} {status}" for status, count in told["labels"].items() if count)
    named = [name for names in told["such_as"].values() for name in names]
    fitted = told.get("calibration")
    console.print(
        f"[bold]Labels[/bold]  classes: {counts}"
        + (f" (such as {', '.join(named)})" if named else "")
        + "; each in label_quality",
        soft_wrap=True,
    )
    if fitted:
        console.print(
            f"        probabilities are off by {fitted['error_after']:.1%} on average "
            f"({fitted['error_before']:.1%} before calibration), over {fitted['nodes']:,} nodes not "
            "trained on",
            soft_wrap=True,
        )


def _print_links(run: Run, console: Console) -> None:
    links = best_links(run, NUM_EXAMPLES)
    if not links:
        return
    _print_calibration(run, console)
    table = Table(title="Predicted links, the most probable", title_justify="left")
    for name in ("src", "dst", "probability", "cosine"):
        table.add_column(name, justify="right" if name in ("probability", "cosine") else "left")
    for row in links:
        table.add_row(row["src"], row["dst"], f"{row['probability']:.3f}", f"{row['cosine']:.3f}")
    console.print(table)


def _print_calibration(run: Run, console: Console) -> None:
    """Whether the probabilities of links can be trusted."""
    basis = run.details("predict_links").get("calibrated_on", "")
    bins = run.tables.read("reliability").where("task = 'link_prediction'").collect()  # about ten rows
    if basis == "embedded edges":
        console.print(
            "[bold]Links[/bold]  [yellow]their probabilities are fitted on edges that were embedded, which "
            "flatters[/yellow]; hold some out (evaluate.holdout), or name a run that did "
            "(predict.links.model_run)",
            soft_wrap=True,
        )
    elif bins:
        low, high = min(row["bin_low"] for row in bins), max(row["bin_high"] for row in bins)
        console.print(
            f"[bold]Links[/bold]  probabilities range from {low:.4f} to {high:.4f}, are calibrated on {basis}, and off "
            f"by {mean_error([row.asDict() for row in bins]):.2%} on average; see reliability",
            soft_wrap=True,
        )


def _print_places(run: Run, console: Console) -> None:
    output = run.config.output
    there = [name for name in public_names() if output.catalog or has_table(output.root, name)]
    console.print(f"[bold]Tables[/bold]  {output.root or output.catalog}: {', '.join(there)}", soft_wrap=True)
    console.print(f"[bold]Views[/bold]   {', '.join(view_names())} (the newest published run)", soft_wrap=True)
    if output.root and output.report:
        console.print(f"[bold]Report[/bold]  {report_path(output, run.run_id)}", soft_wrap=True)
    if output.root:
        console.print("[bold]Try[/bold]", soft_wrap=True)
        for query in (
            "select src, dst, probability from top_links order by score desc limit 10",
            "select label, count(*) as nodes from node_labels group by label order by nodes desc"
            if run.config.input.labels
            else "select id, vector from current_embeddings limit 3",
        ):
            console.print(f'  graphseam sql --root {output.root} "{query}"', soft_wrap=True, markup=False)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "0.0%"
