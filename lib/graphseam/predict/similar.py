"""Similar nodes, by largest cosine: a table for all nodes (embeddings -> similar_nodes), or a query for one node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from graphseam.arrow import slices, vector_matrix
from graphseam.edges import with_id_of
from graphseam.errors import RunError
from graphseam.predict.group_search import BOTH
from graphseam.predict.search import choose_method, excluding_none, nearest, search_of, write_recall
from graphseam.predict.search_plan import plan_search
from graphseam.runs import Run
from graphseam.tables import Tables

FOUND_SCHEMA = "node_id BIGINT, id STRING, cosine DOUBLE"
ARROW_FOUND = pa.schema([("node_id", pa.int64()), ("id", pa.string()), ("cosine", pa.float64())])


def predict_similar(run: Run) -> dict[str, Any]:
    """The top_k most similar nodes of every node that has an edge, including its neighbours."""
    run.tables.drop_run("similar_nodes")
    if run.config.predict.similar.top_k == 0:
        return {"similar": 0}
    if run.details("predict_links").get("similar_too"):
        found, details = run.tables.read("nearest_nodes"), {"method": "with the candidates of predict_links"}
    else:
        run.tables.drop_run("search_recall", part="step = 'predict_similar'")
        found, details = nearest_nodes(run)
    nodes, shift = run.tables.read("nodes"), run.ingested.id_shift
    near = F.posexplode(F.arrays_zip("near", "cosine")).alias("place", "one")
    of_src = with_id_of(found, "node_id", "src", nodes, shift)  # before there is a row for each pair
    rows = of_src.select(F.col("node_id").alias("src_node_id"), "src", near).select(
        "src_node_id", "src", F.col("one.near").alias("dst_node_id"), "one.cosine", (F.col("place") + 1).alias("rank")
    )
    rows = with_id_of(rows, "dst_node_id", "dst", nodes, shift)
    return {"similar": run.tables.write("similar_nodes", rows), **details}


def nearest_nodes(run: Run) -> tuple[DataFrame, dict[str, Any]]:
    """((node_id, near, cosine), what to report): the search used for predicted links, excluding only the node itself.

    Exact or approximate, according to predict.similar.method. Nodes with zero vectors are neither queries nor results.
    """
    settings = run.config.predict.similar
    search = search_of(run, choose_method(settings.method, run.ingested.nodes), settings.top_k, "similar")
    rows = excluding_none(run.tables.read("embeddings"), BOTH)
    plan = plan_search(rows, search)
    found = nearest(rows, search, plan)
    found = found.select(F.col("src").alias("node_id"), F.col("dst").alias("near"), F.col("score").alias("cosine"))
    return found, write_recall(run, "predict_similar", search, plan)


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
    embeddings = tables.all_runs("embeddings").where(F.col("run_id") == run_id).select("node_id", "id", "vector")
    asked = _find(embeddings, node, run_id, id_type)
    vector = np.array(asked["vector"], np.float64)
    if not vector.any():
        raise RunError(
            f"node {asked['id']!r} has no edge in run {run_id!r}, so its vector is zero and no node is similar to it"
        )
    found = (
        embeddings.mapInArrow(_best_of_each_batch(vector, asked["node_id"], top_k, id_type), FOUND_SCHEMA)
        .orderBy(F.desc("cosine"), _id_order(id_type))
        .limit(top_k)
        .collect()
    )  # top_k rows
    joined = _joined(tables, run_id, asked["node_id"], [row["node_id"] for row in found])
    return Similar(run_id, asked["id"], [(row["id"], row["cosine"], row["node_id"] in joined) for row in found])


def _find(embeddings: DataFrame, node: str, run_id: str, id_type: str) -> Row:
    """The node's row. RunError, which shows what the run's ids look like, if there is none."""
    wanted = node.strip()
    if id_type == "integer":
        try:
            wanted = str(int(wanted))
        except ValueError:
            raise RunError(f"--node is {node!r}, and the ids of run {run_id!r} are whole numbers") from None
    row = embeddings.where(F.col("id") == wanted).head()
    if row is None:
        example = embeddings.select("id").head()
        kind = "whole numbers" if id_type == "integer" else "text"
        raise RunError(
            f"there is no node {wanted!r} in run {run_id!r}; its ids are {kind}"
            f"{f', such as {example[0]!r}' if example else ''}"
        )
    return row


def _id_order(id_type: str) -> Column:
    return F.col("id").cast("bigint") if id_type == "integer" else F.col("id")


def _best_of_each_batch(
    vector: np.ndarray, node_id: int, top_k: int, id_type: str
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def best_of_each_batch(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in slices(batch.num_rows, 8 * len(vector), 16 << 20):
                yield _best(batch.slice(part.start, part.stop - part.start), vector, node_id, top_k, id_type)

    return best_of_each_batch


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
