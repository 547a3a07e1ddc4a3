"""A driver, a worker, an executor killed in each step: the run, or its next start, ends in the same rows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from commands import configured, published, rows_of, started
from conftest import REPOSITORY
from graphseam.steps import STEPS

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(3600)]

WORKED_IN = ("partition", "embed", "refine", "predict_links", "predict_nodes")  # steps in which a worker is killed
LINE = re.compile(r"^\[(\d+)/\d+\] (\w+) +([\d.]+) s ")
AFTER = dict(pairwise([*STEPS, ""]))  # the step that comes after each
INTO_STEP = 0.4  # of an undisturbed step's time, when something is killed
SUBMIT = Path(sys.executable).with_name("spark-submit")


def lines_of(process: subprocess.Popen, told: list[str]) -> Iterator[tuple[str, float]]:
    """(step, seconds) as each is finished, from the lines that are printed; all lines go to `told`."""
    for line in process.stdout:
        told.append(line)
        if found := LINE.match(line):
            yield found[2], float(found[3])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """({step: seconds}, rows) of a run that nothing disturbs."""
    config, told = configured(tmp_path_factory.mktemp("undisturbed")), []
    process = started(config, "r")
    seconds = dict(lines_of(process, told))
    assert process.wait() == 0, told
    assert set(WORKED_IN) < set(seconds)
    return seconds, rows_of(config, "r")


def assert_the_same(config: Path, rows: dict[str, list[str]]) -> None:
    found = rows_of(config, "r")
    assert set(found) == set(rows)
    for table, expected in rows.items():
        assert found[table] == expected, table
    assert published(config) == ["r"]


def test_a_driver_killed_in_every_step(undisturbed, tmp_path):
    """Each start is killed one step further than the one before; the last is left alone."""
    seconds, rows = undisturbed
    config, steps = configured(tmp_path / "driver"), list(STEPS)
    for place, step in enumerate(steps):
        process, told = started(config, "r"), []
        if place:
            before = steps[place - 1]
            assert any(name == before for name, _ in lines_of(process, told)), told
        else:
            time.sleep(4.0)  # until Spark has started
        time.sleep(INTO_STEP * seconds[step])
        os.killpg(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        assert f"] {step} " not in rest, f"{step} was over before the driver was killed"
    process = started(config, "r")
    told, _ = process.communicate()
    assert process.returncode == 0, told[-3000:]
    assert_the_same(config, rows)


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """The Python workers that the daemon of a local session has forked."""
    return [
        child
        for child in process.children(recursive=True)
        if "daemon" in " ".join(child.cmdline()) and "daemon" in " ".join(child.parent().cmdline())
    ]


def test_workers_killed_in_steps_that_need_them(undisturbed, tmp_path):
    """The run goes on by itself."""
    seconds, rows = undisturbed
    config, told, killed = configured(tmp_path / "workers"), [], set()
    process = started(config, "r")
    for step, _ in lines_of(process, told):
        following = AFTER[step]
        if following in WORKED_IN:
            until = time.monotonic() + seconds[following]
            time.sleep(INTO_STEP * seconds[following])
            while following not in killed and time.monotonic() < until:
                for worker in workers_of(psutil.Process(process.pid)):
                    worker.kill()
                    killed.add(following)
    assert process.wait() == 0, told
    assert killed == set(WORKED_IN), "no worker was there to be killed"
    assert_the_same(config, rows)


def test_executors_killed_in_steps_that_need_them(tmp_path):
    """Two executors as processes of their own: Spark starts another for each that is killed, and what it had is done
    again. On a cluster other sums are grouped otherwise than on one machine, so that is compared with such a run."""
    found = {}
    for name, kills in (("undisturbed", ()), ("killed", WORKED_IN)):
        config, told, killed = configured(tmp_path / name), [], set()
        command = [
            *(str(SUBMIT), "--master", "local-cluster[2,1,1024]", "--driver-memory", "2g"),
            *("--conf", f"spark.executorEnv.PYTHONPATH={REPOSITORY / 'lib'}"),
            *("--conf", "spark.executor.memory=1g", "--conf", "spark.ui.enabled=false"),
            *(str(REPOSITORY / "jobs" / "pipeline.py"), "--config", str(config), "--run-id", "r"),
            *("--set", "run.task_memory_mb=500"),
        ]
        environment = {
            **os.environ, "PYSPARK_PYTHON": sys.executable,
            "PATH": f"{SUBMIT.parent}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        for step, _ in lines_of(process, told):
            if AFTER[step] in kills:
                time.sleep(1.0)
                for child in psutil.Process(process.pid).children(recursive=True):
                    if "CoarseGrainedExecutorBackend" in " ".join(child.cmdline()):
                        child.kill()
                        killed.add(AFTER[step])
                        break
        assert process.wait() == 0, "".join(told)[-5000:]
        assert killed == set(kills)
        found[name] = rows_of(config, "r")
        assert published(config) == ["r"]
    assert found["killed"] == found["undisturbed"]
