"""fuse: subgraph_embeddings -> fused_embeddings, alignments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType
from pyspark.storagelevel import StorageLevel

from graphseam.fuse.concat import concat_levels
from graphseam.fuse.procrustes import left_in_frame, place_level

if TYPE_CHECKING:
    from graphseam.runs import Run

STATISTICS = ("level", "subgraph_id", "shared_nodes", "rank", "fit_error", "status")


def fuse(run: Run) -> dict[str, Any]:
    """Bring the subgraphs' vectors into one table, one vector a node."""
    run.tables.drop_run("alignments")
    levels = [row["level"] for row in run.tables.read("subgraph_embeddings").select("level").distinct().collect()]
    return FUSIONS[run.config.fuse.method](run, sorted(levels))


def fuse_by_procrustes(run: Run, levels: list[int]) -> dict[str, Any]:
    """From the deepest level upwards: its largest subgraph is the frame, all others are rotated into it."""
    vectors = run.tables.read("subgraph_embeddings")
    fused, alignments = run.tables.schema("fused_embeddings"), run.tables.schema("alignments")
    schema = StructType([*fused.fields, *[field for field in alignments.fields if field.name not in fused.names]])
    frame = run.spark.createDataFrame([], fused)
    kept: list[DataFrame] = []
    columns = ["node_id", "subgraph_id", "degree", "vector"]
    at_home = homeless = frame
    for level in reversed(levels):
        placed = place_level(vectors.where(F.col("level") == level), frame, schema, to_arrow_schema(schema))
        kept.append(placed.persist(StorageLevel.MEMORY_AND_DISK))
        statistics = placed.groupBy("subgraph_id").agg(
            *[F.max(name).alias(name) for name in STATISTICS if name != "subgraph_id"], F.count("*").alias("nodes"))
        if level == levels[-1]:
            statistics = _name_frame(statistics)
        run.tables.write("alignments", statistics.select(*STATISTICS), level)
        rest = left_in_frame(placed, frame)
        frame = placed.select(rest.columns).union(rest)
        if level == 1:  # its nodes are at home where they were placed
            at_home, homeless = placed, rest
        else:
            homeless = frame
    homed = homeless.drop("subgraph_id").join(first_level_homes(run), on="node_id").select(columns)
    num_nodes = run.tables.write("fused_embeddings", at_home.select(columns).union(homed))
    for placed in kept:
        placed.unpersist()
    statuses = run.tables.read("alignments").groupBy("status").agg(F.count("*"), F.avg("fit_error")).collect()
    return {"nodes": num_nodes, "alignments": {row[0]: row[1] for row in sorted(statuses)},
            "mean_fit_error": next((row[2] for row in statuses if row[0] == "aligned"), 0.0)}


def _name_frame(statistics: DataFrame) -> DataFrame:
    """The deepest level's largest subgraph is the frame itself, not one that failed to be aligned."""
    largest = statistics.agg(F.max(F.struct("nodes", -F.col("subgraph_id")))).head()
    assert largest is not None  # an aggregate without groups has one row
    frame_id = -largest[0][1]
    return statistics.withColumn("status", F.when(F.col("subgraph_id") == frame_id, "frame").otherwise(F.col("status")))


def first_level_homes(run: Run) -> DataFrame:
    """(node_id, subgraph_id) of every node: refinement finds a node's block by it."""
    return run.tables.read("assignments", level=1).select("node_id", "subgraph_id")


def fuse_by_concat(run: Run, levels: list[int]) -> dict[str, Any]:
    """The paper's way, kept as the baseline."""
    vectors = run.tables.read("subgraph_embeddings")
    if levels:
        vectors = concat_levels(vectors, levels, run.config.embed.dim)
    homed = vectors.select("node_id", "degree", "vector").join(first_level_homes(run), on="node_id")
    return {"nodes": run.tables.write("fused_embeddings", homed)}


FUSIONS: dict[str, Callable[[Run, list[int]], dict[str, Any]]] = {
    "procrustes": fuse_by_procrustes,
    "concat": fuse_by_concat,
}
