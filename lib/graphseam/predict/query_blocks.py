"""Queries against a base in blocks: each task holds a share of the base and answers all queries sent to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BooleanType, DataType

from graphseam.session import empty_list
from graphseam.spark_line import repartition_by_number

BASE, QUERY = 0, 1
Stream = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def block_of(column: str | Column, num_blocks: int) -> Column:
    """The block of a row, by a hash of the column."""
    return F.pmod(F.xxhash64(column), F.lit(num_blocks)).cast("int")


def block_at(place: str, num_blocks: int) -> Column:
    """The block of a row, by a column in [0, 1): equal parts of that range."""
    return F.least(F.floor(F.col(place) * num_blocks), F.lit(num_blocks - 1)).cast("int")


def every_block(num_blocks: int) -> Column:
    """Explodes into one row per block."""
    return F.explode(F.sequence(F.lit(0), F.lit(num_blocks - 1)))


def answered_in_blocks(base: DataFrame, queries: DataFrame, num_blocks: int, answer: Stream, schema: str) -> DataFrame:
    """What `answer` yields for each block's rows: first those of the base, then the queries, each sorted by node_id.

    base, queries: (block INT, node_id, …); a column that one side lacks is empty, false or 0 there. The rows passed to
    `answer` have the additional column `kind`, see `parts_of`. Cost: one shuffle of both.
    """
    kinds = {field.name: field.dataType for side in (base, queries) for field in side.schema.fields}
    sides = []
    for kind, side in ((BASE, base), (QUERY, queries)):
        filled = [F.col(name) if name in side.columns else _nothing(of).alias(name) for name, of in kinds.items()]
        sides.append(side.select(F.lit(kind).alias("kind"), *filled))
    rows = repartition_by_number(sides[0].union(sides[1]), num_blocks, "block").sortWithinPartitions("kind", "node_id")
    return rows.drop("block").mapInArrow(answer, schema)


def parts_of(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """(rows of the base, queries) of a batch; both may be empty."""
    split = int(np.searchsorted(batch["kind"].to_numpy(), QUERY))
    return batch.slice(0, split), batch.slice(split)


def _nothing(kind: DataType) -> Column:
    if isinstance(kind, ArrayType):
        return empty_list(kind.elementType.simpleString())
    return F.lit(False) if isinstance(kind, BooleanType) else F.lit(0).cast(kind)
