"""The documented command on Spark's own cluster: a master and two workers of one core and 2 GB, on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyspark
import pytest
from deltalake import DeltaTable

from conftest import LASTFM, REPOSITORY

BIN = Path(sys.executable).parent
HERE = "127.0.0.1"
PACKED_GB = 50
WITHIN_S = 60  # for the workers to find their master


@pytest.fixture
def master(tmp_path):
    """The address of a running master that two workers have registered with."""
    with socket.socket() as free:
        free.bind((HERE, 0))
        address = f"spark://{HERE}:{free.getsockname()[1]}"
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != str(BIN))
    home = str(Path(pyspark.__file__).parent)  # no Python with our packages is on the path
    environment = {**os.environ, "SPARK_LOCAL_IP": HERE, "PATH": path, "SPARK_HOME": home}
    environment.pop("PYSPARK_PYTHON", None)
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


@pytest.fixture
def wheel(tmp_path):
    build = [str(BIN / "uv"), "build", "--quiet", "--wheel", "--out-dir", str(tmp_path / "dist"), str(REPOSITORY)]
    subprocess.run(build, check=True, timeout=300)
    (found,) = (tmp_path / "dist").glob("graphseam-*.whl")
    return found


def submit(master, tmp_path, spark_submit: Path, *options: str, python: str) -> None:
    """The documented command over lastfm_asia, and what it must leave."""
    settings = (
        f"input.edges={LASTFM}/edges.parquet", f"input.labels={LASTFM}/labels.parquet", "run.task_memory_mb=700",
        f"output.root={tmp_path}/tables",
    )  # fmt: skip
    command = [
        *(str(spark_submit), "--master", master, *options),
        *("--properties-file", str(REPOSITORY / "conf" / "spark-small-cluster.conf")),
        *(str(REPOSITORY / "jobs" / "pipeline.py"), "--config", str(REPOSITORY / "conf" / "demo.toml")),
        *("--run-id", "clustered"),
    ]
    for setting in settings:
        command += ["--set", setting]
    environment = {
        **os.environ,
        "SPARK_LOCAL_IP": HERE,
        "PATH": f"{spark_submit.parent}{os.pathsep}{os.environ['PATH']}",
    }
    environment["PYSPARK_PYTHON"] = python
    begun = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1800, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    print(f"{time.monotonic() - begun:.0f} s")
    assert "How good it is" in done.stdout
    (run,) = DeltaTable(str(tmp_path / "tables" / "runs")).to_pyarrow_table().to_pylist()
    assert run["num_nodes"] == 7624
    for worker in ("one", "two"):  # both of them worked
        assert list((tmp_path / worker).rglob("stderr"))


@pytest.mark.slow
@pytest.mark.thorough
def test_the_wheel_and_the_documented_command_publish_a_run(master, wheel, tmp_path):
    """Executors that have the packages already, at the same path."""
    submit(master, tmp_path, BIN / "spark-submit", "--py-files", str(wheel), python=sys.executable)


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(3000)
def test_executors_that_have_no_package_get_a_packed_environment(master, wheel, tmp_path):
    """docs/deploy.md, from a clean start: the locked packages and the wheel, packed; neither driver nor executor uses
    another Python. With torch for GPUs the archive is some 4 GB, unpacked by the driver and by each executor."""
    if shutil.disk_usage(tmp_path).free < PACKED_GB << 30:
        pytest.skip(f"a packed environment and its copies need {PACKED_GB} GB of disk")
    env, archive, uv = tmp_path / "env", tmp_path / "graphseam-env.tar.gz", str(BIN / "uv")
    here = ("--quiet", "--python", str(env / "bin" / "python"))
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(env)],
        [uv, "pip", "install", *here, "--require-hashes", "-r", str(REPOSITORY / "conf" / "requirements.lock")],
        [uv, "pip", "install", *here, "--no-deps", str(wheel), "venv-pack"],
        [str(env / "bin" / "venv-pack"), "-q", "--compress-level", "1", "-p", str(env), "-o", str(archive)],
    ):
        subprocess.run(command, check=True, timeout=900, cwd=tmp_path)
    options = ("--archives", f"{archive}#env", "--conf", "spark.pyspark.python=./env/bin/python")
    submit(master, tmp_path, env / "bin" / "spark-submit", *options, python="./env/bin/python")
    told = [path.read_text() for worker in ("one", "two") for path in (tmp_path / worker).rglob("stderr")]
    assert not any(str(BIN) in text for text in told)
