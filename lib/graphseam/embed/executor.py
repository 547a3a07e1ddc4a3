"""Subgraphs to tasks: one subgraph a call, the largest first, on the device Spark gave the task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from graphseam.arrow import groups_of, slices, vector_column
from graphseam.errors import EmbeddingError, MemoryBudgetError
from graphseam.graph import Graph
from graphseam.seeds import derive_seed


class Embedder(Protocol):
    """Embeds a graph in one task's memory; algorithms know nothing of Spark."""

    dim: int

    def embed(self, graph: Graph, seed: int, device: str) -> np.ndarray: ...

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int: ...


def task_device() -> str:
    """'cuda:<address>' of the GPU that Spark assigned to this task, 'cpu' where it assigned none.

    Workers are reused between GPUs and see all of them, so the address is asked for in every task. Where the cluster
    manager has narrowed CUDA_VISIBLE_DEVICES to the executor's own devices, they are numbered from 0.
    """
    context = TaskContext.get()
    gpus = context.resources().get("gpu") if context is not None else None
    if gpus is None:
        return "cpu"
    return "cuda:0" if os.environ.get("CUDA_VISIBLE_DEVICES") else f"cuda:{gpus.addresses[0]}"


def limit_threads(threads: int) -> None:
    """Let torch and BLAS use this many threads: the task's share of the cores, no more."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def embed_subgraphs(subgraph_edges: DataFrame, embedder: Embedder, seed: int, sizes: dict[int, int], threads: int,
                    schema: StructType, arrow_schema: pa.Schema) -> DataFrame:
    """One vector a node of each subgraph.

    subgraph_edges: SUBGRAPH_EDGES. sizes: {subgraph_id: edges}, of all that are to be embedded. schema: that of
    SUBGRAPH_EMBEDDINGS. Returns SUBGRAPH_EMBEDDINGS. Cost: one shuffle of the edges; one task a subgraph, largest
    first, so that the last task does not hold up the stage. Errors: EmbeddingError names the subgraph.
    """
    order = {subgraph: place for place, subgraph in enumerate(sorted(sizes, key=lambda s: (-sizes[s], s)))}
    session = subgraph_edges.sparkSession
    places = session.createDataFrame(list(order.items()), "subgraph_id INT, place INT")
    placed = subgraph_edges.join(F.broadcast(places), on="subgraph_id", how="inner")
    sorted_edges = placed.repartitionById(len(order), F.col("place")).sortWithinPartitions("subgraph_id")
    columns = ["level", "subgraph_id", "src", "dst", "weight"]
    return sorted_edges.select(*columns).mapInArrow(_embed_stream(embedder, seed, threads, arrow_schema), schema)


def _embed_stream(embedder: Embedder, seed: int, threads: int,
                  schema: pa.Schema) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def embed_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit_threads(threads)
        for subgraph_id, edges in groups_of(batches, "subgraph_id"):
            graph = Graph.from_arrow(edges)
            try:
                vectors = embedder.embed(graph, derive_seed(seed, "embed", subgraph_id), task_device())
            except Exception as error:
                raise EmbeddingError(
                    f"subgraph {subgraph_id} ({graph.num_nodes} nodes, {graph.num_edges} edges): {error}") from error
            if not np.isfinite(vectors).all():
                raise EmbeddingError(f"subgraph {subgraph_id}: the vectors hold NaN or infinite numbers")
            yield from _rows(edges["level"][0].as_py(), subgraph_id, graph, vectors, schema)

    return embed_stream


def _rows(level: int, subgraph_id: int, graph: Graph, vectors: np.ndarray,
          schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    degrees = graph.degrees
    for part in slices(graph.num_nodes, vectors.shape[1] * 4):
        count = part.stop - part.start
        columns = {
            "level": np.full(count, level, np.int32),
            "subgraph_id": np.full(count, subgraph_id, np.int32),
            "node_id": graph.node_ids[part],
            "degree": degrees[part],
            "vector": vector_column(vectors[part], schema.field("vector").type),
        }
        yield pa.RecordBatch.from_arrays([pa.array(columns[name]) if name != "vector" else columns[name]
                                          for name in schema.names], schema=schema)


def check_memory(embedder: Embedder, method: str, sizes: dict[int, tuple[int, int]], task_memory_mb: int) -> None:
    """MemoryBudgetError where a subgraph is predicted not to fit its task. sizes: {subgraph: (nodes, edges)}."""
    for subgraph, (num_nodes, num_edges) in sorted(sizes.items()):
        needed_mb = embedder.predict_bytes(num_nodes, num_edges) >> 20
        if needed_mb > task_memory_mb:
            raise MemoryBudgetError(
                f"subgraph {subgraph} ({num_nodes:,} nodes, {num_edges:,} edges) is predicted to need {needed_mb:,} MB "
                f"in embed.method {method!r}, and run.task_memory_mb is {task_memory_mb:,}; lower "
                "partition.max_subgraph_edges, or raise run.task_memory_mb if the executors have that much")
