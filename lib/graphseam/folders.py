"""Files and folders through Hadoop's file systems: at any address that Spark can read, local or remote."""

from __future__ import annotations

from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession


def exists(spark: SparkSession, path: str) -> bool:
    file_system, place = _at(spark, path)
    return bool(file_system.exists(place))


def remove(spark: SparkSession, path: str) -> None:
    """Delete a folder and everything in it; does nothing if it does not exist."""
    file_system, place = _at(spark, path)
    file_system.delete(place, True)


def write_text(spark: SparkSession, path: str, text: str) -> None:
    """Write a small file, in place of one that is there."""
    file_system, place = _at(spark, path)
    stream = file_system.create(place, True)
    try:
        stream.write(bytearray(text.encode("utf-8")))
    finally:
        stream.close()


def read_text(spark: SparkSession, path: str) -> str:
    """The content of a small file; empty if it is gone by now."""
    file_system, place = _at(spark, path)
    jvm: Any = spark.sparkContext._jvm
    try:
        stream = file_system.open(place)
    except Py4JJavaError:
        return ""
    try:
        return str(jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
    finally:
        stream.close()


def _at(spark: SparkSession, path: str) -> tuple[Any, Any]:
    jvm: Any = spark.sparkContext._jvm
    place = jvm.org.apache.hadoop.fs.Path(path)
    return place.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()), place
