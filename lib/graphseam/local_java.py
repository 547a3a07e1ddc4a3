"""The Java process of a local session: started early, quiet on the terminal, with a log file that errors name.

A command starts it by `start_early` before it imports the rest of graphseam, as both take seconds. What Java and Spark
print goes to a file of its own, removed at the end unless an error has named it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway

from graphseam.class_archive import MAKES_ARCHIVE, class_archive_options, complete, forget_making
from graphseam.errors import RunError
from graphseam.heap import UNDER_SUBMIT, local_heap, logs
from graphseam.jars import has_delta
from graphseam.scratch import remove_left_behind, scratch_folder
from graphseam.spark_line import delta_coordinate

QUIET_LOG = Path(__file__).with_name("log4j2-quiet.properties")
BRIEF = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
# Java's second compiler takes as much of two cores as a small run's work: it waits for twelve times as many calls as by
# default. Loops over many rows pass that within a second, so that larger graphs lose nothing.
LASTING = (
    "-XX:Tier4InvocationThreshold=60000 -XX:Tier4MinInvocationThreshold=10000 "
    "-XX:Tier4CompileThreshold=180000 -XX:Tier4BackEdgeThreshold=400000"
)
_named: set[Path] = set()
_starting: list[threading.Thread] = []


def _java_settings(brief: bool = False, make_archive: bool = False) -> dict[str, str]:
    """Settings of a local session that only a Java process that is about to start can follow; see `start_early`."""
    log, temporary = f"-Dlog4j2.configurationFile={QUIET_LOG.as_uri()}", f'"-Djava.io.tmpdir={scratch_folder()}"'
    chosen = (log, temporary, class_archive_options(make_archive), BRIEF if brief else LASTING)
    options = " ".join(option for option in chosen if option)
    settings = {"spark.driver.memory": local_heap(), "spark.driver.extraJavaOptions": options}
    return settings if has_delta() else {**settings, "spark.jars.packages": delta_coordinate()}


def start_early(brief: bool = False, make_archive: bool = False) -> None:
    """Begin to start Java in a thread; the session that is built later waits for it. An error is left to that.

    brief: for a session of a few statements, which ends before Java's second compiler pays off.
    make_archive: let Java write the archive of classes at its end, if there is none, after `all_classes_loaded`.
    """
    if SparkContext._gateway is None and UNDER_SUBMIT not in os.environ:
        _starting.append(threading.Thread(target=_start_quietly, args=(brief, make_archive), daemon=True))
        _starting[-1].start()


def all_classes_loaded() -> None:
    """Say that a run has ended well: the classes that Java has by now are worth an archive."""
    atexit.unregister(_end_without_archive)
    complete()


def ensure_started() -> None:
    """Start Java, unless this process has one or spark-submit started it. RunError if there is none to start."""
    for thread in _starting:
        thread.join()
    if SparkContext._gateway is None and UNDER_SUBMIT not in os.environ:
        if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
            raise RunError("Spark needs Java 17, and no 'java' is on PATH; install one, or set JAVA_HOME")
        _start()


def log_file() -> Path | None:
    """What Java and Spark printed, which is then kept; None if they printed nothing or it went to the terminal."""
    found = next((path for path in logs if path.exists() and path.stat().st_size), None)
    if found is not None:
        _named.add(found)
    return found


def _start_quietly(brief: bool, make_archive: bool) -> None:
    with suppress(Exception):
        _start(brief, make_archive)


def _start(brief: bool = False, make_archive: bool = False) -> None:
    threading.Thread(target=remove_left_behind, daemon=True).start()
    conf = SparkConf(loadDefaults=False)
    for key, value in _java_settings(brief, make_archive).items():
        conf.set(key, value)
    if MAKES_ARCHIVE in conf.get("spark.driver.extraJavaOptions", ""):
        atexit.register(_end_without_archive)
    handle, name = tempfile.mkstemp(prefix="graphseam-spark-", suffix=".log")
    logs.append(Path(name))
    atexit.register(_remove, Path(name))
    with os.fdopen(handle, "wb") as log:
        SparkContext._ensure_initialized(gateway=launch_gateway(conf, popen_kwargs={"stderr": log}))


def _end_without_archive() -> None:
    """End Java at once, so that it does not write an archive of a few classes only."""
    process = getattr(SparkContext._gateway, "proc", None)
    if process is not None:
        process.kill()
    forget_making()


def _remove(path: Path) -> None:
    if path not in _named:
        path.unlink(missing_ok=True)
