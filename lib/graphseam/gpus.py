"""Which subgraphs share a GPU, and which resources a task requests from Spark for that."""

from __future__ import annotations

from typing import NamedTuple

from pyspark.resource import ResourceProfile, ResourceProfileBuilder, TaskResourceRequests
from pyspark.sql import SparkSession


class GpuShare(NamedTuple):
    """Some subgraphs, and the GPUs that each of their tasks gets; 0: as set for the job."""

    gpus: float
    subgraphs: list[int]


def gpu_shares(predicted_mb: dict[int, float], gpu_memory_mb: int, share: float) -> list[GpuShare]:
    """Large subgraphs, with one GPU each, and small ones, of which 1 / share fit on one GPU, with that share of it.

    predicted_mb: {subgraph: MB}. gpu_memory_mb 0: unknown, so Spark's own setting holds for all.
    """
    if gpu_memory_mb == 0:
        return [GpuShare(0.0, sorted(predicted_mb))]
    small = [subgraph for subgraph, needed in sorted(predicted_mb.items()) if needed <= share * gpu_memory_mb]
    large = sorted(set(predicted_mb) - set(small))
    return [GpuShare(gpus, chosen) for gpus, chosen in ((1.0, large), (share, small)) if chosen]


def has_gpus(spark: SparkSession) -> bool:
    """Whether the session's executors were started with GPUs."""
    return float(spark.sparkContext.getConf().get("spark.executor.resource.gpu.amount", "0") or 0) > 0


def task_profile(spark: SparkSession, gpus: float) -> ResourceProfile | None:
    """What each task of the stage requests; None: as set for the job. Requests no executors: the running ones are used.

    Source: the two profiles of spark-rapids-ml, whose training stage requests whole GPUs while its ETL shares them.
    """
    if gpus == 0:
        return None
    cpus = int(spark.sparkContext.getConf().get("spark.task.cpus", "1") or 1)
    return ResourceProfileBuilder().require(TaskResourceRequests().cpus(cpus).resource("gpu", gpus)).build
