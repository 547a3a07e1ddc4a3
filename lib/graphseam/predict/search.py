"""The nearest vectors of each node: vectors in blocks, one index per block, all blocks searched in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from graphseam.arrow import vector_matrix
from graphseam.methods import INDEXES
from graphseam.predict.indexes import Index
from graphseam.predict.query_blocks import answered_in_blocks, block_of, every_block, parts_of
from graphseam.task import limit_threads, task_device

NEAREST_SCHEMA = "src BIGINT, dst BIGINT, score FLOAT, learning BOOLEAN"
ARROW_NEAREST = pa.schema([("src", pa.int64()), ("dst", pa.int64()), ("score", pa.float32()), ("learning", pa.bool_())])
NODES_PER_BLOCK = 20_000  # a smaller block is not worth a task of its own
HNSW_NODES = 250_000  # nodes per index; the number of shards must not depend on the machine
TELLABLE = 1 << 20  # cosines closer than 1e-6 are ties: rounding of products differs between blocks
TIES = 8  # extra nodes requested beyond the last rank, so that the id can break ties of equal cosine
COPIES = {"exact": 4, "hnsw": 5}  # copies of a block's vectors that a task holds while it builds an index


@dataclass(frozen=True)
class Search:
    """How to search for the `top_k` nearest: method (see INDEXES), blocks of vectors, seed, threads per task."""

    method: str
    top_k: int
    num_blocks: int
    seed: int
    threads: int


def count_blocks(method: str, num_nodes: int, dim: int, task_mb: int, cores: int) -> int:
    """Blocks of vectors: at least as many as memory requires; hnsw one per 250,000 nodes, exact up to one per core."""
    vector_bytes = num_nodes * dim * 4 * COPIES[method]
    for_memory = -(-vector_bytes // (task_mb << 20))
    others = -(-num_nodes // HNSW_NODES) if method == "hnsw" else min(cores, num_nodes // NODES_PER_BLOCK)
    return max(1, for_memory, others)


def nearest(base: DataFrame, queries: DataFrame, search: Search) -> DataFrame:
    """The `search.top_k` nodes of `base` with the largest cosine for each query, excluding the query itself.

    base: (node_id, vector). queries: (node_id, vector, known BIGINT[], learning BOOLEAN). The nodes in `known` are
    excluded; `learning` is passed through, and a query with it set gets twice as many nodes.
    Returns (src, dst, score FLOAT, learning), ties in order of the id. Nodes with zero vectors are neither queries nor
    results.
    The vectors are split into blocks by a hash; a task indexes one block and answers every query against it.
    Cost: num_blocks shuffles of the queries, plus that of the index. Memory: one block and one batch per task.
    """
    count = search.num_blocks
    held = base.select(block_of("node_id", count).alias("block"), "node_id", "vector")
    asked = queries.select(every_block(count).alias("block"), "node_id", "vector", "known", "learning")
    found = answered_in_blocks(held, asked, count, _search_stream(search), NEAREST_SCHEMA)
    if count == 1:
        return found
    allowed = F.when(F.col("learning"), 2 * search.top_k).otherwise(search.top_k)
    best = Window.partitionBy("src", "learning").orderBy(F.desc(F.round(F.col("score") * TELLABLE)), "dst")
    return (
        found.withColumn("rank", F.row_number().over(best))
        .where(F.col("rank") <= allowed)
        .select("src", "dst", "score", "learning")
    )


def _search_stream(search: Search) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def search_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit_threads(search.threads)
        index = INDEXES[search.method](device=task_device())
        ids, vectors, built = [], [], False
        for batch in batches:
            base, queries = parts_of(batch)
            if base.num_rows:
                node_ids, unit = _unit_vectors(base)
                ids.append(node_ids)
                vectors.append(unit)
            if queries.num_rows and sum(map(len, ids)):
                if not built:
                    base_ids, built = np.concatenate(ids), True
                    index.build(np.concatenate(vectors), search.seed)
                    vectors.clear()
                yield from _answer(index, base_ids, queries, search.top_k)

    return search_stream


def _unit_vectors(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """(node ids, vectors of length 1) of the rows whose vector is not zero."""
    vectors = vector_matrix(batch["vector"])
    lengths = np.linalg.norm(vectors, axis=1)
    kept = lengths > 0
    return batch["node_id"].to_numpy()[kept], vectors[kept] / lengths[kept, None]


def _answer(index: Index, base_ids: np.ndarray, queries: pa.RecordBatch, top_k: int) -> Iterator[pa.RecordBatch]:
    """Search for all queries; more neighbours mean more nodes requested, since they and the query itself are dropped.

    Queries are grouped by their number of neighbours, in powers of two, so that one hub does not slow down the others.
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
        learning = bool(chosen["learning"].true_count)
        scores, places = index.search(vectors, top_k * (1 + learning) + 1 + (1 << int(size)) + TIES)
        yield _best(chosen, base_ids, scores, places, top_k)


def _best(
    queries: pa.RecordBatch, base_ids: np.ndarray, scores: np.ndarray, places: np.ndarray, top_k: int
) -> pa.RecordBatch:
    """The first `top_k` nodes found for each query (twice as many for learning), without itself and its neighbours."""
    node_ids, neighbours = queries["node_id"].to_numpy(), queries["known"]
    rows = np.repeat(np.arange(len(node_ids)), places.shape[1])
    found, score = base_ids[np.maximum(places, 0)].ravel(), scores.ravel()
    owners = np.repeat(np.arange(len(node_ids)), neighbours.value_lengths().to_numpy())
    all_known = neighbours.flatten().to_numpy()
    ids = np.unique(np.concatenate([base_ids, all_known]))
    pairs = rows * len(ids) + np.searchsorted(ids, found)
    barred = np.unique(owners * len(ids) + np.searchsorted(ids, all_known))
    keep = (places.ravel() >= 0) & (found != node_ids[rows]) & ~np.isin(pairs, barred)
    rows, found, score = rows[keep], found[keep], score[keep]
    order = np.lexsort((found, -np.round(score * TELLABLE), rows))
    rows, found, score = rows[order], found[order], score[order]
    first = np.searchsorted(rows, np.arange(len(node_ids)))
    allowed = top_k * (1 + queries["learning"].to_numpy(zero_copy_only=False).astype(int))
    best = np.arange(len(rows)) - first[rows] < allowed[rows]
    return pa.RecordBatch.from_arrays(
        [
            pa.array(node_ids[rows[best]]),
            pa.array(found[best]),
            pa.array(score[best].astype(np.float32)),
            queries["learning"].take(pa.array(rows[best])),
        ],
        schema=ARROW_NEAREST,
    )
