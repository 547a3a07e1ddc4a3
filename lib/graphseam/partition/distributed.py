"""The multilevel partitioner on Spark: a graph's tables in, ASSIGNMENTS out; no task holds the whole graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.blocks.engine import SparkEngine
from graphseam.blocks.layout import Ranges
from graphseam.columns import TRIPLE
from graphseam.errors import MemoryBudgetError
from graphseam.partition.finest import Job, pack_edges, pack_nodes
from graphseam.partition.levels import Wanted
from graphseam.partition.metis import weight_scale

BUCKETS_PER_BLOCK = 64
MOST_BUCKETS = 1 << 20


class Cutter(Protocol):
    """A partitioner on the block engine; see MultilevelPartitioner."""

    @property
    def block_edges(self) -> int: ...

    def cut(self, engine: Any, job: Job, entries: Any, nodes: Any) -> Any: ...

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int: ...


@contextmanager
def assigned_by_blocks(
    edges: DataFrame,
    nodes: DataFrame | None,
    partitioner: Cutter,
    wanted: Wanted,
    task_memory_mb: int,
    checkpoint_dir: str | None = None,
) -> Iterator[DataFrame]:
    """Assign every node of the level to a subgraph, block by block; the rows are valid inside the `with` block.

    edges: EDGES of the level. nodes: (node_id), including any without an edge, or None. Yields ASSIGNMENTS.
    checkpoint_dir: where supersteps are kept; None: on the executors, which is enough if the session is one process.
    Errors: MemoryBudgetError if a block, such as that of a node with very many neighbours, does not fit a task. Cost:
    two scans of the edges and one shuffle of them, then that of MultilevelPartitioner.
    """
    job, largest_block = plan(edges, nodes, partitioner.block_edges, wanted)
    needed_mb = partitioner.predict_bytes(job.num_nodes, largest_block) >> 20
    if needed_mb > task_memory_mb:
        raise MemoryBudgetError(
            f"partitioning needs a block of {largest_block:,} edges, about {needed_mb:,} MB, and a task may hold "
            f"{task_memory_mb:,} (run.task_memory_mb); lower partition.block_edges, now {partitioner.block_edges:,}, "
            "or, if one node has that many neighbours, raise run.task_memory_mb if the executors have that much"
        )
    engine = SparkEngine(edges.sparkSession, job.ranges.num_blocks, checkpoint_dir)
    try:
        entries = engine.pack(edges.select(*TRIPLE), partial(pack_edges, job=job))
        if nodes is None:
            nodes = edges.select(F.col("src").alias("node_id")).limit(0)
        named = engine.pack(nodes.select("node_id"), partial(pack_nodes, job=job))
        members = partitioner.cut(engine, job, entries, named)
        rows = members.where("name = 'members'").select("payload").mapInArrow(_rows, "node_id LONG, part LONG")
        part = (F.col("part") + wanted.first_id).alias("subgraph_id")
        yield rows.select(F.lit(wanted.level).alias("level"), part, "node_id").select(
            *[F.col(field.name).cast(field.dataType) for field in wanted.schema.fields]
        )
    finally:
        engine.release()


def _rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for payload in batch["payload"]:
            pairs = np.frombuffer(payload.as_buffer(), np.int64).reshape(-1, 2)
            yield pa.record_batch({"node_id": pairs[:, 0].copy(), "part": pairs[:, 1].copy()})


def plan(edges: DataFrame, nodes: DataFrame | None, block_edges: int, wanted: Wanted) -> tuple[Job, int]:
    """(the job, edges of its largest block): blocks of about `block_edges` edges, from the distribution of edge ends.

    The driver receives at most 2^20 counts.
    """
    largest = edges.agg(F.max(F.greatest("src", "dst")), F.min("weight"), F.max("weight"), F.count("*")).head()
    assert largest is not None  # an aggregate without groups has one row
    last_id, num_edges = largest[0] or 0, largest[3]
    if nodes is not None:
        last_id = max(last_id, nodes.agg(F.max("node_id")).head()[0] or 0)  # type: ignore[index]
    num_blocks = max(1, -(-num_edges // block_edges))
    width = max(1, -(-(last_id + 1) // min(MOST_BUCKETS, BUCKETS_PER_BLOCK * num_blocks)))
    counts = _bucket_counts(edges, width, last_id // width + 1)
    ranges = Ranges.even(counts, width, num_blocks)
    scale = weight_scale(largest[1], largest[2]) if num_edges else 0.0
    job = Job(ranges, last_id + 1, wanted.num_subgraphs, wanted.seed, scale, int(counts.sum()))
    return job, int(np.add.reduceat(counts, ranges.starts // width).max())


def _bucket_counts(edges: DataFrame, width: int, num_buckets: int) -> np.ndarray:
    """int64[num_buckets]: edge ends by id // width."""

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total = np.zeros(num_buckets, np.int64)
        for batch in batches:
            for end in ("src", "dst"):
                total += np.bincount(batch[end].to_numpy() // width, minlength=num_buckets)
        used = np.flatnonzero(total)
        yield pa.record_batch({"bucket": used, "ends": total[used]})

    rows = (
        edges.select("src", "dst")
        .mapInArrow(count, "bucket LONG, ends LONG")
        .groupBy("bucket")
        .agg(F.sum("ends").alias("ends"))
        .collect()
    )  # at most num_buckets rows
    counts = np.zeros(num_buckets, np.int64)
    for row in rows:
        counts[row["bucket"]] = row["ends"]
    return counts
