"""The whole graph as one block: all edges and vectors are sent to one task, which refines them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.arrow import slices, vector_column, vector_matrix
from graphseam.columns import TRIPLE
from graphseam.graph import Graph
from graphseam.refine.spectral import SpectralRefiner
from graphseam.session import empty_list
from graphseam.task import limit_threads, task_device

EDGE_ROW, NODE_ROW = 0, 1
REFINED_SCHEMA = "node_id BIGINT, vector ARRAY<FLOAT>"
ARROW_REFINED = pa.schema([("node_id", pa.int64()), ("vector", pa.list_(pa.field("element", pa.float32())))])


def refine_in_one_block(
    edges: DataFrame, nodes: DataFrame, fused: DataFrame, refiner: SpectralRefiner, dim: int, seed: int, threads: int
) -> DataFrame:
    """Refine the vectors of all nodes over all edges, in one task.

    edges: EDGES. nodes: (node_id). fused: (node_id, vector), for some or all of the nodes; the others start from zero.
    Returns (node_id, vector), one row per node. Cost: edges and vectors are sent to one task, once.
    """
    no_number, no_vector = F.lit(0).cast("bigint"), empty_list("float")
    start = nodes.select("node_id").join(fused.select("node_id", "vector"), on="node_id", how="left")
    rows = edges.select(
        F.lit(EDGE_ROW).alias("kind"), *TRIPLE, no_number.alias("node_id"), no_vector.alias("vector")
    ).union(
        start.select(
            F.lit(NODE_ROW).alias("kind"),
            no_number.alias("src"),
            no_number.alias("dst"),
            F.lit(0.0).alias("weight"),
            "node_id",
            F.coalesce("vector", no_vector).alias("vector"),
        )
    )
    return rows.coalesce(1).mapInArrow(_refine_stream(refiner, dim, seed, threads), REFINED_SCHEMA)


def _refine_stream(
    refiner: SpectralRefiner, dim: int, seed: int, threads: int
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def refine_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit_threads(threads)
        graph, start = _collect(batches, dim)
        vectors = refiner.refine(graph, start, seed, task_device(), threads)
        for part in slices(graph.num_nodes, dim * 4):
            yield pa.RecordBatch.from_arrays(
                [pa.array(graph.node_ids[part]), vector_column(vectors[part], ARROW_REFINED.field("vector").type)],
                schema=ARROW_REFINED,
            )

    return refine_stream


def _collect(batches: Iterator[pa.RecordBatch], dim: int) -> tuple[Graph, np.ndarray]:
    """The graph and its start vectors float32[n, dim], for any order of the rows."""
    edges: list[tuple[np.ndarray, ...]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    ids, held_ids, held = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros((0, dim), np.float32)]
    for batch in batches:
        is_edge = batch["kind"].to_numpy() == EDGE_ROW
        part = batch.filter(pa.array(is_edge))
        edges.append(tuple(part[name].to_numpy() for name in TRIPLE))
        node_rows = batch.filter(pa.array(~is_edge))
        ids.append(node_rows["node_id"].to_numpy())
        placed = node_rows.filter(pa.array(node_rows["vector"].value_lengths().to_numpy() > 0))
        held_ids.append(placed["node_id"].to_numpy())
        held.append(vector_matrix(placed["vector"], dim))
    src, dst, weight = (np.concatenate(column) for column in zip(*edges, strict=True))
    graph = Graph.from_edges(src, dst, weight, np.concatenate(ids))
    start = np.zeros((graph.num_nodes, dim), np.float32)
    start[np.searchsorted(graph.node_ids, np.concatenate(held_ids))] = np.concatenate(held)
    return graph, start
