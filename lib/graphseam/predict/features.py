"""What a link model knows about a pair: the cosine of the vectors, the short paths between the nodes, their degrees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.arrow import vector_matrix
from graphseam.predict.query_blocks import answered_in_blocks, block_of, every_block, parts_of
from graphseam.vectors import unit_rows

FEATURES_SCHEMA = (
    "src BIGINT, dst BIGINT, learning BOOLEAN, known BOOLEAN, cosine FLOAT, num_paths BIGINT, "
    "adamic_adar FLOAT, resource_allocation FLOAT, src_degree BIGINT, dst_degree BIGINT"
)
NUMBERS = ("cosine", "num_paths", "adamic_adar", "resource_allocation", "src_degree", "dst_degree")
PAIRS_AT_ONCE = 32_768  # their gathered vectors, of 128 numbers each, take 32 MB
LISTS = ("dst", "known", "num_paths", "adamic_adar", "resource_allocation")


def pair_features(vectors: DataFrame, found: DataFrame, num_blocks: int) -> DataFrame:
    """One row of FEATURES_SCHEMA per pair: `found` with the cosine and the degree of dst added.

    vectors: (node_id, vector, degree INT), of all nodes. found: rows of paths.PATHS_SCHEMA. A block holds a share of
    the vectors and sees every row of `found`. Cost: `found`, with one vector per row, is shuffled num_blocks times.
    Memory: a block's vectors, twice.
    """
    held = vectors.select(
        block_of("node_id", num_blocks).alias("block"), "node_id", "vector", F.col("degree").cast("bigint")
    )
    asked = (
        found.withColumnRenamed("src", "node_id")
        .join(vectors.select("node_id", "vector"), on="node_id", how="inner")
        .select(
            every_block(num_blocks).alias("block"),
            "node_id",
            "vector",
            F.col("src_degree").alias("degree"),
            "learning",
            *LISTS,
        )
    )
    return answered_in_blocks(held, asked, num_blocks, _feature_stream, FEATURES_SCHEMA)


def _feature_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for batch in batches:
        base, queries = parts_of(batch)
        if base.num_rows:
            held.append((base["node_id"].to_numpy(), _unit(base), base["degree"].to_numpy()))
        if queries.num_rows and held:
            if len(held) > 1:
                ids, vectors, degrees = (np.concatenate(parts) for parts in zip(*held, strict=True))
                held = [(ids, vectors, degrees)]
            yield from _features_of(*held[0], queries)


def _unit(batch: pa.RecordBatch) -> np.ndarray:
    return unit_rows(vector_matrix(batch["vector"]))


def _features_of(
    ids: np.ndarray, vectors: np.ndarray, degrees: np.ndarray, queries: pa.RecordBatch
) -> Iterator[pa.RecordBatch]:
    """Features of the pairs whose dst is in this block."""
    counts = queries["dst"].value_lengths().to_numpy()
    rows, dst = np.repeat(np.arange(len(counts)), counts), queries["dst"].flatten().to_numpy()
    places = np.minimum(np.searchsorted(ids, dst), len(ids) - 1)
    here = np.flatnonzero(ids[places] == dst)
    columns = {name: queries[name].flatten() for name in LISTS}
    own = _unit(queries)
    for start in range(0, len(here), PAIRS_AT_ONCE):
        chosen = here[start : start + PAIRS_AT_ONCE]
        cosine = np.einsum("ij,ij->i", own[rows[chosen]], vectors[places[chosen]])
        taken = {name: column.take(pa.array(chosen)) for name, column in columns.items()}
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(queries["node_id"].to_numpy()[rows[chosen]]),
                taken["dst"],
                queries["learning"].take(pa.array(rows[chosen])),
                taken["known"],
                pa.array(cosine.astype(np.float32)),
                taken["num_paths"],
                taken["adamic_adar"],
                taken["resource_allocation"],
                pa.array(queries["degree"].to_numpy()[rows[chosen]]),
                pa.array(degrees[places[chosen]]),
            ],
            names=[
                "src",
                "dst",
                "learning",
                "known",
                "cosine",
                "num_paths",
                "adamic_adar",
                "resource_allocation",
                "src_degree",
                "dst_degree",
            ],
        )


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
