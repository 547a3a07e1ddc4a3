"""From clean rows to a graph: stable dense node numbers, simple edges, and the held-out share."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.columns import EDGE, ENDS
from graphseam.edges import both_ways, low_and_high, ordered_sum
from graphseam.seeds import uniform
from graphseam.spark_line import with_row_numbers


def newest_numbers(earlier: DataFrame) -> DataFrame:
    """The most recent number of each id, with each number used only once.

    Concurrent runs may give one id two numbers, or one number to two ids; the assignment published last wins.
    earlier: (id, node_id, age), from published runs. Returns (id, node_id), unique in both columns.
    Cost: two aggregations of `earlier`.
    """
    newest = earlier.groupBy("id").agg(F.max_by("node_id", "age").alias("node_id"), F.max("age").alias("age"))
    return newest.groupBy("node_id").agg(F.max_by("id", "age").alias("id")).select("id", "node_id")


def number_ids(ids: DataFrame, known: DataFrame, first_free: int) -> DataFrame:
    """Number every id: with its old number if `known` has one, else with the next free numbers in order of id.

    ids: (id, …), each id once. known: (id, node_id), from earlier runs. Returns (node_id BIGINT, id, …).
    Cost: one join and one sort of the new ids. Write the result once and read it back, as recomputing it is expensive.
    """
    if first_free == 0:
        return with_row_numbers(ids.sort("id"), "node_id").select("node_id", *ids.columns)
    new = with_row_numbers(ids.join(known, on="id", how="left_anti").sort("id"), "place")
    return (
        ids.join(known, on="id", how="inner")
        .select("node_id", *ids.columns)
        .union(new.select((F.col("place") + F.lit(first_free)).alias("node_id"), *ids.columns))
    )


def with_sides(edges: DataFrame, others: DataFrame | None) -> DataFrame:
    """(id, type, side): each id once; `side` is the edge column it occurs in: src, dst, both, or null for neither.

    edges: (src, dst) of ids. others: (node, node_type), or only (node). A node with several types keeps the first in
    sort order. Cost: one aggregation.
    """
    typed = others is not None and "node_type" in others.columns
    nothing = F.lit(None).cast("string")
    ends = edges.select(
        F.explode(
            F.array(
                F.struct(F.col("src").alias("id"), F.lit(1).alias("bit")),
                F.struct(F.col("dst").alias("id"), F.lit(2).alias("bit")),
            )
        ).alias("end")
    ).select("end.id", "end.bit", nothing.alias("type"))
    if others is not None:
        kind = F.col("node_type").cast("string") if typed else nothing
        ends = ends.union(others.select(F.col("node").alias("id"), F.lit(0).alias("bit"), kind.alias("type")))
    names = F.array(nothing, F.lit("src"), F.lit("dst"), F.lit("both"))
    return (
        ends.groupBy("id")
        .agg(F.min("type").alias("type"), F.bit_or("bit").alias("bits"))
        .select("id", "type", F.get(names, F.col("bits")).alias("side"))
    )


def connect(rows: DataFrame, nodes: DataFrame, shift: int | None = None) -> DataFrame:
    """Replace the ids in rows by node numbers; rows with an id that is not among the nodes are left out.

    rows: (src, dst, …) of ids. nodes: (node_id, id). shift: node_id - id, if it is the same for all nodes and every id
    in rows is among them. Returns (src BIGINT, dst BIGINT, …). Cost: two joins of `rows`; with a shift, none.
    """
    if shift is not None:
        return rows.withColumns({end: F.col(end) + F.lit(shift) for end in ENDS})

    def numbered(end: str) -> DataFrame:
        return nodes.select(F.col("node_id").alias(f"{end}_id"), F.col("id").alias(end))

    joined = rows.join(numbered("src"), on="src", how="inner").join(numbered("dst"), on="dst", how="inner")
    others = [column for column in rows.columns if column not in ENDS]
    return joined.select(F.col("src_id").alias("src"), F.col("dst_id").alias("dst"), *others)


def merge(rows: DataFrame, directed: bool, weighted: bool) -> DataFrame:
    """One row per edge: loops removed, duplicate edges merged, undirected edges oriented so that src < dst.

    rows: (src, dst, weight) of node numbers. Weights of duplicate edges are summed in order of size, so that the sum's
    last bit does not depend on the data's layout; without weights, an edge weighs 1 however often it occurs.
    Returns (src, dst, weight). Cost: one shuffle of `rows`.
    """
    edges = rows.where("src <> dst")
    if not directed:
        edges = edges.withColumns(dict(zip(ENDS, low_and_high(), strict=True)))
    if not weighted:
        return edges.select(*ENDS).distinct().withColumn("weight", F.lit(1.0))
    return edges.groupBy(*ENDS).agg(ordered_sum("weight").alias("weight"))


def mark_free(edges: DataFrame, seed: int) -> DataFrame:
    """Add `free` to `edges`: whether the edge may be held out because each of its ends keeps another edge.

    Every edge draws a random number, and every node keeps its edge with the highest one. Both directions of a pair
    draw the same number, since the embedded graph has no directions. Cost: one aggregation and two joins of `edges`,
    which are computed three times unless they are kept.
    """
    drawn = edges.withColumn("draw", uniform(seed, F.lit("keep"), *low_and_high()))
    best = both_ways(drawn, "node", "other", "draw").groupBy("node").agg(F.max("draw").alias("best"))

    def best_of(end: str) -> DataFrame:
        return best.select(F.col("node").alias(end), F.col("best").alias(f"{end}_best"))

    joined = drawn.join(best_of("src"), on="src", how="inner").join(best_of("dst"), on="dst", how="inner")
    return joined.select(
        *EDGE, ((F.col("draw") < F.col("src_best")) & (F.col("draw") < F.col("dst_best"))).alias("free")
    )


def hold_out(marked: DataFrame, share: float, num_edges: int, num_free: int, seed: int) -> DataFrame:
    """Replace `free` by `held`: about `share` of all edges, drawn from the free ones by a hash of the pair.

    If fewer edges are free than requested, all free edges are held out.
    """
    chance = min(1.0, share * num_edges / num_free) if num_free else 0.0
    drawn = uniform(seed, F.lit("hold out"), *low_and_high()) < F.lit(chance)
    return marked.select(*EDGE, (F.col("free") & drawn).alias("held"))
