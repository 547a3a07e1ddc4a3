"""How a graph that one task can hold is searched: its cells trained and measured, its nodes sent to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Row, SparkSession

from graphseam.blocks.stages import SparkStages
from graphseam.predict.cells import Cells
from graphseam.predict.group_search import QUERY, Members
from graphseam.predict.probe import PROBE_SCHEMA, Probe
from graphseam.predict.routes import Blocks
from graphseam.predict.search_plan import (
    ANSWER_SCHEMA,
    PROBE_KNOWN,
    TRAINED_SCHEMA,
    Kept,
    Plan,
    Search,
    answer_of,
    plan_of,
    trained_on,
)
from graphseam.predict.whole_graph import Graph, WholeGraph
from graphseam.predict.whole_search import route_nodes, sort_copies
from graphseam.seeds import uniform_of
from graphseam.session import in_one_task
from graphseam.task import limit_threads

PROBED_AT_ONCE = 65_536  # nodes


def plan_whole(spark: SparkSession, whole: WholeGraph, search: Search, kept: Kept | None = None) -> Plan:
    """The plan; unless the search is exact, the groups that nodes go to are stored as whole_search.Routed.

    kept: cells of an earlier run, see `plan_of`. Cost: one pass over the vectors to train cells, one to measure what
    they find, and one to send nodes to them.
    """
    if search.method == "exact":
        return Plan(Blocks(1, 1), 1.0)
    plan = plan_of(MappedVectors(spark, whole, search), search, kept)

    def send(part: int) -> None:
        route_nodes(whole, plan, part, search.cores)

    for_each(spark, search.cores, send)
    for_each(spark, 1, lambda _: sort_copies(whole, plan.route.num_groups, search.cores))
    return plan


@dataclass(frozen=True)
class MappedVectors:
    """Vectors of a WholeGraph as search_plan.Vectors."""

    spark: SparkSession
    whole: WholeGraph
    search: Search

    def trained(self, wanted: int, size: int) -> list[Row]:
        whole, search = self.whole, self.search  # the session cannot go to a task

        def train(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for _ in batches:
                graph = whole.opened()
                based = np.flatnonzero(graph.target & graph.live)
                drawn = uniform_of(search.seed, "cells", graph.ids[based]) < size / max(1, search.num_nodes)
                yield from trained_on(graph.unit[based[drawn]], search, wanted).to_batches()

        return tasks(self.spark, 1).mapInArrow(train, TRAINED_SCHEMA).collect()  # one per cell

    def probed(self, cells: Cells) -> list[Row]:
        whole, search, cores = self.whole, self.search, self.search.cores

        def probe(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                limit_threads(search.threads)
                graph = whole.opened()
                asked = probe_queries(graph, search)
                based = np.flatnonzero(graph.target & graph.live)
                for part in batch["id"].to_pylist():
                    share = np.array_split(based, cores)[part]
                    shares = (share[at : at + PROBED_AT_ONCE] for at in range(0, len(share), PROBED_AT_ONCE))
                    base = ((graph.ids[rows], graph.unit[rows]) for rows in shares)
                    if len(asked.ids):
                        yield from Probe(asked, cells, search.wanted).stream(base)

        def answer(found: pa.Table) -> pa.Table:
            return answer_of(Probe(probe_queries(whole.opened(), search), cells, search.wanted), search)(found)

        found = tasks(self.spark, cores).mapInArrow(probe, PROBE_SCHEMA)
        return in_one_task(found, answer, ANSWER_SCHEMA).collect()  # two


def probe_queries(graph: Graph, search: Search) -> Members:
    """About 1,000 of the queries."""
    asks = graph.sources()
    asks = asks[graph.degrees(asks) <= PROBE_KNOWN]
    chance = search.queries / max(1, search.num_nodes)
    rows = asks[uniform_of(search.seed, "recall", graph.ids[asks]) < chance][: 2 * search.queries]
    rows = rows[graph.live[rows]]
    return Members(
        graph.ids[rows],
        graph.unit[rows],
        np.full(len(rows), QUERY, np.int32),
        np.zeros(len(rows), bool),
        np.concatenate([[0], np.cumsum(graph.degrees(rows))]).astype(np.int64),
        graph.neighbours(rows),
    )


def tasks(spark: SparkSession, count: int) -> DataFrame:
    """(id): a row for each of so many tasks."""
    return spark.range(0, count, 1, count)


def for_each(spark: SparkSession, count: int, work: Callable[[int], None]) -> None:
    """Call work(task) for each of so many tasks; as a round of `blocks.stages`, whose sums are empty."""

    def step(task: int) -> np.ndarray:
        work(task)
        return np.zeros(0)

    SparkStages(spark, count).run(step)
