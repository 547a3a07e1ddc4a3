"""The multilevel partitioner: its cut, its balance, awkward graphs, and the same bytes on Spark whatever the layout."""

from __future__ import annotations

from functools import partial

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from typer.testing import CliRunner

from conftest import last_line_of, make_config, run_steps
from graphs import ZOO, clique, in_memory
from graphseam.blocks.engine import LocalEngine
from graphseam.cli import app
from graphseam.graph import Graph
from graphseam.partition.budget import Budget, Cut, balanced_weights, end_limits, max_ends_of_a_node
from graphseam.partition.coarsest import split
from graphseam.partition.distributed import assigned_by_blocks, plan
from graphseam.partition.finest import Job, pack_edges, pack_nodes
from graphseam.partition.levels import Wanted
from graphseam.partition.metis import MetisPartitioner
from graphseam.partition.multilevel import MultilevelPartitioner
from graphseam.partition.report import verdict


def graph_of(edges: np.ndarray, weights: np.ndarray | None = None) -> Graph:
    return Graph.from_edges(edges[:, 0], edges[:, 1], np.ones(len(edges)) if weights is None else weights)


def planted(count: int, size: int, degree: float, mixing: float, seed: int) -> np.ndarray:
    """Edges of a planted partition: `count` communities of `size` nodes, a share `mixing` of the edges between them."""
    rng, total = np.random.default_rng(seed), int(count * size * degree / 2)
    src = rng.integers(0, count * size, total)
    near = src // size * size + rng.integers(0, size, total)
    dst = np.where(rng.random(total) < mixing, rng.integers(0, count * size, total), near)
    edges = np.unique(np.sort(np.stack([src, dst], axis=1)[src != dst], axis=1), axis=0)
    return edges


def forced(graph: Graph, blocks: int = 6, shrink: int = 8, **settings) -> MultilevelPartitioner:
    """The distributed path on a graph that would fit one task."""
    return MultilevelPartitioner(
        block_edges=max(1, graph.num_edges // blocks), coarsest_edges=max(1, graph.num_edges // shrink), **settings
    )


def cut_of(graph: Graph, parts: np.ndarray) -> float:
    entries = graph.adjacency.tocoo()
    return entries.data[parts[entries.row] != parts[entries.col]].sum() / 2


def balance_of(graph: Graph, parts: np.ndarray, count: int) -> float:
    ends = np.bincount(parts, weights=np.diff(graph.adjacency.indptr), minlength=count)
    return ends.max() / ends.mean()


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
    graph = graph_of(planted(40, 150, degree=12, mixing=0.25, seed=1))
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
    parts, start = [planted(5, 80, degree=8, mixing=0.2, seed=2)], 400
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
    assert leaves[parts[0]] >= 100  # the hub keeps leaves: a subgraph with only the hub would capture nothing


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
    edges = planted(20, 60, degree=16, mixing=0.5, seed=4)
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


@pytest.fixture(scope="module")
def weighted_graph():
    """A planted partition with weights, isolated nodes and gaps in its ids."""
    edges = planted(12, 60, degree=10, mixing=0.2, seed=7)
    edges = edges + (edges > 300) * 50
    weights = np.random.default_rng(1).integers(1, 9, len(edges)).astype(float)
    nodes = np.union1d(edges, [310, 330, 900])
    return edges, weights, nodes


SMALL_BLOCKS = MultilevelPartitioner(block_edges=500, coarsest_edges=400)


def assigned(spark, graph, num_partitions: int) -> tuple[dict[int, int], Job]:
    """({node: subgraph} by the distributed path, the job), from rows in another order and so many partitions."""
    edges, weights, nodes = graph
    order = np.random.default_rng(num_partitions).permutation(len(edges))
    rows = [(int(a), int(b), float(weight)) for (a, b), weight in zip(edges[order], weights[order], strict=True)]
    edge_rows = spark.createDataFrame(rows, "src LONG, dst LONG, weight DOUBLE").repartition(num_partitions)
    node_rows = spark.createDataFrame([(int(node),) for node in nodes], "node_id LONG").repartition(num_partitions)
    schema = spark.createDataFrame([], "level INT, subgraph_id INT, node_id LONG").schema
    wanted = Wanted(num_subgraphs=6, level=1, first_id=10, seed=3, schema=schema)
    with assigned_by_blocks(edge_rows, node_rows, SMALL_BLOCKS, wanted, task_memory_mb=64) as found:
        parts = {row["node_id"]: row["subgraph_id"] for row in found.collect()}
    return parts, plan(edge_rows, node_rows, SMALL_BLOCKS.block_edges, wanted)[0]


def assigned_here(graph, job: Job) -> dict[int, int]:
    """The same job in this process."""
    (edges, weights, nodes), engine = graph, LocalEngine(job.ranges.num_blocks)
    entries = engine.pack({"src": edges[:, 0], "dst": edges[:, 1], "weight": weights}, partial(pack_edges, job=job))
    members = SMALL_BLOCKS.cut(engine, job, entries, engine.pack({"node_id": nodes}, partial(pack_nodes, job=job)))
    pairs = np.concatenate([packet.values for _, packet in members])
    return {int(node): int(part) + 10 for node, part in pairs}


def test_the_same_assignment_for_2_8_and_50_partitions_with_and_without_adaptive_execution(spark, weighted_graph):
    edges, weights, nodes = weighted_graph
    found = []
    for num_partitions in (2, 8, 50):
        spark.conf.set("spark.sql.adaptive.enabled", str(num_partitions != 8).lower())
        parts, job = assigned(spark, weighted_graph, num_partitions)
        found.append(parts)
    spark.conf.set("spark.sql.adaptive.enabled", "true")
    assert found[0] == found[1] == found[2] == assigned_here(weighted_graph, job)
    assert job.ranges.num_blocks > 3
    assert sorted(found[0]) == nodes.tolist()
    assert set(found[0].values()) <= set(range(10, 16))
    graph = Graph.from_edges(edges[:, 0], edges[:, 1], weights)
    parts = np.array([found[0][int(node)] - 10 for node in graph.node_ids])
    whole = MetisPartitioner().partition(graph, 6, seed=1)
    assert cut_of(graph, parts) <= 1.3 * cut_of(graph, whole)  # blocks of 60 nodes: far smaller than is sensible


@pytest.mark.slow
def test_a_retried_task_changes_nothing():
    """In a session of its own, whose tasks may fail once: under the tests' own master a failure is final."""
    assert last_line_of("retried_task.py") == "the same assignment, with a task that failed once"


def recovered_share(parts: np.ndarray, community: np.ndarray) -> float:
    """Share of the nodes whose subgraph is their community's, matched one to one."""
    agreement = np.zeros((parts.max() + 1, community.max() + 1))
    np.add.at(agreement, (parts, community), 1)
    return agreement[linear_sum_assignment(-agreement)].sum() / len(parts)


@pytest.fixture(scope="module")
def hidden_communities():
    """(edges, community of each node): eight communities of 1,000, mixing 0.1, ids in no order."""
    shuffled = np.random.default_rng(0).permutation(8_000)
    community = np.empty(8_000, int)
    community[shuffled] = np.arange(8_000) // 1_000
    return shuffled[planted(8, 1_000, degree=24, mixing=0.1, seed=11)], community


def test_the_distributed_path_recovers_planted_subgraphs(hidden_communities):
    edges, community = hidden_communities
    graph = graph_of(edges)
    assert recovered_share(forced(graph).partition(graph, 8, seed=1), community) >= 0.99


def test_the_default_configuration_recovers_planted_subgraphs_and_finds_their_border(
    spark, tmp_path, hidden_communities
):
    edges, community = hidden_communities
    pq.write_table(pa.table({"src": edges[:, 0], "dst": edges[:, 1]}), tmp_path / "edges.parquet")
    config = make_config(
        {"edges": str(tmp_path / "edges.parquet")}, tmp_path / "tables", partition={"num_subgraphs": 8}
    )
    run = run_steps(spark, config, "planted", last="partition")
    (first, *_) = run.tables.read("partition_levels").sort("level").collect()
    assert (first["kind"], first["method"]) == ("cut", "metis")  # multilevel hands over what fits one task
    assert first["imbalance"] <= 1.051
    rows = run.tables.read("assignments").where("level = 1").join(run.tables.read("nodes"), on="node_id").collect()
    parts = np.array([row["subgraph_id"] for row in rows])
    assert recovered_share(parts, community[[int(row["id"]) for row in rows]]) >= 0.99
    between = (community[edges[:, 0]] != community[edges[:, 1]]).mean()
    assert first["cut_share"] == pytest.approx(between, abs=0.005)


def test_a_clique_over_the_budget_is_split_by_edges_and_says_so(spark, tmp_path):
    edges = np.array(clique(range(60)))
    pq.write_table(pa.table({"src": edges[:, 0], "dst": edges[:, 1]}), tmp_path / "edges.parquet")
    config = make_config(
        {"edges": str(tmp_path / "edges.parquet")}, tmp_path / "tables", partition={"max_subgraph_edges": 200}
    )
    root = str(tmp_path / "tables")
    run_steps(spark, config, "clique", last="ingest")
    told = CliRunner().invoke(app, ["partition-report", "--root", root])
    assert "no run has been partitioned here yet" in str(told.exception)
    run = run_steps(spark, config, "clique", last="partition")
    levels = run.tables.read("partition_levels").sort("level").collect()
    assert [level["kind"] for level in levels] == ["cut", "core"]  # the first captured less than min_captured
    border = run.tables.read("border_edges").where("level = 1").count()
    assert border == levels[1]["num_edges"] == levels[0]["num_edges"] - levels[0]["captured_edges"]
    assert all(level["largest_edges"] <= 200 for level in levels)
    told = run.details("partition")
    assert told["captured_edges"] + told["left_over_edges"] == len(edges)
    assert told["captured_edges"] == sum(level["captured_edges"] for level in levels)
    assert "split by edges" in verdict(levels)
    report = CliRunner().invoke(app, ["partition-report", "--root", root])
    assert report.exit_code == 0
    assert "the graph cuts badly" in report.stdout
    assert f"{told['left_over_edges']:,} edges are left to refinement" in report.stdout
    misspelt = CliRunner().invoke(app, ["partition-report", "--root", root, "--run-id", "clqiue"])
    assert "Did you mean 'clique'?" in str(misspelt.exception)
