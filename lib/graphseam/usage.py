"""What a step used beside time and memory: seconds of tasks, bytes shuffled, and room on this machine's disks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from graphseam.files import absolute, is_remote, local_path, size_of

MB = 1 << 20
TASK_SECONDS, SHUFFLED_MB, DISK_MB, TABLES_MB = "task_seconds", "shuffled_mb", "disk_mb", "tables_mb"


@dataclass(frozen=True)
class Totals:
    """Of all executors since the session began: seconds that tasks ran, bytes they wrote for shuffles."""

    task_s: float = 0.0
    shuffled: int = 0

    def since(self, before: Totals) -> dict[str, float]:
        """What was added since, as a step reports it."""
        return {
            TASK_SECONDS: round(self.task_s - before.task_s, 1),
            SHUFFLED_MB: round((self.shuffled - before.shuffled) / MB, 1),
        }


def totals(spark: SparkSession) -> Totals:
    """Read from Spark's own status store, which it keeps with and without a web server; lost executors count.

    Zeros where it cannot be read: a figure in a report is not worth a failed run. Cost: milliseconds.
    """
    with suppress(Exception):
        task_ms = shuffled = 0
        for executor in _kept(spark, "ExecutorSummaryWrapper"):  # executorList's driver has its age instead
            task_ms += executor.totalDuration()
            shuffled += executor.totalShuffleWrite()
        return Totals(task_ms / 1000, shuffled)
    return Totals()


def totals_of_group(spark: SparkSession, group: str) -> Totals:
    """As `totals`, of the jobs of one group alone, so far as Spark still knows them.

    Cost: a millisecond per job and stage.
    """
    with suppress(Exception):
        stages: set[int] = set()
        for job in _kept(spark, "JobDataWrapper"):
            if job.jobGroup().isDefined() and job.jobGroup().get() == group:
                stages |= {job.stageIds().apply(at) for at in range(job.stageIds().size())}
        task_ms = shuffled = 0
        for stage in stages:
            with suppress(Exception):  # one that was skipped, as its result was there
                data = _status(spark).lastStageAttempt(stage)
                task_ms += data.executorRunTime()
                shuffled += data.shuffleWriteBytes()
        return Totals(task_ms / 1000, shuffled)
    return Totals()


def _status(spark: SparkSession) -> Any:
    return spark.sparkContext._jsc.sc().statusStore()


def _kept(spark: SparkSession, kind: str) -> Iterator[Any]:
    """What Spark's status store holds of a kind."""
    context: Any = spark.sparkContext
    kept = _status(spark).store().view(context._jvm.java.lang.Class.forName(f"org.apache.spark.status.{kind}"))
    stored = kept.iterator()
    while stored.hasNext():
        yield stored.next().info()


def room_used(folders: Iterable[str]) -> Callable[[], float]:
    """A function that tells how many MB of the disks that hold these folders have been filled since now.

    Whatever else fills them counts too: for a machine that one run has to itself. Folders that do not exist yet are on
    the disk of the closest one above that does.
    """
    places = {os.stat(place).st_dev: place for place in map(existing, folders)}
    before = {place: _free_mb(place) for place in places.values()}
    return lambda: sum(free - _free_mb(place) for place, free in before.items())


def existing(folder: str) -> str:
    """The folder, or the closest one above it that exists."""
    place = Path(folder).resolve()
    while not place.exists():
        place = place.parent
    return str(place)


def _free_mb(folder: str) -> float:
    return shutil.disk_usage(folder).free / MB


def bytes_of_run(root: str, run_id: str, tables: Iterable[str]) -> float | None:
    """Bytes that the run's rows of these tables take, replaced ones included; None where only Spark can look."""
    if not root or is_remote(root):
        return None
    places = [Path(local_path(absolute(root)), name, f"run_id={run_id}") for name in tables]
    return sum(size_of(str(place)) for place in places if place.is_dir())
