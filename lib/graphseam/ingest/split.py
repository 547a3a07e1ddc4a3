"""The split that a user gives: a column of the edges says which of them are held out."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from graphseam.config import Config
from graphseam.edges import end_nodes, low_and_high
from graphseam.errors import InputError

NUM_SHOWN = 10  # values of the column that an error names


def _value() -> Column:
    """The split column as text, blanks around it left out."""
    return F.trim(F.col("split").cast("string"))


def mark_held(rows: DataFrame, values: list[str]) -> DataFrame:
    """`rows` with `held`: whether the value of `split`, as text, is one of those; a missing one is not."""
    return rows.withColumn("held", F.coalesce(_value().isin(values), F.lit(False)))


def check_split(rows: DataFrame, config: Config) -> None:
    """InputError unless each value of evaluate.held_out occurs, and some rows are left to embed.

    rows: (split, held), usable ones. Cost: one aggregation; of one row per value when it fails, the 10 most frequent.
    """
    wanted = config.evaluate.held_out_values
    counts = {
        row["value"]: row["count"]
        for row in rows.groupBy(F.when(F.col("held"), _value()).alias("value")).count().collect()
    }  # a row per value of evaluate.held_out, and one for all others
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
    """`rows` with `held` the same for all rows of a pair: held out where every one of them is, whatever its direction.

    rows: (src, dst, weight, held) of node numbers. An edge that comes both held out and embedded would be known to
    the embedding that it is to measure, so it is embedded. Cost: one shuffle of `rows`.
    """
    pair = Window.partitionBy(*low_and_high())
    return rows.withColumn("held", F.min("held").over(pair))


def stranded(edges: DataFrame, held: DataFrame) -> int:
    """How many nodes have held-out edges only: they stay nodes, with a zero vector. Cost: one join of their ends."""
    return end_nodes(held).distinct().join(end_nodes(edges), on="node_id", how="left_anti").count()
