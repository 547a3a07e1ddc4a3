"""Commands that set up and start: look at a file, explain settings, check a machine, run, generate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from graphseam.cli.app import Overrides, app
from graphseam.errors import InputError, nearest
from graphseam.local_java import all_classes_loaded, start_early

QUICK = ("predict.links.top_k=0", "predict.similar.top_k=0")


@app.command()
def init(
    edges: Annotated[str, typer.Argument(help="File of the edges: CSV, TSV, Parquet, …")],
    labels: Annotated[str | None, typer.Option(help="File of the nodes' labels, if there is one.")] = None,
    root: Annotated[str, typer.Option(help="Directory for the tables.")] = "tables",
    output: Annotated[str, typer.Option(help="The configuration to write.")] = "graphseam.toml",
) -> None:
    """Look at a file of edges, say what it holds, and write a configuration to start from."""
    from graphseam.starter import starter, write_starter

    made = starter(edges, labels, root)
    write_starter(output, made.text)
    print("\n".join([*made.told, f"{output} written; look through it, then: graphseam run {output}"]))


@app.command()
def run(
    config: Annotated[str, typer.Argument(help="TOML file, such as conf/demo.toml.")],
    set_: Overrides = None,
    run_id: Annotated[str | None, typer.Option(help="Name of the run; an unfinished one is taken up again.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Vectors and labels only: no links, no similar nodes.")
    ] = False,
) -> None:
    """Run the whole pipeline in a local Spark session."""
    from graphseam.config import load_config
    from graphseam.sources import check_inputs

    settings = load_config(config, [*(QUICK if quick else ()), *(set_ or [])])
    check_inputs(settings.input)
    start_early(make_archive=True)
    from graphseam.pipeline import run_pipeline
    from graphseam.summary import print_summary

    print_summary(run_pipeline(settings, run_id, local=True))
    all_classes_loaded()


@app.command()
def config(
    file: Annotated[str | None, typer.Argument(help="TOML file; without one, the defaults.")] = None,
    set_: Overrides = None,
    explain: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Explain a setting, such as embed.dim, or a section, such as embed."),
    ] = None,
) -> None:
    """Show the whole configuration that a run would have, or explain settings."""
    from graphseam.config import config_of, load_config
    from graphseam.explain import as_toml, setting_lines

    if explain is not None:
        print("\n".join(setting_lines(explain)))
    elif file is not None:
        print(as_toml(load_config(file, set_ or [])), end="")
    else:
        shown = {"input": {"edges": "edges.csv"}, "output": {"root": "tables"}}
        print(as_toml(config_of(shown, set_ or [])), end="")


@app.command()
def doctor(
    root: Annotated[str | None, typer.Option(help="Directory for tables, to be checked as well.")] = None,
) -> None:
    """Check what this machine has: Java, packages, jars, memory, disk, GPU, and a Spark session that works."""
    from graphseam.doctor import BAD, examine, told

    bad = 0
    for check in examine(root):
        print(told(check), flush=True)
        bad += check.status == BAD
    sys.exit(1 if bad else 0)


@app.command()
def generate(
    edges: Annotated[int, typer.Option(help="Rows of edges; some are loops or duplicates, as in Graph500.")],
    output: Annotated[str, typer.Option(help="Directory for edges/ and, of communities, labels/, as Parquet.")],
    kind: Annotated[
        str, typer.Option(help="rmat (Graph500's parameters) or community (with power-law degrees).")
    ] = "rmat",
    nodes: Annotated[int | None, typer.Option(help="Where not given: a node for 16 edges (rmat) or 8.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives another graph.")] = 0,
) -> None:
    """Make up a graph of any size, to try a cluster with."""
    from graphseam.generate import generate as generate_graph
    from graphseam.session import build_session

    made = generate_graph(build_session("graphseam", local=True), kind, edges, output, nodes, seed)
    print(f"{made['edges']:,} edges of {made['nodes']:,} nodes written to {output}/edges")


@app.command()
def jars(
    fetch: Annotated[
        str | None,
        typer.Option(help="delta, graphframes or all: put its jars into the installed Spark, or into the folder --to."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            help="A folder for the jars, to carry to a cluster without a network: "
            "spark-submit --jars DIR/*.jar, apart by commas."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A folder that holds them, filled by --to on a machine with a network."),
    ] = None,
) -> None:
    """List the jars that this Spark needs besides its own, with their coordinates, or fetch them."""
    from graphseam.jars import PACKAGES, print_packages
    from graphseam.jars import fetch as fetch_jars

    if fetch is None:
        if to or source:
            raise InputError(
                "--to and --from tell where jars go and come from; say which by --fetch, as in --fetch all"
            )
        print_packages(Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120))
        return
    if fetch not in ("all", *PACKAGES):
        raise InputError(f"there are no jars {fetch!r}.{nearest(fetch, ('all', *PACKAGES))}")
    for package in PACKAGES.values():
        if fetch in ("all", package.name):
            for jar in fetch_jars(package, to, source):
                print(jar)
