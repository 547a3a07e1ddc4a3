"""The nodes most similar to one node, exactly: by Spark, or without it from the files of a local root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import dataset
from pyspark.sql import Column
from pyspark.sql import functions as F

from graphseam import local_delta
from graphseam.arrow import slices, vector_matrix
from graphseam.errors import RunError
from graphseam.files import absolute, has_table, local_path
from graphseam.stored import choose_run
from graphseam.tables import Tables

FOUND_SCHEMA = "node_id BIGINT, id STRING, cosine DOUBLE"
ARROW_FOUND = pa.schema([("node_id", pa.int64()), ("id", pa.string()), ("cosine", pa.float64())])
NOTHING = (
    pa.table({name: pa.array([], pa.int64()) for name in ("node_id", "src", "dst")})
    .append_column("id", pa.array([], pa.string()))
    .append_column("vector", pa.array([], pa.list_(pa.float32())))
)


@dataclass(frozen=True)
class Similar:
    """What `similar_nodes` found: (id, cosine, joined) rows, the most similar first."""

    run_id: str
    node: str
    rows: list[tuple[str, float, bool]]


def similar_nodes(tables: Tables, node: str, top_k: int = 10, run_id: str | None = None) -> Similar:
    """The `top_k` nodes with the largest cosine to one node, exactly; ties in order of the ids.

    node: the original id. run_id: a published run, by default the newest. joined: whether the two nodes share an edge
    of the run, held-out edges included. Cost: one pass over the embeddings for the node's vector, one for the cosines,
    one over the edges; the driver holds top_k rows. Errors: RunError for an unknown run, a node that is not in the run,
    or a node without edges, whose vector is zero.
    """
    run_id, id_type = tables.published_run(run_id)
    wanted = _wanted(node, run_id, id_type)
    embeddings = tables.all_runs("embeddings").where(F.col("run_id") == run_id).select("node_id", "id", "vector")
    asked = embeddings.where(F.col("id") == wanted).head()
    if asked is None:
        example = embeddings.select("id").head()
        raise _unknown(wanted, run_id, id_type, example[0] if example else None)
    vector = _not_zero(np.array(asked["vector"], np.float64), wanted, run_id)
    found = (
        embeddings.mapInArrow(_best_of_batches(vector, asked["node_id"], top_k, id_type), FOUND_SCHEMA)
        .orderBy(F.desc("cosine"), _id_order(id_type))
        .limit(top_k)
        .collect()
    )  # top_k rows
    joined = _joined(tables, run_id, asked["node_id"], [row["node_id"] for row in found])
    return Similar(run_id, wanted, [(row["id"], row["cosine"], row["node_id"] in joined) for row in found])


def similar_here(root: str, node: str, top_k: int = 10, run_id: str | None = None) -> Similar | None:
    """The same answer for the tables of a local root, without Spark; None where only Spark can read them.

    Cost: one pass over the run's ids, its vectors and its edges, a few seconds for a million nodes; memory: some
    batches of rows.
    """
    runs = _files(root, "runs")
    if runs is None:
        return None
    run_id, id_type = choose_run(_published(runs), run_id, root)
    there = [_files(root, name, run_id) for name in ("embeddings", "edges", "holdout_edges")]
    if None in there:
        return None
    embeddings, *edges = map(_data, there)
    wanted = _wanted(node, run_id, id_type)
    asked = embeddings.to_table(columns=["node_id", "vector"], filter=pc.field("id") == wanted)
    if asked.num_rows == 0:
        example = embeddings.head(1, columns=["id"])["id"].to_pylist()
        raise _unknown(wanted, run_id, id_type, example[0] if example else None)
    vector = _not_zero(np.array(asked["vector"][0].as_py(), np.float64), wanted, run_id)
    node_id = asked["node_id"][0].as_py()
    rank = _best_of_batches(vector, node_id, top_k, id_type)
    best = ARROW_FOUND.empty_table()
    for some in rank(embeddings.to_batches(columns=["node_id", "id", "vector"])):
        best = _ordered(pa.concat_tables([best, pa.Table.from_batches([some])]), id_type).slice(0, top_k)
    joined = set()
    for ends in edges:
        for near, far in (("src", "dst"), ("dst", "src")):
            touching = (pc.field(near) == node_id) & pc.field(far).isin(best["node_id"].combine_chunks())
            joined |= set(ends.to_table(columns=[far], filter=touching)[far].to_pylist())
    found = best.to_pylist()
    return Similar(run_id, wanted, [(row["id"], row["cosine"], row["node_id"] in joined) for row in found])


def _published(files: list[str]) -> list[tuple[str, str]]:
    """(run_id, id_type) of each published run, the newest first. files: those of `runs`, one or a few rows each."""
    known = []
    for file in files:
        run_id = file.rsplit("/run_id=", 1)[1].split("/")[0]
        rows = dataset(file, format="parquet").to_table(columns=["id_type", "published_at"])
        published_at = rows["published_at"].cast(pa.timestamp("us", "UTC"), safe=False)  # Spark stores nanoseconds
        for moment, id_type in zip(published_at.to_pylist(), rows["id_type"].to_pylist(), strict=True):
            known.append((moment, run_id, id_type))
    return [(run_id, id_type) for _, run_id, id_type in sorted(known, reverse=True)]


def _files(root: str, name: str, run_id: str | None = None) -> list[str] | None:
    """The files of a table under a local root, or of one run of it; None if delta-rs cannot read its log."""
    if not has_table(root, name):
        return []
    return local_delta.files_of(Path(local_path(absolute(root)), name), run_id, most=None)


def _data(files: list[str] | None) -> Any:
    """The files as a data set of pyarrow."""
    return dataset(files, format="parquet") if files else dataset(NOTHING)


def _ordered(found: pa.Table, id_type: str) -> pa.Table:
    keys = found["id"].cast(pa.int64()) if id_type == "integer" else found["id"]
    order = pc.sort_indices(
        found.append_column("key", keys), sort_keys=[("cosine", "descending"), ("key", "ascending")]
    )
    return found.take(order)


def _wanted(node: str, run_id: str, id_type: str) -> str:
    """The id as the run's tables write it. RunError if it is none of their kind."""
    if id_type != "integer":
        return node.strip()
    try:
        return str(int(node.strip()))
    except ValueError:
        raise RunError(f"--node is {node!r}, and the ids of run {run_id!r} are whole numbers") from None


def _unknown(wanted: str, run_id: str, id_type: str, example: str | None) -> RunError:
    """The error for a node that the run does not have; it shows what the run's ids look like."""
    kind = "whole numbers" if id_type == "integer" else "text"
    return RunError(
        f"there is no node {wanted!r} in run {run_id!r}; its ids are {kind}"
        f"{f', such as {example!r}' if example is not None else ''}"
    )


def _not_zero(vector: np.ndarray, node: str, run_id: str) -> np.ndarray:
    if not vector.any():
        raise RunError(
            f"node {node!r} has no edge in run {run_id!r}, so its vector is zero and no node is similar to it"
        )
    return vector


def _id_order(id_type: str) -> Column:
    return F.col("id").cast("bigint") if id_type == "integer" else F.col("id")


def _best_of_batches(
    vector: np.ndarray, node_id: int, top_k: int, id_type: str
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def best_of_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in slices(batch.num_rows, 8 * len(vector), 16 << 20):
                yield _best(batch.slice(part.start, part.stop - part.start), vector, node_id, top_k, id_type)

    return best_of_batches


def _best(batch: pa.RecordBatch, vector: np.ndarray, node_id: int, top_k: int, id_type: str) -> pa.RecordBatch:
    """The batch's top_k by cosine, then id.

    Products are summed row by row, not by BLAS, whose last bit depends on a row's position in the batch.
    """
    others = vector_matrix(batch["vector"], len(vector)).astype(np.float64)
    lengths = np.sqrt((others * others).sum(axis=1))
    products = (others * vector).sum(axis=1)
    usable = np.flatnonzero((lengths > 0) & (batch["node_id"].to_numpy() != node_id))
    cosine = products[usable] / lengths[usable] / np.sqrt((vector * vector).sum())
    if len(usable) > top_k:
        kept = cosine >= np.partition(cosine, len(cosine) - top_k)[len(cosine) - top_k]  # including ties with the last
        usable, cosine = usable[kept], cosine[kept]
    ids = batch["id"].take(pa.array(usable))
    keys = ids.cast(pa.int64()).to_numpy() if id_type == "integer" else ids.to_numpy(zero_copy_only=False)
    order = np.lexsort((np.argsort(np.argsort(keys)), -cosine))[:top_k]
    return pa.RecordBatch.from_arrays(
        [batch["node_id"].take(pa.array(usable[order])), ids.take(pa.array(order)), pa.array(cosine[order])],
        schema=ARROW_FOUND,
    )


def _joined(tables: Tables, run_id: str, node_id: int, others: list[int]) -> set[int]:
    """Those of `others` that share an edge with the node."""
    edges = tables.all_runs("edges").union(tables.all_runs("holdout_edges")).where(F.col("run_id") == run_id)
    far = F.when(F.col("src") == node_id, F.col("dst")).otherwise(F.col("src")).alias("far")
    touching = edges.where((F.col("src") == node_id) | (F.col("dst") == node_id)).select(far)
    return {row["far"] for row in touching.where(F.col("far").isin(others)).distinct().collect()}  # at most top_k
