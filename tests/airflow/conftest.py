"""Tests of airflow_dags/, run by Airflow's own environment (`make test-airflow`); its home is a temporary directory."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DAGS = REPOSITORY / "airflow_dags"
HOME = Path(tempfile.mkdtemp(prefix="graphseam-airflow-"))
SETTINGS = {
    "jobs": str(REPOSITORY / "jobs"),
    "config": str(HOME / "run.toml"),
    "properties": {"default": str(HOME / "spark.conf")},
    "set": [f"input.edges={HOME}/edges/{{date}}.csv"],
}
LINKS = {"output": str(HOME / "exported"), "table": "node_labels"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def settings_of_this_airflow() -> dict[str, str]:
    """The environment of conf/airflow.sh, as a person's own Airflow would set it, over a home of its own."""
    changed = {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__API__PORT": str(free_port()),
        "AIRFLOW_VAR_GRAPHSEAM_PIPELINE": json.dumps(SETTINGS),
        "AIRFLOW_VAR_GRAPHSEAM_LINKS": json.dumps(LINKS),
        "AIRFLOW_VAR_GRAPHSEAM_PIPELINE_SCHEDULE": "@daily",
        "GRAPHSEAM_CLASS_ARCHIVE": "off",  # publish_undisturbed makes one of its own
        # One core: each step then starts one Python worker, and the tests beside these want the other
        "AIRFLOW_CONN_GRAPHSEAM_SPARK": json.dumps({"conn_type": "spark", "host": "local[1]"}),
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "2",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    }
    told = subprocess.run(
        [str(REPOSITORY / "conf" / "airflow.sh"), "env", "-0"],
        env={**os.environ, **changed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(line.split("=", 1) for line in told.split("\0") if "=" in line)


os.environ.update(settings_of_this_airflow())  # Airflow reads it when it is first imported


def airflow(*command: str) -> str:
    """What a command of Airflow's prints; the test fails with it where the command does.

    Tried again where SQLite was locked: a command that reads and then writes is refused if another process wrote.
    """
    for _ in range(10):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("airflow")), *command], capture_output=True, text=True, check=False
        )
        if "database is locked" not in done.stdout + done.stderr:
            break
        time.sleep(2)
    assert done.returncode == 0, f"airflow {' '.join(command)}: {(done.stdout + done.stderr)[-3000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def database():
    airflow("db", "migrate")
    airflow("pools", "set", "graphseam_pipeline", "1", "one job at a time in a root")
    yield HOME
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def dags(database):
    """{dag_id: DAG} as Airflow loads them; no import error, no warning."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(DAGS)).dags


def module_of(dags):
    """The module that Airflow has made of graphseam_pipeline.py."""
    return sys.modules[type(dags["graphseam_pipeline"].get_task("wait_for_turn")).__module__]
