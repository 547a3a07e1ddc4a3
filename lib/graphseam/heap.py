"""Out-of-memory errors of Java: which memory was full and which setting bounds it, in one line."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from graphseam.errors import HeapError

LOCAL_HEAP, LOCAL_DEFAULT = "GRAPHSEAM_DRIVER_MEMORY", "4g"
DRIVER, EXECUTOR = "spark.driver.memory", "spark.executor.memory"
HEAP_FULL = "Java heap space"
EXIT_CODE = 52  # SparkExitCode.OOM, of a JVM ended by an OutOfMemoryError
EXIT_WAIT_S = 20
OUT_OF_MEMORY = re.compile(r"OutOfMemoryError:?[ \t]*([^\n]*)")
# The message of a call whose Java process ended before it could report what went wrong: nothing follows.
CUT_SHORT = re.compile(r"An error occurred while calling [\w.$]+\s*:?\s*(?:None\s*)?(?:\w+Error:|\Z)")
UNDER_SUBMIT = "PYSPARK_GATEWAY_PORT"  # set by spark-submit for the Python process it starts
# Memory outside the heap, by its name in Java's message: its name in ours, and the setting that bounds it.
OUTSIDE = {
    "Metaspace": ("room for classes", "-XX:MaxMetaspaceSize"),
    "Direct buffer memory": ("direct buffers", "-XX:MaxDirectMemorySize"),
    "native thread": ("number of threads", "the operating system, as `ulimit -u` tells, not"),
}


logs: list[Path] = []  # what Java printed in a local session of this process
configured: dict[str, str] = {}  # what `remember_heaps` recorded, for when the JVM that knows it is gone


def remember_heaps(context: SparkContext) -> None:
    """Record how large the heaps of the driver and the executors are."""
    with suppress(Exception):
        conf = context.getConf()
        configured.update({key: conf.get(key, "1g") or "1g" for key in (DRIVER, EXECUTOR)})


def local_heap() -> str:
    """The heap of a local session, unless something else is configured."""
    return os.environ.get(LOCAL_HEAP, LOCAL_DEFAULT)


def megabytes(size: str) -> int | None:
    """MB of a size in Java's notation, '4g' or '512m'; None for any other notation."""
    found = re.fullmatch(r"(\d+)([kmgt])b?", size.strip(), re.IGNORECASE)
    return int(int(found[1]) * 1024.0 ** ("kmgt".index(found[2].lower()) - 1)) if found else None


@contextmanager
def heap_errors_told(way_on: str = "") -> Iterator[None]:
    """An OutOfMemoryError of the driver or an executor inside the block becomes a HeapError, which says what to set.

    way_on: how to continue afterwards, the end of the message.
    """
    try:
        yield
    except (PySparkException, Py4JError, ConnectionError) as error:
        told = what_was_full(error)
        if told is None:
            raise
        raise HeapError(told + (f"; {way_on}" if way_on else "")) from error


def what_was_full(error: BaseException) -> str | None:
    """The message for an error of Spark that was caused by an OutOfMemoryError; None for any other error.

    In a local session an OutOfMemoryError ends the JVM, and all that is seen here is a broken connection: then the log
    or the exit status of the JVM decides, waited for at most 20 seconds.
    """
    text = _text_of(error)
    found = OUT_OF_MEMORY.search(text)
    if found is not None:
        lost_tasks = re.findall(r"Lost task[^\n]*?executor (\w+)\)", text[: found.start()])
        return _sentence(found[1].strip() or HEAP_FULL, bool(lost_tasks) and lost_tasks[-1] != "driver")
    if "Not enough memory to build and broadcast" in text:  # Spark's wording of the error in its broadcasts
        return _sentence("a table to be broadcast did not fit", on_executor=False)
    if re.search(rf"exit(?:ed with)? (?:code|status):? {EXIT_CODE}\b", text):
        return _sentence(HEAP_FULL, on_executor=True)
    if (
        not text
        or "ConnectionRefusedError" in text
        or "Py4JNetworkError" in text
        or "was shut down" in text
        or CUT_SHORT.search(text)
    ):
        return _sentence_for_the_dead()
    return None


def end_local_jvm() -> None:
    """End the JVM that this process started, if any: after a full heap its log would go on below our message."""
    process = getattr(SparkContext._gateway, "proc", None)
    if process is not None and UNDER_SUBMIT not in os.environ:
        process.kill()
        process.wait()


def silence_py4j() -> None:
    """Keep py4j from logging a broken connection with its traceback: it raises the error as well, and that is told.

    It logs most of this by its own loggers and some by the root logger, which then gets a handler for the others too.
    """
    logging.getLogger("py4j").propagate = False
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)  # pyspark's: logs errors that it raises too
    logging.getLogger().addFilter(_not_of_py4j)


def _not_of_py4j(record: logging.LogRecord) -> bool:
    return "py4j" not in record.pathname


def _text_of(error: BaseException | None) -> str:
    """The text of the error and of its causes. It is queried from the JVM, which may be gone by now."""
    told: list[str] = []
    while error is not None and len(told) < 20:
        message = ""
        with suppress(Exception):
            message = f"{error} {getattr(error, '_stackTrace', None) or ''}"
        told.append(f"{type(error).__name__}: {message}" if message.strip() else "")
        error = error.__cause__ or error.__context__
    return "\n".join(told).strip()


def _sentence_for_the_dead() -> str | None:
    """For a JVM that has ended or is about to. If spark-submit started it, this process cannot see its exit status."""
    if UNDER_SUBMIT in os.environ:
        heap = _configured(DRIVER)
        return (
            "the Java process of Spark's driver ended in the middle of the work, and its log says why; if by an "
            f"OutOfMemoryError: its heap is {heap} (spark.driver.memory), give it more by spark-submit "
            f"--driver-memory {_doubled(heap)}"
        )
    process = getattr(SparkContext._gateway, "proc", None)
    waited_enough = time.monotonic() + EXIT_WAIT_S
    while process is not None:
        ended, found = process.poll(), OUT_OF_MEMORY.search(_logged())
        if found or ended == EXIT_CODE:
            return _sentence((found[1].strip() if found else "") or HEAP_FULL, on_executor=False)
        if ended is not None or time.monotonic() > waited_enough:
            break
        time.sleep(0.1)
    return None


def _logged() -> str:
    """What Java has printed so far. With a full heap it tells that at once, but may need minutes to end."""
    told = ""
    for log in logs:
        with suppress(OSError):
            told += log.read_text(errors="replace")
    return told


def _sentence(reason: str, on_executor: bool) -> str:
    who, key = ("an executor", EXECUTOR) if on_executor else ("the driver", DRIVER)
    for word, (memory, bound) in OUTSIDE.items():
        if word in reason:
            options = key.replace("memory", "extraJavaOptions")
            return f"{who} of Spark ran out of memory ({reason}): its {memory} is bounded by {bound} in {options}"
    heap = _configured(key)
    more = _doubled(heap)
    if on_executor:
        return (
            f"an executor of Spark ran out of memory ({reason}): its Java heap is {heap}, shared by the tasks that "
            f"run in it at once; raise {key} to {more}, or let fewer run at once by spark.executor.cores"
        )
    if UNDER_SUBMIT in os.environ:
        return (
            f"the driver of Spark ran out of memory ({reason}): its Java heap is {heap} ({key}); start it with "
            f"spark-submit --driver-memory {more}"
        )
    return (
        f"Spark ran out of memory ({reason}): the Java heap of this session is {heap} ({key}); give it more, by "
        f"{LOCAL_HEAP}={more} in the environment of the command"
    )


def _doubled(heap: str) -> str:
    return f"{2 * (megabytes(heap) or 1024)}m"


def _configured(key: str) -> str:
    if key not in configured and SparkContext._active_spark_context is not None:
        remember_heaps(SparkContext._active_spark_context)
    return configured.get(key, "1g")
