"""Transformations of edge tables that several steps share."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from graphseam.columns import ENDS


def end_nodes(edges: DataFrame, name: str = "node_id") -> DataFrame:
    """One column with both ends of every edge: a node occurs once per edge."""
    return edges.select(F.explode(F.array(*ENDS)).alias(name))


def both_ways(edges: DataFrame, one: str, other: str, *others: str) -> DataFrame:
    """(one, other, …others): each edge twice, once from each end. edges: (src, dst, …others)."""
    views = [F.struct(F.col(near).alias(one), F.col(far).alias(other), *others) for near, far in (ENDS, reversed(ENDS))]
    return edges.select(F.explode(F.array(*views)).alias("end")).select("end.*")


def low_and_high() -> tuple[Column, Column]:
    """An edge's ends, the smaller number first: the same for both of its directions."""
    return F.least(*ENDS), F.greatest(*ENDS)


def ordered_sum(column: str) -> Column:
    """The sum over a group, added in order of size, so that its last bit does not depend on the data's layout."""
    return F.aggregate(F.array_sort(F.collect_list(column)), F.lit(0.0), lambda total, one: total + one)


def with_id_of(rows: DataFrame, number: str, name: str, nodes: DataFrame, shift: int | None) -> DataFrame:
    """`rows` with the original ids of the nodes whose numbers are in one column, as a column called `name`.

    nodes: (node_id, id, …) of all of them. shift: Ingested.id_shift. Cost: one join of the rows; with a shift, none.
    """
    if shift is not None:
        return rows.withColumn(name, (F.col(number) - F.lit(shift)).cast("string"))
    ids = nodes.select(F.col("node_id").alias(number), F.col("id").alias(name))
    return rows.join(ids, on=number, how="inner")


def with_original_ids(rows: DataFrame, src_ids: DataFrame, dst_ids: DataFrame | None = None) -> DataFrame:
    """Rows of node numbers with the original ids added: (src_node_id, src, dst_node_id, dst, …).

    rows: (src, dst, …) as numbers. src_ids, dst_ids: (node_id, id, …) of the nodes at each end; src_ids for both if
    dst_ids is None. Cost: two joins of the rows.
    """
    named = rows.withColumnsRenamed({end: f"{end}_node_id" for end in ENDS})
    for end, ids in zip(ENDS, (src_ids, src_ids if dst_ids is None else dst_ids), strict=True):
        of_end = ids.select(F.col("node_id").alias(f"{end}_node_id"), F.col("id").alias(end))
        named = named.join(of_end, on=f"{end}_node_id", how="inner")
    return named
