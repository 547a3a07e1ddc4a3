"""Candidates and their features in a graph that one task can hold: each task answers a share of the nodes, alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from graphseam.arrays import is_among
from graphseam.arrow import positions
from graphseam.columns import ENDS
from graphseam.parquet import batches_of
from graphseam.predict.calibration import Curves
from graphseam.predict.features import LISTED_NAMES, LISTS_SCHEMA, PAIRS_AT_ONCE, pairs_in, parts_by_pairs
from graphseam.predict.group_search import ALL, LEARNING, UNKNOWN, merge
from graphseam.predict.link_model import LinkModel
from graphseam.predict.paths import QUERIES_AT_ONCE, Adjacency, PathSearch, wanted_of
from graphseam.predict.ranking import ranked
from graphseam.predict.routes import Homes, Route, ToCells
from graphseam.predict.search_plan import Plan, Search
from graphseam.predict.whole_answers import Answers
from graphseam.predict.whole_graph import Graph, WholeGraph
from graphseam.predict.whole_search import Asked, Routed, nearest_of
from graphseam.seeds import uniform_of

NONE = pa.array([], pa.int64())


@dataclass(frozen=True)
class Ranking:
    """How candidates become predictions: the model that ranks them, the curves of calibration, top_k of each node, and
    the seed by which nodes belong to either half."""

    whole: WholeGraph
    model: LinkModel
    curves: Curves
    top_k: int
    halves: int

    def from_files(self, files: Sequence[str], task: int) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Rows of link_predictions from one of the files of candidate_lists."""
        rank = self.on(self.whole.opened())
        for batch in batches_of([files[task]], LISTED_NAMES):
            yield from rank(batch.filter(pc.invert(batch["learning"])))

    def on(self, graph: Graph) -> Callable[[pa.RecordBatch], Iterator[tuple[str, pa.RecordBatch]]]:
        """A function from candidate_lists to rows of link_predictions."""
        return partial(self._rows, graph, self.whole.held_keys(graph))

    def _rows(self, graph: Graph, held: np.ndarray, lists: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
        for part in parts_by_pairs(lists):
            half = np.where(uniform_of(self.halves, part["src"].to_numpy()) < 0.5, 0, 1)
            some = part.append_column("fold", pa.array(half.astype(np.int32)))
            best = ranked(pairs_in(some), self.model, self.top_k, self.curves, ["fold"])
            yield "link_predictions", self._named(graph, best, held)

    def _named(self, graph: Graph, best: pa.RecordBatch, held: np.ndarray) -> pa.RecordBatch:
        names = {end: self.whole.names(graph, best[end].to_numpy()) for end in ENDS}
        numbers = {f"{end}_node_id": best[end] for end in ENDS}
        others = {name: best[name] for name in best.schema.names if name not in (*ENDS, "fold")}
        held_out = pa.array(held_out_of(graph, best, held))
        return pa.RecordBatch.from_pydict({**names, **numbers, **others, "held_out": held_out})


def held_out_of(graph: Graph, pairs: pa.RecordBatch, held: np.ndarray) -> np.ndarray:
    """bool[k]: which of the pairs are held-out edges. held: of WholeGraph.held_keys."""
    return is_among(graph.keys_of(*(pairs[end].to_numpy() for end in ENDS)), held)


@dataclass(frozen=True)
class WholeSearch:
    """What is looked for. given: pairs of the table candidate_pairs, no search. plan: of the search; None without one.
    learning: (seed, share) of the sources that are asked again to learn from. ranking: makes predictions as well, by
    models that the run is given."""

    whole: WholeGraph
    paths: PathSearch
    num_tasks: int
    learning: tuple[int, float]
    search: Search | None = None
    plan: Plan | None = None
    given: bool = False
    ranking: Ranking | None = None

    @property
    def writes(self) -> list[str]:
        """The tables that `lists` has rows of."""
        found = ["candidate_lists"]
        if self.search is not None and self.search.of_all:
            found.append("nearest_nodes")
        if self.ranking is not None:
            found.append("link_predictions")
        return [*found, "node_cells"] if self._homes_matter else found

    @property
    def _homes_matter(self) -> bool:
        """Whether nodes are found in their nearest cell only, which an incremental run then need not look for."""
        return self.plan is not None and isinstance(self.plan.route, ToCells) and not self.plan.route.cells.found_gap

    def lists(self, task: int) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Rows of the tables of `writes`, for the task's share of the nodes."""
        graph = self.whole.opened()
        in_groups = self.search is not None and self.search.method != "exact"
        routed = Routed.of(self.whole) if in_groups else None
        sources, (seed, chance) = graph.sources(), self.learning
        learning = sources[uniform_of(seed, graph.ids[sources]) < chance]
        if routed is not None:  # else in order of the id
            sources = routed.in_order(sources)
        share = [np.sort(np.array_split(rows, self.num_tasks)[task]) for rows in (sources, learning)]
        asked = Asked(share[0], share[1])
        found = pa.table({"src": NONE, "kind": NONE, "dst": pa.array([], pa.list_(pa.int64()))})
        if self.search is not None and self.plan is not None:
            found = _found(graph, asked, self.search, self.plan.route, routed, self.whole.answers())
            if self.search.of_all:
                yield from _nearest_nodes(found)
            if routed is not None and self._homes_matter:
                yield "node_cells", _homes_of(graph, asked.sources, routed.homes)
        elif self.given:
            found = _given(*(self.whole.column("candidate_pairs", end) for end in ENDS))
        adjacency = adjacency_of(graph, self.paths)
        rank = None if self.ranking is None else self.ranking.on(graph)
        for rows, kind in ((asked.sources, UNKNOWN), (asked.learning, LEARNING)):
            wanted = _wanted(found, kind)
            for start in range(0, len(rows), QUERIES_AT_ONCE):
                some = rows[start : start + QUERIES_AT_ONCE]
                ids = graph.ids[some]
                lists = answered(graph, adjacency, ids, wanted.of(ids), kind == LEARNING)
                yield "candidate_lists", lists
                if rank is not None and kind != LEARNING:
                    yield from rank(lists)


def _found(
    graph: Graph, asked: Asked, search: Search, route: Route, routed: Routed | None, answers: Answers | None
) -> pa.Table:
    """Rows of group_search.FOUND_SCHEMA. answers: of the base run; nodes that have some ask for the others' alone."""
    if answers is None:
        return nearest_of(graph, asked, search, route, routed)
    settled = answers.settled[asked.sources]
    beside = Asked(asked.sources[settled], asked.learning[:0], ~answers.settled, answers.floor, mirrored=True)
    parts = [
        nearest_of(graph, Asked(asked.sources[~settled], asked.learning), search, route, routed),
        nearest_of(graph, beside, search, route, routed),
        answers.rows(asked.sources[settled]),
    ]
    table = pa.concat_tables(parts)
    return pa.Table.from_batches([merge(table, search.wanted)]) if table.num_rows else table


@dataclass(frozen=True)
class Wanted:
    """Lists of nodes by node: src int64[k], rising; the list of src[i] is dst[ends[i] : ends[i + 1]], rising."""

    src: np.ndarray
    ends: np.ndarray
    dst: np.ndarray

    def of(self, ids: np.ndarray) -> pa.ListArray:
        """The list of each id; an empty one if it has none."""
        if not len(self.src):
            return pa.ListArray.from_arrays(pa.array(np.zeros(len(ids) + 1, np.int32)), NONE)
        at = np.minimum(np.searchsorted(self.src, ids), len(self.src) - 1)
        lengths = np.where(self.src[at] == ids, np.diff(self.ends)[at], 0)
        return wanted_lists(np.r_[0, np.cumsum(lengths)], self.dst[positions(self.ends[at], lengths)])


def _wanted(found: pa.Table, kind: int) -> Wanted:
    rows = found.filter(pc.equal(found["kind"], kind))
    rows = rows.take(pa.array(np.argsort(rows["src"].to_numpy(), kind="stable")))
    lists = rows["dst"].combine_chunks()
    lengths = lists.value_lengths().to_numpy() if len(lists) else np.zeros(0, np.int64)
    owners, dst = np.repeat(np.arange(len(lengths)), lengths), lists.flatten().to_numpy()
    size = 1 + dst.max(initial=0)
    return Wanted(rows["src"].to_numpy(), np.r_[0, np.cumsum(lengths)], np.sort(owners * size + dst) % size)


def _given(src: np.ndarray, dst: np.ndarray) -> pa.Table:
    """Given pairs as found ones, each once, of kind UNKNOWN."""
    pairs = np.unique(np.stack([src, dst], axis=1), axis=0)
    nodes, first = np.unique(pairs[:, 0], return_index=True)
    ends = pa.array(np.append(first, len(pairs)).astype(np.int32))
    lists = pa.ListArray.from_arrays(ends, pa.array(pairs[:, 1]))
    return pa.table({"src": nodes, "kind": np.full(len(nodes), UNKNOWN), "dst": lists})


def wanted_lists(ends: np.ndarray, dst: np.ndarray) -> pa.ListArray:
    """Lists of nodes, the first of them dst[ends[0] : ends[1]]."""
    return pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), pa.array(dst))


def _nearest_nodes(found: pa.Table) -> Iterator[tuple[str, pa.RecordBatch]]:
    for batch in found.filter(pc.equal(found["kind"], ALL)).to_batches():
        columns = [batch["src"], batch["dst"], batch["score"]]
        yield "nearest_nodes", pa.RecordBatch.from_arrays(columns, names=["node_id", "near", "cosine"])


def _homes_of(graph: Graph, rows: np.ndarray, homes: Homes) -> pa.RecordBatch:
    """Rows of node_cells of the nodes at these positions that have a home."""
    rows = rows[homes.cell[rows] >= 0]
    columns = {"node_id": graph.ids[rows], "cell": homes.cell[rows], "margin": homes.margin[rows]}
    return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})


def adjacency_of(graph: Graph, paths: PathSearch) -> Adjacency:
    """The neighbour lists that paths lead through."""
    return Adjacency(graph.ids, graph.path_ptr, graph.path_ends, np.diff(graph.indptr).astype(np.float64), paths)


def answered(
    graph: Graph, adjacency: Adjacency, ids: np.ndarray, wanted: pa.ListArray, learning: bool
) -> pa.RecordBatch:
    """Rows of features.LISTS_SCHEMA, one per node asked for."""
    rows = graph.at(ids)
    ends = pa.array(np.r_[0, np.cumsum(graph.degrees(rows))].astype(np.int32))
    known = pa.ListArray.from_arrays(ends, pa.array(graph.neighbours(rows)))
    columns = [pa.array(ids), pa.array(np.zeros(len(ids))), known, wanted]
    asked = pa.RecordBatch.from_arrays(
        [*columns, pa.array(np.full(len(ids), learning))], names=["node_id", "place", "known", "wanted", "learning"]
    )
    found = adjacency.answer(asked)
    lists = found["dst"]
    dst = graph.at(lists.flatten().to_numpy())
    src = np.repeat(rows, lists.value_lengths().to_numpy())
    cosine, degree = np.full(len(dst), np.nan, np.float32), np.zeros(len(dst), np.int64)
    there = np.flatnonzero((dst >= 0) & (src >= 0))
    degree[there] = graph.degrees(dst[there])
    for start in range(0, len(there), PAIRS_AT_ONCE):
        some = there[start : start + PAIRS_AT_ONCE]
        cosine[some] = np.einsum("ij,ij->i", graph.unit[src[some]], graph.unit[dst[some]])
    added = {
        name: pa.ListArray.from_arrays(lists.offsets, pa.array(values))
        for name, values in (("cosine", cosine), ("dst_degree", degree))
    }
    return pa.RecordBatch.from_arrays(
        [added[name] if name in added else found[name] for name in LISTED_NAMES], names=LISTED_NAMES
    )


def known_lists(whole: WholeGraph, pairs: DataFrame, paths: PathSearch) -> DataFrame:
    """Rows of features.LISTS_SCHEMA for the given pairs (src, dst), each once. Cost: one shuffle of the pairs."""

    def stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        graph, adjacency = whole.opened(), None
        for batch in batches:
            for start in range(0, batch.num_rows, QUERIES_AT_ONCE):
                adjacency = adjacency or adjacency_of(graph, paths)
                some = batch.slice(start, QUERIES_AT_ONCE)
                yield answered(graph, adjacency, some["node_id"].to_numpy(), pa.array(some["wanted"]), False)

    return wanted_of(pairs).mapInArrow(stream, LISTS_SCHEMA)
