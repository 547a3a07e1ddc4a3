"""Run by test_embed in a process of its own: two executors with a GPU each by Spark's own scheduling, no GPU at hand.

A discovery script reports two addresses. Every task must get one of them, alone unless sharing is asked for; an
executor that is killed while it embeds is replaced, and the vectors are those of a plain run.
"""

import os
import signal
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

os.environ["PYSPARK_PYTHON"] = sys.executable
sys.path.insert(0, str(Path(__file__).parent))

from dataclasses import dataclass

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from graphs import SmallGraph, communities, in_memory
from graphseam.embedding.executor import Stage, embed_subgraphs
from graphseam.embedding.prone import ProneEmbedder
from graphseam.errors import ConfigError
from graphseam.gathered import gathered
from graphseam.gpus import gpu_shares, has_gpus, task_profile
from graphseam.seeds import derive_seed
from graphseam.spark_line import IS_SPARK_3, schema_of
from graphseam.task import limit_threads

SCRATCH = Path(tempfile.mkdtemp())
DISCOVERY = SCRATCH / "gpus.sh"
DISCOVERY.write_text('#!/bin/sh\necho \'{"name": "gpu", "addresses": ["0", "1"]}\'\n')
DISCOVERY.chmod(0o755)
MARK = SCRATCH / "killed"
SETTINGS = {
    "spark.worker.resource.gpu.amount": "2",
    "spark.worker.resource.gpu.discoveryScript": DISCOVERY,
    "spark.executor.resource.gpu.amount": "1",
    "spark.task.resource.gpu.amount": "1",
    "spark.executor.cores": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.python.daemon.module": "graphseam.worker_daemon",
    "spark.executorEnv.PYTHONPATH": os.pathsep.join(sys.path),
    "spark.executorEnv.GRAPHSEAM_TEST_MARK": MARK,
    "spark.executor.memory": "1g",
    "spark.log.level": "OFF",
}
SEED, DIM = 4, 8


@dataclass(frozen=True)
class FragileEmbedder(ProneEmbedder):
    """ProNE, whose first call kills the executor it runs on; every call takes a moment, so that tasks overlap."""

    pause_s: float = 0.4

    def embed(self, graph, seed, device, start=None):
        if graph.num_nodes == 40:  # not the trial call of each worker
            time.sleep(self.pause_s)
            mark = Path(os.environ["GRAPHSEAM_TEST_MARK"])
            if not mark.exists():
                mark.touch()
                daemon = os.getppid()  # of Python workers; its parent is the executor
                stat = Path(f"/proc/{daemon}/stat").read_text()
                os.kill(int(stat.rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
                time.sleep(60)
        return super().embed(graph, seed, device, start)


def overlapping(stats: list) -> int:
    """Pairs of subgraphs that were embedded on one GPU at the same time."""
    spans = [
        (row["gpu"], row["started_at"].timestamp(), row["started_at"].timestamp() + row["seconds"]) for row in stats
    ]
    return sum(one[0] == other[0] and one[1] < other[2] and other[1] < one[2] for one, other in combinations(spans, 2))


def embedded(spark, graphs, gpus: float, pause_s: float) -> tuple[dict, list]:
    """({(subgraph, node): vector}, the statistics) by tasks that ask for so much of a GPU; 0: what the job says."""
    rows = [
        (1, number, int(src), int(dst), float(graph.adjacency[src, dst]))
        for number, graph in graphs.items()
        for src, dst in zip(*graph.adjacency.nonzero(), strict=True)
        if src < dst
    ]
    edges = spark.createDataFrame(rows, "level INT, subgraph_id INT, src BIGINT, dst BIGINT, weight DOUBLE")
    sizes = {number: (graph.num_nodes, graph.num_edges) for number, graph in graphs.items()}
    schema = schema_of(
        "level INT NOT NULL, subgraph_id INT NOT NULL, node_id BIGINT NOT NULL, "
        "degree DOUBLE NOT NULL, vector ARRAY<FLOAT> NOT NULL"
    )
    embedder = FragileEmbedder(dim=DIM, pause_s=pause_s)
    stage = Stage(
        embedder,
        SEED,
        sizes,
        1,
        schema,
        to_arrow_schema(schema),
        on_cpu=True,
        profile=task_profile(spark, gpus),
        gathered=gathered(spark),
    )
    found = embed_subgraphs(edges, stage).frame().collect()
    return {(row["subgraph_id"], row["node_id"]): row["vector"] for row in found}, list(stage.gathered.value.values())


def main() -> None:
    builder = SparkSession.builder.master("local-cluster[1,4,2048]")
    for key, value in SETTINGS.items():
        builder = builder.config(key, str(value))
    spark = builder.getOrCreate()
    assert has_gpus(spark)
    graphs = {number: in_memory(SmallGraph("communities", communities(2, 20, seed=number))) for number in range(8)}
    limit_threads(1)  # as in the tasks: sums with another number of threads differ in the last bits
    expected = {
        (number, node): vector.tolist()
        for number, graph in graphs.items()
        for node, vector in zip(
            graph.node_ids.tolist(),
            ProneEmbedder(dim=DIM).embed(graph, derive_seed(SEED, "embed", number), "cpu"),
            strict=True,
        )
    }

    found, stats = embedded(spark, graphs, gpus=0, pause_s=0.4)
    assert MARK.exists(), "no executor was killed"
    executors = spark.sparkContext._jsc.sc().statusStore()
    assert executors.executorList(False).size() > executors.executorList(True).size(), "Spark has lost none"
    assert len(stats) == 8
    assert overlapping(stats) == 0, stats
    assert found == expected
    await_executors(spark, 2)  # the killed one's successor may start when the other has done all the work
    told = "one GPU a task" if IS_SPARK_3 else "one GPU a task, shared when asked"
    if not IS_SPARK_3:
        share_gpus(spark, graphs, expected)

    def devices(rows):
        from graphseam.task import task_device

        time.sleep(0.5)
        yield task_device()

    found = spark.sparkContext.parallelize(range(8), 8).mapPartitions(devices).collect()
    assert set(found) == {"cuda:0", "cuda:1"}, found
    if IS_SPARK_3:
        with pytest.raises(ConfigError, match=r"say by spark\.task\.resource\.gpu\.amount what each task takes"):
            embedded(spark, graphs, gpus=0.5, pause_s=0)
    spark.stop()
    print(f"{told}, the same vectors as on the CPU")


def await_executors(spark, count: int) -> None:
    """Return once so many executors are registered; a minute is plenty even on a busy machine."""
    executors = spark.sparkContext._jsc.sc().statusStore()
    for _ in range(600):
        if executors.executorList(True).size() > count:  # the driver counts as one
            return
        time.sleep(0.1)
    raise AssertionError(f"no {count} executors after a minute")


def share_gpus(spark, graphs, expected) -> None:
    """Two small subgraphs at a time on each GPU."""
    (share,) = gpu_shares(dict.fromkeys(graphs, 100.0), gpu_memory_mb=1000, share=0.5)
    shared = {number: graphs[number] for number in share.subgraphs}
    embedded(spark, shared, share.gpus, pause_s=0.4)  # each executor starts a second worker, which may take long
    found, stats = embedded(spark, shared, share.gpus, pause_s=2)
    assert {row["gpu"] for row in stats} <= {"0", "1"}, stats
    assert overlapping(stats) > 0, stats
    assert found == expected


if __name__ == "__main__":
    main()
