"""Subgraphs to tasks: one subgraph per call, the largest first, on the device that Spark assigned to the task."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.resource import ResourceProfile
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from graphseam.arrays import is_among
from graphseam.arrow import groups_of, slices, vector_column, vector_matrix
from graphseam.columns import TRIPLE
from graphseam.embedding.embedder import Embedder
from graphseam.embedding.memory import PeakMemory, gpu_bytes, gpu_peak_bytes, subgraph_bytes, watch_gpu
from graphseam.errors import EmbeddingError
from graphseam.graph import Graph
from graphseam.seeds import derive_seed
from graphseam.session import empty_list
from graphseam.spark_line import repartition_by_number
from graphseam.task import limit_threads, task_device, task_gpus
from graphseam.task_files import Mapped

COLUMNS = ("level", "subgraph_id", *TRIPLE)


@dataclass(frozen=True)
class Stage:
    """How a set of subgraphs is embedded.

    sizes: {subgraph_id: (nodes, edges)} of the subgraphs to embed. threads: per task. started: vectors to start from
    come in with the edges. on_cpu: do not use GPUs. profile: the resources that a task requests from Spark, None for
    the job's own. schema, arrow_schema: of SUBGRAPH_EMBEDDINGS, in Spark and Arrow.
    """

    embedder: Embedder
    seed: int
    sizes: dict[int, tuple[int, int]]
    threads: int
    schema: StructType
    arrow_schema: pa.Schema
    directed: bool = False
    started: bool = False
    on_cpu: bool = False
    profile: ResourceProfile | None = None
    gathered: Any = field(default=None, compare=False)


def embed_subgraphs(subgraph_edges: DataFrame, stage: Stage, starts: DataFrame | None = None) -> Mapped:
    """One vector per node of each subgraph.

    subgraph_edges: SUBGRAPH_EDGES. starts: (subgraph_id, node_id, vector) to start from, or None. Returns
    SUBGRAPH_EMBEDDINGS. Cost: one shuffle of the edges (and starts); one task per subgraph, largest first, so that the
    last task does not hold up the stage. Errors: EmbeddingError names the subgraph.
    """
    order = {
        subgraph: place
        for place, subgraph in enumerate(
            sorted(stage.sizes, key=lambda subgraph: (-stage.sizes[subgraph][1], subgraph))
        )
    }
    session = subgraph_edges.sparkSession
    places = session.createDataFrame(list(order.items()), "subgraph_id INT, place INT")
    rows = subgraph_edges.select(*COLUMNS)
    if starts is not None:
        begin = starts.select(
            F.lit(0).alias("level"),
            F.col("subgraph_id"),
            F.col("node_id").alias("src"),
            F.lit(-1).cast("long").alias("dst"),
            F.lit(0.0).alias("weight"),
            F.col("vector"),
        )
        rows = rows.withColumn("vector", empty_list("float")).unionByName(begin)
    placed = rows.join(F.broadcast(places), on="subgraph_id", how="inner")
    sorted_rows = repartition_by_number(placed, len(order), "place").sortWithinPartitions("subgraph_id")
    stream = _embed_stream(replace(stage, profile=None))
    return Mapped(sorted_rows.drop("place"), stream, stage.schema, stage.profile)


def _embed_stream(stage: Stage) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def embed_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit_threads(stage.threads)
        peak = PeakMemory(stage.embedder)
        for subgraph_id, rows in groups_of(batches, "subgraph_id"):
            started = datetime.now(timezone.utc)
            device = "cpu" if stage.on_cpu else task_device()
            graph, start = _graph_and_start(rows, stage)
            level = pc.max(rows["level"]).as_py()  # the rows of a start have level 0
            del rows  # it may hold a gigabyte
            watch_gpu(device)
            try:
                vectors = stage.embedder.embed(graph, derive_seed(stage.seed, "embed", subgraph_id), device, start)
            except Exception as error:
                raise EmbeddingError(
                    f"subgraph {subgraph_id} ({graph.num_nodes} nodes, {graph.num_edges} edges): {error}"
                ) from error
            if not np.isfinite(vectors).all():
                raise EmbeddingError(f"subgraph {subgraph_id}: the vectors contain NaN or infinite values")
            yield from _rows(level, subgraph_id, graph, vectors, stage.arrow_schema)
            if stage.gathered is not None:
                stage.gathered.add({subgraph_id: _record(stage, level, subgraph_id, graph, device, started, peak)})
            peak.begin()

    return embed_stream


def _graph_and_start(rows: pa.Table, stage: Stage) -> tuple[Graph, np.ndarray | None]:
    """The graph, and float32[n, dim] to start from, zero for unknown nodes; None without a warm start.

    A node may have a vector to start from and no edge here, as all of its edges were cut: its vector is not needed.
    """
    if "vector" not in rows.column_names:
        return Graph.from_arrow(rows, directed=stage.directed), None
    is_start = pc.equal(rows["dst"], -1)
    graph = Graph.from_arrow(rows.filter(pc.invert(is_start)), directed=stage.directed)
    known = rows.filter(is_start)
    start = np.zeros((graph.num_nodes, stage.embedder.dim), np.float32)
    ids = known["src"].to_numpy()
    here = is_among(ids, graph.node_ids)
    start[np.searchsorted(graph.node_ids, ids[here])] = vector_matrix(known["vector"], stage.embedder.dim)[here]
    return graph, start


def _rows(
    level: int, subgraph_id: int, graph: Graph, vectors: np.ndarray, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
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
        yield pa.RecordBatch.from_arrays(
            [pa.array(columns[name]) if name != "vector" else columns[name] for name in schema.names], schema=schema
        )


def _record(
    stage: Stage, level: int, subgraph_id: int, graph: Graph, device: str, started: datetime, peak: PeakMemory
) -> dict[str, Any]:
    """A row of SUBGRAPH_STATS."""
    used, resident = peak.peak_bytes()
    on_gpu = gpu_peak_bytes(device)
    gpu_predicted = None if on_gpu is None else gpu_bytes(stage.embedder, graph.num_nodes, graph.num_edges)
    finished = datetime.now(timezone.utc)
    return {
        "level": level,
        "subgraph_id": subgraph_id,
        "num_nodes": graph.num_nodes,
        "num_edges": graph.num_edges,
        "device": device,
        "gpu": ",".join(task_gpus()) or None,
        "threads": stage.threads,
        "predicted_mb": subgraph_bytes(stage.embedder, graph.num_nodes, graph.num_edges, stage.started) / 2**20,
        "peak_mb": used / 2**20,
        "worker_mb": resident / 2**20,
        "started_at": started,
        "gpu_predicted_mb": None if gpu_predicted is None else gpu_predicted / 2**20,
        "gpu_peak_mb": None if on_gpu is None else on_gpu / 2**20,
        "seconds": (finished - started).total_seconds(),
        "host": socket.gethostname(),
        "process": os.getpid(),
    }
