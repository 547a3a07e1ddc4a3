"""Records that tasks send to the driver: a few numbers per subgraph, without a table or a job of their own."""

from __future__ import annotations

from typing import Any

from pyspark import Accumulator, AccumulatorParam
from pyspark.sql import SparkSession

Records = dict[int, dict[str, Any]]  # {subgraph: its record}


class Gathered(AccumulatorParam[Records]):
    """One record per subgraph; a repeated task's record replaces the first."""

    def zero(self, value: Records) -> Records:
        return {}

    def addInPlace(self, value1: Records, value2: Records) -> Records:  # noqa: N802, Spark's name
        value1.update(value2)
        return value1


def gathered(spark: SparkSession) -> Accumulator[Records]:
    """An accumulator for records of subgraphs. Driver: one record per subgraph, available once the job has ended."""
    return spark.sparkContext.accumulator({}, Gathered())
