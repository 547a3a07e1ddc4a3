"""A plan as it is printed: each step's seconds, bytes and disk, their sum, and what it all rests on."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from graphseam.config import Config
from graphseam.costs import Costs
from graphseam.files import size_told
from graphseam.session import CLUSTER_TASK_MB
from graphseam.usage import DISK_MB, MB, SHUFFLED_MB, TABLES_MB
from graphseam.whole_steps import TaskMemory, steps_in_one_task

BYTES = (SHUFFLED_MB, DISK_MB, TABLES_MB)


def print_plan(
    costs: Costs, config: Config, nodes: int, edges: int, executors: int, cores: int, console: Console
) -> None:
    """Print what a run of the configuration over a graph of this size would take on executors of so many cores."""
    all_cores = executors * cores
    whole = steps_in_one_task(config, nodes, edges, TaskMemory.planned(config.run.task_memory_mb, executors, cores))
    forecast = costs.forecast(config, nodes, edges, whole)
    table = Table(title=f"{nodes:,} nodes, {edges:,} edges; {executors:,} x {cores} cores", title_justify="left")
    for name in ("step", "time", "share", "core-hours", "shuffled", "disk at most", "tables"):
        table.add_column(name, justify="left" if name == "step" else "right")
    seconds = {step: costs.seconds_of(told, all_cores) for step, told in forecast.items()}
    total = sum(seconds.values())
    for step, told in forecast.items():
        table.add_row(
            step,
            duration(seconds[step]),
            f"{100 * seconds[step] / total:.0f} %" if total else "",
            f"{seconds[step] * all_cores / 3600:,.1f}",
            *(size_told(told[name] * MB) for name in BYTES),
        )
    table.add_section()
    sums = {name: sum(told[name] for told in forecast.values()) for name in BYTES}
    table.add_row(
        "all",
        duration(total),
        "",
        f"{total * all_cores / 3600:,.1f}",
        size_told(sums[SHUFFLED_MB] * MB),
        size_told(disk_of(forecast) * MB),
        size_told(sums[TABLES_MB] * MB),
    )
    console.print(table)
    alone = [step for step in forecast if step in whole and step in costs.whole]
    for line in assumptions(costs, config, executors, alone):
        console.print(f"- {line}", soft_wrap=True)


def disk_of(forecast: dict[str, dict[str, float]]) -> float:
    """MB of disk that the steps need at most, one after the other: the tables so far, and a step's own files."""
    kept = most = 0.0
    for told in forecast.values():
        most = max(most, kept + max(told[DISK_MB], told[TABLES_MB]))
        kept += told[TABLES_MB]
    return most


def assumptions(costs: Costs, config: Config, executors: int, alone: list[str]) -> list[str]:
    """What the figures rest on, a sentence each. alone: the steps that one task does."""
    task_mb = config.run.task_memory_mb or CLUSTER_TASK_MB
    told = [
        f"Costs were measured with vectors of {costs.dim} columns on {costs.measured}; what is per node is taken to "
        f"grow with embed.dim ({config.embed.dim} here).",
        "Every step is taken to be linear in nodes and edges, and its work to be shared evenly by all cores; what is "
        "fixed is not. Nodes without edges cost as much as others.",
        "Disk is what shuffles, stored blocks and tables fill at most, on all machines together"
        + (f": {executors:,} executors share the shuffle files evenly." if executors > 1 else "."),
        f"A task uses at most {task_mb:,} MB beside Java's heap (run.task_memory_mb); the driver holds a few numbers "
        "per subgraph.",
    ]
    if alone:
        told.append(f"A task of this machine can hold the graph, and does {', '.join(alone)} without a shuffle.")
    if executors > 1:
        told.append("A network that is slower than the disks is not in the figures: see what is shuffled.")
    return told


def duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"
