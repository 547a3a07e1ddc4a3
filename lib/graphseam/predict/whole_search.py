"""The nearest vectors in a graph that one task can hold: each task looks for the nearest of its share of the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from graphseam.arrays import distinct
from graphseam.arrow import positions
from graphseam.predict.group_search import ARROW_FOUND, BASE, QUERY, Members, merge, search_group
from graphseam.predict.routes import Route
from graphseam.predict.search_plan import Search
from graphseam.predict.whole_graph import Graph, WholeGraph
from graphseam.task import limit_threads, task_device

ROUTED = ("rows", "groups", "roles")
ROUTED_AT_ONCE = 16_384  # nodes


@dataclass(frozen=True)
class Asked:
    """The nodes that a task answers, by position: sources, and those for learning, which exclude nothing."""

    sources: np.ndarray
    learning: np.ndarray


def route_nodes(whole: WholeGraph, route: Route, part: int, num_parts: int) -> None:
    """Store which groups a share of the nodes goes to: the copies of a search's route."""
    limit_threads(1)
    graph = whole.opened()
    live = np.array_split(np.flatnonzero(graph.live), num_parts)[part]
    found = [(np.zeros(0, np.int64),) * 3]
    for start in range(0, len(live), ROUTED_AT_ONCE):
        some = live[start : start + ROUTED_AT_ONCE]
        asks = graph.source[some] & (graph.degrees[some] > 0)
        roles = (graph.target[some] * BASE + asks * QUERY).astype(np.int32)
        rows, groups, roles = route(graph.ids[some], graph.unit[some], roles)
        found.append((some[rows], groups, roles))
    for name, parts in zip(ROUTED, zip(*found, strict=True), strict=True):
        whole.store.put(part, name, np.concatenate(parts))


@dataclass(frozen=True)
class Routed:
    """The copies of all nodes, by group: int64 positions of nodes, groups, roles."""

    rows: np.ndarray
    groups: np.ndarray
    roles: np.ndarray

    @staticmethod
    def of(whole: WholeGraph, num_parts: int) -> Routed:
        parts = [np.concatenate([whole.store.get(part, name) for part in range(num_parts)]) for name in ROUTED]
        rows, groups, roles = (part.astype(np.int64) for part in parts)
        order = np.lexsort((rows, groups))
        return Routed(rows[order], groups[order], roles[order])

    def by_group(self, num_nodes: int) -> np.ndarray:
        """int64[n]: nodes in order of the first of their groups, so that a share of them needs few groups."""
        first = np.full(num_nodes, np.iinfo(np.int64).max)
        first[self.rows[::-1]] = self.groups[::-1]
        return np.argsort(first, kind="stable")


def sources_of(graph: Graph) -> np.ndarray:
    """int64[k]: the positions of the nodes that links are predicted from."""
    return np.flatnonzero(graph.source & (graph.degrees > 0))


def nearest_of(graph: Graph, asked: Asked, search: Search, route: Route, routed: Routed | None) -> pa.Table:
    """Rows of group_search.FOUND_SCHEMA for the nodes asked for, one per query and kind; as `search.nearest`.

    routed: of all nodes; None for an exact search, in which each query meets all targets.
    """
    limit_threads(search.threads)
    live = graph.live
    sources, learning = (rows[live[rows]] for rows in (asked.sources, asked.learning))
    groups = _all_in_one(graph, live, sources, learning)
    if routed is not None:
        groups = _in_groups(graph, route, routed, sources, learning)
    found = [
        batch
        for based, asking, learners in groups
        for batch in search_group(_members(graph, based, asking, learners), search.wanted, task_device())
    ]
    table = pa.Table.from_batches(found, ARROW_FOUND)
    return pa.Table.from_batches([merge(table, search.wanted)]) if routed is not None and found else table


Group = tuple[np.ndarray, np.ndarray, np.ndarray]


def _all_in_one(graph: Graph, live: np.ndarray, sources: np.ndarray, learning: np.ndarray) -> Iterator[Group]:
    yield np.flatnonzero(graph.target & live), sources, learning


def _in_groups(
    graph: Graph, route: Route, routed: Routed, sources: np.ndarray, learning: np.ndarray
) -> Iterator[Group]:
    """(base, queries, queries for learning) of each group that one of the queries goes to, as positions of nodes."""
    asks = np.zeros(len(graph.ids), bool)
    asks[sources] = True
    own = np.flatnonzero((routed.roles & QUERY > 0) & asks[routed.rows])
    roles = np.full(len(learning), QUERY, np.int32)
    learners, their_groups, _ = route(graph.ids[learning], graph.unit[learning], roles)
    for group in distinct(np.concatenate([routed.groups[own], their_groups])):
        first, last = np.searchsorted(routed.groups, [group, group + 1])
        rows = routed.rows[first:last]
        based = rows[routed.roles[first:last] & BASE > 0]
        a, b = np.searchsorted(own, [first, last])
        yield based, routed.rows[own[a:b]], learning[learners[their_groups == group]]


def _members(graph: Graph, based: np.ndarray, asking: np.ndarray, learning: np.ndarray) -> Members:
    rows = np.concatenate([based, asking, learning])
    counts = (len(based), len(asking), len(learning))
    lengths = np.concatenate([np.zeros(counts[0], np.int64), graph.degrees[asking], np.zeros(counts[2], np.int64)])
    return Members(
        graph.ids[rows],
        graph.unit[rows],
        np.repeat(np.array([BASE, QUERY, QUERY], np.int32), counts),
        np.repeat([False, False, True], counts),
        np.concatenate([[0], np.cumsum(lengths)]),
        graph.known[positions(graph.indptr[rows], lengths)],
    )
