"""Made-up graphs of any size, in Spark: each row is computed from its own number, so nothing is held or shuffled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from graphseam.arrow import slices
from graphseam.columns import ENDS
from graphseam.compiled import mix, unit_interval
from graphseam.errors import ConfigError, nearest
from graphseam.seeds import derive_seed

KINDS = {"rmat": 16, "community": 8}  # edges per node, where the nodes are not given
QUADRANTS = (0.57, 0.19, 0.19)  # R-MAT's A, B and C in Graph500
ROWS_PER_TASK = 4_000_000
ROWS_AT_ONCE_BYTES = 16 << 20
CLASSES = 50  # labels of any number of communities: with a class each, to learn them would cost nodes squared
ROUNDS = 4  # of the Feistel network that scatters ids


@dataclass(frozen=True, kw_only=True)
class Community:
    """A graph of communities with power-law degrees, as a degree-corrected block model.

    exponent: of the degrees' distribution. inside: share of the edges that stay in their community. size: nodes of a
    community. Node i, before its id is scattered, is in community i mod the number of communities, and its expected
    degree is proportional to (i + offset)^(-1 / (exponent - 1)).
    """

    exponent: float = 2.5
    inside: float = 0.8
    size: int = 100

    def count(self, num_nodes: int) -> int:
        """How many communities the nodes are in."""
        return max(1, num_nodes // self.size)


Columns = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # of the rows with these numbers


def generate(
    spark: SparkSession, kind: str, num_edges: int, output: str, num_nodes: int | None = None, seed: int = 0
) -> dict[str, int]:
    """Write `num_edges` rows of edges to <output>/edges, and of communities the labels to <output>/labels, as Parquet.

    kind: "rmat" (Graph500's parameters and 16 edges per node; nodes are rounded up to a power of 2) or "community" (8
    edges per node). Loops and duplicate edges stay, as in Graph500; `ingest` counts them and merges them. The same
    rows for the same arguments, whatever the cluster. Returns the numbers of nodes and rows.
    Cost: linear in the rows; no shuffle, and memory for a few of them. Errors: ConfigError, for bad arguments or an
    output that is there already.
    Source: Chakrabarti, Zhan and Faloutsos, R-MAT, SDM 2004; Karrer and Newman, Stochastic blockmodels, 2011.
    """
    if kind not in KINDS:
        raise ConfigError(f"there are no graphs of kind {kind!r}.{nearest(kind, KINDS)}")
    if num_edges < 1 or (num_nodes is not None and num_nodes < 2):
        of = "" if num_nodes is None else f" of {num_nodes:,} nodes"
        raise ConfigError(f"{num_edges:,} edges{of} make no graph; give at least 1 edge and 2 nodes")
    nodes = max(2, num_nodes or num_edges // KINDS[kind])
    if nodes > 1 << 40:
        raise ConfigError(f"{nodes:,} nodes are more than 2^40; give fewer by --nodes")
    folder = output.rstrip("/")
    key = derive_seed(seed, "generate", kind)
    if kind == "rmat":
        scale = max(1, math.ceil(math.log2(nodes)))
        nodes = 1 << scale
        _write(spark, num_edges, ENDS, partial(rmat_edges, scale=scale, seed=key), f"{folder}/edges")
        return {"nodes": nodes, "edges": num_edges}
    edges = partial(community_edges, num_nodes=nodes, seed=key, shape=Community())
    labels = partial(community_labels, num_nodes=nodes, seed=key, shape=Community())
    _write(spark, num_edges, ENDS, edges, f"{folder}/edges")
    _write(spark, nodes, ("node", "label"), labels, f"{folder}/labels")
    return {"nodes": nodes, "edges": num_edges, "labels": nodes}


def rmat_edges(numbers: np.ndarray, scale: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(src, dst), int64 below 2^scale, of the edges with these numbers."""
    first, second, third = np.cumsum(QUADRANTS)
    src, dst = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
    for level in range(scale):
        drawn = draws(numbers, seed, level)
        src = (src << 1) | (drawn >= second)
        dst = (dst << 1) | (((drawn >= first) & (drawn < second)) | (drawn >= third))
    return scattered(src, 1 << scale, seed), scattered(dst, 1 << scale, seed)


def community_edges(numbers: np.ndarray, num_nodes: int, seed: int, shape: Community) -> tuple[np.ndarray, np.ndarray]:
    """(src, dst), int64 below num_nodes, of the edges with these numbers."""
    communities = shape.count(num_nodes)
    src = _by_degree(draws(numbers, seed, 0), num_nodes, shape.exponent)
    anywhere = _by_degree(draws(numbers, seed, 1), num_nodes, shape.exponent)
    own = src % communities
    within = _by_degree(draws(numbers, seed, 2), num_nodes // communities, shape.exponent) * communities + own
    dst = np.where(draws(numbers, seed, 3) < shape.inside, within, anywhere)
    return scattered(src, num_nodes, seed), scattered(dst, num_nodes, seed)


def community_labels(numbers: np.ndarray, num_nodes: int, seed: int, shape: Community) -> tuple[np.ndarray, np.ndarray]:
    """(node, its label) of the nodes with these numbers: those of a community have one, one of at most 50."""
    return scattered(numbers, num_nodes, seed), numbers % shape.count(num_nodes) % CLASSES


def draws(numbers: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """float64 in [0, 1): one per number in each stream."""
    key = mix(np.array([seed], np.uint64) + mix(np.array([stream + 1], np.uint64)))  # arrays wrap without a warning
    return np.asarray(unit_interval(mix(numbers.astype(np.uint64) + key)))


def scattered(ids: np.ndarray, num_nodes: int, seed: int) -> np.ndarray:
    """A permutation of 0 … num_nodes - 1: a Feistel network on the next even number of bits, repeated until inside."""
    half = np.uint64(max(1, math.ceil(math.log2(max(2, num_nodes)) / 2)))
    mask = np.uint64((1 << int(half)) - 1)
    found, outside = ids.astype(np.uint64), np.ones(len(ids), bool)
    while outside.any():
        left, right = found[outside] >> half, found[outside] & mask
        for turn in range(ROUNDS):
            left, right = right, left ^ (mix(right + mix(np.uint64(seed) + np.uint64(turn))) & mask)
        found[outside] = (left << half) | right
        outside = found >= num_nodes
    return found.astype(np.int64)


def _by_degree(drawn: np.ndarray, num_nodes: int, exponent: float) -> np.ndarray:
    """int64 below num_nodes: ranks with probability proportional to about (rank + 1)^(-1 / (exponent - 1))."""
    power = 1 - 1 / (exponent - 1)
    last = float(num_nodes + 1) ** power
    return np.minimum((1 + drawn * (last - 1)) ** (1 / power) - 1, num_nodes - 1).astype(np.int64)


def _write(spark: SparkSession, count: int, names: tuple[str, ...], columns: Columns, path: str) -> None:
    """Write `count` rows of BIGINT columns."""
    tasks = max(1, math.ceil(count / ROWS_PER_TASK), min(spark.sparkContext.defaultParallelism, count))

    def stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            numbers = batch["id"].to_numpy()
            for part in slices(len(numbers), 16, ROWS_AT_ONCE_BYTES):
                yield pa.RecordBatch.from_arrays([pa.array(column) for column in columns(numbers[part])], names=names)

    made = spark.range(0, count, 1, tasks).mapInArrow(stream, ", ".join(f"{name} BIGINT" for name in names))
    try:
        made.write.mode("errorifexists").parquet(path)
    except AnalysisException as error:
        if error.getCondition() != "PATH_ALREADY_EXISTS":
            raise
        raise ConfigError(f"{path!r} is there already; give another --output, or remove it first") from None
