"""A zoo of small awkward graphs that every partitioner, embedder and step has to handle."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from graphseam.graph import Graph

LARGEST = (1 << 63) - 1


@dataclass(frozen=True)
class SmallGraph:
    """edges: (src, dst) or (src, dst, weight) rows as a user would give them; nodes: ids that may have no edge."""

    name: str
    edges: list[tuple]
    nodes: list = field(default_factory=list)
    directed: bool = False

    @property
    def weighted(self) -> bool:
        return bool(self.edges) and len(self.edges[0]) == 3

    @property
    def simple_edges(self) -> set[tuple]:
        """The undirected edges without loops and duplicates."""
        return {(min(edge[:2]), max(edge[:2])) for edge in self.edges if edge[0] != edge[1]}

    @property
    def node_ids(self) -> set:
        return {end for edge in self.edges for end in edge[:2]} | set(self.nodes)


def clique(nodes: range) -> list[tuple]:
    return [(a, b) for a in nodes for b in nodes if a < b]


def communities(count: int, size: int, seed: int) -> list[tuple]:
    """A planted partition: dense inside, one edge in twenty between."""
    rng = np.random.default_rng(seed)
    inside = [
        (c * size + a, c * size + b)
        for c in range(count)
        for a in range(size)
        for b in range(a + 1, size)
        if rng.random() < 0.4
    ]
    between = rng.integers(0, count * size, (len(inside) // 20, 2)).tolist()
    return inside + [tuple(edge) for edge in between if edge[0] != edge[1]]


def planted_edges(count: int, size: int, degree: float, mixing: float, seed: int) -> np.ndarray:
    """Edges of a planted partition: `count` communities of `size` nodes, a share `mixing` of the edges between them."""
    rng, total = np.random.default_rng(seed), int(count * size * degree / 2)
    src = rng.integers(0, count * size, total)
    near = src // size * size + rng.integers(0, size, total)
    dst = np.where(rng.random(total) < mixing, rng.integers(0, count * size, total), near)
    edges = np.unique(np.sort(np.stack([src, dst], axis=1)[src != dst], axis=1), axis=0)
    return edges


def social(num_nodes: int, num_edges: int, seed: int) -> list[tuple]:
    """About num_edges edges of a dense graph with hubs and no communities (Chung-Lu): it has no good cut."""
    rng = np.random.default_rng(seed)
    places = (np.arange(num_nodes) + 10.0) ** -0.6
    ends = rng.choice(num_nodes, (num_edges + num_edges // 4, 2), p=places / places.sum())
    ends = np.unique(np.sort(ends[ends[:, 0] != ends[:, 1]], axis=1), axis=0)
    return list(map(tuple, ends[rng.permutation(len(ends))[:num_edges]].tolist()))


ZOO = [
    SmallGraph("no_edge", [(7, 7), (8, 8)], nodes=[9]),
    SmallGraph("one_edge", [(1, 2)]),
    SmallGraph("star", [(0, leaf) for leaf in range(1, 30)]),
    SmallGraph("path", [(at, at + 1) for at in range(40)]),
    SmallGraph("two_cliques_and_a_bridge", [*clique(range(10)), *clique(range(10, 20)), (0, 10)]),
    SmallGraph("two_components", [*clique(range(8)), *clique(range(20, 28))]),
    SmallGraph("loops_and_duplicates", [(1, 2), (2, 1), (1, 2), (3, 3), (2, 3), (3, 4), (4, 4), (1, 4)]),
    SmallGraph("weights", [(1, 2, 0.5), (2, 1, 0.1), (2, 3, 3.0), (3, 4, 1e-6), (4, 1, 1e6), (1, 3, 2.5)]),
    SmallGraph("isolated_ids", [(1, 2), (2, 3), (3, 1)], nodes=[3, 100, 200]),
    SmallGraph("ids_near_the_largest", [(LARGEST, LARGEST - 1), (LARGEST - 1, 0), (0, -LARGEST - 1), (5, LARGEST)]),
    SmallGraph("string_ids", [("ann", "bob"), ("bob", "c d"), ("c d", "ann"), ("Ünï", "ann"), ("1", "bob")]),
    SmallGraph("directed", [(1, 2), (2, 1), (2, 3), (4, 3), (5, 1)], directed=True),
    SmallGraph("communities", communities(4, 30, seed=3)),
]

LONELY = 10_000  # an id of the planted graph without an edge
PLANTED = SmallGraph(  # nodes 0 to 74 in communities of 25; two cliques of ten and a bridge, from 100 and from 110
    "planted",
    [*communities(3, 25, seed=5), *clique(range(100, 110)), *clique(range(110, 120)), (100, 110)],
    nodes=[LONELY],
)
_ARCS = [
    (f"{'Ünï' if a % 2 else 'c  d'} {a}", f"{'Ünï' if b % 2 else 'c  d'} {b}", 0.5 + (a + b) % 3)
    for a, b in communities(5, 30, seed=5)
]
AWKWARD = SmallGraph(  # text ids, directions, weights, duplicate edges, reciprocal edges, a loop, an isolated node
    "awkward",
    [*_ARCS, _ARCS[0], *[(dst, src, weight) for src, dst, weight in _ARCS[:5]], (_ARCS[0][0], _ARCS[0][0], 2.0)],
    nodes=["alone"],
    directed=True,
)


def in_memory(graph: SmallGraph) -> Graph:
    """A graph of the zoo as algorithms receive it: without loops, ids numbered in order."""
    ids = sorted(graph.node_ids, key=str)
    rows = [
        (ids.index(edge[0]), ids.index(edge[1]), edge[2] if len(edge) > 2 else 1.0)
        for edge in graph.edges
        if edge[0] != edge[1]
    ]
    src, dst, weight = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    return Graph.from_edges(src.astype(np.int64), dst.astype(np.int64), weight.astype(float), np.arange(len(ids)))
