"""Commands about a root: query its tables, export them, show, place, report, prune."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from graphseam.cli.app import app
from graphseam.errors import InputError, nearest
from graphseam.local_java import start_early

SMALL_ROOT = 256 << 20  # bytes: to compile a query would take longer than to run it
Root = Annotated[str, typer.Option(help="Directory of the tables: output.root of the run.")]


@app.command()
def sql(
    root: Root,
    query: Annotated[str, typer.Argument(help="One SELECT over the tables and views.")],
    limit: Annotated[int, typer.Option(help="Rows shown at most.", min=1)] = 50,
    format_: Annotated[
        str, typer.Option("--format", help="table, or for other programs csv or json (a line per row).")
    ] = "table",
) -> None:
    """Query the tables of all runs, and the views of the newest published one."""
    from graphseam.local_sql import query_here
    from graphseam.show import FORMATS, print_rows, write_rows

    if format_ not in FORMATS:
        raise InputError(f"--format is {format_!r}, which is not known.{nearest(format_, FORMATS)}")
    _check_root(root)
    columns, rows = query_here(root, query, limit) or _asked_spark(root, query, limit)
    if format_ != "table":
        write_rows(columns, rows[:limit], format_, sys.stdout)
        if len(rows) > limit:
            print(f"graphseam: more than {limit} rows; see --limit", file=sys.stderr)
        return
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
    print_rows(columns, rows[:limit], console)
    if len(rows) > limit:
        console.print(f"more than {limit} rows; see --limit")


def _asked_spark(root: str, query: str, limit: int) -> Any:
    from graphseam.queries import query as ask

    return ask(_open(root, brief=True), query, limit)


@app.command()
def report(
    root: Root,
    run_id: Annotated[str | None, typer.Option(help="A published run; the newest where not given.")] = None,
    output: Annotated[
        str | None, typer.Option(help="The file to write; where not given, reports/<run id>.html under the root.")
    ] = None,
) -> None:
    """Write one HTML page about a run: the graph, its cut, quality, time, memory and disk, as tables and pictures."""
    from graphseam.config import check_run_id
    from graphseam.report import published_run, write_report

    if run_id is not None:
        check_run_id(run_id)
    print(write_report(published_run(_open(root, brief=True), run_id), output))


@app.command()
def export(
    root: Root,
    output: Annotated[str, typer.Option(help="File to write: .parquet or .csv.")],
    table: Annotated[str, typer.Option(help="A public table or a view.")] = "embeddings",
    run_id: Annotated[str | None, typer.Option(help="A published run; the newest where not given.")] = None,
    keep_names: Annotated[bool, typer.Option("--keep-names", help="Name a node's id `id`, as the table does.")] = False,
) -> None:
    """Write one run's rows of a table to one Parquet or CSV file.

    `embeddings` gives the columns node (the original id, named as evaluation tools expect) and vector (list<float>);
    in CSV a vector's numbers are separated by spaces.
    """
    from graphseam.export import check_output, check_table, export_table

    check_output(output)
    check_table(table)
    count, columns = export_table(_open(root), table, output, run_id, keep_names)
    print(f"{count:,} rows written to {output}: {', '.join(columns)}")


@app.command()
def similar(
    root: Root,
    node: Annotated[str, typer.Option(help="The node asked for, by its id as it came.")],
    run_id: Annotated[str | None, typer.Option(help="A published run; the newest where not given.")] = None,
    top_k: Annotated[int, typer.Option(help="Nodes shown.", min=1, max=1000)] = 10,
) -> None:
    """Show the nodes most similar to one node: those of largest cosine, exactly, and which of them are neighbours."""
    from graphseam.config import check_run_id
    from graphseam.files import is_remote
    from graphseam.predict.similar_node import similar_here, similar_nodes
    from graphseam.show import print_rows

    if not node.strip():
        raise InputError("--node is empty; give the id of a node")
    if run_id is not None:
        check_run_id(run_id)
    _check_root(root)
    found = None if is_remote(root) else similar_here(root, node, top_k, run_id)
    if found is None:
        found = similar_nodes(_open(root, brief=True), node, top_k, run_id)
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)
    console.print(f"Nodes similar to {found.node}, run {found.run_id}", soft_wrap=True)
    print_rows(
        ("node", "cosine", "edge"),
        [(other, f"{cosine:.4f}", "yes" if joined else "no") for other, cosine, joined in found.rows],
        console,
    )


@app.command()
def place(
    root: Root,
    edges: Annotated[str, typer.Option(help="Edges that join new nodes to those of the run, or to each other.")],
    run_id: Annotated[str | None, typer.Option(help="A published run; the newest where not given.")] = None,
    batch: Annotated[
        str | None,
        typer.Option(help="Name of the batch, replaced where it is there already; the file's name where not given."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.KEY=VALUE", help="How to read the edges, input.*, and place.*; may be repeated."
        ),
    ] = None,
) -> None:
    """Compute vectors, links and labels for nodes that arrived after a run, without a new run."""
    from graphseam.config import check_run_id, config_of
    from graphseam.place import check_batch
    from graphseam.place import place as place_nodes
    from graphseam.place.telling import print_batch
    from graphseam.sources import check_inputs

    config = config_of({"input": {"edges": edges}, "output": {"root": root}}, set_ or [])
    if run_id is not None:
        check_run_id(run_id)
    if batch is not None:
        check_batch(batch)
    check_inputs(config.input)
    print_batch(place_nodes(_open(root).spark, config, run_id, batch))


@app.command()
def partition_report(
    root: Root,
    run_id: Annotated[
        str | None, typer.Option(help="A run whose partition is done, published or not; the newest where not given.")
    ] = None,
    components: Annotated[
        bool,
        typer.Option(
            "--components", help="Also count the connected components, by GraphFrames (see `graphseam jars`)."
        ),
    ] = False,
) -> None:
    """Show how well the graph is partitioned: each level's subgraphs, captured edges, border and balance."""
    from graphseam.partition.report import components_told, print_levels, read_levels

    tables = _open(root)
    name, levels = read_levels(tables, run_id)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(f"run {name}")
    print_levels(levels, console)
    if components:
        console.print(f"[bold]Parts[/bold]  {components_told(tables, name, levels[0]['num_nodes'])}", soft_wrap=True)


@app.command()
def views(
    root: Root,
    dialect: Annotated[str, typer.Option(help="spark, duckdb, or polars (lines of Python, tables only).")] = "spark",
) -> None:
    """Print SQL that registers the tables and views in spark-sql, any other Spark session, or DuckDB."""
    from graphseam.views import view_statements

    _check_root(root)
    print("\n".join(view_statements(root, dialect)))


@app.command()
def prune(
    root: Root,
    keep: Annotated[int, typer.Option(help="Published runs kept, the newest.", min=1)] = 7,
    dry_run: Annotated[bool, typer.Option(help="Tell what would be removed, and change nothing.")] = False,
) -> None:
    """Remove old and abandoned runs from every table, and the files that no table needs."""
    from graphseam.prune import prune as prune_runs
    from graphseam.prune import tell
    from graphseam.sections import PruneConfig

    print("\n".join(tell(prune_runs(_open(root, read_only=False), PruneConfig(keep=keep), dry_run), dry_run)))


def _check_root(root: str) -> None:
    from graphseam.files import has_table

    if not has_table(root):
        there = Path(root)
        hint = (
            nearest(there.name, [entry.name for entry in there.parent.glob("*") if entry.is_dir()]).split(" Known:")[0]
            if there.parent.is_dir()
            else ""
        )
        raise InputError(f"{root!r} holds no graphseam tables; give the output.root of a run.{hint}")


def _open(root: str, brief: bool = False, read_only: bool = True) -> Any:
    """The tables of a root in a local session. brief: for a few statements; interpreted where the root is small."""
    _check_root(root)
    start_early(brief)
    from graphseam.files import size_of
    from graphseam.sections import OutputConfig
    from graphseam.session import build_session, size_shuffles
    from graphseam.tables import Tables

    spark = build_session("graphseam", local=True, brief=brief)
    if brief and size_of(root) < SMALL_ROOT:
        size_shuffles(spark, 0)
    return Tables(spark, OutputConfig(root=root), read_only=read_only)
