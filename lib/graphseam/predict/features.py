"""What a link model knows about a pair: the cosine of the vectors, the short paths between the nodes, their degrees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.arrow import positions, vector_matrix
from graphseam.predict.query_blocks import answered_in_blocks, block_at, block_of, every_block, parts_of
from graphseam.vectors import unit_rows

FEATURES_SCHEMA = (
    "src BIGINT, dst BIGINT, learning BOOLEAN, known BOOLEAN, cosine FLOAT, num_paths BIGINT, "
    "adamic_adar FLOAT, resource_allocation FLOAT, src_degree BIGINT, dst_degree BIGINT"
)
LISTS_SCHEMA = (
    "src BIGINT, learning BOOLEAN, src_degree BIGINT, dst ARRAY<BIGINT>, known ARRAY<BOOLEAN>, cosine ARRAY<FLOAT>, "
    "num_paths ARRAY<BIGINT>, adamic_adar ARRAY<FLOAT>, resource_allocation ARRAY<FLOAT>, dst_degree ARRAY<BIGINT>"
)
LISTED_NAMES = [column.split()[0] for column in LISTS_SCHEMA.split(", ")]
FEATURE_NAMES = [column.split()[0] for column in FEATURES_SCHEMA.split(", ")]
NUMBERS = ("cosine", "num_paths", "adamic_adar", "resource_allocation", "src_degree", "dst_degree")
PAIRS_AT_ONCE = 32_768  # their gathered vectors, of 128 numbers each, take 32 MB
LISTS = ("dst", "known", "num_paths", "adamic_adar", "resource_allocation")
PAIR_BYTES = 64  # of a pair in a task: as received, and its position among those sorted by dst


def count_blocks(num_nodes: int, pairs_per_node: int, dim: int, task_mb: int) -> int:
    """Blocks of `pair_features`, as many as memory requires: a task holds its nodes' vectors twice and their pairs."""
    held = num_nodes * (2 * 4 * dim + PAIR_BYTES * pairs_per_node)
    return max(1, -(-held // (task_mb << 19)))


def pair_features(vectors: DataFrame, found: DataFrame, num_blocks: int, to_all: bool) -> DataFrame:
    """One row of LISTS_SCHEMA per query: `found` with the cosines and the degrees of dst added.

    vectors: (node_id, vector, degree INT), of all nodes. found: rows of paths.PATHS_SCHEMA. The vectors of a block's
    dst nodes are sent to it, each once, and pass by one batch at a time. to_all: each block gets all vectors, which is
    less work for a few blocks than to find those that it needs. Otherwise a block has the rows of src nodes with near
    places, `found` is read twice, and a vector is shuffled once per block that has a pair with it, and the few blocks
    that near nodes belong to need most. Memory: see count_blocks.
    """
    block = block_of("src", num_blocks) if to_all else block_at("place", num_blocks)
    own = vectors.select(F.col("node_id").alias("src"), "vector")
    held = found.join(own, on="src", how="inner").select(
        block.alias("block"),
        F.col("src").alias("node_id"),
        "vector",
        F.col("src_degree").alias("degree"),
        "learning",
        *LISTS,
    )
    passing = vectors.select("node_id", "vector", F.col("degree").cast("bigint"))
    if to_all:
        passing = passing.withColumn("block", every_block(num_blocks))
    else:
        needed = found.select(block.alias("block"), F.explode("dst").alias("node_id")).distinct()
        passing = needed.join(passing, on="node_id", how="inner")
    return answered_in_blocks(
        held, passing.select("block", "node_id", "vector", "degree"), num_blocks, _feature_stream, LISTS_SCHEMA
    )


def _feature_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    held: list[pa.RecordBatch] = []
    block: Block | None = None
    for batch in batches:
        own, passing = parts_of(batch)
        if own.num_rows:
            held.append(own)
        if passing.num_rows and (held or block):
            if block is None:
                block = Block(held)
                held = []
            block.meet(passing)
    if block is not None:
        yield from block.lists()


class Block:
    """The pairs of a task, by src, and sorted by dst, with the vectors of their src nodes."""

    def __init__(self, held: list[pa.RecordBatch]) -> None:
        lengths = np.concatenate([batch["dst"].value_lengths().to_numpy() for batch in held])
        dst = np.concatenate([batch["dst"].flatten().to_numpy() for batch in held])
        self.order = np.argsort(dst, kind="stable")
        self.dst = dst[self.order]
        self.rows = np.repeat(np.arange(len(lengths)), lengths)[self.order]
        self.vectors = np.concatenate([_unit(batch) for batch in held])
        self.held = [batch.select(["node_id", "learning", "degree", *LISTS]) for batch in held]
        self.cosine, self.degree = np.full(len(dst), np.nan, np.float32), np.zeros(len(dst), np.int64)

    def meet(self, passing: pa.RecordBatch) -> None:
        """Fill in the pairs whose dst is among these nodes, which are sorted by id."""
        ids, vectors, degrees = passing["node_id"].to_numpy(), _unit(passing), passing["degree"].to_numpy()
        first, last = np.searchsorted(self.dst, ids), np.searchsorted(self.dst, ids, side="right")
        which = np.repeat(np.arange(len(ids)), last - first)
        pairs = positions(first, last - first)
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            other, chosen = which[start : start + PAIRS_AT_ONCE], pairs[start : start + PAIRS_AT_ONCE]
            cosine = np.einsum("ij,ij->i", self.vectors[self.rows[chosen]], vectors[other])
            self.cosine[self.order[chosen]], self.degree[self.order[chosen]] = cosine, degrees[other]

    def lists(self) -> Iterator[pa.RecordBatch]:
        """Rows of LISTS_SCHEMA."""
        before = 0
        for batch in self.held:
            dst = batch["dst"]
            size = len(dst.flatten())
            ends = pa.array(np.concatenate([[0], np.cumsum(dst.value_lengths().to_numpy())]).astype(np.int32))
            added = (self.cosine[before : before + size], self.degree[before : before + size])
            cosine, degree = (pa.ListArray.from_arrays(ends, pa.array(part)) for part in added)
            columns = [batch["node_id"], batch["learning"], batch["degree"], dst, batch["known"], cosine]
            yield pa.RecordBatch.from_arrays(
                [*columns, *(batch[name] for name in LISTS[2:]), degree], names=LISTED_NAMES
            )
            before += size


def as_pairs(lists: DataFrame) -> DataFrame:
    """Rows of FEATURES_SCHEMA from those of LISTS_SCHEMA: one per pair. No shuffle."""
    return lists.select(*LISTED_NAMES).mapInArrow(_pairs_stream, FEATURES_SCHEMA)


def _pairs_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for part in parts_by_pairs(batch):
            yield pairs_in(part).select(FEATURE_NAMES)


def parts_by_pairs(lists: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows in parts of about PAIRS_AT_ONCE pairs, whole rows each; rows without pairs may be left out."""
    ends = np.cumsum(lists["dst"].value_lengths().to_numpy())
    start = 0
    while start < len(ends):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + PAIRS_AT_ONCE, side="right")))
        if ends[stop - 1] > before:
            yield lists.slice(start, stop - start)
        start = stop


def pairs_in(lists: pa.RecordBatch) -> pa.RecordBatch:
    """A row per pair: each list's elements, and the other columns repeated."""
    owners = pa.array(np.repeat(np.arange(lists.num_rows), lists["dst"].value_lengths().to_numpy()))
    columns = [
        lists[name].flatten() if pa.types.is_list(lists[name].type) else lists[name].take(owners)
        for name in lists.schema.names
    ]
    return pa.RecordBatch.from_arrays(columns, names=lists.schema.names)


def _unit(batch: pa.RecordBatch) -> np.ndarray:
    return unit_rows(vector_matrix(batch["vector"]))


@dataclass(frozen=True)
class Design:
    """How pairs become features of a logistic regression.

    own_share: see `without_the_edge`. smallest: added to sums over paths before the logarithm. by_end: use the degrees
    of src and dst, because the ends are of two kinds; else the lower and the higher degree. products: also use
    products of two features.
    """

    own_share: float
    smallest: float
    by_end: bool
    products: bool

    @property
    def names(self) -> tuple[str, ...]:
        degrees = ("log_src_degree", "log_dst_degree") if self.by_end else ("log_lower_degree", "log_higher_degree")
        return ("cosine", "log_paths", "log_adamic_adar", "log_resource_allocation", "jaccard", *degrees)

    def matrix(self, pairs: pa.RecordBatch | pa.Table) -> np.ndarray:
        """float64[n, 7] in the order of `names`, from rows of FEATURES_SCHEMA; known edges as if not embedded."""
        column = {name: np.asarray(pairs[name]).astype(np.float64) for name in NUMBERS}
        known = np.asarray(pairs["known"]).astype(np.float64)
        cosine = np.where(
            known > 0,
            without_the_edge(column["cosine"], column["src_degree"], column["dst_degree"], self.own_share),
            column["cosine"],
        )
        src, dst = (np.maximum(column[name] - known, 0) for name in ("src_degree", "dst_degree"))
        paths, lower, higher = column["num_paths"], np.minimum(src, dst), np.maximum(src, dst)
        shared = np.minimum(paths, lower)
        first, second = (src, dst) if self.by_end else (lower, higher)
        return np.stack(
            [
                cosine,
                np.log1p(paths),
                np.log(self.smallest + column["adamic_adar"]),
                np.log(self.smallest + column["resource_allocation"]),
                shared / np.maximum(lower + higher - shared, 1),
                np.log1p(first),
                np.log1p(second),
            ],
            axis=1,
        )


PAIRS, CANDIDATES = "pairs", "candidates"  # the two link models: of drawn pairs, and of search results

# Chosen on lastfm_asia, email_enron, ca_condmat and ppi, and for two kinds of nodes on gowalla (0.3 to 1 point each).
ONE_KIND = {
    PAIRS: Design(own_share=1.5, smallest=1.0, by_end=False, products=True),
    CANDIDATES: Design(own_share=1.5, smallest=0.01, by_end=False, products=True),
}
TWO_KINDS = dict.fromkeys((PAIRS, CANDIDATES), Design(own_share=0.5, smallest=0.001, by_end=True, products=False))


def without_the_edge(cosine: np.ndarray, degree: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Estimate the cosine that the two ends of an edge would have if the edge had not been embedded.

    A vector contains a share of each neighbour's vector: 1 / (degree + 1) from a hop, and some more because the edge
    helped to shape the basis. Subtracting share / (degree + 1) of each end from the other brings the cosines of
    embedded edges in line with those of held-out ones. All arrays are float64[n].
    """
    a, b = share / (degree + 1), share / (other + 1)
    lengths = (1 - 2 * a * cosine + a * a) * (1 - 2 * b * cosine + b * b)
    return (cosine - a - b + a * b * cosine) / np.sqrt(np.maximum(lengths, 1e-9))
