"""DistNE's own method of combining levels: concatenate the vectors of a node."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


def level_widths(dim: int, num_levels: int) -> list[int]:
    """How many of the `dim` columns each level gets, as evenly as possible; the first levels get the remainder."""
    return [dim // num_levels + (place < dim % num_levels) for place in range(num_levels)]


def concat_levels(subgraph_vectors: DataFrame, levels: list[int], dim: int) -> DataFrame:
    """A node's vectors of all levels side by side, each cut to its leading columns; zeros if a level lacks the node.

    subgraph_vectors: SUBGRAPH_EMBEDDINGS. Returns (node_id, degree, vector float32[dim]). The leading columns belong
    to the largest singular values of the subgraph. Subgraphs of one level do not share a frame: this is the baseline.
    Cost: one shuffle of the vectors.
    Source: Lin, Large-Scale Network Embedding in Apache Spark, KDD 2021, arXiv:2106.10620.
    """
    widths = level_widths(dim, len(levels))

    def part(level: int, width: int) -> Column:
        vector = F.max(F.when(F.col("level") == level, F.slice("vector", 1, width)))  # at most one per node and level
        return F.coalesce(vector, F.array_repeat(F.lit(0.0).cast("float"), width))

    parts = [part(level, width) for level, width in zip(levels, widths, strict=True)]
    return subgraph_vectors.groupBy("node_id").agg(F.sum("degree").alias("degree"), F.concat(*parts).alias("vector"))
