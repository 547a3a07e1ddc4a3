"""Rows kept so that what is built on them does not repeat them, and forgets how they were made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame, SparkSession
from pyspark.storagelevel import StorageLevel

from graphseam import folders
from graphseam.spark_line import local_checkpoint


class Checkpoints:
    """Supersteps kept as files, so that a lost executor costs at most the superstep it was in."""

    def __init__(self, spark: SparkSession, folder: str) -> None:
        spark.sparkContext.setCheckpointDir(folder)
        self._spark, self._folder = spark, str(spark.sparkContext.getCheckpointDir())

    def keep(self, packets: DataFrame) -> DataFrame:
        """Written once: Spark's checkpoint would compute it a second time if it were not held meanwhile."""
        held = packets.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            return held.checkpoint(eager=True)
        finally:
            held.unpersist()

    def remove(self) -> None:
        folders.remove(self._spark, self._folder)


@contextmanager
def lineage_cut(rows: DataFrame, checkpoint_dir: str | None) -> Iterator[DataFrame]:
    """Keep `rows` for the block and forget how they were made, for loops that build on their own last result.

    What is only persisted keeps its plan, and a plan tells each plan it reads twice (as begun, as adapted): the text
    doubles with each round. checkpoint_dir: a directory all executors reach, on a cluster; None where the session is
    one process. Cost: computes the rows once, at once.
    """
    checkpoints = Checkpoints(rows.sparkSession, checkpoint_dir) if checkpoint_dir else None
    kept = checkpoints.keep(rows) if checkpoints else local_checkpoint(rows, True, StorageLevel.MEMORY_AND_DISK)
    try:
        yield kept
    finally:
        if checkpoints:
            checkpoints.remove()
        else:
            kept._jdf.logicalPlan().rdd().unpersist(False)
