"""A split given by the user: a column of the edges says which of them are held out."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from graphseam.config import Config
from graphseam.edges import end_nodes, low_and_high
from graphseam.errors import InputError

NUM_SHOWN = 10  # values of the column that an error message lists


def _value() -> Column:
    """The split column as text, with surrounding blanks removed."""
    return F.trim(F.col("split").cast("string"))


def mark_held(rows: DataFrame, values: list[str]) -> DataFrame:
    """Add `held` to `rows`: whether the value of `split`, as text, is one of `values`; false if it is missing."""
    return rows.withColumn("held", F.coalesce(_value().isin(values), F.lit(False)))


def check_split(rows: DataFrame, config: Config) -> None:
    """InputError unless each value of evaluate.held_out occurs and some rows are left to embed.

    rows: (split, held), usable rows only. Cost: one aggregation; on failure, another one by value of the column, of
    which the driver gets the 10 most frequent.
    """
    wanted = config.evaluate.held_out_values
    counts = {
        row["value"]: row["count"]
        for row in rows.groupBy(F.when(F.col("held"), _value()).alias("value")).count().collect()
    }  # one row per value of evaluate.held_out, and one for all others
    missing = [value for value in wanted if value not in counts]
    column = f"column {config.input.split!r} of {config.input.edges!r} (input.split)"
    if missing:
        most = rows.groupBy(_value().alias("value")).count().sort(F.desc("count"), "value").limit(NUM_SHOWN).collect()
        raise InputError(
            f"no row has {missing[0]!r} (evaluate.held_out) in {column}; most frequent there: "
            + ", ".join(f"{row['value']!r} ({row['count']:,} rows)" for row in most)
        )
    if None not in counts:
        raise InputError(
            f"every row has {' or '.join(map(repr, wanted))} (evaluate.held_out) in {column}, so that "
            "none is left to embed; name the values of the held-out edges alone"
        )


def settle(rows: DataFrame) -> DataFrame:
    """Make `held` the same for all rows of a pair, in either direction: true only if it is true for all of them.

    rows: (src, dst, weight, held) of node numbers. An edge that occurs both as held out and as embedded would be known
    to the embedding it is meant to test, so it is embedded. Cost: one shuffle of `rows`.
    """
    pair = Window.partitionBy(*low_and_high())
    return rows.withColumn("held", F.min("held").over(pair))


def stranded(edges: DataFrame, held: DataFrame) -> int:
    """How many nodes have only held-out edges; they remain nodes, with a zero vector. Cost: one join of the ends."""
    return end_nodes(held).distinct().join(end_nodes(edges), on="node_id", how="left_anti").count()
