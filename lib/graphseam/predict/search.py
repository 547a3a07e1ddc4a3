"""The nearest vectors of each node: nodes are sent to groups, every group is searched exactly, the best are merged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.arrow import positions, slices, vector_column, vector_matrix
from graphseam.predict.group_search import ARROW_FOUND, BASE, FOUND_SCHEMA, QUERY, Members, Scores, merge, search_group
from graphseam.predict.routes import Route
from graphseam.predict.search_plan import ROW_BYTES, Plan, Search, plan_search, unit_vectors
from graphseam.runs import Run
from graphseam.seeds import derive_seed
from graphseam.session import cores_of_a_task, empty_list
from graphseam.spark_line import repartition_by_number
from graphseam.task import limit_threads, task_device

EXACT_LIMIT = 50_000  # up to this many nodes, all-pairs products take seconds
MEMBER_SCHEMA = (
    "to INT, node_id BIGINT, unit ARRAY<FLOAT>, known ARRAY<BIGINT>, learning BOOLEAN, groups ARRAY<INT>, "
    "roles ARRAY<INT>"
)
KINDS = pa.list_(pa.float32())
FOUND_AT_ONCE = 1 << 16  # rows in a batch of answers


def choose_method(method: str, num_nodes: int) -> str:
    """The search that `method` stands for; "auto" is exact as long as scoring all pairs takes seconds."""
    if method == "auto":
        return "exact" if num_nodes <= EXACT_LIMIT else "cells"
    return method


def excluding_none(vectors: DataFrame, role: int, learning: bool = False) -> DataFrame:
    """Rows of `nearest` from (node_id, vector), all of one role, which know no node."""
    return vectors.select(
        "node_id",
        "vector",
        empty_list("bigint").alias("known"),
        F.lit(learning).alias("learning"),
        F.lit(role).alias("role"),
    )


def search_rows(base: DataFrame, queries: DataFrame) -> DataFrame:
    """Rows of `nearest` from a base (node_id, vector) and queries (node_id, vector, known, learning)."""
    asked = queries.select("node_id", "vector", "known", "learning", F.lit(QUERY).alias("role"))
    return excluding_none(base, BASE).union(asked)


def search_of(run: Run, method: str, top_k: int, purpose: str) -> Search:
    """A search over all nodes of the run. purpose: what it is for, from which its seed derives."""
    cores = run.spark.sparkContext.defaultParallelism
    return Search(
        method,
        top_k,
        run.ingested.nodes,
        run.config.embed.dim,
        run.task_memory_mb(),
        cores,
        cores_of_a_task(run.spark, cores),
        derive_seed(run.config.run.seed, purpose),
        cores_of_a_task(run.spark, 1),
        run.config.predict.recall,
    )


def nearest(rows: DataFrame, search: Search, plan: Plan | None = None) -> DataFrame:
    """Rows of FOUND_SCHEMA: the `top_k` nodes of the base with the largest cosine for each query, as kind UNKNOWN.

    rows: (node_id, vector, known BIGINT[], learning BOOLEAN, role INT), see group_search.BASE, QUERY and BOTH. Excluded
    are the query itself and the nodes in `known`; a query with `learning` gets twice as many, as kind LEARNING. With
    search.of_all, the other queries get so many of all nodes but themselves as well, as kind ALL: scores are computed
    once. Ties are in order of the id. Nodes with zero vectors are neither queries nor results.
    exact: O(nodes² · dim). cells: O(dim) per node and other node of its cells, at most 5 on average. Near cells are
    searched by the same task, so fewer copies than that are shuffled; two passes over the vectors come before. Memory:
    a task's groups; the driver holds a centroid per cell. plan: of `plan_search` over the same base.
    """
    plan = plan or plan_search(rows, search)
    route, copies = plan.route, plan.copies
    num_partitions = route.num_groups
    if search.method != "exact":
        moved = search.num_nodes * copies * (4 * search.dim + ROW_BYTES)
        num_partitions = max(1, min(route.num_groups, max(2 * search.cores, int(moved // search.partition_bytes))))
    members = rows.mapInArrow(_route_stream(route, search.dim, route.partitions(num_partitions)), MEMBER_SCHEMA)
    placed = repartition_by_number(members, num_partitions, "to").drop("to")
    found = placed.mapInArrow(_search_stream(search), FOUND_SCHEMA)
    if route.num_groups > 1:
        found_bytes = int(search.num_nodes * copies * 12 * (search.top_k + search.of_all))
        merged_in = max(2 * search.cores, found_bytes // search.partition_bytes)
        found = found.repartition(merged_in, "src").mapInArrow(_merge_stream(search.wanted), FOUND_SCHEMA)
    return found


def merged(found: list[DataFrame], search: Search) -> DataFrame:
    """Rows of FOUND_SCHEMA, one per query and kind: the best of several answers, each node once. Cost: one shuffle."""
    parts = reduce(DataFrame.union, found)
    return parts.repartition("src").mapInArrow(_merge_stream(search.wanted), FOUND_SCHEMA)


def write_recall(run: Run, step: str, search: Search, plan: Plan) -> dict[str, Any]:
    """Add what an approximate search of the step was measured to find to search_recall; returns what to report.

    A search that finds the nearest of all nodes on the way has a row for predict_similar too. The steps have dropped
    their earlier rows.
    """
    told: dict[str, Any] = {"method": search.method}
    if search.method == "exact":
        return told
    plain = {"method": search.method, "queries": plan.queries, "indexes": plan.route.num_groups, "copies": plan.copies}
    rows: list[dict[str, Any]] = [{"step": step, "top_k": search.top_k, "recall": plan.recall, **plain}]
    if search.of_all:
        rows.append({"step": "predict_similar", "top_k": search.of_all, "recall": plan.recall_of_all, **plain})
    run.tables.append_rows("search_recall", rows)
    return told | {"recall": round(plan.recall, 4), "copies": round(plan.copies, 4)}


def _route_stream(
    route: Route, dim: int, partition_of: np.ndarray
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def route_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit_threads(1)
        for whole in batches:
            for part in slices(whole.num_rows, 16 * dim, 32 << 20):
                batch = whole.slice(part.start, part.stop - part.start)
                kept, unit = unit_vectors(batch, dim)
                if len(kept):
                    batch = batch.take(pa.array(kept))
                    copies = route(batch["node_id"].to_numpy(), unit, batch["role"].to_numpy())
                    yield from _sent(batch, unit, copies, partition_of)

    return route_stream


def _sent(
    batch: pa.RecordBatch, unit: np.ndarray, copies: tuple[np.ndarray, ...], partition_of: np.ndarray
) -> Iterator[pa.RecordBatch]:
    """Rows of MEMBER_SCHEMA: each node once per partition, with the groups of it that it is in. copies: of a Route."""
    to = partition_of[copies[1]]
    order = np.lexsort((copies[1], to, copies[0]))
    rows, groups, roles = (part[order].astype(np.int32) for part in copies)
    to = to[order].astype(np.int32)
    first = np.flatnonzero(np.r_[True, (np.diff(rows) != 0) | (np.diff(to) != 0)])[: len(rows)]
    ends = np.append(first, len(rows)).astype(np.int32)
    for cut in slices(len(first), 4 * unit.shape[1] + ROW_BYTES, 32 << 20):
        chosen = pa.array(rows[first[cut]])
        offsets = pa.array(ends[cut.start : cut.stop + 1])
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(to[first[cut]]),
                batch["node_id"].take(chosen),
                vector_column(unit[rows[first[cut]]], KINDS),
                batch["known"].take(chosen),
                batch["learning"].take(chosen),
                pa.ListArray.from_arrays(offsets, pa.array(groups)),
                pa.ListArray.from_arrays(offsets, pa.array(roles)),
            ],
            names=["to", "node_id", "unit", "known", "learning", "groups", "roles"],
        )


def _search_stream(search: Search) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def search_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit_threads(search.threads)
        device = task_device()
        received = list(batches)
        if not received:
            return
        groups = list(_groups_in(pa.Table.from_batches(received), search.dim))
        received.clear()
        space = Scores(device)
        found = [batch for members in groups for batch in search_group(members(), search.wanted, device, space)]
        if len(groups) > 1 and found:
            found = [merge(pa.Table.from_batches(found), search.wanted)]
        for batch in found:
            for part in slices(batch.num_rows, 1, FOUND_AT_ONCE):
                yield batch.slice(part.start, part.stop - part.start)

    return search_stream


def _groups_in(rows: pa.Table, dim: int) -> Iterator[Callable[[], Members]]:
    """A function that makes a group's members, for each group in a task's rows of MEMBER_SCHEMA."""
    ids, learning, unit = rows["node_id"].to_numpy(), rows["learning"].to_numpy(), vector_matrix(rows["unit"], dim)
    known, listed, roles = (rows[name].combine_chunks() for name in ("known", "groups", "roles"))
    lengths, excluded = known.value_lengths().to_numpy(), known.flatten().to_numpy()
    begin = np.cumsum(lengths) - lengths
    row = np.repeat(np.arange(len(ids)), listed.value_lengths().to_numpy())
    group, role = listed.flatten().to_numpy(), roles.flatten().to_numpy()
    order = np.lexsort((role, ids[row], group))

    def members_of(places: np.ndarray) -> Members:
        at = row[places]
        return Members(
            ids[at],
            unit[at],
            role[places],
            learning[at],
            np.concatenate([[0], np.cumsum(lengths[at])]).astype(np.int64),
            excluded[positions(begin[at], lengths[at])],
        )

    for places in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        yield partial(members_of, places)


def _merge_stream(wanted: tuple[int, int, int]) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def merge_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = pa.Table.from_batches(list(batches), ARROW_FOUND)
        if found.num_rows:
            yield merge(found, wanted)

    return merge_stream
