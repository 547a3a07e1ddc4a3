"""One frame for all days: refined vectors are rotated into the frame of an earlier run, the base."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.arrow import slices, vector_column, vector_matrix
from graphseam.base_run import EDGES, NEW, SAME
from graphseam.edges import both_ways
from graphseam.rotation import align
from graphseam.runs import Run
from graphseam.seeds import derive_seed, uniform
from graphseam.session import in_one_task
from graphseam.task import limit_threads
from graphseam.task_files import Mapped
from graphseam.vectors import row_cosines

MOST_ANCHORS = 50_000  # nodes that determine the rotation: a task holds two vectors of each


def start_vectors(run: Run, base: str | None) -> DataFrame:
    """(node_id, subgraph_id, vector) that refinement starts from: the base's, and the fused ones of new nodes."""
    fused = run.tables.read("fused_embeddings").select("node_id", "subgraph_id", "vector")
    if base is None:
        return fused
    its = _vectors_of(run, base).withColumnRenamed("vector", "base_vector")
    known = F.col("base_vector").isNotNull() & F.exists("base_vector", lambda number: number != 0)
    vector = F.when(known, F.col("base_vector")).otherwise(F.col("vector")).alias("vector")
    return fused.join(its, on="node_id", how="left").select("node_id", "subgraph_id", vector)


def base_vectors(run: Run, base: str) -> DataFrame:
    """(node_id, subgraph_id, vector) of the base, for a run that has kept its partition; new nodes have none."""
    its = _vectors_of(run, base)
    return run.tables.read("assignments", level=1).select("node_id", "subgraph_id").join(its, on="node_id")


def _vectors_of(run: Run, base: str) -> DataFrame:
    """(node_id, vector) of another run."""
    return run.tables.all_runs("embeddings").where(F.col("run_id") == base).select("node_id", "vector")


def into_frame(run: Run, base: str, widths: list[int]) -> dict[str, Any]:
    """Rotate the run's embeddings into the base's frame, and write drift; returns what to record.

    Nodes whose embedded edges are those of the base determine the rotation (orthogonal Procrustes over at most 50,000
    of them, chosen by a hash; each view by itself, so that views don't mix); where none is the same, all common nodes
    do. Cosines between nodes of the run do not change. Cost: one shuffle of each run's edges, two joins of the vectors
    with the base's, one more write of the embeddings. Memory: the anchors' vectors in a task; the driver holds dim²
    numbers. Source: Schönemann, Psychometrika 1966.
    """
    changes = _changes(run, base).persist()
    try:
        pairs = _beside(run, base, changes)
        common = pairs.where(F.col("base_vector").isNotNull() & (F.col("degree") > 0))
        same = common.where(F.col("change") == SAME)
        anchors = common if same.isEmpty() else same
        num_anchors = anchors.count()
        if num_anchors:
            chosen = uniform(derive_seed(run.config.run.seed, "base"), "node_id") < MOST_ANCHORS / num_anchors
            found = in_one_task(
                anchors.where(chosen).select("node_id", "vector", "base_vector"),
                _fit(widths),
                "rotation BINARY, misfit DOUBLE",
            ).collect()[0]
            rotation, misfit = np.frombuffer(found["rotation"]).reshape(sum(widths), -1), found["misfit"]
            rotated = _rotated(rotation, run.tables.arrow_schema("embeddings"))
            vectors = Mapped(run.tables.read("embeddings"), rotated, run.tables.schema("embeddings"))
            run.tables.write("embeddings", vectors)
        else:
            misfit = 1.0  # no node in common: the frames have nothing to do with each other
        moved = _beside(run, base, changes).mapInArrow(
            _cosine, "node_id BIGINT, id STRING, change STRING, degree BIGINT, cosine DOUBLE"
        )
        run.tables.write("drift", moved.withColumn("base_run_id", F.lit(base)))
    finally:
        changes.unpersist()
    return {"base": base, "anchors": num_anchors, "misfit": round(misfit, 4)}


def _changes(run: Run, base: str) -> DataFrame:
    """(node_id, change, degree) of the run's nodes: whether their embedded edges are those of the base."""
    before = run.tables.all_runs("nodes").where(F.col("run_id") == base).select("node_id", F.lit(True).alias("there"))
    mine = _signatures(run.tables.read("edges"))
    its = _signatures(run.tables.all_runs("edges").where(F.col("run_id") == base))
    its = its.select("node_id", F.col("signature").alias("base_signature"))
    joined = run.tables.read("nodes").select("node_id").join(mine, "node_id", "left").join(its, "node_id", "left")
    alike = F.col("signature").eqNullSafe(F.col("base_signature"))
    change = F.when(F.col("there").isNull(), NEW).when(alike, SAME).otherwise(EDGES)
    return joined.join(before, "node_id", "left").select(
        "node_id", change.alias("change"), F.coalesce("degree", F.lit(0)).cast("bigint").alias("degree")
    )


def _signatures(edges: DataFrame) -> DataFrame:
    """(node_id, signature BIGINT, degree): the same for the same neighbours and weights, in whatever order."""
    ends = both_ways(edges, "node_id", "other", "weight")
    told = F.bit_xor(F.xxhash64("other", "weight")).alias("signature")
    return ends.groupBy("node_id").agg(told, F.count(F.lit(1)).alias("degree"))


def _beside(run: Run, base: str, changes: DataFrame) -> DataFrame:
    """(node_id, id, vector, base_vector, change, degree); base_vector is NULL for a node that the base lacks."""
    its = _vectors_of(run, base).withColumnRenamed("vector", "base_vector")
    mine = run.tables.read("embeddings").select("node_id", "id", "vector")
    return mine.join(its, on="node_id", how="left").join(changes, on="node_id", how="inner")


def _fit(widths: list[int]) -> Callable[[pa.Table], pa.Table]:
    def fit(anchors: pa.Table) -> pa.Table:
        limit_threads(1)
        anchors = anchors.sort_by("node_id")
        mine, its = (vector_matrix(anchors[name], sum(widths)).astype(np.float64) for name in ("vector", "base_vector"))
        rotation = np.zeros((sum(widths), sum(widths)))
        for start, stop in pairwise(np.cumsum([0, *widths]).tolist()):
            found = align(mine[:, start:stop], its[:, start:stop], np.ones(len(mine)))
            rotation[start:stop, start:stop] = found.rotation
        size = np.linalg.norm(its)
        misfit = float(np.linalg.norm(mine @ rotation - its) / size) if size else 0.0
        return pa.table({"rotation": [rotation.tobytes()], "misfit": [misfit]})

    return fit


def _rotated(rotation: np.ndarray, schema: pa.Schema) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        kind = schema.field("vector").type
        for whole in batches:
            for part in slices(whole.num_rows, 24 * len(rotation), 64 << 20):
                batch = whole.slice(part.start, part.stop - part.start)
                # row by row: the last bits of a BLAS product depend on the rows beside it
                vectors = np.einsum("ij,jk->ik", vector_matrix(batch["vector"], len(rotation)).astype(float), rotation)
                columns = list(batch.columns)
                columns[batch.schema.get_field_index("vector")] = vector_column(vectors.astype(np.float32), kind)
                yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names).select(schema.names)

    return stream


def _cosine(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        there = np.flatnonzero(batch["base_vector"].is_valid())
        cosine = np.full(batch.num_rows, np.nan)
        if len(there):
            some = batch.take(pa.array(there))
            cosine[there] = row_cosines(*(vector_matrix(some[name]) for name in ("vector", "base_vector")))
        told = pa.array(cosine, mask=np.isnan(cosine))
        yield pa.RecordBatch.from_arrays(
            [batch[name] for name in ("node_id", "id", "change", "degree")] + [told],
            names=["node_id", "id", "change", "degree", "cosine"],
        )
