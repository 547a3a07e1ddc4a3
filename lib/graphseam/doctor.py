"""Whether a machine, or a cluster's executors, have what graphseam needs: `graphseam doctor`, jobs/doctor.py."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from pyspark.sql import SparkSession

from graphseam.causes import SAME_ENVIRONMENT, shuffle_folders, true_cause
from graphseam.entry import one_clear_line
from graphseam.files import is_remote, local_path
from graphseam.gpus import has_gpus
from graphseam.heap import local_heap
from graphseam.jars import PACKAGES
from graphseam.preflight import ON_EXECUTORS, ask_executors
from graphseam.runs import versions_of
from graphseam.session import build_session
from graphseam.version import __version__

GOOD, WARNING, BAD = "ok", "note", "bad"
OLDEST_JAVA = 17
LEAST_MEMORY_GB, LEAST_DISK_GB = 4, 5
GB = 1e9


@dataclass(frozen=True)
class Check:
    """status: ok, note (works, but look) or bad (does not work). said: what was found and, unless ok, what to do."""

    name: str
    status: str
    said: str


def examine(root: str | None = None) -> Iterator[Check]:
    """Check this machine, the quick things first, and last a local Spark session that writes and reads a Delta table.

    root: a directory for tables that is to be checked as well. Cost: about 15 s, most of them to start Spark.
    """
    yield Check("graphseam", GOOD, f"{__version__}, Python {platform.python_version()}, {sys.executable}")
    yield check_java()
    yield Check("packages", *_packages())
    yield from check_jars()
    yield check_memory()
    yield check_disk(
        "scratch disk", shuffle_folders()[0], "Spark's shuffle files; SPARK_LOCAL_DIRS names another folder"
    )
    if root and not is_remote(root):
        yield check_disk("tables", local_path(root), "the tables of --root")
    yield check_gpu()
    yield check_session()


def check_java() -> Check:
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else shutil.which("java")
    if not java:
        return Check("Java", BAD, "no `java` on PATH and no JAVA_HOME; install a Java runtime of version 17 (OpenJDK)")
    try:
        told = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError) as error:
        return Check("Java", BAD, f"{java} does not run ({error}); install Java 17, or set JAVA_HOME")
    number = re.search(r'version "(?:1\.)?(\d+)', told)
    first = told.splitlines()[0] if told else "no version told"
    if number is None or int(number[1]) < OLDEST_JAVA:
        return Check("Java", BAD, f"{first} ({java}); Spark needs Java {OLDEST_JAVA} or newer: set JAVA_HOME to one")
    return Check("Java", GOOD, f"{first} ({java})")


def _packages() -> tuple[str, str]:
    found, missing = versions_of(("pyspark", "delta-spark", *ON_EXECUTORS))
    if missing:
        return BAD, f"missing: {', '.join(missing)}; install graphseam with its dependencies"
    return GOOD, ", ".join(f"{name} {number}" for name, number in found.items())


def check_jars() -> Iterator[Check]:
    for package in PACKAGES.values():
        if package.is_here():
            yield Check(f"{package.name} jar", GOOD, package.coordinate())
        elif package.name == "delta":
            yield Check(
                "delta jar", WARNING, f"not here: each session fetches it; `graphseam jars --fetch {package.name}`"
            )
        else:
            yield Check(f"{package.name} jar", GOOD, f"not here, and only needed {package.why}")


def check_memory() -> Check:
    memory = psutil.virtual_memory()
    said = (
        f"{memory.total / GB:.1f} GB, of which {memory.available / GB:.1f} are free; {os.cpu_count()} cores; a local "
        f"session gives Java {local_heap()}"
    )
    if memory.available < LEAST_MEMORY_GB * GB:
        return Check("memory", WARNING, f"{said}; a run wants {LEAST_MEMORY_GB} GB free: close something, or cut finer")
    return Check("memory", GOOD, said)


def check_disk(name: str, folder: str, why: str) -> Check:
    """Whether the folder (or the nearest one above it that exists) can be written to and has room."""
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK):
        return Check(name, BAD, f"{place} cannot be written to ({why})")
    free = shutil.disk_usage(place).free / GB
    said = f"{free:.0f} GB free in {place} ({why})"
    return Check(name, GOOD if free >= LEAST_DISK_GB else WARNING, said)


def check_gpu() -> Check:
    import torch

    if not torch.cuda.is_available():
        return Check("GPU", GOOD, "none that torch can use; subgraphs are embedded on the CPU")
    names = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    return Check(
        "GPU", GOOD, f"{', '.join(names)}; tasks get one if the session has GPU resources, see conf/spark-gpu.conf"
    )


def check_session() -> Check:
    """Start a local session, write a small Delta table through a Python worker, and read it."""
    try:
        spark = build_session("graphseam doctor", local=True)
        with tempfile.TemporaryDirectory(prefix="graphseam-doctor-") as folder:
            rows = spark.range(3).mapInArrow(lambda batches: batches, "id BIGINT")
            rows.write.format("delta").save(f"{folder}/table")
            count = spark.read.format("delta").load(f"{folder}/table").count()
    except Exception as error:
        return Check("Spark", BAD, f"a session that writes a Delta table failed: {true_cause(error)}")
    if count != 3:
        return Check("Spark", BAD, f"of 3 rows written to a Delta table, {count} came back")
    return Check("Spark", GOOD, f"{spark.version}: wrote and read a Delta table through a Python worker")


def check_executors(spark: SparkSession) -> list[Check]:
    """What each executor's Python has, by a task for each core; on a cluster, jobs/doctor.py."""
    checks = []
    for executor in ask_executors(spark):
        wrong = [f"Python {executor.python}, and the driver has {platform.python_version()}"] * (
            not executor.same_python
        )
        wrong += [f"missing: {', '.join(executor.missing)}"] * bool(executor.missing)
        status = BAD if wrong else WARNING if executor.differing else GOOD
        wrong += [f"other versions: {', '.join(executor.differing)}"] * bool(executor.differing)
        way_on = [SAME_ENVIRONMENT] * (status == BAD)
        said = "; ".join(wrong + way_on) or f"Python {executor.python}, all packages as here"
        checks.append(Check(f"executor {executor.host}", status, said))
    gpus = has_gpus(spark)
    checks.append(Check("GPUs", GOOD, "the session has GPU resources" if gpus else "the session has none"))
    return checks


def told(check: Check) -> str:
    """A line for a terminal or a log."""
    return f"{check.status:<5} {check.name:<16} {check.said}"


def submit() -> None:
    """The job under spark-submit: exit with 0, or with 1 if an executor lacks something."""
    argparse.ArgumentParser(description="doctor: what the driver and each executor have.").parse_args()
    with one_clear_line():
        spark = build_session("graphseam doctor")
        checks = [check_java(), Check("Spark", GOOD, f"{spark.version} on {spark.sparkContext.master}")]
        checks += check_executors(spark)
        print("\n".join(map(told, checks)))
        sys.exit(any(check.status == BAD for check in checks))
