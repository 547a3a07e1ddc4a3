"""What happens around the start of a local session and when Spark fails, without starting one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from py4j.protocol import Py4JError

from graphseam import causes, class_archive, local_java
from graphseam.class_archive import MAKES_ARCHIVE, archive_path, class_archive_options, forget_making
from graphseam.errors import RunError
from graphseam.local_java import ensure_started, log_file
from graphseam.scratch import PREFIX, remove_left_behind


@pytest.fixture
def install(tmp_path, monkeypatch):
    """An installed Spark of two jars, and a Java; returns its folder."""
    (tmp_path / "spark" / "jars").mkdir(parents=True)
    (tmp_path / "java" / "bin").mkdir(parents=True)
    for jar in ("spark.jar", "delta.jar"):
        (tmp_path / "spark" / "jars" / jar).write_text(jar)
    (tmp_path / "java" / "release").write_text('JAVA_VERSION="17.0.15"\n')
    monkeypatch.setattr(class_archive, "spark_jars", lambda: tmp_path / "spark" / "jars")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    monkeypatch.delenv(class_archive.SWITCH, raising=False)
    return tmp_path


def test_the_archive_is_made_by_one_run_and_loaded_by_all_after_it(install):
    archive = archive_path()
    assert archive.parent == install / "spark"
    assert class_archive_options() == ""  # a query of the tables loads too few classes
    assert class_archive_options(make=True).startswith(f"{MAKES_ARCHIVE}={archive} ")
    assert class_archive_options(make=True) == ""  # another process, while the first one runs
    archive.write_text("classes")  # as Java does when it ends
    for make in (True, False):
        assert class_archive_options(make).startswith(f"-XX:SharedArchiveFile={archive} ")


def test_a_run_that_stopped_leaves_the_archive_to_the_next(install):
    assert class_archive_options(make=True)
    forget_making()
    assert class_archive_options(make=True)
    mark = archive_path().with_suffix(".making")
    assert not class_archive_options(make=True)  # this process is to make it
    os.utime(mark, (0, 0))  # another that has its number by now
    assert class_archive_options(make=True)


def test_a_run_that_was_killed_keeps_none_from_making_the_archive(install):
    assert class_archive_options(make=True)
    mark = archive_path().with_suffix(".making")
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    mark.write_text(gone.stdout.strip())
    assert not class_archive_options(make=True)  # its Java may be about to write it
    os.utime(mark, (time.time() - class_archive.WRITING_S - 1,) * 2)
    assert class_archive_options(make=True)


def test_no_archive_is_begun_where_settings_are_on_the_class_path(install, tmp_path, monkeypatch):
    """Java refuses to make it then, with an error, when all else is done."""
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    (tmp_path / "spark-defaults.conf").write_text("")
    assert class_archive_options(make=True) == ""
    monkeypatch.delenv("SPARK_CONF_DIR")
    assert class_archive_options(make=True)


@pytest.mark.parametrize("changed", ["jar", "java"])
def test_another_java_or_another_jar_means_another_archive(install, changed):
    old = archive_path()
    old.write_text("classes")
    if changed == "jar":
        (install / "spark" / "jars" / "delta.jar").write_text("a newer one")
    else:
        (install / "java" / "release").write_text('JAVA_VERSION="21.0.1"\n')
    assert class_archive_options() == ""
    assert str(archive_path()) in class_archive_options(make=True)
    assert not old.exists()


@pytest.mark.parametrize("why", ["switched off", "too old", "no Java", "read-only"])
def test_no_archive(install, monkeypatch, why):
    if why == "switched off":
        monkeypatch.setenv(class_archive.SWITCH, "off")
    elif why == "too old":
        (install / "java" / "release").write_text('JAVA_VERSION="11.0.2"\n')
    elif why == "no Java":
        monkeypatch.setenv("JAVA_HOME", str(install / "nowhere"))
    else:
        monkeypatch.setattr(class_archive.shutil, "disk_usage", lambda place: SimpleNamespace(free=0))
    assert class_archive_options(make=True) == ""


def test_without_java_there_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(local_java.SparkContext, "_gateway", None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="Spark needs Java 17"):
        ensure_started()


def test_only_a_log_that_says_something_is_named_and_kept(tmp_path, monkeypatch):
    empty, full = tmp_path / "empty.log", tmp_path / "full.log"
    empty.touch()
    full.write_text("ERROR")
    for path, named in ((empty, None), (full, full)):
        monkeypatch.setattr(local_java, "logs", [path])
        assert log_file() == named
        local_java._remove(path)
        assert path.exists() == (named is not None)


class JavaError(Py4JError):
    """An error of Spark as py4j raises it, with its chain of Java causes."""

    def __init__(self, message: str, *causes: str) -> None:
        super().__init__(message)
        self.java_exception = None
        for text in reversed(causes):
            cause = self.java_exception
            self.java_exception = SimpleNamespace(toString=lambda text=text: text, getCause=lambda cause=cause: cause)


CALL = "An error occurred while calling o5672.save."
STAGE = "org.apache.spark.SparkException: Job aborted due to stage failure: Task 3 in stage 7.0 failed 1 times"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            JavaError(CALL, STAGE, "java.io.IOException: part-1.parquet is not a Parquet file"),
            "part-1.parquet is not a Parquet file",
        ),
        (JavaError(CALL, STAGE + ": java.io.IOException: No space left on device"), "a disk is full"),
        (
            JavaError(
                CALL,
                "org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n  File x, line 1\n"
                "numpy.linalg.LinAlgError: Eigenvalues did not converge\n",
            ),
            "numpy.linalg.LinAlgError: Eigenvalues did not converge",
        ),
        (
            JavaError(
                CALL,
                "Traceback (most recent call last):\n  File \"w.py\"\nModuleNotFoundError: No module named 'torch'\n",
            ),
            "ModuleNotFoundError: No module named 'torch' on an executor: give executors the driver's environment",
        ),
        (
            JavaError(CALL, STAGE, "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)"),
            "a Python worker ended without a word",
        ),
        (
            JavaError(CALL, STAGE + ": ExecutorLostFailure (executor 2 exited caused by one of the running tasks)"),
            "an executor was lost: ExecutorLostFailure (executor 2 exited caused by one of the running tasks)",
        ),
        (
            JavaError(CALL, "java.io.FileNotFoundException: /data/t/_delta_log/1.json (Permission denied)"),
            "/data/t/_delta_log/1.json (Permission denied)",
        ),
        (ConnectionResetError(104, "Connection reset by peer"), "[Errno 104] Connection reset by peer"),
    ],
)
def test_the_deepest_cause_is_told_and_what_it_means(error, told):
    line = causes.true_cause(error)
    assert line.startswith(told)
    assert "\n" not in line
    assert "o5672" not in line


def test_the_full_disk_is_named(monkeypatch):
    monkeypatch.setenv("SPARK_LOCAL_DIRS", "/scratch,/other")
    monkeypatch.setattr(
        causes.shutil, "disk_usage", lambda place: SimpleNamespace(free="oth" not in str(place), total=1)
    )
    line = causes.true_cause(JavaError(CALL, "java.io.IOException: No space left on device"))
    assert "that of /other, which holds Spark's shuffle files" in line


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(tmp_path, monkeypatch):
    """A process that runs keeps its folder, one that ends removes it, one that is killed leaves it to others."""
    script = (
        "from graphseam.scratch import scratch_folder; (scratch_folder() / 'rows').write_text('1'); "
        "print(scratch_folder(), flush=True); input()"
    )
    command, environment = [sys.executable, "-c", script], {**os.environ, "TMPDIR": str(tmp_path)}
    started = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    running, ended, killed = folders = [Path(process.stdout.readline().strip()) for process in started]
    others = tmp_path / "somebody's", tmp_path / f"{PREFIX}without-a-lock"
    for folder in others:
        folder.mkdir()
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in folders)
    started[1].communicate("\n", timeout=60)
    started[2].kill()
    started[2].wait(60)
    assert not ended.exists()
    assert killed.exists()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    remove_left_behind()
    assert sorted(tmp_path.iterdir()) == sorted((*others, running))
    assert (running / "rows").exists()
    started[0].communicate("\n", timeout=60)
    assert not running.exists()
