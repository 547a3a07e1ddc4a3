"""The command that tells what a run would take: seconds, bytes and disk of each step, before there is a cluster."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Console

from graphseam.cli.app import Overrides, app
from graphseam.errors import InputError


@app.command()
def plan(
    config: Annotated[str, typer.Argument(help="TOML file; its input is not read.")],
    nodes: Annotated[int | None, typer.Option(help="Nodes of the graph.", min=2)] = None,
    edges: Annotated[int | None, typer.Option(help="Distinct edges of the graph.", min=1)] = None,
    executors: Annotated[int, typer.Option(help="Executors, or machines.", min=1)] = 1,
    cores: Annotated[int, typer.Option(help="Cores of each; 0: as many as this machine has.", min=0)] = 0,
    costs: Annotated[
        str | None, typer.Option(metavar="FILE", help="What --calibrate wrote; else the figures that graphseam brings.")
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Measure what the steps cost on this machine, and write it to this file."),
    ] = None,
    sizes: Annotated[
        str | None, typer.Option(help="Of --calibrate: edges of the graphs it makes, apart by commas; at least two.")
    ] = None,
    set_: Overrides = None,
) -> None:
    """Tell what a run would take: seconds, shuffled bytes and disk of each step."""
    from graphseam.config import load_config

    settings = load_config(config, set_ or [])
    if calibrate is not None:
        from graphseam.calibrate import SIZES, sizes_of, write_costs
        from graphseam.calibrate import calibrate as measure
        from graphseam.session import build_session

        wanted = SIZES if sizes is None else sizes_of(sizes)
        write_costs(measure(build_session("graphseam", local=True), settings, wanted), calibrate)
        costs = calibrate
    if nodes is None or edges is None:
        if calibrate is None:
            raise InputError("a plan is for a graph: give --nodes and --edges")
        return
    from graphseam.costs import read_costs
    from graphseam.planned import print_plan

    console = Console(highlight=False, width=None if os.isatty(1) else 120)
    print_plan(read_costs(costs), settings, nodes, edges, executors, cores or os.cpu_count() or 1, console)
