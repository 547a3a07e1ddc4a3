"""Pairs that link prediction is judged on: edges set aside, and pairs that are no edge of the whole graph."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from graphseam.arrow import vector_matrix
from graphseam.seeds import uniform

ATTEMPTS = 8  # far ends drawn for one negative; a node joined to nearly all others may still get none
POSITIVE, UNIFORM, HARD = "positive", "uniform", "hard"


def sample_edges(edges: DataFrame, max_pairs: int, seed: int, turned: bool = True) -> DataFrame:
    """At most `max_pairs` of the edges, those of the smallest hash, each turned one way or the other by its hash.

    turned=False leaves them as they are, for edges that join two kinds of nodes.

    Returns (src, dst): dst is the end that a negative replaces.
    """
    draw = uniform(seed, F.lit("pair"), "src", "dst")
    turn = F.lit(turned) & (uniform(seed, F.lit("turn"), "src", "dst") < 0.5)
    return edges.orderBy(draw, "src", "dst").limit(max_pairs).select(
        F.when(turn, F.col("dst")).otherwise(F.col("src")).alias("src"),
        F.when(turn, F.col("src")).otherwise(F.col("dst")).alias("dst"))


def draw_negatives(positives: DataFrame, pool: DataFrame, pool_size: int, known: DataFrame, kind: str,
                   seed: int) -> DataFrame:
    """For each positive a pair of the same src whose far end comes from the pool and is joined to src nowhere.

    pool: (place, node_id), place 0 .. pool_size - 1. known: EDGES of the whole graph. Returns (kind, src, dst), the
    first of 8 draws that is no edge and no loop. Cost: joins of 8 rows a positive with the pool and with the edges.
    """
    attempts = positives.withColumn("attempt", F.explode(F.array([F.lit(at) for at in range(ATTEMPTS)])))
    place = F.floor(uniform(seed, F.lit(kind), "src", "dst", "attempt") * pool_size)
    drawn = attempts.withColumn("place", place).join(pool, on="place", how="inner").where("src <> node_id")
    both = (F.least("src", "node_id").alias("low"), F.greatest("src", "node_id").alias("high"))
    edges = known.select(F.least("src", "dst").alias("low"), F.greatest("src", "dst").alias("high"))
    free = drawn.select("src", "dst", "node_id", "attempt", *both).join(edges, on=["low", "high"], how="left_anti")
    return free.groupBy("src", "dst").agg(F.min_by("node_id", "attempt").alias("far")) \
        .select(F.lit(kind).alias("kind"), "src", F.col("far").alias("dst"))


def numbered(pool: DataFrame) -> DataFrame:
    """(place, node_id): the rows of (node_id, …) numbered from 0 in the order of all their columns."""
    return pool.sort(*pool.columns).zipWithIndex("place").select("place", "node_id")


def ends_of(positives: DataFrame) -> DataFrame:
    """(node_id, src, dst): both ends of each positive; as a pool its degrees are those of positives."""
    return positives.select(F.explode(F.array("src", "dst")).alias("node_id"), "src", "dst")


def with_degree_product(pairs: DataFrame, edges: DataFrame) -> DataFrame:
    """`pairs` with degree_product: of the two nodes' numbers of edges in `edges`, as DOUBLE."""
    degrees = edges.select(F.explode(F.array("src", "dst")).alias("node_id")) \
        .groupBy("node_id").agg(F.count("*").cast("double").alias("degree"))

    def degree_of(end: str) -> Column:
        return F.coalesce(F.col(f"{end}_degree"), F.lit(0.0))

    joined = pairs
    for end in ("src", "dst"):
        of_end = degrees.select(F.col("node_id").alias(end), F.col("degree").alias(f"{end}_degree"))
        joined = joined.join(of_end, on=end, how="left")
    return joined.select("kind", "src", "dst", (degree_of("src") * degree_of("dst")).alias("degree_product"))


def with_cosine(pairs: DataFrame, embeddings: DataFrame) -> DataFrame:
    """`pairs` with score: the cosine of the two nodes' vectors, 0 where one of them is zero.

    pairs: (kind, src, dst, degree_product). embeddings: (node_id, vector). Cost: two joins that move the vectors.
    """
    joined = pairs
    for end in ("src", "dst"):
        of_end = embeddings.select(F.col("node_id").alias(end), F.col("vector").alias(f"{end}_vector"))
        joined = joined.join(of_end, on=end, how="inner")
    schema = "kind STRING, src BIGINT, dst BIGINT, degree_product DOUBLE, score DOUBLE"
    return joined.select("kind", "src", "dst", "degree_product", "src_vector", "dst_vector") \
        .mapInArrow(_cosine_stream, schema)


def _cosine_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if batch.num_rows == 0:
            continue
        left, right = (vector_matrix(batch[f"{end}_vector"]).astype(np.float64) for end in ("src", "dst"))
        lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        cosine = np.einsum("ij,ij->i", left, right) / np.maximum(lengths, 1e-300)
        yield pa.RecordBatch.from_arrays([*batch.columns[:4], pa.array(cosine)],
                                         names=["kind", "src", "dst", "degree_product", "score"])
