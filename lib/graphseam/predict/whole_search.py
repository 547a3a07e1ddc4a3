"""The nearest vectors in a graph that one task can hold: each task looks for the nearest of its share of the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from graphseam.arrays import distinct, is_among
from graphseam.predict.group_search import ARROW_FOUND, BASE, QUERY, Members, Scores, merge, search_group
from graphseam.predict.routes import Homes, Route, ToCells
from graphseam.predict.search_plan import Plan, Search
from graphseam.predict.whole_graph import Graph, WholeGraph
from graphseam.task import limit_threads, task_device

ROUTED_AT_ONCE = 16_384  # nodes
COPIES = "copies"
HOMES, ALL_HOMES = "homes", "routed/homes"  # of a share of the live nodes, and of all nodes
ROUTED = ("routed/rows", "routed/roles", "routed/starts", "routed/order")
ROLES = 4  # numbers of a role


@dataclass(frozen=True)
class Asked:
    """The nodes that a task answers, by position: sources, and those for learning, which exclude nothing.
    base: bool[n], the nodes to find; None for all targets. floor: float32[n], a cosine below which a source asks for
    nothing; None if for all. mirrored: as in ToCells, of nodes routed so."""

    sources: np.ndarray
    learning: np.ndarray
    base: np.ndarray | None = None
    floor: np.ndarray | None = None
    mirrored: bool = False


def route_nodes(whole: WholeGraph, plan: Plan, part: int, num_parts: int) -> None:
    """Store which groups a share of the nodes goes to: the copies of a search's route, as numbers of (group, node,
    role); and their homes. Where answers are taken over, settled nodes go where they are found, and the others to all
    within the gap as well: for these look for all, and settled ones for these, mirrored."""
    limit_threads(1)
    graph, answers, route = whole.opened(), whole.answers(), plan.route
    assert isinstance(route, ToCells)
    live = np.array_split(np.flatnonzero(graph.live), num_parts)[part]
    copies, homes = [np.zeros(0, np.int64)], [Homes.unknown(0)]
    for start in range(0, len(live), ROUTED_AT_ONCE):
        some = live[start : start + ROUTED_AT_ONCE]
        asks = graph.asks[some]
        found_in, looks_in = graph.target[some], asks
        if answers is not None:
            found_in, looks_in = found_in | asks, (found_in | asks) & ~answers.settled[some]
        roles = (found_in * BASE + looks_in * QUERY).astype(np.int32)
        homes.append(answers.homes.of(some) if answers is not None and plan.kept else Homes.unknown(len(some)))
        rows, groups, roles = route(graph.ids[some], graph.unit[some], roles, homes[-1])
        copies.append((groups * len(graph.ids) + some[rows]) * ROLES + roles)
    whole.store.put(part, COPIES, np.concatenate(copies))
    Homes.joined(homes).keep(part, whole.store, HOMES)


def sort_copies(whole: WholeGraph, num_groups: int, num_parts: int) -> None:
    """Store the copies of all nodes as `Routed`, in one task."""
    size = len(whole.store.get(0, "ids"))
    copies = np.sort(np.concatenate([whole.store.get(part, COPIES) for part in range(num_parts)]))
    roles, copies = (copies % ROLES).astype(np.int8), copies // ROLES
    groups, rows = copies // max(1, size), (copies % max(1, size)).astype(np.int32)
    first = np.full(size, num_groups, np.int64)
    first[rows[::-1]] = groups[::-1]
    starts = np.searchsorted(groups, np.arange(num_groups + 1))
    stored: tuple[np.ndarray, ...] = (rows, roles, starts, np.argsort(first, kind="stable"))
    for name, values in zip(ROUTED, stored, strict=True):
        whole.store.put(0, name, values)
    live, homes = whole.store.get(0, "live"), Homes.unknown(size)
    found = Homes.joined([Homes.kept(part, whole.store, HOMES) for part in range(num_parts)])
    homes.cell[live], homes.margin[live] = found.cell, found.margin
    homes.keep(0, whole.store, ALL_HOMES)


@dataclass(frozen=True)
class Routed:
    """The copies of all nodes, by group: rows int32, positions of nodes; roles int8; group g has those from
    starts[g] to starts[g + 1]. order: int64[n], nodes by the first of their groups, so that a share of them needs few.
    homes: of all nodes.
    """

    rows: np.ndarray
    roles: np.ndarray
    starts: np.ndarray
    order: np.ndarray
    homes: Homes

    @staticmethod
    def of(whole: WholeGraph) -> Routed:
        rows, roles, starts, order = (whole.store.get(0, name) for name in ROUTED)
        return Routed(rows, roles, starts, order, Homes.kept(0, whole.store, ALL_HOMES))

    def in_order(self, nodes: np.ndarray) -> np.ndarray:
        """These nodes, given as rising positions, in `order`."""
        return self.order[is_among(self.order, nodes)]


def nearest_of(graph: Graph, asked: Asked, search: Search, route: Route, routed: Routed | None) -> pa.Table:
    """Rows of group_search.FOUND_SCHEMA for the nodes asked for, one per query and kind; as `search.nearest`.

    routed: of all nodes; None for an exact search, in which each query meets all targets.
    """
    limit_threads(search.threads)
    base = graph.target & graph.live if asked.base is None else graph.target & graph.live & asked.base
    sources, learning = (rows[graph.live[rows]] for rows in (asked.sources, asked.learning))
    groups = _all_in_one(base, sources, learning)
    if routed is not None:
        groups = _in_groups(graph, base, route, routed, replace(asked, sources=sources, learning=learning))
    device = task_device()
    space = Scores(device)
    found = [
        batch
        for based, asking, learners in groups
        if len(based)
        for members, floor in [_members(graph, based, asking, learners, asked.floor)]
        for batch in search_group(members, search.wanted, device, space, floor)
    ]
    table = pa.Table.from_batches(found, ARROW_FOUND)
    return pa.Table.from_batches([merge(table, search.wanted)]) if routed is not None and found else table


Group = tuple[np.ndarray, np.ndarray, np.ndarray]


def _all_in_one(base: np.ndarray, sources: np.ndarray, learning: np.ndarray) -> Iterator[Group]:
    yield np.flatnonzero(base), sources, learning


def _in_groups(graph: Graph, base: np.ndarray, route: Route, routed: Routed, asked: Asked) -> Iterator[Group]:
    """(base, queries, queries for learning) of each group that one of the queries goes to, as positions of nodes."""
    learning, (looks, is_found) = asked.learning, (BASE, QUERY) if asked.mirrored else (QUERY, BASE)
    asks = np.zeros(len(graph.ids), bool)
    asks[asked.sources] = True
    own = np.flatnonzero(asks[routed.rows] & (routed.roles & looks > 0))
    roles = np.full(len(learning), QUERY, np.int32)
    learners, their_groups, _ = route(graph.ids[learning], graph.unit[learning], roles)
    own_groups = np.searchsorted(routed.starts, own, side="right") - 1
    for group in distinct(np.concatenate([own_groups, their_groups])):
        first, last = routed.starts[group], routed.starts[group + 1]
        rows = routed.rows[first:last].astype(np.int64)
        a, b = np.searchsorted(own, [first, last])
        based = rows[(routed.roles[first:last] & is_found > 0) & base[rows]]
        yield based, rows[own[a:b] - first], learning[learners[their_groups == group]]


def _members(
    graph: Graph, based: np.ndarray, asking: np.ndarray, learning: np.ndarray, floor: np.ndarray | None
) -> tuple[Members, np.ndarray | None]:
    """The rows of a group, and what is asked of each."""
    rows = np.concatenate([based, asking, learning])
    counts = (len(based), len(asking), len(learning))
    knows = np.repeat([False, True, False], counts)
    members = Members(
        graph.ids[rows],
        graph.unit[rows],
        np.repeat(np.array([BASE, QUERY, QUERY], np.int32), counts),
        np.repeat([False, False, True], counts),
        np.concatenate([[0], np.cumsum(np.where(knows, graph.degrees(rows), 0))]),
        graph.neighbours(asking),
    )
    return members, None if floor is None else floor[rows]
