"""Before a cluster works for an hour: has it given any executor, and does that have what the steps import?"""

from __future__ import annotations

import platform
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from graphseam.causes import SAME_ENVIRONMENT
from graphseam.config import Config
from graphseam.errors import RunError
from graphseam.progress import StepProgress
from graphseam.runs import versions_of
from graphseam.session import in_one_process

ON_EXECUTORS = ("numpy", "pyarrow", "pandas", "scipy", "torch", "numba", "scikit-learn", "pymetis", "threadpoolctl")
FIRST_WORD_S, MORE_WORDS_EVERY_S = 30.0, 300.0
GROUP, MOST_NAMED = "graphseam-preflight", 4


@dataclass(frozen=True, order=True)
class Executor:
    """What one host's Python has. missing: packages; differing: those of other versions than the driver's."""

    host: str
    python: str
    missing: tuple[str, ...]
    differing: tuple[str, ...]

    @property
    def same_python(self) -> bool:
        return self.python.rpartition(".")[0] == platform.python_version().rpartition(".")[0]


def ask_executors(spark: SparkSession) -> list[Executor]:
    """Look at the Python of the executors by a task for each core; one entry per host and finding."""
    tasks = max(1, spark.sparkContext.defaultParallelism)
    wanted, (own, _) = ON_EXECUTORS, versions_of(ON_EXECUTORS)

    def look(_: Any) -> Iterator[Executor]:
        found, missing = versions_of(wanted)
        differing = [f"{name} {number} ({own[name]} here)" for name, number in found.items() if own.get(name) != number]
        yield Executor(socket.gethostname(), platform.python_version(), tuple(missing), tuple(differing))

    return sorted(set(spark.sparkContext.parallelize(range(tasks), tasks).mapPartitions(look).collect()))


def require_executors(spark: SparkSession, config: Config, progress: StepProgress) -> None:
    """Wait for a first executor, and look at the packages of those that are there; nothing to do on one machine.

    Errors: RunError if the cluster gives none within run.executors_within_s, or if one lacks a package. Other versions
    than the driver's are a warning. Cost: one job with a task for each core.
    """
    if in_one_process(spark):
        return
    with progress.doing("executors") as say, _given_up_after(spark, config.run.executors_within_s, progress.warn):
        found = ask_executors(spark)
        for executor in found:
            if executor.missing:
                raise RunError(
                    f"an executor on {executor.host} (Python {executor.python}) lacks {', '.join(executor.missing)}; "
                    f"{SAME_ENVIRONMENT}"
                )
        say(f"with what the steps need on {', '.join(sorted({executor.host for executor in found})[:MOST_NAMED])}")
    for executor in found:
        if executor.differing:
            progress.warn(f"{executor.host} has other versions than the driver: {', '.join(executor.differing)}")


@contextmanager
def _given_up_after(spark: SparkSession, limit_s: float, warn: Callable[[str], None]) -> Iterator[None]:
    """While the block waits for a first executor, say so now and then; after the limit end its job and say what was
    asked for."""
    context, done, given_up = spark.sparkContext, threading.Event(), threading.Event()
    started = time.monotonic()

    def has_none() -> bool:
        with suppress(Py4JError, OSError):  # Java has ended; what the block raises says why
            return bool(context._jsc.sc().getExecutorMemoryStatus().size() < 2)  # the driver is one
        return False

    def watch() -> None:
        next_word = FIRST_WORD_S
        while has_none() and not done.wait(0.5):
            waited = time.monotonic() - started
            if waited > limit_s:
                given_up.set()
                context.cancelJobGroup(GROUP)
                return
            if waited > next_word:
                warn(f"no executor for {waited:.0f} s: {_request(spark)}; the cluster's manager says why it gives none")
                next_word += MORE_WORDS_EVERY_S

    names = ("spark.jobGroup.id", "spark.job.description", "spark.job.interruptOnCancel")  # a notebook sets its own
    before = {name: context.getLocalProperty(name) for name in names}
    watcher = threading.Thread(target=watch, daemon=True)
    context.setJobGroup(GROUP, "look at the executors", interruptOnCancel=True)
    watcher.start()
    try:
        yield
    except (PySparkException, Py4JError) as error:
        if not given_up.is_set():
            raise
        raise RunError(
            f"no executor accepted the request within {limit_s:,.0f} s: {_request(spark)}; let executors ask for what "
            "a machine of the cluster has, or wait longer by run.executors_within_s"
        ) from error
    finally:
        done.set()
        watcher.join()
        for name, value in before.items():
            context.setLocalProperty(name, value)  # type: ignore[arg-type]  # None takes it away


def _request(spark: SparkSession) -> str:
    """What each executor asks for, with the settings that say so."""
    conf = spark.sparkContext.getConf()
    memory = f"{conf.get('spark.executor.memory', '1g')} of memory (spark.executor.memory"
    overhead = conf.get("spark.executor.memoryOverhead")
    cores = conf.get("spark.executor.cores")
    asked = [
        f"{memory}, and {overhead} of spark.executor.memoryOverhead)" if overhead else f"{memory}, and its overhead)",
        f"{cores} cores (spark.executor.cores)" if cores else "",
    ]
    if gpus := conf.get("spark.executor.resource.gpu.amount"):
        asked.append(f"{gpus} GPUs (spark.executor.resource.gpu.amount)")
    return "each asks for " + ", ".join(part for part in asked if part)
