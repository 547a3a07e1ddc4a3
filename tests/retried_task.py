"""Run by test_partition as a process: the distributed partition, with and without a worker that is killed."""

import os
import signal
import sys
from pathlib import Path

os.environ["PYSPARK_PYTHON"] = sys.executable
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from pyspark import TaskContext

from graphseam.partition.distributed import assigned_by_blocks
from graphseam.partition.levels import Wanted
from graphseam.partition.multilevel import MultilevelPartitioner
from graphseam.session import build_session, size_shuffles


def main() -> None:
    spark = build_session("retried", local=True)  # whose tasks are tried twice
    size_shuffles(spark, 0)  # plans interpreted as they are: there are hundreds, over few rows
    rng = np.random.default_rng(2)
    ends = rng.integers(0, 300, (1500, 2))
    rows = [(int(a), int(b), 1.0) for a, b in ends if a != b]
    edges = spark.createDataFrame(rows, "src LONG, dst LONG, weight DOUBLE")
    failures = spark.sparkContext.accumulator(0)

    def die_once(batches):
        if TaskContext.get().attemptNumber() == 0 and TaskContext.get().partitionId() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if TaskContext.get().attemptNumber() > 0:
            failures.add(1)
        yield from batches

    partitioner = MultilevelPartitioner(block_edges=400, coarsest_edges=300)
    schema = spark.createDataFrame([], "level INT, subgraph_id INT, node_id LONG").schema
    found = []
    for rows in (edges, edges.repartition(3).mapInArrow(die_once, edges.schema)):
        with assigned_by_blocks(rows, None, partitioner, Wanted(4, 1, 0, 3, schema), 1024) as assignments:
            found.append(sorted(map(tuple, assignments.collect())))
    assert failures.value > 0, "no task was retried"
    assert found[0] == found[1]
    assert len(found[0]) == 300 - len(set(range(300)) - set(ends.ravel().tolist()))
    print("the same assignment, with a worker that was killed")


if __name__ == "__main__":
    main()
