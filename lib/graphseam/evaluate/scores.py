"""Scores of pairs from the vectors of their nodes; each vector is sent once to each block of pairs that needs it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.arrow import vector_matrix
from graphseam.columns import ENDS
from graphseam.session import columns_of
from graphseam.spark_line import map_group_pairs
from graphseam.vectors import unit_rows

SCORES = "cosine DOUBLE, dot_product DOUBLE"
BLOCK_BYTES = 128 << 20  # of float32 vectors that a scoring task holds
CHUNK_BYTES = 32 << 20  # of float64 rows multiplied at once


def num_score_blocks(num_pairs: int, num_nodes: int, dim: int) -> int:
    """Number of blocks for score_pairs; a block's vectors take at most 128 MB even if no two pairs share a node."""
    return max(1, -(-min(num_nodes, 2 * num_pairs) * dim * 4 // BLOCK_BYTES))


def score_pairs(pairs: DataFrame, embeddings: DataFrame, num_blocks: int) -> DataFrame:
    """`pairs` with cosine and dot_product of the two nodes' vectors; a node without a vector has the zero vector.

    pairs: (src, dst, …). embeddings: (node_id, vector). The cosine with a zero vector is 0. Pairs are grouped in blocks
    by src, so that the 200 negatives of a query share its vector; each block gets each vector it needs once.
    Cost: one join of the embeddings with the ends, one shuffle of the pairs. Memory: the vectors of one block per task.
    """
    placed = pairs.withColumn("block", F.pmod(F.xxhash64("src"), F.lit(num_blocks)))
    ends = placed.select(F.col("block").alias("asked_by"), F.explode(F.array(*ENDS)).alias("node_id")).distinct()
    vectors = embeddings.select("node_id", "vector").join(ends, on="node_id", how="inner")
    return map_group_pairs(placed, vectors, ("block", "asked_by"), _score_block, f"{columns_of(pairs)}, {SCORES}")


def _score_block(pairs: pa.Table, vectors: pa.Table) -> pa.Table:
    order = np.argsort(vectors["node_id"].to_numpy())
    node_ids, matrix = vectors["node_id"].to_numpy()[order], vector_matrix(vectors["vector"])[order]
    return with_scores(pairs.drop_columns(["block"]), node_ids, matrix)


def with_scores(pairs: pa.Table, node_ids: np.ndarray, matrix: np.ndarray) -> pa.Table:
    """`pairs` with cosine and dot_product, see `score_pairs`. matrix: float32[k, dim], of the nodes, which rise."""
    matrix = np.vstack([matrix, np.zeros((1, matrix.shape[1]), np.float32)])  # the last row is for unknown nodes
    left, right = (_places(pairs[end].to_numpy(), node_ids) for end in ENDS)
    cosine, dot = np.zeros(len(left)), np.zeros(len(left))
    step = max(1, CHUNK_BYTES // (8 * max(1, matrix.shape[1])))
    for start in range(0, len(left), step):
        rows = slice(start, start + step)
        one, other = (matrix[places[rows]].astype(np.float64) for places in (left, right))
        dot[rows] = np.einsum("ij,ij->i", one, other)
        cosine[rows] = np.einsum("ij,ij->i", unit_rows(one), unit_rows(other))
    return pairs.append_column("cosine", pa.array(cosine)).append_column("dot_product", pa.array(dot))


def _places(nodes: np.ndarray, node_ids: np.ndarray) -> np.ndarray:
    """Row of each node in the sorted `node_ids`; len(node_ids) if it is not among them."""
    places = np.searchsorted(node_ids, nodes)
    known = np.append(node_ids, -1)[places] == nodes
    return np.where(known, places, len(node_ids))
