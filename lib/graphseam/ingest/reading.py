"""Input rows as Spark sees them: text split into fields, unusable rows marked with the reason."""

from __future__ import annotations

from typing import NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ByteType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    TimestampNTZType,
    TimestampType,
)
from pyspark.sql.utils import AnalysisException

from graphseam.errors import InputError
from graphseam.files import is_remote, local_files
from graphseam.ingest.text import is_comment, text_in, text_rows
from graphseam.sections import InputConfig
from graphseam.sources import Source, find_format, inspect, positional, text_source

TIMES = (DateType, TimestampType, TimestampNTZType)
INTEGERS = (ByteType, ShortType, IntegerType, LongType)
READABLE = (*INTEGERS, FloatType, DoubleType, DecimalType, StringType)  # as ids and weights
NULL_LIKE = ("null", "<null>", "none", "nan", "n/a", "nil", "\\n", "undefined")  # how tools write a missing value
WEIGHTS = (1e-30, 1e30)  # sums of millions of them stay finite, also in float32
INTEGER_SHARE = 0.9  # of the ids that must be whole numbers for all ids to be treated as integers


def read_rows(spark: SparkSession, name: str, path: str, columns: dict[str, str], config: InputConfig) -> DataFrame:
    """One row per input row: an unconverted column for each key of `columns`, then `file`, `content` and `broken`.

    columns: {key: column in the file}. `content` is the row as text, at most 1,000 characters; `broken` says why it is
    no row at all, if it is none. Runs no Spark action, except to look at the first lines at a remote address. Errors:
    InputError for a missing column.
    """
    source = inspect(name, path, columns.values(), config) or _inspect_with_spark(spark, name, path, columns, config)
    found = {key: source.column(positional(source, column, key), f"input.{key}") for key, column in columns.items()}
    if source.format == "csv":
        return text_rows(spark, source, found, config)
    try:
        reader = spark.read.format(source.format)
        if source.format == "parquet" and not is_remote(source.path):
            reader = reader.option("recursiveFileLookup", True)  # as local_files does; hides partition columns
        rows = reader.load(source.path)
        _check_types(rows, source, found)
    except AnalysisException as error:
        raise InputError(
            f"{path!r} (input.{name}) cannot be read as {source.format}: {str(error).splitlines()[0]}"
        ) from None
    return rows.select(
        *[F.col(f"`{column}`").alias(key) for key, column in found.items()],
        F.lit(source.path).alias("file"),
        F.substring(F.to_json(F.struct(*[f"`{column}`" for column in dict.fromkeys(found.values())])), 1, 1000).alias(
            "content"
        ),
        F.lit(None).cast("string").alias("broken"),
    )


def _check_types(rows: DataFrame, source: Source, columns: dict[str, str]) -> None:
    """InputError if an id or weight column is neither numeric nor text; the other columns are read as text anyway."""
    for key, column in columns.items():
        kind = rows.schema[column].dataType
        readable = (*READABLE, *TIMES) if key == "time" else READABLE
        if key not in ("label", "split", "node_type") and not isinstance(kind, readable):
            raise InputError(
                f"{source.path} has {kind.simpleString()} in column {column!r} (input.{key}); "
                "give a column of numbers or text" + (", or of dates or times" if key == "time" else "")
            )


def _inspect_with_spark(
    spark: SparkSession, name: str, path: str, columns: dict[str, str], config: InputConfig
) -> Source:
    """The source at an address that only Spark can open, or a Delta table."""
    key = f"input.{name}"
    kind = config.format if name == "edges" and config.format != "auto" else "auto"
    if kind == "auto":
        kind = find_format(path, local_files(path, key), key) if not is_remote(path) else _format_by_trial(spark, path)
    try:
        if kind != "csv":
            return Source(name, path, kind, tuple(spark.read.format(kind).load(path).columns))
        decoded = spark.read.text(path).select(text_in(config.encoding).alias("value"))
        lines = decoded.where((F.trim("value") != "") & ~is_comment(config.comment)).head(5)
    except AnalysisException as error:
        raise InputError(f"{path!r} ({key}) cannot be read as {kind}: {str(error).splitlines()[0]}") from None
    if not lines:
        raise InputError(f"{path!r} ({key}) holds no data line")
    return text_source(name, path, [line["value"] for line in lines], columns.values(), config)


def _format_by_trial(spark: SparkSession, path: str) -> str:
    from delta.tables import DeltaTable

    if DeltaTable.isDeltaTable(spark, path):
        return "delta"
    return "parquet" if ".parquet" in path else "csv"


def id_type_of(rows: DataFrame, keys: list[str], wanted: str) -> str:
    """The type of the ids, "integer" or "string"; takes one pass over the rows if they are text and `wanted` is auto.

    Ids are integers if at least nine in ten of those present can be read as 64-bit whole numbers, and each of these
    would come back letter for letter; rows with other ids are then rejected. Otherwise, as with one id of 00042, every
    id is a string.
    """
    if wanted != "auto":
        return wanted
    if all(isinstance(rows.schema[key].dataType, INTEGERS) for key in keys):
        return "integer"
    counts = rows.select(
        *[
            column
            for key in keys
            for column in (
                F.count(text_of(rows, key)).alias(f"{key}_present"),
                F.count(as_integer(rows, key)).alias(f"{key}_integer"),
                F.count_if(_changes_as_integer(rows, key)).alias(f"{key}_changed"),
            )
        ]
    ).head()
    assert counts is not None  # an aggregate without groups has one row
    present, integers, changed = (
        sum(counts[f"{key}_{kind}"] for key in keys) for kind in ("present", "integer", "changed")
    )
    return "integer" if present and integers >= INTEGER_SHARE * present and not changed else "string"


def _changes_as_integer(rows: DataFrame, key: str) -> Column:
    """Whether the id is text that can be read as an integer but is not how that integer is written, such as 00042."""
    if not isinstance(rows.schema[key].dataType, StringType):
        return F.lit(False)
    return as_integer(rows, key).cast("string") != F.trim(F.col(key))


def as_integer(rows: DataFrame, key: str) -> Column:
    """The column as BIGINT, null if it is not a 64-bit whole number."""
    kind = rows.schema[key].dataType
    if isinstance(kind, (FloatType, DoubleType, DecimalType)):
        return F.when(F.col(key) == F.floor(key), F.expr(f"try_cast({key} AS BIGINT)"))
    return F.expr(f"try_cast(trim({key}) AS BIGINT)" if isinstance(kind, StringType) else f"try_cast({key} AS BIGINT)")


def text_of(rows: DataFrame, key: str) -> Column:
    """The column as text, null if it is missing: null, empty or blank."""
    text = F.trim(F.col(key).cast("string"))
    return F.when(text != "", text)


def with_reason(rows: DataFrame, ids: list[str], weight: str | None, id_type: str) -> DataFrame:
    """`rows` with each id as BIGINT or STRING, `weight` as DOUBLE, and `reason`: null if the row is usable.

    Reasons: what is `broken` (a blank line, another encoding, a quote without an end), a missing id, an id that is not
    a whole number when ids are integers, and a weight that is missing, not a number, NaN, infinite, negative, zero or
    out of range; the first that applies is given.
    """
    reason = F.when(F.col("broken").isNotNull(), F.col("broken"))
    for key in ids:
        reason = reason.when(text_of(rows, key).isNull(), f"{key} is missing")
        if id_type == "integer":
            reason = reason.when(as_integer(rows, key).isNull(), f"{key} is not a whole number of 64 bits")
    value = F.lit(1.0)
    if weight is not None:
        value = F.expr(f"try_cast({weight} AS DOUBLE)")
        reason = (
            reason.when(text_of(rows, weight).isNull(), "weight is missing")
            .when(value.isNull(), "weight is not a number")
            .when(F.isnan(value) | (F.abs(value) == float("inf")), "weight is NaN or infinite")
            .when(value < 0, "weight is negative")
            .when(value == 0, "weight is zero")
            .when(~value.between(*WEIGHTS), f"weight is not between {WEIGHTS[0]:g} and {WEIGHTS[1]:g}")
        )
    typed = [(as_integer(rows, key) if id_type == "integer" else text_of(rows, key)).alias(key) for key in ids]
    kept = [column for column in rows.columns if column not in (*ids, "weight")]
    return rows.select(*typed, value.alias("weight"), reason.alias("reason"), *kept)


class RowCounts(NamedTuple):
    """How many rows of edges there are, how many are usable, how many of those are loops, and how many have an id that
    says it is none, such as NULL."""

    rows: int
    usable: int
    loops: int
    null_like: int


def count_rows(edges: DataFrame) -> RowCounts:
    """Count rows returned by `with_reason`, with the columns src and dst. Cost: one pass."""
    usable = F.col("reason").isNull()
    null_like = F.lit(False)
    if isinstance(edges.schema["src"].dataType, StringType):
        null_like = F.lower("src").isin(*NULL_LIKE) | F.lower("dst").isin(*NULL_LIKE)
    counts = edges.agg(
        F.count("*"), F.count_if(usable), F.count_if(usable & F.expr("src = dst")), F.count_if(usable & null_like)
    ).head()
    assert counts is not None  # an aggregate without groups has one row
    return RowCounts(*counts)
