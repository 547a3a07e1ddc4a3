"""Where a search for nearest vectors sends nodes: to blocks, or to cells that are trained and measured first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from graphseam.arrow import vector_matrix
from graphseam.methods import SEARCHES
from graphseam.predict.cells import (
    LEAST_SAMPLE,
    MOST_CELLS,
    MOST_SAMPLE,
    NEARLY,
    NODES_PER_CELL,
    REACH,
    SAMPLE_PER_CELL,
    SHARES,
    Cells,
    best_reach,
    train_cells,
)
from graphseam.predict.group_search import ALL, BASE, QUERY, UNKNOWN, Members, wanted_of
from graphseam.predict.probe import PROBE_SCHEMA, Probe
from graphseam.predict.routes import Blocks, Route, ToCells
from graphseam.seeds import uniform
from graphseam.session import in_one_task
from graphseam.task import limit_threads
from graphseam.vectors import unit_rows

BLOCK_NODES = 20_000  # of an exact search: a smaller block is not worth a task of its own
PLACE_PROBED = 4  # groups of cells that a node is compared with to find its place
PROBE_QUERIES = 1000  # nodes on which the recall is measured
PROBE_KNOWN = 3_000  # a node with more neighbours is not among them: the driver holds their lists
LARGER = 8  # cells may hold so many times NODES_PER_CELL
PARTITION_BYTES = 192 << 20
MOST_ROWS = 32_768  # of a group: a cell of vectors that are all alike is divided by a hash
COPIES = 8  # copies of its rows that a task holds while it searches a group
ROW_BYTES = 64  # of a row beside its vector
TRAINED_SCHEMA, ANSWER_SCHEMA = "centroid BINARY, share DOUBLE", "kind INT, needed BINARY, gaps BINARY"


@dataclass(frozen=True)
class Search:
    """How to search, and what limits it.

    method: exact or cells. top_k, of_all: nodes wanted per query, without those it knows and of all. num_nodes, dim: of
    the base. task_mb: memory of a task. cores: tasks that run at once. threads: of each task; alone: of one that runs
    alone. recall: the share of the exact nearest that cells shall find. queries: that it is measured on.
    """

    method: str
    top_k: int
    num_nodes: int
    dim: int
    task_mb: int
    cores: int
    threads: int
    seed: int
    alone: int = 1
    recall: float = 0.97
    of_all: int = 0
    queries: int = PROBE_QUERIES

    @property
    def wanted(self) -> tuple[int, int, int]:
        """Nodes in an answer of each kind."""
        return wanted_of(self.top_k, self.of_all)

    @property
    def partition_bytes(self) -> int:
        """Of what a task receives at once, if it may be so little."""
        return min(PARTITION_BYTES, (self.task_mb << 20) // COPIES)

    @property
    def most_rows(self) -> int:
        """Rows of a group that a task's memory allows."""
        return max(1, (self.task_mb << 20) // (COPIES * (4 * self.dim + ROW_BYTES)))


@dataclass(frozen=True)
class Plan:
    """Where nodes are sent, in how many copies on average, and the recall measured on `queries` nodes, of answers
    without known nodes and of those of all nodes. kept: whether it is by the cells of an earlier run."""

    route: Route
    copies: float
    recall: float = 1.0
    queries: int = 0
    recall_of_all: float = 1.0
    kept: bool = False

    def mirrored(self) -> Plan:
        """For few nodes to be found, see ToCells."""
        return replace(self, route=replace(self.route, mirrored=True)) if isinstance(self.route, ToCells) else self

    def places(self, vectors: DataFrame, dim: int) -> DataFrame:
        """(node_id, place DOUBLE in [0, 1)): near nodes have near places, those of a near cell each, in order.

        vectors: (node_id, vector). Cost: one pass over them. Nodes with zero vectors are left out. Places decide what
        is computed together, not what comes out: a cell found in single precision among a few groups will do.
        """
        assert isinstance(self.route, ToCells)
        cells = self.route.cells

        def place_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            limit_threads(1)
            for batch in batches:
                kept, unit = unit_vectors(batch, dim)
                home = cells.home(unit, PLACE_PROBED)
                yield pa.RecordBatch.from_arrays(
                    [batch["node_id"].take(pa.array(kept)), pa.array(home / len(cells.centroids))], ["node_id", "place"]
                )

        return vectors.mapInArrow(place_stream, "node_id BIGINT, place DOUBLE")


def for_few(plan: Plan, queries: DataFrame, dim: int) -> Plan:
    """The plan for a few queries (node_id, vector) over a large base: only cells that they go to are searched.

    Cost: one pass over the queries; the driver holds the numbers of their cells.
    """
    if not isinstance(plan.route, ToCells):
        return plan
    cells = plan.route.cells

    def cell_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit_threads(1)
        for batch in batches:
            _, unit = unit_vectors(batch, dim)
            near, gaps = cells.reach(unit)
            yield pa.RecordBatch.from_arrays([pa.array(np.unique(near[gaps <= cells.gap]))], ["cell"])

    asked = np.zeros(len(cells.centroids), bool)
    asked[[row["cell"] for row in queries.mapInArrow(cell_stream, "cell BIGINT").distinct().collect()]] = True
    return replace(plan, route=replace(plan.route, asked=asked))


def plan_search(rows: DataFrame, search: Search, base: DataFrame | None = None, kept: Kept | None = None) -> Plan:
    """Where nodes are sent, by search.method. rows: as in `nearest`. base: (node_id, vector) of the base, if that is
    cheaper to compute than rows. kept: cells of an earlier run, see `plan_of`."""
    base = rows.where(F.col("role").bitwiseAND(BASE) > 0) if base is None else base
    if kept is not None and search.method != "exact":
        return plan_of(Rows(base.select("node_id", "vector"), search, _probe_queries(rows, search)), search, kept)
    plan: Plan = SEARCHES[search.method](rows, search, base.select("node_id", "vector"))
    return plan


def plan_blocks(rows: DataFrame, search: Search, base: DataFrame) -> Plan:
    """Blocks for an exact search: at least one per core if that is worth it, and as many as memory requires."""
    size = max(1, -(-search.num_nodes // search.most_rows))
    blocks = Blocks(max(size, min(search.cores, search.num_nodes // BLOCK_NODES)), size)
    return Plan(blocks, float(max(blocks.base, blocks.queries)))


def plan_cells(rows: DataFrame, search: Search, base: DataFrame) -> Plan:
    """As `plan_of`, over rows of `search.nearest` and their base. Two Spark jobs, one pass over the vectors each."""
    return plan_of(Rows(base, search, _probe_queries(rows, search)), search)


class Kept(Protocol):
    """Cells of an earlier run."""

    def plan(self, vectors: Vectors, search: Search) -> Plan:
        """The plan by these cells, with the recall that they have now."""
        ...


class Vectors(Protocol):
    """What cells are trained and measured on."""

    def trained(self, wanted: int, size: int) -> list[Row]:
        """(centroid, share) of about so many cells, from a sample of about `size` vectors of the base."""
        ...

    def probed(self, cells: Cells) -> list[Row]:
        """(kind, needed, gaps) of about 1,000 queries, see Probe.answer; nothing if there are none."""
        ...


@dataclass(frozen=True)
class Rows:
    """Vectors in Spark: base (node_id, vector); asked: the queries that the recall is measured on."""

    base: DataFrame
    search: Search
    asked: Members

    def trained(self, wanted: int, size: int) -> list[Row]:
        search = self.search
        sample = self.base.where(uniform(search.seed, F.lit("cells"), "node_id") < size / max(1, search.num_nodes))
        return in_one_task(sample, _train(search, wanted), TRAINED_SCHEMA).collect()  # one per cell

    def probed(self, cells: Cells) -> list[Row]:
        if not len(self.asked.ids):
            return []
        probe = Probe(self.asked, cells, self.search.wanted)
        found = self.base.mapInArrow(_probe_stream(probe, self.search), PROBE_SCHEMA)
        return in_one_task(found, answer_of(probe, self.search), ANSWER_SCHEMA).collect()  # two


def plan_of(vectors: Vectors, search: Search, kept: Kept | None = None) -> Plan:
    """Cells trained on a sample, and the gap that the wished recall needs; or those that are kept, with their gap, if
    their recall still is the wished one or nearly so.

    The recall is measured on about 1,000 nodes, of which the exact nearest are known: the share of them that is in one
    of the cells which the node looks in. If 4 copies of a node are too few for it, cells are made twice as large, twice
    at most: more work, but no more bytes.
    """
    plan = kept.plan(vectors, search) if kept is not None else None
    if plan is not None and min(plan.recall, plan.recall_of_all) >= search.recall - 2 * NEARLY:
        return plan
    per_cell = NODES_PER_CELL
    while True:
        plan = _plan_of_size(vectors, search, per_cell)
        found = min(plan.recall, plan.recall_of_all)
        enough = found >= search.recall - NEARLY or plan.route.num_groups == 1
        if enough or per_cell >= LARGER * NODES_PER_CELL:
            return plan
        per_cell *= 2


def _plan_of_size(vectors: Vectors, search: Search, per_cell: int) -> Plan:
    wanted = min(MOST_CELLS, -(-search.num_nodes // per_cell))
    size = min(search.num_nodes, max(LEAST_SAMPLE, min(SAMPLE_PER_CELL * wanted, MOST_SAMPLE)), search.most_rows)
    trained = vectors.trained(wanted, size)
    centroids = np.stack([np.frombuffer(row["centroid"], np.float32) for row in trained])
    cells, copies, recall, queries = Cells.of(centroids, search.seed), 1.0, {UNKNOWN: 1.0, ALL: 1.0}, 0
    found = probed_by(vectors, cells)
    if found is not None:
        needed, gaps = found
        reached = best_reach(search.recall, needed, gaps)
        cells = replace(cells, gap=reached.gap, found_gap=reached.share * reached.gap)
        copies, recall, queries = reached.copies, recall | reached.recall, len(gaps)
    return plan_in(cells, np.array([row["share"] for row in trained]), search, copies, recall, queries)


def probed_by(vectors: Vectors, cells: Cells) -> tuple[dict[float, dict[int, np.ndarray]], np.ndarray] | None:
    """({share: {kind: the gap that each pair needs}}, gaps of the queries' own cells); None without queries."""
    rows = vectors.probed(cells) if len(cells.centroids) > 1 else []
    if not rows:
        return None
    parts_of = {row["kind"]: np.frombuffer(row["needed"], np.float32).reshape(-1, len(SHARES)) for row in rows}
    needed = {share: {kind: part[:, at] for kind, part in parts_of.items()} for at, share in enumerate(SHARES)}
    return needed, np.frombuffer(rows[0]["gaps"], np.float32).reshape(-1, min(REACH, len(cells.centroids)))


def plan_in(
    cells: Cells, shares: np.ndarray, search: Search, copies: float, recall: dict[int, float], queries: int
) -> Plan:
    """shares: of the nodes, that are in each cell."""
    rows_of = shares * search.num_nodes * copies
    parts = np.maximum(1, np.ceil(rows_of / min(MOST_ROWS, search.most_rows))).astype(np.int64)
    return Plan(ToCells(cells, parts, rows_of), copies, recall[UNKNOWN], queries, recall[ALL])


def _probe_queries(rows: DataFrame, search: Search) -> Members:
    """About 1,000 of the queries, on the driver."""
    asking = (F.col("role").bitwiseAND(QUERY) > 0) & ~F.col("learning") & (F.size("known") <= PROBE_KNOWN)
    chance = search.queries / max(1, search.num_nodes)
    chosen = rows.where(asking & (uniform(search.seed, F.lit("recall"), "node_id") < chance))
    found = chosen.select("node_id", "vector", "known").sort("node_id").limit(2 * search.queries).collect()
    unit = np.array([row["vector"] for row in found], np.float32).reshape(len(found), search.dim)
    live = np.flatnonzero(np.linalg.norm(unit, axis=1) > 0)
    found, unit = [found[at] for at in live], unit_rows(unit[live])
    known = [np.array(row["known"], np.int64) for row in found]
    return Members(
        np.array([row["node_id"] for row in found], np.int64),
        unit,
        np.full(len(found), QUERY, np.int32),
        np.zeros(len(found), bool),
        np.concatenate([[0], np.cumsum([len(part) for part in known])]).astype(np.int64),
        np.concatenate([*known, np.zeros(0, np.int64)]),
    )


def _train(search: Search, wanted: int) -> Callable[[pa.Table], pa.Table]:
    def train(sample: pa.Table) -> pa.Table:
        return trained_on(unit_vectors(sample.sort_by("node_id"), search.dim)[1], search, wanted)

    return train


def trained_on(unit: np.ndarray, search: Search, wanted: int) -> pa.Table:
    """(centroid BINARY, share DOUBLE) of about `wanted` cells, from unit vectors in order of the id; in one task."""
    limit_threads(search.alone)
    if not len(unit):
        centroids, share = np.eye(1, search.dim, dtype=np.float32), np.ones(1)
    else:
        centroids = train_cells(unit, wanted, search.seed)
        home = Cells.of(centroids, search.seed).home(unit)
        share = np.bincount(home, minlength=len(centroids)) / len(unit)
    return pa.table({"centroid": [row.tobytes() for row in centroids], "share": share})


def _probe_stream(probe: Probe, search: Search) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit_threads(search.threads)
        yield from probe.stream(
            (batch["node_id"].to_numpy()[kept], unit)
            for batch in batches
            for kept, unit in [unit_vectors(batch, search.dim)]
        )

    return stream


def answer_of(probe: Probe, search: Search) -> Callable[[pa.Table], pa.Table]:
    """A function from the rows of all tasks, of PROBE_SCHEMA, to those of ANSWER_SCHEMA."""

    def answer(found: pa.Table) -> pa.Table:
        limit_threads(search.threads)
        needed, gaps = probe.answer(found)
        parts = {"needed": [pairs.tobytes() for pairs in needed.values()], "gaps": [gaps.tobytes()] * len(needed)}
        return pa.table({"kind": pa.array(list(needed), pa.int32()), **parts})

    return answer


def unit_vectors(rows: pa.RecordBatch | pa.Table, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """(positions of the rows whose vector is not zero, their vectors made length 1)."""
    vectors = vector_matrix(rows["vector"], dim)
    lengths = np.linalg.norm(vectors, axis=1)
    kept = np.flatnonzero(lengths > 0)
    return kept, vectors[kept] / lengths[kept, None]
