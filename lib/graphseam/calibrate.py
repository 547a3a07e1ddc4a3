"""What the steps cost on this machine or cluster: measured by a few runs over made-up graphs, fitted, and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from graphseam import folders
from graphseam.config import Config, config_of, load_config
from graphseam.costs import LEARNING, Costs, asked_for, fit
from graphseam.entry import job_arguments, one_clear_line
from graphseam.errors import ConfigError
from graphseam.files import absolute
from graphseam.generate import generate
from graphseam.pipeline import run_pipeline
from graphseam.runs import USAGE, Run, new_run_id
from graphseam.session import build_session, in_one_process
from graphseam.spark_line import SPARK_LINE
from graphseam.steps import ALL_STEPS

FOLDER = "_calibration"  # under output.root
GRAPHS = (("community", 8.0), ("community", 2.5), ("rmat", 16.0))  # kinds, with edges per node
SIZES = (300_000, 1_200_000)  # edges; Spark plans are interpreted below 200,000 rows
WARM_UP = 30_000  # edges of a first run that is not counted: it loads classes and compiles
TASK_MB = 384  # so that graphs of these sizes are embedded in subgraphs and refined in blocks, as large ones are
COARSEST = 60_000  # edges of the last graph that is cut, for the same reason


def calibrate(spark: SparkSession, config: Config, sizes: Sequence[int] = SIZES) -> Costs:
    """Run the pipeline with these settings over made-up graphs and fit what each step costs.

    The configuration's input is not read; graphs and tables go to a folder under its output.root, which is removed
    again. Settings for small graphs that a large one would not have are replaced: nearest vectors are found by cells,
    and tasks have little memory. On one machine, every graph is run once more with all memory, for the steps that one
    task does alone where it can hold the graph. Cost: a few minutes. Errors: ConfigError if there is no root, or fewer
    than two sizes.
    """
    if not config.output.root:
        raise ConfigError("to calibrate takes a directory for graphs and tables: set output.root")
    if len(set(sizes)) < 2:
        raise ConfigError(
            "what is fixed and what grows with the graph shows from two sizes on; give two, apart by commas"
        )
    folder = f"{absolute(config.output.root)}/{FOLDER}/{new_run_id()}"
    rows: list[dict[str, Any]] = []
    try:
        for place, (size, (kind, per_node), whole) in enumerate(_runs(sizes, in_one_process(spark))):
            settings, nodes = settings_for(config, whole), max(2, int(size / per_node))
            run = _made_run(spark, settings, (kind, size, nodes), f"{folder}/{place}")
            rows += [{**row, "whole": whole} for row in learning_apart(rows_of(run, kind), run)] if place else []
            folders.remove(spark, f"{folder}/{place}")
    finally:
        folders.remove(spark, f"{absolute(config.output.root)}/{FOLDER}")
    cores = spark.sparkContext.defaultParallelism
    told = ", ".join(f"{size:,}" for size in sizes)
    where = f"{spark.sparkContext.master}, {cores} cores, Spark {SPARK_LINE}"
    kinds = ", ".join(f"{kind} with {per_node:g} per node" for kind, per_node in GRAPHS)
    return fit(rows, config.embed.dim, f"made-up graphs of {told} edges ({kinds}) on {where}")


def _runs(sizes: Sequence[int], here: bool) -> Iterator[tuple[int, tuple[str, float], bool]]:
    """(edges, graph, whether tasks may hold the graph) of each run; the first one is to warm up."""
    yield WARM_UP, GRAPHS[0], False
    for whole in (False, True) if here else (False,):
        for size in sizes:
            for graph in GRAPHS:
                yield size, graph, whole


def settings_for(config: Config, whole: bool = False) -> dict[str, Any]:
    """The configuration as a tree, without its input, with what a large graph would have. whole: let tasks hold it."""
    tree = dataclasses.asdict(config)
    labels = bool(config.input.labels)
    tree["input"] = {"labels": "labels"} if labels else {}
    tree["run"]["base"] = ""
    tree["partition"]["num_subgraphs"] = 0
    if whole:
        tree["run"] |= {"task_memory_mb": 0, "in_one_task": True}
    else:
        tree["run"] |= {"task_memory_mb": config.run.task_memory_mb or TASK_MB, "in_one_task": False}
        tree["partition"]["coarsest_edges"] = config.partition.coarsest_edges or COARSEST
    tree["embed"]["warm_start"] = ""
    tree["gate"]["max_drop"] = 1.0
    links, similar = tree["predict"]["links"], tree["predict"]["similar"]
    links |= {"src_type": "", "dst_type": "", "model_run": ""}
    links["candidates"] = "cells+two_hop" if links["candidates"] in ("auto", "pairs") else links["candidates"]
    similar["method"] = "cells" if similar["method"] == "auto" else similar["method"]
    tree["evaluate"] |= {"held_out": "", "holdout": config.evaluate.holdout or (0.05 if config.holds_out else 0.0)}
    return tree


def measured_run(
    spark: SparkSession, tree: dict[str, Any], kind: str, num_edges: int, folder: str
) -> list[dict[str, Any]]:
    """Make a graph, run the pipeline over it, and return a row per step, as `costs.fit` takes it.

    tree: settings; its input is set here, and has labels only where it names some, and the graph is of communities.
    """
    return rows_of(_made_run(spark, tree, (kind, num_edges, None), folder), kind)


def _made_run(spark: SparkSession, tree: dict[str, Any], graph: tuple[str, int, int | None], folder: str) -> Run:
    """graph: (kind, edges, nodes)."""
    kind, num_edges, num_nodes = graph
    generate(spark, kind, num_edges, f"{folder}/graph", num_nodes)
    labels = kind == "community" and tree.get("input", {}).get("labels")
    given = {"edges": f"{folder}/graph/edges"} | ({"labels": f"{folder}/graph/labels"} if labels else {})
    config = config_of({**tree, "input": given, "output": {"root": f"{folder}/tables", "report": False}})
    return run_pipeline(config, spark=spark)


def rows_of(run: Run, kind: str) -> list[dict[str, Any]]:
    """What a finished run has used: a row per step that had something to do."""
    told, cores = run.ingested, run.spark.sparkContext.defaultParallelism
    graph = {"kind": kind, "nodes": told.nodes, "edges": told.edges + told.holdout_edges, "cores": cores}
    return [
        {
            **graph,
            "step": step,
            "seconds": round(record["seconds"], 2),
            "peak_memory_mb": round(record["peak_memory_mb"]),
            **run.details(step)[USAGE],
        }
        for step in ALL_STEPS
        if asked_for(run.config, step) and (record := run.newest(step)) is not None
    ]


def learning_apart(rows: Iterable[dict[str, Any]], run: Run) -> list[dict[str, Any]]:
    """The rows of a run, with what predict_nodes has spent on learning as a row of its own."""
    spent, most = run.details("predict_nodes").get("learning_s"), run.config.predict.nodes.max_train_nodes
    found = []
    for row in rows:
        if row["step"] == "predict_nodes" and spent is not None:
            learnt = {"step": LEARNING, "seconds": spent, "edges": 0, "nodes": min(row["nodes"], most)}
            found.append({**{name: row[name] for name in ("kind", "cores")}, **learnt})
            row = {**row, "seconds": row["seconds"] - spent}
        found.append(row)
    return found


def submit() -> None:
    """What jobs/calibrate.py does under spark-submit."""
    description = "calibrate: what the steps cost on this cluster, for `graphseam plan`."
    parser = job_arguments(description, "TOML file; its input is not read")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="edges of the graphs, apart by commas")
    parser.add_argument("--output", required=True, help="file for the costs, where the driver runs")
    given = parser.parse_args()
    with one_clear_line():
        config = load_config(given.config, given.set)
        write_costs(calibrate(build_session("graphseam calibrate"), config, sizes_of(given.sizes)), given.output)


def sizes_of(text: str) -> list[int]:
    """Numbers of edges apart by commas; ConfigError if one is none."""
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1000:
        raise ConfigError(
            f"sizes are {text!r}; give numbers of edges apart by commas, of 1,000 or more, as in 100000,400000"
        )
    return sizes


def write_costs(costs: Costs, output: str) -> None:
    path = Path(output)
    path.write_text(costs.to_json() + "\n", encoding="utf-8")
    print(f"{path}: costs of {len(costs.of)} steps, from {costs.measured}; graphseam plan --costs {path} ...")
