"""Text files as rows: decoded, split into fields, and marked where a line is no row."""

from __future__ import annotations

import re

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from graphseam.sections import InputConfig
from graphseam.sources import WHITESPACE, Source

DAMAGED = "\ufffd"  # what stands for bytes that are no text
# Where windows-1252 differs from ISO-8859-1, the only one of the two that Spark decodes.
WINDOWS = {chr(byte): bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0xA0)}
NOT_TEXT = "not in the encoding of input.encoding"
NO_END = "a quote begins or ends on another line (input.multiline)"


def is_comment(marks: str) -> Column:
    """Whether the line begins with one of the characters in `marks`."""
    return F.substring("value", 1, 1).isin(*marks) if marks else F.lit(False)


def text_in(encoding: str) -> Column:
    """The column `value`, as Spark's text source has read it, decoded: bytes that are no text become U+FFFD."""
    if encoding == "utf-8":
        return F.regexp_replace("value", "^\ufeff", "")
    decoded = F.expr("decode(CAST(value AS BINARY), 'ISO-8859-1')")
    return _from_latin(decoded, encoding)


def _from_latin(text: Column, encoding: str) -> Column:
    """Text decoded as ISO-8859-1, as it is in `encoding`."""
    return F.translate(text, "".join(WINDOWS), "".join(WINDOWS.values())) if encoding == "windows-1252" else text


def text_rows(spark: SparkSession, source: Source, columns: dict[str, str], config: InputConfig) -> DataFrame:
    """One row per line (per record if config.multiline), as `reading.read_rows` returns them."""
    place = {column: source.columns.index(column) for column in columns.values()}
    if config.multiline and source.delimiter != WHITESPACE:
        return _records(spark, source, columns, place, config)
    lines = spark.read.option("recursiveFileLookup", True).text(source.path)
    text = text_in(config.encoding)
    # Text that has held U+FFFD before was damaged by someone else: it is read as it is.
    damaged = text.contains(DAMAGED) & ~F.col("value").contains(DAMAGED)
    lines = lines.select(text.alias("value"), damaged.alias("damaged"), F.col("_metadata.file_path").alias("file"))
    lines = lines.where(~is_comment(config.comment))
    for no_edge in (source.header, source.size_line):
        if no_edge is not None:
            lines = lines.where(F.col("value") != no_edge)
    unbalanced = F.lit(False)
    if source.delimiter == WHITESPACE:
        fields = F.split(F.trim("value"), WHITESPACE)
        cells = {column: F.get(fields, F.lit(at)) for column, at in place.items()}
    else:
        record = F.from_csv("value", _schema(source), _options(source))
        cells = {column: record.getField(f"c{at}") for column, at in place.items()}
        unbalanced = _unbalanced(source.delimiter)
    broken = (
        F.when(~F.col("value").rlike(r"\S"), "blank line").when(F.col("damaged"), NOT_TEXT).when(unbalanced, NO_END)
    )
    return lines.select(
        *[cells[column].alias(key) for key, column in columns.items()],
        "file",
        F.substring("value", 1, 1000).alias("content"),
        broken.alias("broken"),
    )


def _unbalanced(delimiter: str) -> Column:
    """Whether a field begins or ends with a quote and the line has an odd number of them; 5" in a name is no quote."""
    mark = re.escape(delimiter)
    quotes = F.length("value") - F.length(F.replace(F.col("value"), F.lit('"'), F.lit("")))
    return F.col("value").contains('"') & (quotes % 2 == 1) & F.col("value").rlike(f'(^|{mark})\\s*"|"\\s*({mark}|$)')


def _records(
    spark: SparkSession, source: Source, columns: dict[str, str], place: dict[str, int], config: InputConfig
) -> DataFrame:
    """The records of files whose quoted fields may hold line breaks, as Spark's CSV reader finds them."""
    options = {"multiLine": "true", "header": str(source.header is not None).lower(), "recursiveFileLookup": "true"}
    reader = spark.read.schema(_schema(source)).options(**_options(source), **options)
    reader = reader.option("encoding", "utf-8" if config.encoding == "utf-8" else "iso-8859-1")
    first = F.substring("c0", 1, 1)
    records = reader.csv(source.path).withColumn("file", F.col("_metadata.file_path"))
    records = records.where(F.coalesce(~first.isin(*config.comment), F.lit(True))) if config.comment else records
    names = [f"c{at}" for at in range(len(source.columns))]
    records = records.withColumns({name: _from_latin(F.col(name), config.encoding) for name in names})
    content = F.to_csv(F.struct(*names), {"sep": source.delimiter, "escape": '"'})
    return records.select(
        *[F.col(f"c{place[column]}").alias(key) for key, column in columns.items()],
        "file",
        F.substring(content, 1, 1000).alias("content"),
        F.when(content.contains(DAMAGED), NOT_TEXT).alias("broken"),
    )


def _schema(source: Source) -> str:
    return ", ".join(f"c{at} STRING" for at in range(len(source.columns)))


def _options(source: Source) -> dict[str, str]:
    return {
        "sep": source.delimiter,
        "escape": '"',  # a quote inside quotes is doubled, as in RFC 4180
        "ignoreLeadingWhiteSpace": "true",
        "ignoreTrailingWhiteSpace": "true",
    }
