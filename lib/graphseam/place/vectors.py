"""Vectors of new nodes: the mean of their neighbours' vectors, as one more propagation step would give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.arrow import slices, vector_column, vector_matrix
from graphseam.checkpoints import lineage_cut
from graphseam.edges import both_ways, ordered_sum
from graphseam.vectors import unit_rows

GRID = 2.0**-46  # sums of its multiples are exact in float64, so that vectors do not depend on the order of rows
PLACED_SCHEMA = "node_id BIGINT, hops INT, vector ARRAY<FLOAT>"
ARROW_PLACED = pa.schema(
    [("node_id", pa.int64()), ("hops", pa.int32()), ("vector", pa.list_(pa.field("element", pa.float32())))]
)


def arcs_of(edges: DataFrame, open_nodes: DataFrame) -> DataFrame:
    """(node_id, other, share): each open node's neighbours; `share` is the edge's share of the node's total weight.

    edges: (src, dst, weight), each pair once. open_nodes: (node_id), those to be placed. Cost: two shuffles of the
    edges. Weights are summed in order of size, so that the sum's last bit does not depend on the data's layout.
    """
    ends = both_ways(edges, "node_id", "other", "weight")
    arcs = ends.join(open_nodes.select("node_id"), on="node_id", how="left_semi")
    totals = arcs.groupBy("node_id").agg(ordered_sum("weight").alias("total"))
    return arcs.join(totals, on="node_id", how="inner").select(
        "node_id", "other", (F.col("weight") / F.col("total")).alias("share")
    )


def mean_of_neighbours(arcs: DataFrame, vectors: DataFrame, widths: list[int]) -> DataFrame:
    """(node_id, hops, vector): one row per node of the arcs that has a neighbour among `vectors`.

    arcs: (node_id, other, share). vectors: (node_id, hops, vector). Each view (`widths` gives its columns) has the
    direction of the weighted mean of the neighbours' views, and their mean length: refinement makes all views equally
    long, whereas a plain mean gets shorter the more the neighbours differ. hops: one more than the nearest
    neighbour's. Cost: one join of the arcs with the vectors and one shuffle of its result, arcs · dim numbers.
    """
    beside = vectors.select(F.col("node_id").alias("other"), "hops", "vector")
    rows = arcs.join(beside, on="other", how="inner").select("node_id", "share", "hops", "vector")
    return rows.repartition("node_id").sortWithinPartitions("node_id").mapInArrow(_mean_stream(widths), PLACED_SCHEMA)


@contextmanager
def vectors_by_rounds(
    arcs: DataFrame, known: DataFrame, widths: list[int], max_hops: int, checkpoint_dir: str | None
) -> Iterator[DataFrame]:
    """Yields (node_id, hops, vector) of every node of the arcs within `max_hops` steps of a known node.

    known: (node_id, vector), from the run. Each round takes the `mean_of_neighbours` over the run's vectors and those
    of the previous round. The first round reaches the nodes joined to a known node, each further round one step more;
    the first round that reaches no new node is the last. It still improves the vectors: by then, new nodes that are
    joined to each other have received what the others received from the run. Deterministic, whatever the data's
    layout. Driver: one count per round.
    """
    fixed = known.select("node_id", F.lit(0).alias("hops"), "vector")
    vectors, num_placed = fixed, 0
    with ExitStack() as rounds:
        for _ in range(max_hops + 1):
            newest = mean_of_neighbours(arcs, vectors, widths).where(F.col("hops") <= max_hops)
            newest = rounds.enter_context(lineage_cut(newest, checkpoint_dir))
            count = newest.count()
            if count == num_placed:
                break
            vectors, num_placed = fixed.union(newest), count
        yield newest


def _mean_stream(widths: list[int]) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A stream function over rows sorted by node_id; a node's rows may span several batches. Memory: one batch."""

    def mean_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros((0, sum(widths) + len(widths) + 1))
        parts = chain.from_iterable(
            (
                batch.slice(part.start, part.stop - part.start)
                for part in slices(batch.num_rows, 8 * sum(widths), 16 << 20)
            )
            for batch in batches
        )
        for part in parts:
            node_ids, hops, sums = _added_up(
                np.concatenate([held[0], part["node_id"].to_numpy()]),
                np.concatenate([held[1], part["hops"].to_numpy() + np.int32(1)]),
                np.concatenate([held[2], _parts_of_sums(part, widths)]),
            )
            yield _finished(node_ids[:-1], hops[:-1], sums[:-1], widths)  # the last node may continue in the next part
            held = node_ids[-1:], hops[-1:], sums[-1:]
        yield _finished(*held, widths)

    return mean_stream


def _parts_of_sums(rows: pa.RecordBatch, widths: list[int]) -> np.ndarray:
    """float64[n, dim + views + 1]: share · (vector, length of each view, 1), on the grid."""
    vectors = vector_matrix(rows["vector"], sum(widths)).astype(np.float64)
    lengths = [np.sqrt((view * view).sum(axis=1, keepdims=True)) for view in _views(vectors, widths)]
    columns = np.concatenate([vectors, *lengths, np.ones((len(vectors), 1))], axis=1)
    return np.round(columns * (rows["share"].to_numpy()[:, None] / GRID)) * GRID


def _added_up(node_ids: np.ndarray, hops: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row per node: the smallest hops, the total of its sums. node_ids: ascending."""
    starts = np.flatnonzero(np.diff(node_ids, prepend=node_ids[0] - 1 if len(node_ids) else 0))
    return node_ids[starts], np.minimum.reduceat(hops, starts), np.add.reduceat(sums, starts, axis=0)


def _finished(node_ids: np.ndarray, hops: np.ndarray, sums: np.ndarray, widths: list[int]) -> pa.RecordBatch:
    """Each view with the mean's direction and the mean length; omits nodes whose shares were all rounded to zero."""
    weight = sums[:, -1:]
    kept = weight[:, 0] > 0
    dim = sum(widths)
    lengths = sums[:, dim:-1] / np.maximum(weight, GRID)
    views = [lengths[:, [at]] * unit_rows(view) for at, view in enumerate(_views(sums[:, :dim], widths))]
    vectors = np.concatenate(views, axis=1)[kept].astype(np.float32)
    return pa.RecordBatch.from_arrays(
        [pa.array(node_ids[kept]), pa.array(hops[kept]), vector_column(vectors, ARROW_PLACED.field("vector").type)],
        schema=ARROW_PLACED,
    )


def _views(columns: np.ndarray, widths: list[int]) -> list[np.ndarray]:
    return np.split(columns, np.cumsum(widths)[:-1], axis=1)
