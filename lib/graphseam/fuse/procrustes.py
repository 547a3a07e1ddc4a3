"""One common frame: rotate each subgraph onto the nodes already placed, using the nodes they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from graphseam.arrow import vector_column, vector_matrix
from graphseam.rotation import align
from graphseam.spark_line import map_groups


@dataclass(frozen=True)
class Placing:
    """What placing a level needs: its number, FUSED's schema, and where to collect the records of the fits."""

    level: int
    schema: StructType
    gathered: Any = field(default=None, compare=False)


def place_level(level_vectors: DataFrame, frame: DataFrame | None, homes: DataFrame, placing: Placing) -> DataFrame:
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
    return map_groups(rows, "subgraph_id", _place_subgraph(placing), placing.schema)


def _place_subgraph(placing: Placing) -> Callable[[pa.Table], pa.Table]:
    schema = to_arrow_schema(placing.schema)

    def place_subgraph(rows: pa.Table) -> pa.Table:
        subgraph_id = rows["subgraph_id"][0].as_py()
        known = rows.filter(rows["in_frame"]).sort_by("node_id")
        own = rows.filter(pc.invert(rows["in_frame"])).sort_by("node_id")
        del rows  # it may hold a gigabyte
        if not len(own):
            return _fused_rows(schema, subgraph_id, known["node_id"], known["degree"], known["vector"])
        vectors, degrees = vector_matrix(own["vector"]), own["degree"].to_numpy()
        shared = np.isin(own["node_id"].to_numpy(), known["node_id"].to_numpy(), assume_unique=True)
        met = np.isin(known["node_id"].to_numpy(), own["node_id"].to_numpy(), assume_unique=True)
        overlap, left = known.filter(pa.array(met)), known.filter(pa.array(~met))
        frame_vectors = vector_matrix(overlap["vector"], dim=vectors.shape[1])
        frame_degrees = overlap["degree"].to_numpy()
        found = align(vectors[shared], frame_vectors, np.minimum(degrees[shared], frame_degrees))
        rotated = vectors.astype(np.float64) @ found.rotation
        total = degrees.astype(np.float64)
        total[shared] += frame_degrees
        own_part = np.divide(degrees, total, out=np.ones_like(total), where=total > 0)[shared, None]
        rotated[shared] = own_part * rotated[shared] + (1 - own_part) * frame_vectors
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
        placed = vector_column(rotated.astype(np.float32), schema.field("vector").type)
        return pa.concat_tables(
            [
                _fused_rows(schema, subgraph_id, own["node_id"], pa.array(total), placed),
                _fused_rows(schema, subgraph_id, left["node_id"], left["degree"], left["vector"]),
            ]
        )

    return place_subgraph


def _fused_rows(schema: pa.Schema, subgraph_id: int, node_ids: Any, degrees: Any, vectors: Any) -> pa.Table:
    """Rows of FUSED of one subgraph."""
    columns = {
        "node_id": node_ids,
        "degree": degrees,
        "vector": vectors,
        "subgraph_id": pa.array(np.full(len(node_ids), subgraph_id, np.int32)),
    }
    return pa.table([columns[name] for name in schema.names], names=schema.names).cast(schema)
