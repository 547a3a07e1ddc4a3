"""One common frame: rotate each subgraph onto what is already placed, by the nodes they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from graphseam.arrow import vector_column, vector_matrix
from graphseam.session import empty_list
from graphseam.spark_line import map_groups

RELATIVE_RANK = 1e-6  # singular values below this share of the largest determine no direction


@dataclass(frozen=True)
class Alignment:
    """A rotation and how well it fits: rotation float64[dim, dim], orthogonal."""

    rotation: np.ndarray
    rank: int
    fit_error: float
    status: str


def align(source: np.ndarray, target: np.ndarray, weights: np.ndarray) -> Alignment:
    """The orthogonal R that brings `source @ R` nearest to `target`, each row counting by its weight.

    source, target: float[n, dim], rows of the same nodes. weights: float[n] >= 0. With no shared row of any length
    the rotation is the identity ("unaligned"); with fewer than dim independent ones the directions they leave open
    are filled so that R stays orthogonal ("degenerate"). Cost: O(n · dim² + dim³).
    Source: Schönemann, Psychometrika 1966; as frames of patches: Jeub et al., Local2Global, arXiv:2201.04964.
    """
    dim = source.shape[1]
    x, y = source.astype(np.float64), target.astype(np.float64)
    cross = x.T @ (weights[:, None] * y)
    left, singular, right = np.linalg.svd(cross)
    rank = int((singular > RELATIVE_RANK * singular[0]).sum()) if singular[0] > 0 else 0
    if rank == 0:
        return Alignment(np.eye(dim), 0, 0.0, "unaligned")
    rotation = left @ right
    misfit = np.sqrt((weights * ((x @ rotation - y) ** 2).sum(axis=1)).sum())
    size = np.sqrt((weights * (y ** 2).sum(axis=1)).sum())
    return Alignment(rotation, rank, float(misfit / size) if size else 0.0, "aligned" if rank == dim else "degenerate")


def place_level(level_vectors: DataFrame, frame: DataFrame, schema: StructType, arrow_schema: pa.Schema) -> DataFrame:
    """Rotate every subgraph of one level into the frame and average the nodes they share.

    level_vectors: SUBGRAPH_EMBEDDINGS of the level; each node is in one subgraph. frame: (node_id, degree, vector) of
    the levels below. Returns FUSED rows, those of `schema`: the level's nodes with their subgraph's alignment. A
    shared node's vector is the mean of both, weighted by degree: the evidence behind each.
    Cost: one join on node_id and one shuffle to the subgraphs; O(nodes · dim²) in all. Memory: one subgraph a task.
    """
    placed = frame.select("node_id", F.col("degree").alias("frame_degree"), F.col("vector").alias("frame_vector"))
    joined = level_vectors.join(placed, on="node_id", how="left") \
        .fillna({"frame_degree": 0.0}).withColumn("frame_vector", F.coalesce("frame_vector", empty_list("float")))
    return map_groups(joined, "subgraph_id", _place_subgraph(arrow_schema), schema)


def _place_subgraph(schema: pa.Schema) -> Callable[[pa.Table], pa.Table]:
    def place_subgraph(rows: pa.Table) -> pa.Table:
        rows = rows.sort_by("node_id")
        vectors, degrees = vector_matrix(rows["vector"]), rows["degree"].to_numpy()
        shared = pc.list_value_length(rows["frame_vector"]).to_numpy() > 0
        overlap = rows.filter(pa.array(shared))
        frame_vectors = vector_matrix(overlap["frame_vector"], dim=vectors.shape[1])
        frame_degrees = overlap["frame_degree"].to_numpy()
        found = align(vectors[shared], frame_vectors, np.minimum(degrees[shared], frame_degrees))
        rotated = vectors.astype(np.float64) @ found.rotation
        total = degrees.astype(np.float64)
        total[shared] += frame_degrees
        own_part = np.divide(degrees, total, out=np.ones_like(total), where=total > 0)[shared, None]
        rotated[shared] = own_part * rotated[shared] + (1 - own_part) * frame_vectors
        constants = {"shared_nodes": int(shared.sum()), "rank": found.rank, "fit_error": found.fit_error,
                     "status": found.status, "level": rows["level"][0].as_py(),
                     "subgraph_id": rows["subgraph_id"][0].as_py()}
        columns = [
            rows["node_id"] if name == "node_id" else pa.array(total) if name == "degree"
            else vector_column(rotated.astype(np.float32), schema.field("vector").type) if name == "vector"
            else pa.array([constants[name]] * len(rows), schema.field(name).type)
            for name in schema.names
        ]
        return pa.Table.from_arrays(columns, schema=schema)

    return place_subgraph


def left_in_frame(placed: DataFrame, frame: DataFrame) -> DataFrame:
    """The old frame's nodes that no subgraph of the level embedded: (node_id, degree, vector)."""
    return frame.join(placed.select("node_id"), on="node_id", how="left_anti").select("node_id", "degree", "vector")
