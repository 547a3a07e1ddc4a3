"""Run by test_refine_step in a process of its own: rounds on two executors, one of which is killed while it works.

The session is that of conf/secure.conf: executors prove who they are, and what they send is encrypted.
"""

import os
import secrets
import signal
import sys
import tempfile
from pathlib import Path

os.environ["PYSPARK_PYTHON"] = sys.executable
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from pyspark.sql import SparkSession

from graphs import SmallGraph, communities, in_memory
from graphseam.blocks.stages import SparkStages
from graphseam.blocks.store import FileStore, MemoryStore
from graphseam.refine.spectral import SpectralRefiner
from refining import random_start, refined

ROUND, BLOCK = 4, 3  # where the executor dies


class FragileStages(SparkStages):
    """In one round the executor that works on one block kills itself, the first time it does."""

    def run(self, step):
        self.rounds = getattr(self, "rounds", 0) + 1
        return super().run(dying(step, self.mark) if self.rounds == ROUND else step)


def dying(step, mark):
    def run_or_die(block):
        sums = step(block)
        if block == BLOCK and not Path(mark).exists():
            Path(mark).touch()
            worker = os.getppid()  # the daemon of Python workers; its parent is the executor
            os.kill(int(Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
        return sums

    return run_or_die


def main() -> None:
    builder = SparkSession.builder.master("local-cluster[2,1,1024]")
    for line in Path(__file__).parent.parent.joinpath("conf", "secure.conf").read_text().splitlines():
        if line and not line.startswith("#"):
            builder = builder.config(*line.split())
    spark = (
        builder.config("spark.authenticate.secret", secrets.token_hex())
        .config("spark.python.daemon.module", "graphseam.worker_daemon")
        .config("spark.executorEnv.PYTHONPATH", os.pathsep.join(sys.path))
        .getOrCreate()
    )
    graph = in_memory(SmallGraph("communities", communities(6, 40, seed=9)))
    start, refiner = random_start(graph, 16), SpectralRefiner(rounds=1, hops=1)
    expected = refined(refiner, graph, start, 6, MemoryStore())
    with tempfile.TemporaryDirectory() as folder:
        stages = FragileStages(spark, 6)
        stages.mark = f"{folder}/killed"
        found = refined(refiner, graph, start, 6, FileStore(f"{folder}/blocks"), stages)
        assert Path(stages.mark).exists(), "no executor was killed"
    executors = spark.sparkContext._jsc.sc().statusStore()
    assert executors.executorList(False).size() > executors.executorList(True).size(), "Spark has lost none"
    np.testing.assert_array_equal(found, expected)
    print("the same vectors, with an executor lost in a round")
    spark.stop()


if __name__ == "__main__":
    main()
