"""What is implemented differently for Spark 3.5 and Spark 4 gives the same result on both."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from conftest import LASTFM, make_config
from graphseam import spark_line
from graphseam.errors import ConfigError
from graphseam.pipeline import run_pipeline
from graphseam.scratch import scratch_folder
from graphseam.spark_line import (
    delta_coordinate,
    graphframes_coordinate,
    keys_of_partitions,
    map_group_pairs,
    map_groups,
    repartition_by_number,
    with_row_numbers,
)


def test_java_keeps_what_is_temporary_in_the_folder_of_its_process(spark):
    """Shuffle files, unpacked libraries, the warehouse: who is killed leaves one folder, which the next one removes."""
    jvm, own = spark.sparkContext._jvm, str(scratch_folder())
    assert jvm.java.lang.System.getProperty("java.io.tmpdir") == own
    assert spark.conf.get("spark.sql.warehouse.dir").removeprefix("file:").startswith(own)
    if "SPARK_LOCAL_DIRS" not in os.environ:
        disk = spark.sparkContext._jsc.sc().env().blockManager().diskBlockManager()
        assert disk.localDirsString()[0].startswith(own)


@pytest.mark.parametrize("num_parts", [1, 5])
def test_rows_are_numbered_without_gaps_in_their_order(spark, num_parts):
    rows = spark.range(0, 2000, 3).select((F.col("id") * 7 % 1999).alias("value"), F.lit("x").alias("other"))
    found = with_row_numbers(rows.repartition(num_parts).sort("value"), "number").collect()
    assert found[0].asDict().keys() == {"value", "other", "number"}
    values = sorted(row["value"] for row in rows.collect())
    assert [(row["number"], row["value"]) for row in sorted(found, key=lambda row: row["number"])] == list(
        enumerate(values)
    )


def test_no_rows_have_no_numbers_and_no_groups(spark):
    nothing = spark.range(0).select(F.col("id").cast("int").alias("key"))
    assert with_row_numbers(nothing, "number").collect() == []
    assert map_groups(nothing, "key", lambda table: table, "key INT").collect() == []


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("kind", ["int", "string"])
def test_every_group_is_whole_and_called_once(spark, kind, in_place):
    def summed(table):
        total = sum(table["value"].to_pylist())
        return pa.table({"rows": [len(table)], "total": [total], "key": table["key"][:1]})

    rows = spark.range(1000).select(F.col("id").alias("value"), (F.col("id") % 13).cast(kind).alias("key"))
    placed = rows.repartition(4, "key") if in_place else rows.repartition(3)
    found = map_groups(placed, "key", summed, f"key {kind}, rows BIGINT, total BIGINT", in_place).collect()
    wanted = rows.groupBy("key").agg(F.count("*").alias("rows"), F.sum("value").alias("total")).collect()
    assert sorted(found) == sorted(wanted)


def test_groups_meet_those_of_the_other_side_or_none(spark):
    left = spark.createDataFrame(
        [(1, 5, [1.5, 2.5], b"ab"), (1, 6, [0.1], b""), (2, -(1 << 63), [], b"c")],
        "one INT, id BIGINT, vector ARRAY<FLOAT>, payload BINARY",
    )
    right = spark.createDataFrame([(1, "x"), (3, "y"), (3, "z")], "other INT, name STRING")

    def meet(one, other):
        key = (one["one"] if len(one) else other["other"])[0]
        ids = pa.array([sorted(one["id"].to_pylist())], pa.list_(pa.int64()))
        return pa.table(
            {
                "key": pa.array([key.as_py()], pa.int32()),
                "ids": ids,
                "numbers": [float(sum(map(sum, one["vector"].to_pylist())))],
                "bytes": [b"".join(sorted(one["payload"].to_pylist()))],
                "names": ["".join(sorted(other["name"].to_pylist()))],
            }
        )

    schema = "key INT, ids ARRAY<BIGINT>, names STRING, numbers DOUBLE, bytes BINARY"
    found = map_group_pairs(left, right, ("one", "other"), meet, schema).sort("key").collect()
    assert [(row["key"], row["ids"], row["names"], bytes(row["bytes"])) for row in found] == [
        (1, [5, 6], "x", b"ab"),
        (2, [-(1 << 63)], "", b"c"),
        (3, [], "yz", b""),
    ]
    assert [row["numbers"] for row in found] == pytest.approx([4.1, 0, 0])


@pytest.mark.parametrize("num_partitions", [1, 7])
def test_a_row_goes_to_the_partition_of_its_number(spark, num_partitions):
    place = (F.col("id") % num_partitions).cast("int").alias("place")
    rows = spark.range(100).select(F.col("id").alias("value"), place)
    found = repartition_by_number(rows, num_partitions, "place")
    assert found.columns == ["value", "place"]
    assert found.rdd.getNumPartitions() == num_partitions
    places = found.withColumn("at", F.spark_partition_id()).collect()
    assert len(places) == 100
    assert all(row["at"] == row["place"] for row in places)


def test_each_partition_has_a_key_of_its_own(spark):
    keys = keys_of_partitions(spark, 11)
    rows = spark.createDataFrame([(int(key),) for key in keys], "key INT").repartition(11, "key")
    at = {row["key"]: row["at"] for row in rows.withColumn("at", F.spark_partition_id()).collect()}
    assert [at[key] for key in keys.tolist()] == np.arange(11).tolist()


def test_what_a_line_cannot_give_is_told_before_anything_is_read(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(spark_line, "IS_SPARK_3", True)
    monkeypatch.setattr("graphseam.pipeline.has_gpus", lambda _: True)
    config = make_config({"edges": str(LASTFM / "edges.parquet")}, tmp_path / "tables", embed={"gpu_memory_mb": 16_000})
    with pytest.raises(ConfigError, match=r"embed\.gpu_memory_mb is set, and Spark 3\.5 gives a stage of"):
        run_pipeline(config, spark=spark)
    assert not (tmp_path / "tables").exists()


@pytest.mark.parametrize(
    ("line", "scala", "delta", "frames"),
    [
        ("4.2", "2.13", "io.delta:delta-spark_4.2_2.13:4.4.0", "io.graphframes:graphframes-spark4_2.13:0.12.3"),
        ("3.5", "2.12", "io.delta:delta-spark_2.12:3.3.2", "io.graphframes:graphframes-spark3_2.12:0.10.1"),
    ],
)
def test_coordinates_are_those_of_the_line(monkeypatch, line, scala, delta, frames):
    versions = {"delta-spark": delta.rsplit(":")[-1], "graphframes-py": frames.rsplit(":")[-1]}
    monkeypatch.setattr(spark_line, "version", versions.get)
    monkeypatch.setattr(spark_line, "SPARK_LINE", line)
    monkeypatch.setattr(spark_line, "IS_SPARK_3", line == "3.5")
    monkeypatch.setattr(spark_line, "scala_line", lambda: scala)
    assert (delta_coordinate(), graphframes_coordinate()) == (delta, frames)
