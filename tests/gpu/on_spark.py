"""The demo on Spark with the real GPU as a resource: found by the real script, given to tasks, shared by them."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from itertools import combinations
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from gpu.inputs import SCRATCH, Sizes
from gpu.machine import Machine
from gpu.results import Results

REPOSITORY = Path(__file__).resolve().parents[2]
CLUSTER, LOCAL_MASTER = "local-cluster[1,2,4096]", "local[2]"
DIM = 64
PATIENCE_S = 60
SET_HERE = ("spark.jars.packages", "spark.executor.cores", "spark.executor.memory", "spark.executor.memoryOverhead")


def run(results: Results, machine: Machine, sizes: Sizes) -> None:
    """Two tasks at a time on one executor that has the GPU; a run each for how they may share it."""
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")  # the machine's own name may lead nowhere
    os.environ["PYSPARK_PYTHON"] = sys.executable
    began = time.monotonic()
    spark, master = session(machine)
    results.cell("session", lambda: {"master": master, "seconds": time.monotonic() - began, "spark": spark.version})
    memory_mb = 0 if machine.dry_run else _gpu_memory_mb()
    on_gpu = master == CLUSTER and not machine.dry_run
    try:
        # as conf/spark-gpu.conf shares it: a quarter of the GPU for every task
        results.cell("demo", lambda: demo(spark, "demo", on_gpu, last="publish"))
        # the stage asks by its subgraphs' forecasts: small ones share
        shared = {"gpu_memory_mb": memory_mb, "method": "deepwalk", "num_walks": 2}
        results.cell("small subgraphs share", lambda: demo(spark, "shared", on_gpu, **shared))
        # a GPU that looks so small that each of the same subgraphs fills more than a quarter of it
        alone = {"gpu_memory_mb": 1500 if memory_mb else 0, "method": "prone"}
        results.cell("large ones do not", lambda: demo(spark, "alone", on_gpu, **alone))
    finally:
        spark.stop()


def session(machine: Machine) -> tuple[SparkSession, str]:
    """One executor, with the GPU if there is one; where that does not start, a plain session on two cores."""
    try:
        return _started(CLUSTER, {**({} if machine.dry_run else with_gpu()), **_executors()}), CLUSTER
    except Exception as error:
        print(f"{CLUSTER} did not start, going on with {LOCAL_MASTER}: {error}"[:2000], flush=True)
    return _started(LOCAL_MASTER, {}), LOCAL_MASTER


def with_gpu() -> dict[str, str]:
    """conf/spark-gpu.conf, but for what fits this small master, and the worker's half that a cluster has set up."""
    lines = (REPOSITORY / "conf" / "spark-gpu.conf").read_text(encoding="utf-8").splitlines()
    given = dict(line.split(None, 1) for line in lines if line.strip() and not line.startswith("#"))
    discovery = str(REPOSITORY / given["spark.executor.resource.gpu.discoveryScript"])
    return {
        **{key: value.strip() for key, value in given.items() if key not in SET_HERE},
        "spark.executor.resource.gpu.discoveryScript": discovery,
        "spark.worker.resource.gpu.amount": "1",
        "spark.worker.resource.gpu.discoveryScript": discovery,
    }


def _executors() -> dict[str, str]:
    return {
        "spark.executor.cores": "2",
        "spark.executor.memory": "3g",
        "spark.executorEnv.PYTHONPATH": os.pathsep.join(sys.path),
        "spark.python.daemon.module": "graphseam.worker_daemon",
    }


def _started(master: str, settings: dict[str, str]) -> SparkSession:
    from graphseam.session import BOUNDED, LOCAL, REQUIRED

    builder = SparkSession.builder.master(master).appName("graphseam on a GPU")
    quiet = {**LOCAL, "spark.driver.memory": "3g", "spark.log.level": "WARN"}
    quiet["spark.sql.warehouse.dir"] = (SCRATCH / "warehouse").as_uri()
    for key, value in {**REQUIRED, **BOUNDED, **quiet, **settings}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    # tasks wait for ever for a resource that no executor has
    patience = threading.Timer(PATIENCE_S, spark.sparkContext.cancelAllJobs)
    patience.start()
    try:
        spark.range(10).count()
    except Exception:
        spark.stop()
        raise
    finally:
        patience.cancel()
    return spark


def demo(spark: SparkSession, run_id: str, on_gpu: bool, last: str = "embed", **embed: Any) -> dict[str, Any]:
    """conf/demo.toml up to a step, and what subgraph_stats says of its tasks."""
    from conftest import run_steps
    from graphseam.config import load_config

    root = SCRATCH / "tables" / run_id
    shutil.rmtree(root, ignore_errors=True)
    settings = {"output.root": str(root), "embed.dim": DIM, "embed.device": "auto"}
    settings |= {f"embed.{key}": value for key, value in embed.items()}
    config = load_config(str(REPOSITORY / "conf" / "demo.toml"), [f"{key}={value}" for key, value in settings.items()])
    began = time.monotonic()
    run = run_steps(spark, config, run_id, last)
    seconds = time.monotonic() - began
    rows = [row.asDict() for row in run.tables.read("subgraph_stats").collect()]  # one row a subgraph
    told = {
        "seconds": seconds,
        "subgraphs": len(rows),
        "devices": ", ".join(sorted({row["device"] for row in rows})),
        "gpus": ", ".join(sorted({str(row["gpu"]) for row in rows})),
        "processes": len({row["process"] for row in rows}),
        "at_once_on_one_gpu": overlapping(rows),
        "gpu_peak_mb": max((row["gpu_peak_mb"] or 0 for row in rows), default=0),
        "gpu_predicted_mb": max((row["gpu_predicted_mb"] or 0 for row in rows), default=0),
        "embedding_s": sum(row["seconds"] for row in rows),
    }
    wrong = on_gpu and {row["device"] for row in rows} != {"cuda:0"}
    return {**told, "error": "subgraphs were not embedded on the GPU"} if wrong else told


def overlapping(rows: list[dict[str, Any]]) -> int:
    """Pairs of subgraphs that were embedded on one GPU at the same time."""
    spans = [
        (row["gpu"], row["started_at"].timestamp(), row["started_at"].timestamp() + row["seconds"]) for row in rows
    ]
    return sum(one[0] == other[0] and one[1] < other[2] and other[1] < one[2] for one, other in combinations(spans, 2))


def _gpu_memory_mb() -> int:
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory / 2**20)
