"""What stopped Spark, in one line: the deepest cause instead of the call that failed, and what it means."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress

from pyspark import SparkContext

DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|ENOSPC|not enough space", re.IGNORECASE)
WORKER_LOST = re.compile(r"Python worker exited unexpectedly|Python worker failed to connect back|EOFException")
EXECUTOR_LOST = re.compile(r"ExecutorLostFailure \([^)]*\)[^\n]*|Executor heartbeat timed out[^\n]*")
PERMISSION = re.compile(r"[^\n]*(?:Permission denied|Read-only file system)[^\n]*", re.IGNORECASE)
PYTHON_ERROR = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt)\b(?::.*)?$", re.MULTILINE)
JAVA_CLASS = re.compile(r"^(?:[a-z][\w$]*\.)+[A-Z][\w$]*: ")
MOST_CAUSES, MOST_LETTERS = 20, 500
ALMOST_FULL = 0.02  # of a disk is free


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
        return _short(python[-1])
    if WORKER_LOST.search(text):
        return (
            "a Python worker ended without a word, most often because the system stopped it as memory ran out; let "
            "each task use less by run.task_memory_mb, or fewer run at once"
        )
    if refused := PERMISSION.search(text):
        return JAVA_CLASS.sub("", _short(refused[0]))
    return JAVA_CLASS.sub("", _short(messages[-1])) if messages else type(error).__name__


def _messages(error: BaseException) -> list[str]:
    """The texts of the error and of its Java causes, outermost first."""
    told = [str(error)] if str(error) else []
    cause = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    with suppress(Exception):
        while cause is not None and len(told) < MOST_CAUSES:
            told.append(str(cause.toString()))
            cause = cause.getCause()
    return [message for message in told if message.strip()]


def _disk_full(text: str) -> str:
    """Which disk is full, and what lies on it. Paths in the messages may name it; else those with no room left."""
    named = re.findall(r"(/[^\s:()']+)", "\n".join(line for line in text.splitlines() if DISK_FULL.search(line)))
    shuffled = shuffle_folders()
    full = [folder for folder in shuffled if _free_share(folder) < ALMOST_FULL]
    where = next(iter(full or named), None)
    kind = ", which holds Spark's shuffle files" if where in shuffled else ""
    return (
        f"a disk is full{f': that of {where}{kind}' if where else ''}; free some of it, or put Spark's files on a "
        "larger one by SPARK_LOCAL_DIRS (locally) or spark.local.dir"
    )


def shuffle_folders() -> list[str]:
    """Where Spark keeps shuffle files on this machine."""
    folders = os.environ.get("SPARK_LOCAL_DIRS")
    context = SparkContext._active_spark_context
    with suppress(Exception):
        folders = folders or (context.getConf().get("spark.local.dir") if context else None)
    return (folders or tempfile.gettempdir()).split(",")


def _free_share(folder: str) -> float:
    with suppress(OSError):
        usage = shutil.disk_usage(folder)
        return usage.free / usage.total
    return 1.0


def _short(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[0][:MOST_LETTERS] if lines else ""
