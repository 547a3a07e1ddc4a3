"""Rows of similar_nodes written by the tasks that have them, without joins or shuffles: from nearest_nodes, where they
can hold the names of nodes, or from a search of their own, where one can hold all vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from graphseam.arrow import shifted_ids
from graphseam.parquet import batches_of, stored_bytes, table_of
from graphseam.predict.link_search import tasks_of_search
from graphseam.predict.search_plan import Plan, Search
from graphseam.predict.whole_graph import LAYOUTS, WholeGraph
from graphseam.predict.whole_plan import for_each, plan_whole
from graphseam.predict.whole_search import Asked, Routed, nearest_of
from graphseam.runs import Run

LISTS_AT_ONCE = 1 << 13
SHARE_OF_TASK = 0.5  # of its memory that names may take
COPIES = 3  # of the names at once: as read, as one array, and by number


@dataclass(frozen=True)
class Named:
    """nearest, nodes: the files of the tables. shift: of the run's ids, if they follow from the numbers."""

    nearest: list[str]
    nodes: list[str]
    shift: int | None
    num_tasks: int

    @staticmethod
    def of(run: Run) -> Named | None:
        """None where tasks cannot read the files, or cannot hold the names."""
        files = run.tables.files_of_all(("nearest_nodes", "nodes")) if run.tasks_read_files else None
        if files is None:
            return None
        shift, allowed = run.ingested.id_shift, SHARE_OF_TASK * (run.task_memory_mb() << 20)
        if shift is None and COPIES * stored_bytes(files["nodes"], ("node_id", "id")) > allowed:
            return None
        cores = run.spark.sparkContext.defaultParallelism
        return Named(files["nearest_nodes"], files["nodes"], shift, max(1, min(cores, len(files["nearest_nodes"]))))

    def rows(self, task: int) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Rows of similar_nodes from every num_tasks-th file."""
        named = Names.of(self.nodes).of_nodes if self.shift is None else partial(shifted_ids, shift=self.shift)
        files = self.nearest[task :: self.num_tasks]
        for batch in batches_of(files, ("node_id", "near", "cosine"), rows_at_once=LISTS_AT_ONCE):
            yield "similar_nodes", rows_of_lists(batch["node_id"].to_numpy(), batch["near"], batch["cosine"], named)


def rows_of_lists(
    src: np.ndarray, near: pa.ListArray, cosine: pa.ListArray, named: Callable[[np.ndarray], pa.Array]
) -> pa.RecordBatch:
    """Rows of similar_nodes from lists of numbers, best first. named: the ids of nodes, as text, from their numbers."""
    lengths = near.value_lengths().to_numpy()
    starts, own, dst = np.cumsum(lengths) - lengths, np.repeat(np.arange(len(src)), lengths), near.flatten().to_numpy()
    columns = {
        "src": named(src).take(pa.array(own)),
        "src_node_id": src[own],
        "dst": named(dst),
        "dst_node_id": dst,
        "rank": (np.arange(len(dst)) - starts[own] + 1).astype(np.int32),
        "cosine": cosine.flatten(),
    }
    return pa.RecordBatch.from_pydict(columns)


@dataclass(frozen=True)
class Names:
    """The original ids, as text, of nodes by number: numbers int64[n], rising."""

    numbers: np.ndarray
    texts: pa.Array

    @staticmethod
    def of(files: list[str]) -> Names:
        rows = table_of(files, ("node_id", "id"))
        assert rows is not None  # a graph without a node is refused
        numbers = rows["node_id"].to_numpy()
        order = np.argsort(numbers)
        texts = rows["id"].cast(pa.large_string()).combine_chunks()  # more than 2 GB need offsets of 64 bits
        return Names(numbers[order], texts.take(pa.array(order)))

    def of_nodes(self, numbers: np.ndarray) -> pa.Array:
        return self.texts.take(pa.array(np.searchsorted(self.numbers, numbers)))


@dataclass(frozen=True)
class SearchOfAll:
    """A search of all nodes of a graph laid out without edges, each among all others."""

    whole: WholeGraph
    search: Search
    plan: Plan
    num_tasks: int

    def rows(self, task: int) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Rows of similar_nodes of the task's share of the nodes."""
        graph, routed = self.whole.opened(), None
        sources = graph.sources()
        if self.search.method != "exact":
            routed = Routed.of(self.whole)
            sources = routed.in_order(sources)
        asked = np.sort(np.array_split(sources, self.num_tasks)[task])
        found = nearest_of(graph, Asked(asked, asked[:0]), self.search, self.plan.route, routed)
        for batch in found.to_batches(LISTS_AT_ONCE):
            src = batch["src"].to_numpy()
            yield "similar_nodes", rows_of_lists(src, batch["dst"], batch["score"], partial(self.whole.names, graph))


def search_all(run: Run, search: Search, whole: WholeGraph) -> tuple[int, Plan]:
    """Write similar_nodes where one task can hold all vectors; returns (how many rows, the plan of the search)."""
    spark, nodes = run.spark, run.ingested.nodes
    try:
        for_each(spark, LAYOUTS, whole.lay_out)
        plan = plan_whole(spark, whole, search)
        found = SearchOfAll(whole, search, plan, tasks_of_search(spark, nodes, run.task_memory_mb()))
        return run.tables.write_in_tasks(["similar_nodes"], found.num_tasks, found.rows)["similar_nodes"], plan
    finally:
        whole.store.remove()
