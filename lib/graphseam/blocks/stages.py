"""One Spark stage per round: blocks keep their state in a store, read what their peers wrote there, and return sums.

For state too large to shuffle, such as vectors: a round costs its own reads and writes, plus one Spark job without a
shuffle. (`engine` sends packets through Spark's shuffle: for labels, and where there is no shared folder.) A round
reads only what earlier rounds wrote, and is idempotent: a lost executor costs at most the round it was in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from graphseam.spark_line import map_groups

MOST_SUMS = 64  # arrays that the driver sums itself
TASKS_PER_CORE = 2  # several small blocks share a task: a task costs more than a small block
SUMS = "block INT, sums BINARY"
ARROW_SUMS = pa.schema([("block", pa.int32()), ("sums", pa.binary())])

Step = Callable[[int], np.ndarray]


class SparkStages:
    """Rounds as Spark jobs. num_tasks follows the number of cores; no result depends on which blocks share a task."""

    def __init__(self, spark: SparkSession, num_blocks: int) -> None:
        self.num_blocks, self._spark = num_blocks, spark
        self.num_tasks = max(1, min(num_blocks, TASKS_PER_CORE * spark.sparkContext.defaultParallelism))

    def run(self, step: Step) -> np.ndarray:
        """Call `step(block)` for every block; returns the sum of the results, float64, added in block order.

        Cost: one stage; above 64 blocks the arrays are first summed by 64 tasks, then by the driver.
        """

        def run_blocks(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for block in batch["id"].to_pylist():
                    yield _row(block, step(block))

        rows = self._spark.range(0, self.num_blocks, 1, self.num_tasks).mapInArrow(run_blocks, SUMS)
        if self.num_blocks > MOST_SUMS:
            share = -(-self.num_blocks // MOST_SUMS)
            rows = map_groups(rows.withColumn("leader", F.floor(F.col("block") / share)), "leader", _add_group, SUMS)
        return _added((row["block"], _decoded(row["sums"])) for row in rows.collect())  # at most MOST_SUMS rows


class LocalStages:
    """The same rounds in this process: for a graph that fits in one task, and as the reference."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks

    def run(self, step: Step) -> np.ndarray:
        return _added((block, step(block)) for block in range(self.num_blocks))


def _row(block: int, sums: np.ndarray) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([block], pa.int32()), pa.array([sums.tobytes()])], schema=ARROW_SUMS)


def _add_group(rows: pa.Table) -> pa.Table:
    blocks = rows["block"].to_pylist()
    sums = _added(zip(blocks, map(_decoded, rows["sums"].to_pylist()), strict=True))
    return pa.Table.from_batches([_row(min(blocks), sums)])


def _decoded(sums: bytes) -> np.ndarray:
    return np.frombuffer(sums, np.float64)


def _added(parts: Iterable[tuple[int, np.ndarray]]) -> np.ndarray:
    """Sum in block order: the last bit of a sum depends on the order."""
    return np.sum([sums for _, sums in sorted(parts, key=lambda part: part[0])], axis=0)
