"""Metrics of predicted links by one task that reads the tables' files: without a shuffle, where that is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from graphseam.arrays import distinct, is_among
from graphseam.arrow import vector_matrix
from graphseam.columns import ENDS
from graphseam.evaluate.metrics import METRIC_SCHEMA, metrics_of_pairs
from graphseam.evaluate.scores import with_scores
from graphseam.parquet import VECTORS_AT_ONCE, batches_of, table_of
from graphseam.runs import Run

SHARE_OF_TASK = 0.2  # of its memory that the vectors of the pairs' ends may take
PAIR_COLUMNS = ("kind", "query", *ENDS, "min_degree", "degree_product")
Files = dict[str, list[str]]


def whole_link_metrics(run: Run, num_pairs: int, scorers: Sequence[str], model: str) -> DataFrame | None:
    """As metrics.link_metrics, from the run's tables; None where tasks cannot read the files, or may not hold the ends.

    model: the column of pair_scores; "" without a link model. Cost: one pass over the embeddings, in one task.
    """
    ends = min(run.ingested.nodes, 2 * num_pairs) * 4 * run.config.embed.dim
    allowed = ends <= SHARE_OF_TASK * (run.task_memory_mb(num_tasks=1) << 20)
    if not (allowed and run.tasks_read_files):
        return None
    names = ("evaluation_pairs", "embeddings", *(["pair_scores"] if model else []))
    found = run.tables.files_of_all(names)
    if found is None:
        return None
    files: Files = found
    max_ranked = run.config.evaluate.max_ranked

    def measure(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            pairs = table_of(files["evaluation_pairs"], PAIR_COLUMNS)
            if pairs is not None:
                pairs = with_scores(pairs, *_vectors_of(pairs, files["embeddings"]))
                pairs = _with_model(pairs, files["pair_scores"], model) if model else pairs
                yield from metrics_of_pairs(pairs, scorers, max_ranked).to_batches()

    return run.spark.range(0, 1, 1, 1).mapInArrow(measure, METRIC_SCHEMA)


def _vectors_of(pairs: pa.Table, files: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(node ids int64[k], rising, vectors float32[k, dim]) of the pairs' ends."""
    ends = distinct(np.concatenate([pairs[end].to_numpy() for end in ENDS]))
    matrix = np.zeros((len(ends), 1), np.float32)
    for batch in batches_of(files, ("node_id", "vector"), VECTORS_AT_ONCE):
        ids, vectors = batch["node_id"].to_numpy(), vector_matrix(batch["vector"])
        if matrix.shape[1] != vectors.shape[1]:
            matrix = np.zeros((len(ends), vectors.shape[1]), np.float32)
        asked = is_among(ids, ends)
        matrix[np.searchsorted(ends, ids[asked])] = vectors[asked]
    return ends, matrix


def _with_model(pairs: pa.Table, files: Sequence[str], model: str) -> pa.Table:
    """The pairs that have a score of the model, with it."""
    scores = table_of(files, (*ENDS, model))
    if scores is None:
        return pairs.slice(0, 0).append_column(model, pa.array([], pa.float64()))
    return pairs.join(scores, list(ENDS), join_type="inner")
