"""What a small run costs: seconds of each step, cold and warm, and every statement of Spark with its time.

    python tests/bench/small.py [CONFIG] [--runs 2] [--list] [--set section.key=value ...]

Runs the pipeline several times in one session: the first run loads classes and compiles, the others are what a
notebook's second run, a test, or a long-lived driver pays. Spark's event log then tells what each statement took; times
of nested statements count within the outer ones. `--list` prints all of the last run's, longest first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

STATEMENT = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecution"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="conf/demo.toml")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="print every statement of the last run")
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        marks, steps = _runs(arguments, Path(folder))
        events = _events(Path(folder, "events"))
    for number, run in enumerate(steps):
        told = "  ".join(f"{name} {seconds:.1f}" for name, seconds in run.items())
        print(f"run {number + 1}: {marks[number][1] - marks[number][0]:.1f} s: {told}")
    print_statements(events, *marks[-1], every=arguments.list)


def _runs(arguments: argparse.Namespace, folder: Path) -> tuple[list[tuple[float, float]], list[dict[str, float]]]:
    """Run the pipeline as often as wished; returns (start, end) and the seconds of the steps of each run."""
    Path(folder, "events").mkdir()
    Path(folder, "spark-defaults.conf").write_text(
        f"spark.eventLog.enabled true\nspark.eventLog.dir file://{folder}/events\nspark.eventLog.compress false\n"
    )
    os.environ["SPARK_CONF_DIR"] = str(folder)
    from graphseam.config import load_config
    from graphseam.pipeline import run_pipeline

    marks, steps = [], []
    config = load_config(arguments.config, [*arguments.set, f"output.root={folder}/tables"])
    for _ in range(arguments.runs):
        begun = time.time()
        run = run_pipeline(config, local=True)
        marks.append((begun, time.time()))
        steps.append({record["step"]: record["seconds"] for record in run.records if record["status"] == "finished"})
    run.spark.stop()
    return marks, steps


def _events(folder: Path) -> list[dict[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "appstatus" not in path.name)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def print_statements(events: list[dict[str, Any]], begun: float, ended: float, every: bool) -> None:
    """Statements, their jobs, and the seconds of their tasks between two times, by kind; `every`: each with stages."""
    stages, spent, jobs = work_of_statements(events, begun)
    ends = {event["executionId"]: event["time"] for event in events if event["Event"] == f"{STATEMENT}End"}
    whole: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0, 0.0])
    lines = []
    for start in (event for event in events if event["Event"] == f"{STATEMENT}Start"):
        number, statement = start["executionId"], str(start["executionId"])
        if not begun <= start["time"] / 1000 <= ended or number not in ends:
            continue
        nested = "" if start.get("rootExecutionId", number) == number else "  nested: "
        seconds = (ends[number] - start["time"]) / 1000
        kind = whole[nested + start["description"].split(" at ")[0][:60]]
        for place, value in enumerate((1, seconds, jobs[statement], spent[statement])):
            kind[place] += value
        told = f"{seconds:7.2f} s {jobs[statement]:3} jobs {spent[statement]:6.2f} s of tasks"
        lines.append(f"{start['time'] / 1000 - begun:8.2f} {told} {nested}{start['description'][:120]}")
        lines += stages[statement] if seconds > 0.5 else []
    print(f"last run: {sum(number for _, _, number, _ in whole.values()):.0f} jobs in {len(ends)} statements")
    for name, (number, seconds, count, work) in sorted(whole.items(), key=lambda item: -item[1][1]):
        print(f"{seconds:8.2f} s {number:5.0f} statements {count:5.0f} jobs {work:8.2f} s of tasks  {name}")
    print("\n".join(lines if every else []))


def work_of_statements(
    events: list[dict[str, Any]], begun: float
) -> tuple[dict[str, list[str]], dict[str, float], Counter[str]]:
    """By statement: a line for each of its stages, the seconds of its tasks, how many jobs it ran."""
    of_stage, jobs = {}, Counter()
    tasks: dict[int, list[float]] = defaultdict(list)
    stages: dict[str, list[str]] = defaultdict(list)
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        if event["Event"] == "SparkListenerJobStart":
            statement = event["Properties"].get("spark.sql.execution.id", "none")
            of_stage.update(dict.fromkeys(event["Stage IDs"], statement))
            jobs[statement] += 1
        elif event["Event"] == "SparkListenerTaskEnd" and "Task Metrics" in event:
            tasks[event["Stage ID"]].append(event["Task Metrics"]["Executor Run Time"] / 1000)
        elif event["Event"] == "SparkListenerStageCompleted":
            info, statement = event["Stage Info"], of_stage.get(event["Stage Info"]["Stage ID"], "none")
            took = sorted(tasks[info["Stage ID"]], reverse=True)
            spent[statement] += sum(took)
            names = {json.loads(rdd["Scope"])["name"].split(" ")[0] for rdd in info["RDD Info"] if "Scope" in rdd}
            first, last = (info[f"{word} Time"] / 1000 - begun for word in ("Submission", "Completion"))
            longest = ", ".join(f"{seconds:.2f}" for seconds in took[:6])
            stages[statement].append(f"    {first:8.2f} to {last:.2f}: {len(took)} tasks, {longest}; {sorted(names)}")
    return stages, spent, jobs


if __name__ == "__main__":
    sys.exit(main())
