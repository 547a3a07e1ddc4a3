"""Checkpoints: stored rows, so that what is built on them neither recomputes them nor carries their lineage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame, SparkSession
from pyspark.storagelevel import StorageLevel

from graphseam import folders
from graphseam.spark_line import local_checkpoint


class Checkpoints:
    """Supersteps stored as files, so that a lost executor costs at most the superstep it was in."""

    def __init__(self, spark: SparkSession, folder: str) -> None:
        spark.sparkContext.setCheckpointDir(folder)
        self._spark, self._folder = spark, str(spark.sparkContext.getCheckpointDir())

    def keep(self, packets: DataFrame) -> DataFrame:
        """Store the packets, computed once: Spark's checkpoint would compute them twice if they were not persisted."""
        held = packets.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            return held.checkpoint(eager=True)
        finally:
            held.unpersist()

    def remove(self) -> None:
        folders.remove(self._spark, self._folder)


@contextmanager
def lineage_cut(rows: DataFrame, checkpoint_dir: str | None) -> Iterator[DataFrame]:
    """Store `rows` for the block and cut their lineage, for loops that build on their own last result.

    Rows that are only persisted keep their plan, and a plan's text contains each plan it reads twice (initial and
    adapted): it doubles with each round. checkpoint_dir: on a cluster, a directory that all executors can reach; None
    if the session is one process. Cost: computes the rows once, immediately.
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
