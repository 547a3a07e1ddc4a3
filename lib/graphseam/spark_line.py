"""Spark 3.5 and Spark 4: all differences between them that matter here. The rest of the code is the same on both.

Two lines are supported and tested: 4.2 with Delta 4.4, and 3.5 LTS with Delta 3.3. What Spark 4 added and we use
(grouped maps in Arrow, row numbers, partitions by number, resources per stage) is done here by older means on 3.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyspark
from pyspark import inheritable_thread_target
from pyspark.resource import ResourceProfile
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType, _parse_datatype_string
from pyspark.storagelevel import StorageLevel

from graphseam.arrow import groups_of
from graphseam.errors import ConfigError

SPARK_LINE = ".".join(pyspark.__version__.split(".")[:2])
IS_SPARK_3 = SPARK_LINE.startswith("3.")
Schema = StructType | str
MOST_ROWS = 65_536  # of an Arrow batch on its way to the JVM


def spark_jars() -> Path:
    return Path(pyspark.__file__).parent / "jars"


def scala_line() -> str:
    """'2.13', or '2.12' for Spark 3.5 from PyPI: what the installed Spark was built with."""
    found = sorted(spark_jars().glob("scala-library-2.*.jar"))
    return (
        ".".join(found[0].stem.removeprefix("scala-library-").split(".")[:2])
        if found
        else "2.12"
        if IS_SPARK_3
        else "2.13"
    )


def delta_coordinate() -> str:
    """Maven coordinate of Delta's jar for the installed Spark: 'io.delta:delta-spark_4.2_2.13:4.4.0'."""
    line = "" if IS_SPARK_3 else f"_{SPARK_LINE}"  # Delta 3 is built for one version of Spark, and does not name it
    return f"io.delta:delta-spark{line}_{scala_line()}:{version('delta-spark')}"


def graphframes_coordinate() -> str:
    """Maven coordinate of GraphFrames' jar: 'io.graphframes:graphframes-spark4_2.13:0.12.3'."""
    return f"io.graphframes:graphframes-spark{SPARK_LINE[0]}_{scala_line()}:{version('graphframes-py')}"


def arrow_rows(rows: list[dict[str, Any]], schema: StructType) -> pa.Table:
    """A few rows of the driver as Arrow; what a row has besides the columns is left out.

    ValueError for a null in a column that is NOT NULL.
    """
    for field in schema.fields:
        if not field.nullable and any(row[field.name] is None for row in rows):
            raise ValueError(f"column {field.name} has no value in a row, and is NOT NULL")
    arrow = stored_schema(schema)
    columns = {name: pa.array([row[name] for row in rows], arrow.field(name).type) for name in schema.names}
    return pa.table(columns, arrow)


def small_table(spark: SparkSession, rows: list[dict[str, Any]], schema: StructType) -> DataFrame:
    """A few rows of the driver as a DataFrame; what a row has besides the columns is left out.

    On Spark 4 by Arrow, as a part of the plan: rows passed as Python objects are read by a Python worker in a task.
    ValueError for a null in a column that is NOT NULL.
    """
    table = arrow_rows(rows, schema)
    if IS_SPARK_3:
        return spark.createDataFrame([tuple(row[name] for name in schema.names) for row in rows], schema)
    return spark.createDataFrame(table, schema)


def with_row_numbers(rows: DataFrame, name: str) -> DataFrame:
    """`rows` with one more column: their numbers from 0, without gaps, in their order."""
    if not IS_SPARK_3:
        return rows.zipWithIndex(name)
    numbered = DataFrame(rows._jdf.toDF().withSequenceColumn(name), rows.sparkSession)  # as pandas on Spark does it
    return numbered.select(*rows.columns, name)


def map_groups(
    rows: DataFrame, key: str, function: Callable[[pa.Table], pa.Table], schema: Schema, in_place: bool = False
) -> DataFrame:
    """One call per value of `key` with all its rows; the tables it returns, with the columns of `schema` by name.

    in_place: the rows of a key are in one partition already, as `repartition(n, key)` puts them. Cost: one shuffle
    unless in place, and a sort. Memory: one group per task. key: a column of numbers or text without nulls.
    """
    if not IS_SPARK_3:
        return rows.groupBy(key).applyInArrow(lambda table: function(table), schema)
    placed = rows if in_place else rows.repartition(key)
    return placed.sortWithinPartitions(key).mapInArrow(by_group(key, function, schema), schema)


def by_group(
    key: str, function: Callable[[pa.Table], pa.Table], schema: Schema
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """For mapInArrow over rows in order of `key`: one call of `function` per value, as in `map_groups`."""
    wanted = _arrow_schema(schema)

    def stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _, table in groups_of(batches, key):
            yield from _as_wanted(function(table), wanted).to_batches(MOST_ROWS)

    return stream


def map_group_pairs(
    left: DataFrame,
    right: DataFrame,
    keys: tuple[str, str],
    function: Callable[[pa.Table, pa.Table], pa.Table],
    schema: Schema,
) -> DataFrame:
    """One call per value of the keys with its rows of both sides, one of which may be empty.

    Cost: one shuffle per side, except for what is in place already. Spark 3.5 has this for pandas only: rows pass
    through pandas, which preserves every type we send this way; integers must have no nulls.
    """
    grouped = left.groupBy(keys[0]).cogroup(right.groupBy(keys[1]))
    if not IS_SPARK_3:
        return grouped.applyInArrow(lambda one, other: function(one, other), schema)
    schemas, wanted = [to_arrow_schema(side.schema) for side in (left, right)], _arrow_schema(schema)

    def map_pandas(one: Any, other: Any) -> Any:
        tables = [
            pa.Table.from_pandas(rows, kind, preserve_index=False)
            for rows, kind in zip((one, other), schemas, strict=True)
        ]
        return _as_wanted(function(*tables), wanted).to_pandas()

    return grouped.applyInPandas(map_pandas, schema)


def map_in_arrow(
    rows: DataFrame,
    function: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]],
    schema: Schema,
    profile: ResourceProfile | None,
) -> DataFrame:
    """mapInArrow whose tasks request `profile`, None for the job's own. ConfigError if Spark 3.5 is given one."""
    if profile is None:
        return rows.mapInArrow(function, schema)
    require_stage_resources()
    return rows.mapInArrow(function, schema, profile=profile)


def for_a_thread(spark: SparkSession, work: Callable[..., Any]) -> Callable[..., Any]:
    """`work` as a function that another thread can call, with a copy of this thread's local properties."""
    if IS_SPARK_3:
        return inheritable_thread_target(work)
    wrapped: Callable[..., Any] = inheritable_thread_target(spark)(work)
    return wrapped


def require_stage_resources() -> None:
    """ConfigError on Spark 3.5, where every stage of DataFrames uses the resources set for the job."""
    if IS_SPARK_3:
        raise ConfigError(
            "embed.gpu_memory_mb is set, and Spark 3.5 gives a stage of DataFrames no resources of its "
            "own; leave it out, and say by spark.task.resource.gpu.amount what each task takes of a GPU"
        )


def repartition_by_number(rows: DataFrame, num_partitions: int, number: str) -> DataFrame:
    """Send each row to the partition in its column `number`, from 0 to num_partitions - 1. Cost: one shuffle."""
    if not IS_SPARK_3:
        return rows.repartitionById(num_partitions, F.col(number))
    keys = keys_of_partitions(rows.sparkSession, num_partitions)
    pairs = rows.sparkSession.createDataFrame(list(enumerate(keys.tolist())), f"{number} INT, _key INT")
    return (
        rows.join(F.broadcast(pairs), on=number, how="inner").repartition(num_partitions, "_key").select(*rows.columns)
    )


def local_checkpoint(rows: DataFrame, eager: bool, level: StorageLevel) -> DataFrame:
    """localCheckpoint with a storage level; Spark 3.5 always uses memory, and disk for what does not fit."""
    return rows.localCheckpoint(eager) if IS_SPARK_3 else rows.localCheckpoint(eager, level)


def schema_of(ddl: str) -> StructType:
    """A schema from its SQL, as by StructType.fromDDL of Spark 4. A session must have been started."""
    parsed = _parse_datatype_string(ddl)
    assert isinstance(parsed, StructType)
    return parsed


def keys_of_partitions(spark: SparkSession, num_partitions: int) -> np.ndarray:
    """int32[n]: for each partition the smallest number that Spark's hash partitioning sends to it."""
    wanted = max(64, int(num_partitions * (np.log(num_partitions + 1) + 12)))  # enough numbers to hit every partition
    place = F.pmod(F.hash(F.col("id").cast("int")), F.lit(num_partitions))
    rows = spark.range(0, wanted, 1, 1).groupBy(place.alias("partition")).agg(F.min("id").alias("key")).collect()
    keys = np.full(num_partitions, -1, np.int32)
    for row in rows:  # one row per partition
        keys[row["partition"]] = row["key"]
    if (keys < 0).any():
        raise RuntimeError(f"{int((keys < 0).sum())} of {num_partitions} partitions found no key of their own")
    return keys


def _arrow_schema(schema: Schema) -> pa.Schema:
    return to_arrow_schema(schema_of(schema) if isinstance(schema, str) else schema)


def _as_wanted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns in the schema's order and types; Spark 4 itself matches them by name."""
    return table.select(schema.names).cast(schema) if table.schema != schema else table


def stored_schema(schema: StructType) -> pa.Schema:
    """As what Arrow has the columns; timestamps are in UTC, as files of tables have them."""
    return to_arrow_schema(schema) if IS_SPARK_3 else to_arrow_schema(schema, timezone="UTC")
