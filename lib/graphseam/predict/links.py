"""Links that are probably missing: for every node the nearest others it is not joined to, with a probability."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from graphseam.arrow import vector_matrix
from graphseam.embed.executor import limit_threads, task_device
from graphseam.predict.indexes import INDEXES, Index
from graphseam.session import empty_list

CANDIDATE_SCHEMA = "src BIGINT, dst BIGINT, score FLOAT"
ARROW_CANDIDATES = pa.schema([("src", pa.int64()), ("dst", pa.int64()), ("score", pa.float32())])
BASE, QUERY = 0, 1


def neighbour_lists(edges: DataFrame) -> DataFrame:
    """(node_id, known BIGINT[]): the nodes each node is joined to, in no order. Cost: one shuffle of the edges."""
    return edges.select(F.explode(F.array(
        F.struct(F.col("src").alias("node_id"), F.col("dst").alias("other")),
        F.struct(F.col("dst").alias("node_id"), F.col("src").alias("other")))).alias("end")) \
        .groupBy("end.node_id").agg(F.collect_list("end.other").alias("known"))


def nearest_strangers(embeddings: DataFrame, edges: DataFrame, method: str, top_k: int, num_blocks: int, seed: int,
                      threads: int) -> DataFrame:
    """The `top_k` nodes of largest cosine for each node, its neighbours and itself left out.

    embeddings: (node_id, vector); a zero vector neither asks nor is found. Returns (src, dst, score, rank).
    The vectors are cut into `num_blocks` blocks by a hash; a task indexes one block and answers every query for it.
    Cost: num_blocks shuffles of the vectors, and the index's own. Memory: one block and one batch a task.
    """
    vectors = embeddings.select("node_id", "vector")
    base = vectors.select(F.lit(BASE).alias("kind"), empty_list("bigint").alias("known"), "node_id",
                          "vector", F.pmod(F.xxhash64("node_id"), F.lit(num_blocks)).cast("int").alias("block"))
    queries = vectors.join(neighbour_lists(edges), on="node_id", how="inner") \
        .select(F.lit(QUERY).alias("kind"), "known", "node_id", "vector",
                F.explode(F.sequence(F.lit(0), F.lit(num_blocks - 1))).alias("block"))
    rows = base.union(queries).repartitionById(num_blocks, F.col("block")).sortWithinPartitions("kind", "node_id")
    found = rows.select("kind", "node_id", "known", "vector") \
        .mapInArrow(_search_stream(method, top_k, seed, threads), CANDIDATE_SCHEMA)
    order = Window.partitionBy("src").orderBy(F.desc("score"), "dst")
    return found.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= top_k)


def _search_stream(method: str, top_k: int, seed: int,
                   threads: int) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def search_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit_threads(threads)
        index = INDEXES[method](device=task_device())
        ids, vectors, built = [], [], False
        for batch in batches:
            split = int(np.searchsorted(batch["kind"].to_numpy(), QUERY))
            if split:
                node_ids, unit = _unit_vectors(batch.slice(0, split))
                ids.append(node_ids)
                vectors.append(unit)
            if split < batch.num_rows and ids and sum(map(len, ids)):
                if not built:
                    base_ids, built = np.concatenate(ids), True
                    index.build(np.concatenate(vectors), seed)
                    vectors.clear()
                yield from _answer(index, base_ids, batch.slice(split), top_k)

    return search_stream


def _unit_vectors(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """(node ids, vectors of length 1) of the rows whose vector is not zero."""
    vectors = vector_matrix(batch["vector"])
    lengths = np.linalg.norm(vectors, axis=1)
    kept = lengths > 0
    return batch["node_id"].to_numpy()[kept], vectors[kept] / lengths[kept, None]


def _answer(index: Index, base_ids: np.ndarray, queries: pa.RecordBatch, top_k: int) -> Iterator[pa.RecordBatch]:
    """Search for all queries; those with more neighbours ask for more, as neighbours and themselves are dropped.

    Queries are put in classes by their number of neighbours, doubling, so that one hub does not slow the others down.
    """
    degrees = queries["known"].value_lengths().to_numpy()
    classes = np.ceil(np.log2(degrees + 1)).astype(int)
    for size in np.unique(classes):
        chosen = queries.filter(pa.array(classes == size))
        node_ids, vectors = _unit_vectors(chosen)
        if not len(node_ids):
            continue
        if len(node_ids) < chosen.num_rows:
            chosen = chosen.filter(pa.array(np.isin(chosen["node_id"].to_numpy(), node_ids)))
        scores, places = index.search(vectors, top_k + 1 + (1 << int(size)))
        yield _strangers(node_ids, chosen["known"], base_ids, scores, places, top_k)


def _strangers(node_ids: np.ndarray, known: pa.ListArray, base_ids: np.ndarray, scores: np.ndarray,
               places: np.ndarray, top_k: int) -> pa.RecordBatch:
    """The first `top_k` found of each query that are neither itself nor a neighbour, ties in the order of the id."""
    rows = np.repeat(np.arange(len(node_ids)), places.shape[1])
    found, score = base_ids[np.maximum(places, 0)].ravel(), scores.ravel()
    owners = np.repeat(np.arange(len(node_ids)), known.value_lengths().to_numpy())
    all_known = known.flatten().to_numpy()
    ids = np.unique(np.concatenate([base_ids, all_known]))
    pairs = rows * len(ids) + np.searchsorted(ids, found)
    barred = np.unique(owners * len(ids) + np.searchsorted(ids, all_known))
    keep = (places.ravel() >= 0) & (found != node_ids[rows]) & ~np.isin(pairs, barred)
    rows, found, score = rows[keep], found[keep], score[keep]
    order = np.lexsort((found, -score, rows))
    rows, found, score = rows[order], found[order], score[order]
    first = np.searchsorted(rows, np.arange(len(node_ids)))
    best = np.arange(len(rows)) - first[rows] < top_k
    return pa.RecordBatch.from_arrays([pa.array(node_ids[rows[best]]), pa.array(found[best]),
                                       pa.array(score[best].astype(np.float32))], schema=ARROW_CANDIDATES)
