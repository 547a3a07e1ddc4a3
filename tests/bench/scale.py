"""Growth: the whole pipeline over made-up graphs of growing size, on one machine; a row per step as CSV.

    .venv/bin/python tests/bench/scale.py --edges 250000 1000000 4000000 --kinds community rmat --output docs/scale.csv

Every graph is made by `graphseam generate` and goes through every step: 5 % of the edges held out, links, similar
nodes, and for communities labels; 1,024 MB per task. One process per run, so that no run profits from an earlier one.
Rows that are in the file already are not measured again. docs/scale.md works with these rows.

    .venv/bin/python tests/bench/scale.py --foretell 64000000

compares the rows of graphs of that size with what a plan says that is fitted to the rows of smaller ones.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

COLUMNS = (
    "kind",
    "nodes",
    "edges",
    "cores",
    "task_memory_mb",
    "step",
    "seconds",
    "task_seconds",
    "shuffled_mb",
    "disk_mb",
    "tables_mb",
    "peak_memory_mb",
)
SETTINGS = {"input": {"labels": "made"}, "evaluate": {"holdout": 0.05}}


def measure(kind: str, edges: int, folder: Path, task_mb: int) -> list[dict[str, Any]]:
    """Make the graph, run the pipeline, and return a row per step. Called in a process of its own."""
    from graphseam.calibrate import measured_run
    from graphseam.session import build_session

    return measured_run(
        build_session("scale", local=True), {**SETTINGS, "run": {"task_memory_mb": task_mb}}, kind, edges, str(folder)
    )


def in_one_task(row: dict[str, str]) -> bool:
    """Whether one task did the row's step alone, which costs something else."""
    from graphseam.config import config_of
    from graphseam.whole_steps import TaskMemory, steps_in_one_task

    task_mb = int(row["task_memory_mb"])
    config = config_of(
        {**SETTINGS, "input": {"edges": "-"}, "output": {"root": "-"}, "run": {"task_memory_mb": task_mb}}
    )
    memory = TaskMemory(task_mb, task_mb, here=True)
    return row["step"] in steps_in_one_task(config, int(row["nodes"]), int(row["edges"]), memory)


def foretell(rows: list[dict[str, str]], asked: int) -> None:
    """Print seconds and disk of each step, planned from the smaller graphs and measured."""
    from graphseam.costs import CORE_SECONDS, fit
    from graphseam.usage import DISK_MB

    costs = fit([{**row, "whole": in_one_task(row)} for row in rows if int(row["asked"]) < asked], 128, "")
    for kind in sorted({row["kind"] for row in rows if row["asked"] == str(asked)}):
        told = [row for row in rows if (row["kind"], row["asked"]) == (kind, str(asked))]
        print(f"\n{kind}, {int(told[0]['edges']):,} edges | planned, s | measured, s | planned, GB | measured, GB")
        sums = [0.0, 0.0, 0.0, 0.0]
        for row in told:
            step = costs.step(row["step"], [row["step"]] if in_one_task(row) else [])
            planned = {name: cost.of(int(row["nodes"]), int(row["edges"])) for name, cost in step.items()}
            seconds = planned[CORE_SECONDS] / int(row["cores"])
            figures = [seconds, float(row["seconds"]), planned[DISK_MB] / 1024, float(row["disk_mb"]) / 1024]
            print(f"{row['step']} | " + " | ".join(f"{value:.1f}" for value in figures))
            sums = [sums[0] + figures[0], sums[1] + figures[1], max(sums[2], figures[2]), max(sums[3], figures[3])]
        print("all | " + " | ".join(f"{value:.1f}" for value in sums), "(disk: the largest step)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, nargs="+", default=[250_000, 1_000_000, 4_000_000])
    parser.add_argument("--kinds", nargs="+", default=["community", "rmat"])
    parser.add_argument("--output", type=Path, default=Path("docs/scale.csv"))
    parser.add_argument("--one", nargs=2, metavar=("KIND", "EDGES"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where graphs and tables go for as long as a run takes")
    parser.add_argument("--task-memory-mb", type=int, default=1024)
    parser.add_argument("--foretell", type=int, metavar="EDGES")
    given = parser.parse_args()
    if given.foretell:
        foretell(list(csv.DictReader(given.output.open())), given.foretell)
        return
    if given.one:
        print(json.dumps(measure(given.one[0], int(given.one[1]), given.folder, given.task_memory_mb)))
        return
    there = list(csv.DictReader(given.output.open())) if given.output.exists() else []
    for edges in given.edges:
        for kind in given.kinds:
            if any(row["kind"] == kind and row["asked"] == str(edges) for row in there):
                continue
            folder = Path(tempfile.mkdtemp(prefix="graphseam-scale-", dir=given.folder))
            try:
                command = [sys.executable, __file__, "--one", kind, str(edges), "--folder", str(folder)]
                command += ["--task-memory-mb", str(given.task_memory_mb)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            finally:
                shutil.rmtree(folder)
            there += [
                {"asked": edges, "task_memory_mb": given.task_memory_mb, **row}
                for row in json.loads(done.stdout.splitlines()[-1])
            ]
            with given.output.open("w", newline="") as file:
                writer = csv.DictWriter(file, ("asked", *COLUMNS))
                writer.writeheader()
                writer.writerows(there)
            total = sum(
                float(row["seconds"]) for row in there if row["kind"] == kind and str(row["asked"]) == str(edges)
            )
            print(f"{kind}, {edges:,} edges: {total:,.0f} s", flush=True)


if __name__ == "__main__":
    main()
