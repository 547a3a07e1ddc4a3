"""What stopped Spark, in one line: the deepest cause instead of the call that failed, and what it means."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress

from pyspark import SparkContext

from graphseam.files import size_told

DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|ENOSPC|not enough space", re.IGNORECASE)
WORKER_LOST = re.compile(r"Python worker exited unexpectedly|Python worker failed to connect back|EOFException")
EXECUTOR_LOST = re.compile(r"ExecutorLostFailure \([^)]*\)[^\n]*|Executor heartbeat timed out[^\n]*")
PERMISSION = re.compile(r"[^\n]*(?:Permission denied|Read-only file system)[^\n]*", re.IGNORECASE)
PYTHON_ERROR = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt)\b(?::.*)?$", re.MULTILINE)
JAVA_CLASS = re.compile(r"^(?:[a-z][\w$]*\.)+[A-Z][\w$]*: ")
MOST_CAUSES, MOST_LETTERS = 20, 500
SAME_ENVIRONMENT = "give executors the driver's environment, see docs/deploy.md"
written_to: set[str] = set()  # folders of tables, so that a full disk can be named where an error only says that one is


def true_cause(error: BaseException) -> str:
    """One line for an error of Spark, py4j or the connection between them. It asks the JVM, which may be gone."""
    messages = _messages(error)
    text = "\n".join(messages)
    if DISK_FULL.search(text):
        return _disk_full(text)
    if lost := EXECUTOR_LOST.search(text):
        return f"an executor was lost: {_short(lost[0])}"
    python = [found for found in PYTHON_ERROR.findall(text) if "Py4J" not in found and "SparkException" not in found]
    if "Traceback (most recent call last)" in text and python:
        lacking = python[-1].startswith("ModuleNotFoundError")
        return _short(python[-1]) + f" on an executor: {SAME_ENVIRONMENT}" * lacking
    if WORKER_LOST.search(text):
        return (
            "a Python worker ended without a word, most often because the system stopped it as memory ran out; let "
            "each task use less by run.task_memory_mb, or fewer run at once"
        )
    if refused := PERMISSION.search(text):
        return JAVA_CLASS.sub("", _short(refused[0]))
    if not messages:
        return f"its Java process answers no more ({type(error).__name__})"
    return JAVA_CLASS.sub("", _short(messages[-1]))


def _messages(error: BaseException) -> list[str]:
    """The texts of the error and of its Java causes, outermost first."""
    told = []
    with suppress(Exception):  # the text of an error of Java is queried from it
        told.append(str(error))
    cause = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    with suppress(Exception):
        while cause is not None and len(told) < MOST_CAUSES:
            told.append(str(cause.toString()))
            cause = cause.getCause()
    return [message for message in told if message.strip()]


def _disk_full(text: str) -> str:
    """Which disk is full, and what lies on it: of those that are written to the one with the least room left, as what
    did not fit has been removed again; else what the messages name."""
    named = re.findall(r"(/[^\s:()']+)", "\n".join(line for line in text.splitlines() if DISK_FULL.search(line)))
    shuffled = shuffle_folders()
    folders = (*shuffled, *sorted(written_to), tempfile.gettempdir())
    candidates = {folder: free for folder in folders if (free := _free_bytes(folder)) is not None}
    where = min(candidates, key=lambda folder: candidates[folder], default=next(iter(named), None))
    if where in shuffled:
        kind, way_out = ", which holds Spark's shuffle files", "put these on a larger one by SPARK_LOCAL_DIRS"
    elif where in written_to:
        kind, way_out = ", which holds the tables", "`graphseam prune` removes old runs, output.root names another"
    elif where == tempfile.gettempdir():
        kind, way_out = ", which holds temporary arrays", "set TMPDIR to a larger one"
    else:
        kind, way_out = "", "put Spark's files on a larger one by SPARK_LOCAL_DIRS (locally) or spark.local.dir"
    told = f" ({size_told(candidates[where])} free now)" if where in candidates else ""
    return f"a disk is full{f': that of {where}{kind}{told}' if where else ''}; free some of it, or {way_out}"


def cause_in_the_system(error: OSError) -> str:
    """One line for what the operating system refused."""
    if DISK_FULL.search(str(error)):
        return _disk_full(str(error))
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def shuffle_folders() -> list[str]:
    """Where Spark keeps shuffle files on this machine."""
    folders = os.environ.get("SPARK_LOCAL_DIRS")
    context = SparkContext._active_spark_context
    with suppress(Exception):
        folders = folders or (context.getConf().get("spark.local.dir") if context else None)
    return (folders or tempfile.gettempdir()).split(",")


def _free_bytes(folder: str) -> float | None:
    with suppress(OSError):
        return shutil.disk_usage(folder).free
    return None


def _short(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[0][:MOST_LETTERS] if lines else ""
