"""The step partition on Spark: the same bytes for any layout, planted subgraphs, and the report of a bad cut."""

from __future__ import annotations

from functools import partial

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from conftest import last_line_of, make_config, run_steps
from cuts import cut_of, hidden_communities, recovered_share
from graphs import clique, planted_edges
from graphseam.blocks.engine import LocalEngine
from graphseam.cli import app
from graphseam.graph import Graph
from graphseam.partition.distributed import assigned_by_blocks, plan
from graphseam.partition.finest import Job, pack_edges, pack_nodes
from graphseam.partition.levels import Wanted, core_edges
from graphseam.partition.metis import MetisPartitioner
from graphseam.partition.multilevel import MultilevelPartitioner
from graphseam.partition.report import verdict


@pytest.fixture(scope="module")
def weighted_graph():
    """A planted partition with weights, isolated nodes and gaps in its ids."""
    edges = planted_edges(12, 60, degree=10, mixing=0.2, seed=7)
    edges = edges + (edges > 300) * 50
    weights = np.random.default_rng(1).integers(1, 9, len(edges)).astype(float)
    nodes = np.union1d(edges, [310, 330, 900])
    return edges, weights, nodes


SMALL_BLOCKS = MultilevelPartitioner(block_edges=500, coarsest_edges=400)


def assigned(spark, graph, num_partitions: int) -> tuple[dict[int, int], Job]:
    """({node: subgraph} by the distributed path, the job), from shuffled rows in `num_partitions` partitions."""
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


def test_the_same_assignment_for_3_and_50_partitions_with_and_without_adaptive_execution(spark, weighted_graph):
    edges, weights, nodes = weighted_graph
    found = []
    for num_partitions in (3, 50):
        spark.conf.set("spark.sql.adaptive.enabled", str(num_partitions != 3).lower())
        parts, job = assigned(spark, weighted_graph, num_partitions)
        found.append(parts)
    spark.conf.set("spark.sql.adaptive.enabled", "true")
    assert found[0] == found[1] == assigned_here(weighted_graph, job)
    assert job.ranges.num_blocks > 3
    assert sorted(found[0]) == nodes.tolist()
    assert set(found[0].values()) <= set(range(10, 16))
    graph = Graph.from_edges(edges[:, 0], edges[:, 1], weights)
    parts = np.array([found[0][int(node)] - 10 for node in graph.node_ids])
    whole = MetisPartitioner().partition(graph, 6, seed=1)
    assert cut_of(graph, parts) <= 1.3 * cut_of(graph, whole)  # blocks of 60 nodes: far smaller than sensible


@pytest.mark.slow
@pytest.mark.thorough  # a lost executor, of which refinement has a test, repeats tasks of the same kind
def test_a_retried_task_changes_nothing():
    """In another session, whose tasks may fail once: under the tests' own master a failure is final."""
    assert last_line_of("retried_task.py") == "the same assignment, with a worker that was killed"


def test_the_default_configuration_recovers_planted_subgraphs_and_finds_their_border(spark, tmp_path):
    edges, community = hidden_communities()
    pq.write_table(pa.table({"src": edges[:, 0], "dst": edges[:, 1]}), tmp_path / "edges.parquet")
    config = make_config(
        {"edges": str(tmp_path / "edges.parquet")}, tmp_path / "tables", partition={"num_subgraphs": 8}
    )
    run = run_steps(spark, config, "planted", last="partition")
    (first, *_) = run.tables.read("partition_levels").sort("level").collect()
    assert (first["kind"], first["method"]) == ("cut", "metis")  # multilevel leaves what fits one task to METIS
    assert first["imbalance"] <= 1.051
    rows = run.tables.read("assignments").where("level = 1").join(run.tables.read("nodes"), on="node_id").collect()
    parts = np.array([row["subgraph_id"] for row in rows])
    assert recovered_share(parts, community[[int(row["id"]) for row in rows]]) >= 0.99
    between = (community[edges[:, 0]] != community[edges[:, 1]]).mean()
    assert first["cut_share"] == pytest.approx(between, abs=0.005)


def test_the_core_of_a_border_has_the_edges_that_its_nodes_leave_room_for(spark):
    """Of the nodes of highest degree as many as fit; each takes the room of two edges here."""
    graph = nx.barabasi_albert_graph(1500, 6, seed=3)
    src, dst = zip(*graph.edges, strict=True)
    edges = spark.createDataFrame(pa.table({"src": src, "dst": dst, "weight": np.ones(len(src))}).to_pandas())
    found = {}
    for room in (100, 1000, 3000, 1 << 40):
        kept = core_edges(edges, lambda nodes, room=room: max(0, room - 2 * nodes), seed=1).toPandas()
        nodes = set(kept["src"]) | set(kept["dst"])
        assert len(kept) + 2 * len(nodes) <= 1.02 * room  # a step is sampled by hash, of few edges roughly
        found[room] = {*zip(kept["src"], kept["dst"], strict=True)}
    assert 10 < len(found[100]) < len(found[1000]) < len(found[3000])
    hubs = sorted(graph.degree, key=lambda node: -node[1])[:10]
    assert {*graph.subgraph([node for node, _ in hubs]).edges} <= {
        pair for end in found[3000] for pair in (end, end[::-1])
    }
    assert len(found[1 << 40]) == graph.number_of_edges()


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
