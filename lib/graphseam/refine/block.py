"""The whole graph as one block: all edges and vectors are sent to one task, which refines them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from graphseam.arrow import slices, vector_column, vector_matrix
from graphseam.columns import TRIPLE
from graphseam.graph import Graph
from graphseam.refine.spectral import SpectralRefiner
from graphseam.session import empty_list
from graphseam.task import limit_threads, task_device
from graphseam.task_files import Mapped

EDGE_ROW, NODE_ROW = 0, 1


@dataclass(frozen=True)
class Whole:
    """How one task refines the whole graph, and the schema of what it returns, EMBEDDINGS."""

    refiner: SpectralRefiner
    dim: int
    seed: int
    threads: int
    schema: StructType


def refine_in_one_block(edges: DataFrame, nodes: DataFrame, fused: DataFrame, whole: Whole) -> Mapped:
    """Refine the vectors of all nodes over all edges, in one task.

    edges: EDGES. nodes: (node_id, id). fused: (node_id, vector), for some or all of the nodes; the others start from
    zero. Returns EMBEDDINGS, one row per node. Cost: edges, ids and vectors are sent to one task, once.
    """
    no_number, no_id, no_vector = F.lit(0).cast("bigint"), F.lit(""), empty_list("float")
    of_edge = (no_number.alias("node_id"), no_id.alias("id"), no_vector.alias("vector"))
    start = nodes.select("node_id", "id").join(fused.select("node_id", "vector"), on="node_id", how="left")
    rows = edges.select(F.lit(EDGE_ROW).alias("kind"), *TRIPLE, *of_edge).union(
        start.select(
            F.lit(NODE_ROW).alias("kind"),
            no_number.alias("src"),
            no_number.alias("dst"),
            F.lit(0.0).alias("weight"),
            "node_id",
            "id",
            F.coalesce("vector", no_vector).alias("vector"),
        )
    )
    return Mapped(rows.coalesce(1), _refine_stream(whole), whole.schema)


def _refine_stream(whole: Whole) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    schema = to_arrow_schema(whole.schema)

    def refine_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit_threads(whole.threads)
        graph, ids, start = _collect(batches, whole.dim)
        vectors = whole.refiner.refine(graph, start, whole.seed, task_device(), whole.threads)
        for part in slices(graph.num_nodes, whole.dim * 4):
            columns = {
                "node_id": pa.array(graph.node_ids[part]),
                "id": ids.slice(part.start, part.stop - part.start).cast(pa.string()),
                "vector": vector_column(vectors[part], schema.field("vector").type),
            }
            yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    return refine_stream


def _collect(batches: Iterator[pa.RecordBatch], dim: int) -> tuple[Graph, pa.Array, np.ndarray]:
    """The graph, its nodes' original ids, and their start vectors float32[n, dim], for any order of the rows."""
    edges: list[tuple[np.ndarray, ...]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    names: list[pa.Array] = [pa.array([], pa.large_string())]  # more than 2 GB in all need offsets of 64 bits
    ids, held_ids, held = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros((0, dim), np.float32)]
    for batch in batches:
        is_edge = batch["kind"].to_numpy() == EDGE_ROW
        part = batch.filter(pa.array(is_edge))
        edges.append(tuple(part[name].to_numpy() for name in TRIPLE))
        node_rows = batch.filter(pa.array(~is_edge))
        ids.append(node_rows["node_id"].to_numpy())
        names.append(node_rows["id"].cast(pa.large_string()))
        placed = node_rows.filter(pa.array(node_rows["vector"].value_lengths().to_numpy() > 0))
        held_ids.append(placed["node_id"].to_numpy())
        held.append(vector_matrix(placed["vector"], dim))
    src, dst, weight = (np.concatenate(column) for column in zip(*edges, strict=True))
    node_ids = np.concatenate(ids)  # of every node, each once
    graph = Graph.from_edges(src, dst, weight, node_ids)
    start = np.zeros((graph.num_nodes, dim), np.float32)
    start[np.searchsorted(graph.node_ids, np.concatenate(held_ids))] = np.concatenate(held)
    return graph, pa.concat_arrays(names).take(pa.array(np.argsort(node_ids))), start
