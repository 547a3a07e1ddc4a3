"""One common frame: rotate each subgraph onto the nodes already placed, using the nodes they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from graphseam.arrow import slices, vector_column, vector_matrix
from graphseam.rotation import align
from graphseam.task import limit_threads
from graphseam.task_files import Mapped, mapped_groups

CHUNK_BYTES = 4 << 20  # of rows that are rotated at once, in float64


@dataclass(frozen=True)
class Placing:
    """What placing a level needs: its number, FUSED's schema, and where to collect the records of the fits."""

    level: int
    schema: StructType
    gathered: Any = field(default=None, compare=False)


def place_level(level_vectors: DataFrame, frame: DataFrame | None, homes: DataFrame, placing: Placing) -> Mapped:
    """Rotate every subgraph of one level into the frame and average the nodes they share.

    level_vectors: SUBGRAPH_EMBEDDINGS of the level; each node is in one subgraph. frame: FUSED, the nodes of the levels
    below; None at the deepest level. homes: (node_id, subgraph_id) of the level; they include the frame's nodes, as the
    levels below are its border. Returns FUSED: the nodes of both, each in its subgraph of this level. A shared node's
    vector is the mean of both, weighted by degree, as a measure of the evidence for each. A node of the frame whose
    edges were all cut at this level, so that no subgraph embedded it, keeps its vector. A record of each subgraph's fit
    is added to `placing.gathered`.
    Cost: one join of the frame with its homes and one shuffle of both sides' vectors to the subgraphs; O(nodes · dim²)
    in total. Memory: one subgraph per task, plus the frame's vectors of its nodes.
    """
    rows = level_vectors.select(*placing.schema.names, F.lit(False).alias("in_frame"))
    if frame is not None:
        moved = frame.drop("subgraph_id").join(homes, on="node_id", how="inner")
        rows = rows.unionByName(moved.withColumn("in_frame", F.lit(True)))
    return mapped_groups(rows, "subgraph_id", _place_subgraph(placing), placing.schema)


def _place_subgraph(placing: Placing) -> Callable[[pa.Table], pa.Table]:
    schema = to_arrow_schema(placing.schema)

    def place_subgraph(rows: pa.Table) -> pa.Table:
        limit_threads(1)
        subgraph_id = rows["subgraph_id"][0].as_py()
        columns = {name: rows[name].to_numpy() for name in ("node_id", "degree", "in_frame")}
        all_vectors = vector_matrix(rows["vector"])
        del rows  # it may hold a gigabyte
        order = np.argsort(columns["node_id"], kind="stable")
        own, known = order[~columns["in_frame"][order]], order[columns["in_frame"][order]]
        node_ids, degrees = columns["node_id"], columns["degree"]
        if not len(own):
            return _fused_rows(schema, subgraph_id, node_ids[known], degrees[known], all_vectors[known])
        shared = np.isin(node_ids[own], node_ids[known], assume_unique=True)
        met = np.isin(node_ids[known], node_ids[own], assume_unique=True)
        overlap, left = known[met], known[~met]
        vectors, frame_vectors, left_vectors = (all_vectors[part] for part in (own, overlap, left))
        del all_vectors
        found = align(vectors[shared], frame_vectors, np.minimum(degrees[own][shared], degrees[overlap]))
        total = degrees[own].astype(np.float64)
        total[shared] += degrees[overlap]
        mixed = _mean(vectors[shared] @ found.rotation, degrees[own][shared], frame_vectors, degrees[overlap])
        for part in slices(len(vectors), 8 * vectors.shape[1], CHUNK_BYTES):
            vectors[part] = vectors[part] @ found.rotation
        vectors[shared] = mixed
        if placing.gathered is not None:
            placing.gathered.add(
                {
                    subgraph_id: {
                        "level": placing.level,
                        "subgraph_id": subgraph_id,
                        "shared_nodes": int(shared.sum()),
                        "rank": found.rank,
                        "fit_error": found.fit_error,
                        "status": found.status,
                        "nodes": len(own),
                    }
                }
            )
        return pa.concat_tables(
            [
                _fused_rows(schema, subgraph_id, node_ids[own], total, vectors),
                _fused_rows(schema, subgraph_id, node_ids[left], degrees[left], left_vectors),
            ]
        )

    return place_subgraph


def _mean(own: np.ndarray, own_degrees: np.ndarray, others: np.ndarray, other_degrees: np.ndarray) -> np.ndarray:
    """float64[n, dim]: the mean of two vectors of each node, weighted by degree; the first if both are 0."""
    total = (own_degrees + other_degrees).astype(np.float64)
    share = np.divide(own_degrees, total, out=np.ones_like(total), where=total > 0)[:, None]
    return np.asarray(share * own + (1 - share) * others)


def _fused_rows(
    schema: pa.Schema, subgraph_id: int, node_ids: np.ndarray, degrees: np.ndarray, vectors: np.ndarray
) -> pa.Table:
    """Rows of FUSED of one subgraph."""
    columns = {
        "node_id": pa.array(node_ids),
        "degree": pa.array(degrees),
        "vector": vector_column(vectors, schema.field("vector").type),
        "subgraph_id": pa.array(np.full(len(node_ids), subgraph_id, np.int32)),
    }
    return pa.table([columns[name] for name in schema.names], names=schema.names).cast(schema)
