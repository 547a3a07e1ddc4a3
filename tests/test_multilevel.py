"""The multilevel partitioner in one process: cut, balance, awkward graphs, memory budget. No Spark."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuts import balance_of, cut_of, graph_of, hidden_communities, recovered_share
from graphs import ZOO, clique, in_memory, planted_edges
from graphseam.graph import Graph
from graphseam.partition.budget import Budget, Cut, balanced_weights, end_limits, max_ends_of_a_node
from graphseam.partition.coarsest import split
from graphseam.partition.metis import MetisPartitioner
from graphseam.partition.multilevel import MultilevelPartitioner


def forced(graph: Graph, blocks: int = 6, shrink: int = 8, **settings) -> MultilevelPartitioner:
    """The distributed path on a graph that would fit one task."""
    return MultilevelPartitioner(
        block_edges=max(1, graph.num_edges // blocks), coarsest_edges=max(1, graph.num_edges // shrink), **settings
    )


@pytest.mark.parametrize("small", ZOO, ids=lambda graph: graph.name)
@pytest.mark.parametrize("count", [1, 3])
def test_the_distributed_path_gives_each_node_of_the_zoo_a_part(small, count):
    graph = in_memory(small)
    partitioner = MultilevelPartitioner(block_edges=3, coarsest_edges=2)
    parts = partitioner.partition(graph, count, seed=5)
    assert parts.shape == (graph.num_nodes,)
    assert ((parts >= 0) & (parts < count)).all()
    np.testing.assert_array_equal(parts, partitioner.partition(graph, count, seed=5))


@pytest.mark.parametrize("count", [4, 16])
def test_the_cut_is_near_that_of_metis_and_balanced(count):
    graph = graph_of(planted_edges(40, 150, degree=12, mixing=0.25, seed=1))
    whole = MetisPartitioner().partition(graph, count, seed=1)
    parts = forced(graph).partition(graph, count, seed=1)
    assert cut_of(graph, parts) <= 1.15 * cut_of(graph, whole)
    assert balance_of(graph, parts, count) <= 1.051
    assert balance_of(graph, whole, count) <= 1.051


@pytest.mark.parametrize(
    "partitioner", [MetisPartitioner(), MultilevelPartitioner(block_edges=2_000, coarsest_edges=900)]
)
def test_small_components_are_packed_together_and_never_cut(partitioner):
    rng = np.random.default_rng(3)
    parts, start = [planted_edges(5, 80, degree=8, mixing=0.2, seed=2)], 400
    for _ in range(800):  # paths, stars and triangles of 2 to 12 nodes
        size = int(rng.integers(2, 13))
        kind = rng.integers(0, 3)
        nodes = start + np.arange(size)
        parts.append(
            np.stack([nodes[:-1], nodes[1:]], axis=1)
            if kind == 0
            else np.stack([np.full(size - 1, start), nodes[1:]], axis=1)
            if kind == 1
            else np.array(clique(range(start, start + min(size, 5))))
        )
        start += size
    graph = graph_of(np.concatenate(parts))
    found = partitioner.partition(graph, 5, seed=1)
    network = nx.from_scipy_sparse_array(graph.adjacency)
    for component in nx.connected_components(network):
        if len(component) < 50:
            assert len({int(found[node]) for node in component}) == 1
    assert balance_of(graph, found, 5) <= 1.051


def test_the_nodes_of_a_star_are_shared_out_though_their_hub_is_in_one_part():
    star = graph_of(np.stack([np.zeros(4_000, int), np.arange(1, 4_001)], axis=1))
    parts = forced(star).partition(star, 8, seed=1)
    leaves = np.bincount(parts[1:], minlength=8)
    assert leaves.max() <= 1.3 * 4_000 / 8
    assert leaves[parts[0]] >= 100  # the hub keeps leaves: a subgraph of the hub alone would capture nothing


def test_a_bipartite_graph_is_cut_by_communities_of_both_sides():
    rng = np.random.default_rng(5)
    users, group = np.arange(3_000), np.repeat(np.arange(10), 300)
    items = 3_000 + np.where(
        rng.random((3_000, 8)) < 0.9,
        group[:, None] * 40 + rng.integers(0, 40, (3_000, 8)),
        rng.integers(0, 400, (3_000, 8)),
    )
    edges = np.unique(np.stack([np.repeat(users, 8), items.ravel()], axis=1), axis=0)
    graph = graph_of(edges)
    parts = forced(graph).partition(graph, 10, seed=1)
    assert cut_of(graph, parts) <= 0.15 * graph.num_edges
    assert cut_of(graph, parts) <= 1.15 * cut_of(graph, MetisPartitioner().partition(graph, 10, seed=1))


def test_heavy_edges_are_kept_inside():
    edges = planted_edges(20, 60, degree=16, mixing=0.5, seed=4)
    inside = edges[:, 0] // 60 == edges[:, 1] // 60
    graph = graph_of(edges, np.where(inside, 5.0, 0.1))
    for partitioner in (forced(graph), MetisPartitioner()):
        parts = partitioner.partition(graph, 20, seed=1)
        assert cut_of(graph, parts) <= 0.05 * graph.adjacency.sum() / 2  # half of the edges, 2 % of the weight


def test_a_hub_counts_for_half_a_subgraph_and_other_nodes_for_their_ends():
    star, ring = np.array([4_000] + [1] * 4_000), np.full(4_000, 2)
    for ends, most in ((star, 340), (ring, 600)):
        limits = end_limits(ends.sum(), 8, 0.05)
        found = max_ends_of_a_node(limits, np.array([np.minimum(ends, limit).sum() for limit in limits]), 8, 0.05)
        assert 2 * found >= 1.05 * np.minimum(ends, found).sum() / 8  # a hub and its neighbours fill a subgraph
        assert found <= most


@given(st.integers(0, 10_000), st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_any_graph_is_split_within_the_balance_its_nodes_allow(seed, count):
    rng = np.random.default_rng(seed)
    edges = rng.integers(0, 60, (int(rng.integers(1, 300)), 2))
    edges = edges[edges[:, 0] != edges[:, 1]]
    if not len(edges):
        return
    graph = graph_of(edges)
    weights = balanced_weights(np.diff(graph.adjacency.indptr), 0, 10)
    parts = split(graph.adjacency.astype(np.int64), weights, count, 0.05, seed=1)
    loads = np.bincount(parts, weights=weights, minlength=count)
    assert loads.max() <= 1.05 * weights.sum() / count + weights.max()


@given(
    nodes=st.integers(1, 10**9),
    edges=st.integers(0, 10**10),
    most=st.integers(1, 10**7),
    memory=st.integers(1 << 26, 1 << 34),
    count=st.integers(0, 500),
)
def test_no_level_plans_a_subgraph_over_the_budget(nodes, edges, most, memory, count):
    def bytes_of(num_nodes: int, num_edges: int) -> int:
        return 4_000 * num_nodes + 120 * num_edges

    budget = Budget.of(count, most, edges, memory, 2 * memory, bytes_of, 0.05)
    for level in (1, 2):
        cut = budget.cut(level, nodes, edges)
        assert cut.num_subgraphs >= (count if level == 1 else 1)
        if cut.num_subgraphs > 1:
            assert cut.num_subgraphs * budget.max_edges >= 1.049 * edges
            assert cut.num_subgraphs * memory >= 1.049 * bytes_of(nodes, edges)
        else:
            assert edges <= budget.max_edges
            assert bytes_of(nodes, edges) <= 2 * memory


def test_a_subgraph_over_its_bytes_is_cut_again_by_bytes():
    budget = Budget.of(0, 1000, 10_000, 10_000, 10_000, lambda nodes, edges: 10 * nodes + edges, 0.05)
    assert budget.better_cut(Cut(11), [(100, 900), (50, 950)]) is None
    better = budget.better_cut(Cut(11), [(2_000, 900), (50, 950)])
    assert better == Cut(11, node_cost=20)
    assert budget.better_cut(better, [(2_000, 900)]).num_subgraphs > 22


def test_the_distributed_path_recovers_planted_subgraphs():
    edges, community = hidden_communities()
    graph = graph_of(edges)
    assert recovered_share(forced(graph).partition(graph, 8, seed=1), community) >= 0.99
