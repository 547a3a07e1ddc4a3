"""A full Java heap is reported in one line that names the memory and its setting, whichever process it was in."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark import SparkContext

from conftest import last_line_of
from full_heap import TOO_LARGE
from graphseam import heap
from graphseam.causes import true_cause
from graphseam.errors import HeapError
from graphseam.heap import UNDER_SUBMIT, configured, heap_errors_told, megabytes, what_was_full

LOST = (
    "Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 times, most recent failure: Lost task 0.3 in stage"
)


@pytest.fixture
def heaps(monkeypatch):
    monkeypatch.setitem(configured, "spark.driver.memory", "1g")
    monkeypatch.setitem(configured, "spark.executor.memory", "3g")


@pytest.mark.parametrize(
    ("message", "told"),
    [  # messages of Spark 4.2
        (
            "An error occurred while calling o48.collectToPython.\n: java.lang.OutOfMemoryError: Java heap space\n\tat org.x",
            "Spark ran out of memory (Java heap space): the Java heap of this session is 1g (spark.driver.memory); give it "
            "more, by GRAPHSEAM_DRIVER_MEMORY=2048m in the environment of the command",
        ),
        (
            f"{LOST} 0.0 (TID 8) (192.0.2.2 executor 4): java.lang.OutOfMemoryError: GC overhead limit exceeded\n\tat org.x",
            "an executor of Spark ran out of memory (GC overhead limit exceeded): its Java heap is 3g, shared by the tasks "
            "that run in it at once; raise spark.executor.memory to 6144m, or let fewer run at once by spark.executor.cores",
        ),
        (
            f"{LOST} 0.0 (TID 8) (192.0.2.2 executor driver): java.lang.OutOfMemoryError: Java heap space",
            "of this session",
        ),
        (
            f"{LOST} 0.0 (TID 8) (192.0.2.2 executor 4): ExecutorLostFailure (executor 4 exited caused by one of the running "
            "tasks) Reason: Command exited with code 52",
            "an executor of Spark ran out of memory (Java heap space)",
        ),
        (
            "x: org.apache.spark.memory.SparkOutOfMemoryError: [UNABLE_TO_ACQUIRE_MEMORY] Unable to acquire 65536 bytes",
            "([UNABLE_TO_ACQUIRE_MEMORY] Unable to acquire 65536 bytes): the Java heap of this session is 1g",
        ),
        (
            "x\nCaused by: org.apache.spark.SparkException: Not enough memory to build and broadcast the table to all worker "
            "nodes. As a workaround, you can",
            "Spark ran out of memory (a table to be broadcast did not fit): the Java",
        ),
        (
            "java.lang.OutOfMemoryError: Metaspace",
            "its room for classes is bounded by -XX:MaxMetaspaceSize in spark.driver.extraJavaOptions",
        ),
    ],
)
def test_the_memory_and_its_setting_are_named(heaps, message, told):
    found = what_was_full(Py4JError(message))
    assert found is not None
    assert told in found
    assert "\n" not in found


def test_under_spark_submit_its_own_option_is_named(heaps, monkeypatch):
    monkeypatch.setenv(UNDER_SUBMIT, "1")
    told = what_was_full(Py4JError("java.lang.OutOfMemoryError: Java heap space"))
    assert told is not None
    assert "spark-submit --driver-memory 2048m" in told
    gone = what_was_full(ConnectionRefusedError("[Errno 111] Connection refused"))
    assert gone is not None
    assert "if by an OutOfMemoryError: its heap is 1g (spark.driver.memory)" in gone


@pytest.mark.parametrize("status", [52, 1])
def test_a_call_cut_short_asks_how_its_java_process_ended(heaps, monkeypatch, status):
    """On a busy machine the process may be gone before it has reported its error."""
    monkeypatch.delenv(UNDER_SUBMIT, raising=False)
    process = SimpleNamespace(poll=lambda: status)
    monkeypatch.setattr(SparkContext, "_gateway", SimpleNamespace(proc=process))
    for told in (
        "An error occurred while calling o163.collectToPython",
        "An error occurred while calling o163.count.\n: ",
    ):
        found = what_was_full(Py4JError(told))
        assert (found is not None and "GRAPHSEAM_DRIVER_MEMORY" in found) == (status == 52)
    whole = "An error occurred while calling o1.x. Trace:\npy4j.Py4JException: Method x([]) does not exist"
    assert what_was_full(Py4JError(whole)) is None


class UnansweredError(Py4JError):
    """An error of Java whose text was still in a JVM that answers no more."""

    def __str__(self) -> str:
        raise Py4JNetworkError("Answer from Java side is empty")


@pytest.mark.parametrize(
    ("logged", "told"),
    [
        (
            "ERROR Executor: Exception in task 0.0\njava.lang.OutOfMemoryError: Java heap space\n\tat x",
            "(Java heap space)",
        ),
        (
            "ERROR Executor: Exception in task 0.0\njava.lang.OutOfMemoryError: Metaspace\n\tat x",
            "-XX:MaxMetaspaceSize",
        ),
        ("ERROR SparkContext: Error\n", None),
    ],
)
def test_a_process_that_neither_answers_nor_ends_is_asked_by_its_log(heaps, monkeypatch, tmp_path, logged, told):
    """With a full heap Java's end can take minutes on a busy machine."""
    monkeypatch.delenv(UNDER_SUBMIT, raising=False)
    (tmp_path / "java.log").write_text(logged)
    monkeypatch.setattr(heap, "logs", [tmp_path / "gone.log", tmp_path / "java.log"])
    monkeypatch.setattr(heap, "EXIT_WAIT_S", 0)
    monkeypatch.setattr(SparkContext, "_gateway", SimpleNamespace(proc=SimpleNamespace(poll=lambda: None)))
    found = what_was_full(UnansweredError())
    assert found is None if told is None else (found is not None and told in found)
    assert true_cause(UnansweredError()) == "its Java process answers no more (UnansweredError)"


def test_other_errors_stay_what_they_are():
    assert what_was_full(Py4JError("An error occurred while calling o48.count.\n: java.lang.NullPointer")) is None
    with pytest.raises(Py4JError, match="NullPointer"), heap_errors_told():
        raise Py4JError("java.lang.NullPointerException")
    with pytest.raises(HeapError, match=r"Metaspace.*; then run it again"), heap_errors_told("then run it again"):
        raise Py4JError("java.lang.OutOfMemoryError: Metaspace")


def test_sizes_are_read_as_java_writes_them():
    assert [megabytes(size) for size in ("4g", "512M", "2048k", "1t", "1gb", "many")] == [
        4096,
        512,
        2,
        1 << 20,
        1024,
        None,
    ]


BROKEN_CONNECTION = """
import socket, struct, threading
from py4j.java_gateway import GatewayParameters, JavaGateway
from graphseam.entry import one_clear_line
from graphseam.errors import HeapError

def reset_each(server):
    while True:
        connection = server.accept()[0]
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=reset_each, args=[server], daemon=True).start()
with one_clear_line():
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=server.getsockname()[1]))
    for _ in range(2):
        try:
            gateway.jvm.System.nanoTime()
        except Exception as error:
            broken = error
    raise HeapError("full") from broken
"""


def test_a_broken_connection_is_not_logged_beside_the_one_line():
    """What py4j does when the JVM dies while it waits for an answer, whenever that happens in a real run."""
    done = subprocess.run([sys.executable, "-c", BROKEN_CONNECTION], text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, "graphseam: full\n")


@pytest.mark.slow
def test_the_command_ends_in_one_line_when_a_task_fills_its_heap(tmp_path):
    """The error ends the local session's JVM, so the command sees only a broken connection."""
    (tmp_path / "runs" / "_delta_log").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-m", "graphseam.cli", "sql", "--root", str(tmp_path), TOO_LARGE],
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
        env={**os.environ, "GRAPHSEAM_DRIVER_MEMORY": "512m"},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "\tat " not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "graphseam: Spark ran out of memory (Java heap space): the Java heap of this session is 512m "
        "(spark.driver.memory); give it more, by GRAPHSEAM_DRIVER_MEMORY=1024m in the environment of the command"
    )


@pytest.mark.slow
def test_an_executor_with_a_full_heap_is_told_from_the_driver():
    told = last_line_of("full_heap.py")
    assert told.startswith("an executor of Spark ran out of memory (Java heap space): its Java heap is 480m")
    assert told.endswith("by spark.executor.cores; that is the way on")
