"""The documented command on Spark's own cluster: a master and two workers of one core and 2 GB, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deltalake import DeltaTable

from conftest import LASTFM, REPOSITORY

BIN = Path(sys.executable).parent
HERE = "127.0.0.1"
WITHIN_S = 60  # for the workers to find their master


@pytest.fixture
def master(tmp_path):
    """The address of a running master that two workers have registered with."""
    with socket.socket() as free:
        free.bind((HERE, 0))
        address = f"spark://{HERE}:{free.getsockname()[1]}"
    environment = {**os.environ, "SPARK_LOCAL_IP": HERE, "PYSPARK_PYTHON": sys.executable}
    log = tmp_path / "cluster.log"
    running = []

    def start(kind: str, *arguments: str) -> None:
        command = [str(BIN / "spark-class"), f"org.apache.spark.deploy.{kind}", "--host", HERE, *arguments]
        with log.open("a") as printed:
            running.append(subprocess.Popen(command, env=environment, stdout=printed, stderr=printed))

    start("master.Master", "--port", address.rsplit(":", 1)[1], "--webui-port", "0")
    for worker in ("one", "two"):
        start("worker.Worker", "-c", "1", "-m", "2g", "--webui-port", "0", "-d", str(tmp_path / worker), address)
    try:
        begun = time.monotonic()
        while log.read_text().count("Successfully registered with master") < 2:
            assert time.monotonic() - begun < WITHIN_S, log.read_text()[-3000:]
            time.sleep(0.5)
        yield address
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)


@pytest.mark.slow
@pytest.mark.thorough
def test_the_wheel_and_the_documented_command_publish_a_run(master, tmp_path):
    build = [str(BIN / "uv"), "build", "--quiet", "--wheel", "--out-dir", str(tmp_path / "dist"), str(REPOSITORY)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = (tmp_path / "dist").glob("graphseam-*.whl")
    settings = (
        f"input.edges={LASTFM}/edges.parquet", f"input.labels={LASTFM}/labels.parquet", "run.task_memory_mb=700",
        f"output.root={tmp_path}/tables",
    )  # fmt: skip
    command = [
        *(str(BIN / "spark-submit"), "--master", master),
        *("--properties-file", str(REPOSITORY / "conf" / "spark-small-cluster.conf"), "--py-files", str(wheel)),
        *(str(REPOSITORY / "jobs" / "pipeline.py"), "--config", str(REPOSITORY / "conf" / "demo.toml")),
        *("--run-id", "clustered"),
    ]
    for setting in settings:
        command += ["--set", setting]
    environment = {
        **os.environ, "SPARK_LOCAL_IP": HERE, "PYSPARK_PYTHON": sys.executable,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False, env=environment)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    print(f"{time.monotonic() - begun:.0f} s")
    assert "How good it is" in done.stdout
    (run,) = DeltaTable(str(tmp_path / "tables" / "runs")).to_pyarrow_table().to_pylist()
    assert run["num_nodes"] == 7624
    for worker in ("one", "two"):  # both of them worked
        assert list((tmp_path / worker).rglob("stderr"))
