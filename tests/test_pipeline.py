"""The zoo through every step in one session, and the laws that hold over the tables of any run."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from conftest import make_config, run_steps, write_graph
from graphs import ZOO, communities
from graphseam.embedding import embed
from graphseam.errors import MemoryBudgetError, RunError
from graphseam.ingest import ingest
from graphseam.methods import FUSIONS
from graphseam.pipeline import run_each
from graphseam.progress import StepProgress
from graphseam.runs import is_current, open_run, require_before
from graphseam.schemas import table_names
from graphseam.steps import STEPS

# Through tables these show nothing that the others don't; algorithms meet all of the zoo in memory.
LEFT_OUT = (
    "path",
    "star",
    "two_cliques_and_a_bridge",
    "two_components",
    "isolated_ids",
    "loops_and_duplicates",
    "weights",
)
THROUGH_TABLES = [graph for graph in ZOO if graph.name not in LEFT_OUT]
SMALL = {
    "embed": {"dim": 8},
    "predict": {"links": {"top_k": 2}, "similar": {"top_k": 0}},
    "partition": {"num_subgraphs": 3},
}
QUICK = {**SMALL, "predict": {"links": {"top_k": 0}, "similar": {"top_k": 0}}}


@pytest.fixture(scope="module", params=THROUGH_TABLES, ids=lambda graph: graph.name)
def zoo_run(request, spark, tmp_path_factory):
    """(graph, run) of each graph of the zoo, published."""
    folder = tmp_path_factory.mktemp(request.param.name)
    config = make_config(write_graph(request.param, folder), folder / "tables", **SMALL)
    return request.param, run_steps(spark, config, "zoo")


def test_every_node_has_exactly_one_vector_and_its_own_id(zoo_run):
    graph, run = zoo_run
    rows = run.tables.read("embeddings").collect()
    assert sorted(row["id"] for row in rows) == sorted(str(node) for node in graph.node_ids)
    assert len({row["node_id"] for row in rows}) == len(rows)
    vectors = np.array([row["vector"] for row in rows])
    assert vectors.shape == (len(rows), 8)
    assert np.isfinite(vectors).all()
    with_edge = {str(end) for edge in graph.simple_edges for end in edge}
    for row, vector in zip(rows, vectors, strict=True):
        assert bool(np.any(vector)) == (row["id"] in with_edge)


def test_edges_are_the_inputs_simple_edges(zoo_run):
    graph, run = zoo_run
    ids = {row["node_id"]: row["id"] for row in run.tables.read("nodes").collect()}
    edges = [(ids[row["src"]], ids[row["dst"]]) for row in run.tables.read("edges").collect()]
    assert len(edges) == len(set(edges))
    if graph.directed:
        assert set(edges) == {(str(edge[0]), str(edge[1])) for edge in graph.edges if edge[0] != edge[1]}
    else:
        assert {frozenset(edge) for edge in edges} == {frozenset(map(str, edge)) for edge in graph.simple_edges}


def test_every_edge_is_in_one_level_and_subgraph_or_counted_as_left_over(zoo_run):
    _, run = zoo_run
    edges = {(row["src"], row["dst"]) for row in run.tables.read("edges").collect()}
    captured = [(row["src"], row["dst"]) for row in run.tables.read("subgraph_edges").collect()]
    assert len(captured) == len(set(captured))
    assert set(captured) <= edges
    told = run.details("partition")
    assert (told["captured_edges"], told["left_over_edges"]) == (len(captured), len(edges) - len(captured))
    places = {(row["level"], row["node_id"]): row["subgraph_id"] for row in run.tables.read("assignments").collect()}
    for row in run.tables.read("subgraph_edges").collect():
        assert places[row["level"], row["src"]] == places[row["level"], row["dst"]] == row["subgraph_id"]


def test_each_level_assigns_a_node_once_and_subgraph_ids_belong_to_one_level(zoo_run):
    graph, run = zoo_run
    rows = run.tables.read("assignments").collect()
    assert len({(row["level"], row["node_id"]) for row in rows}) == len(rows)
    assert sum(row["level"] == 1 for row in rows) == len(graph.node_ids)
    levels: dict[int, set[int]] = {}
    for row in rows:
        levels.setdefault(row["subgraph_id"], set()).add(row["level"])
    assert all(len(found) == 1 for found in levels.values())


def test_predicted_links_are_new_ranked_and_probable(zoo_run):
    graph, run = zoo_run
    known = {frozenset(map(str, edge)) for edge in graph.simple_edges}
    by_source: dict[str, list] = {}
    for row in run.tables.read("link_predictions").collect():
        assert row["src"] != row["dst"]
        assert frozenset((row["src"], row["dst"])) not in known
        assert 0 <= row["probability"] <= 1
        by_source.setdefault(row["src"], []).append(row)
    for rows in by_source.values():
        rows.sort(key=lambda row: row["rank"])
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) <= 2
        assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)


def test_the_run_is_published_once_with_what_it_was_made_of(zoo_run):
    graph, run = zoo_run
    (row,) = run.tables.read("runs").collect()
    assert (row["status"], row["num_nodes"], row["dim"]) == ("published", len(graph.node_ids), 8)
    assert json.loads(row["config"])["embed"]["dim"] == 8
    assert {"spark", "torch", "graphseam"} <= set(json.loads(row["versions"]))
    assert all(is_current(run, step) for step in STEPS)


@pytest.fixture(scope="module")
def community_edges():
    return pa.table(dict(zip(("src", "dst"), zip(*communities(4, 30, seed=3), strict=True), strict=True)))


def write_parts(edges: pa.Table, folder, num_parts: int, seed: int) -> str:
    """The edges in another order and in so many files."""
    folder.mkdir()
    shuffled = edges.take(pa.array(np.random.default_rng(seed).permutation(len(edges))))
    for part in range(num_parts):
        pq.write_table(
            shuffled.slice(part * len(edges) // num_parts, len(edges) // num_parts + 1), folder / f"part-{part}.parquet"
        )
    return str(folder)


def test_the_same_bytes_for_1_and_7_input_partitions(spark, tmp_path, community_edges, monkeypatch):
    found = []
    for num_parts in (1, 7):
        path = write_parts(community_edges, tmp_path / f"edges-{num_parts}", num_parts, seed=num_parts)
        config = make_config({"edges": path}, tmp_path / f"tables-{num_parts}", evaluate={"holdout": 0.2}, **SMALL)
        monkeypatch.setattr("graphseam.session.ADAPT_FROM_ROWS", 0 if num_parts == 1 else 1 << 60)
        run = run_steps(spark, config, "same")
        found.append(
            {
                name: sorted(map(str, run.tables.read(name).collect()))
                for name in (
                    "nodes",
                    "edges",
                    "assignments",
                    "subgraph_edges",
                    "embeddings",
                    "evaluation_pairs",
                    "link_predictions",
                    "metrics",
                )
            }
        )
    assert found[0] == found[1]
    assert len(found[0]["embeddings"]) == 120


@pytest.mark.parametrize(
    ("method", "max_levels"),
    [  # multilevel hands over to metis
        *((method, 4) for method in ("multilevel", "hash")),
        ("multilevel", 1),
        pytest.param("graphframes_lpa", 4, marks=pytest.mark.graphframes),
    ],
)
def test_a_level_with_many_cuts_ends_in_one_core_for_the_frame(spark, tmp_path, community_edges, method, max_levels):
    path = write_parts(community_edges, tmp_path / "edges", 1, seed=0)
    partition = {"method": method, "num_subgraphs": 6, "max_levels": max_levels}
    config = make_config({"edges": path}, tmp_path / "tables", partition=partition, embed={"dim": 8})
    run = run_steps(spark, config, "levels", last="partition")
    levels = run.tables.read("partition_levels").sort("level").collect()
    assert levels[0]["num_subgraphs"] == 6
    assert len(levels) <= max_levels
    if max_levels > 1:
        assert levels[-1]["num_subgraphs"] == 1
        assert all(
            row["captured_edges"] <= 1.3 * len(community_edges) / 6 for row in levels[1:] if row["num_subgraphs"] == 1
        )
    assert levels[-1]["total_captured"] == pytest.approx(
        run.details("partition")["captured_edges"] / run.details("ingest")["edges"]
    )


@pytest.mark.parametrize("method", FUSIONS)
def test_every_fusion_gives_each_embedded_node_one_vector(spark, tmp_path, community_edges, method):
    path = write_parts(community_edges, tmp_path / "edges", 1, seed=0)
    config = make_config(
        {"edges": path},
        tmp_path / "tables",
        fuse={"method": method},
        refine={"rounds": 0, "hops": 0},
        embed={"dim": 7},
        partition={"num_subgraphs": 4},
    )
    run = run_steps(spark, config, "fusion", last="refine")
    embedded = {row[0] for row in run.tables.read("subgraph_embeddings").select("node_id").collect()}
    rows = run.tables.read("fused_embeddings").collect()
    assert sorted(row["node_id"] for row in rows) == sorted(embedded)
    assert {len(row["vector"]) for row in rows} == {7}
    final = {row["node_id"]: row["vector"] for row in run.tables.read("embeddings").collect()}
    assert all(final[row["node_id"]] == row["vector"] for row in rows)


def test_one_frame_is_recovered_from_rotated_copies(spark, tmp_path):
    """Subgraphs that are rotations of one embedding, tied by a border, come back as that embedding up to 1e-5."""
    from graphseam.fuse import fuse

    rng, dim = np.random.default_rng(5), 4
    truth = rng.standard_normal((60, dim))
    groups = {(1, 0): range(0, 30), (1, 1): range(30, 60), (2, 2): range(15, 45)}
    rows = []
    for (level, subgraph), nodes in groups.items():
        rotation, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
        rows += [(level, subgraph, node, 1.0, (truth[node] @ rotation).tolist()) for node in nodes]
    pq.write_table(pa.table({"src": [1], "dst": [2]}), tmp_path / "edges.parquet")
    config = make_config({"edges": str(tmp_path / "edges.parquet")}, tmp_path / "tables", embed={"dim": dim})
    run = open_run(spark, config, "rotated")
    run.tables.write("subgraph_embeddings", spark.createDataFrame(rows, run.tables.schema("subgraph_embeddings")))
    run.tables.write("assignments", run.tables.read("subgraph_embeddings").select("level", "subgraph_id", "node_id"))
    fuse(run)
    found = np.zeros((60, dim))
    for row in run.tables.read("fused_embeddings").collect():
        found[row["node_id"]] = row["vector"]
    np.testing.assert_allclose(found @ found.T, truth @ truth.T, atol=1e-5)
    statuses = {row["subgraph_id"]: row["status"] for row in run.tables.read("alignments").collect()}
    assert statuses == {0: "aligned", 1: "aligned", 2: "frame"}
    assert run.tables.read("alignments").agg(F.max("fit_error")).head()[0] < 1e-5


def test_a_finished_run_is_not_done_again_and_changed_settings_redo_what_hangs_on_them(spark, tmp_path):
    edges = write_graph(ZOO[4], tmp_path)
    run_steps(spark, make_config(edges, tmp_path / "tables", **QUICK), "again")
    same = open_run(spark, make_config(edges, tmp_path / "tables", **QUICK), "again")
    assert all(is_current(same, step) for step in STEPS)
    num_records = len(same.records)
    run_each(same, STEPS, StepProgress(len(STEPS)), resume=True)
    assert len(same.records) == num_records
    changed = open_run(spark, make_config(edges, tmp_path / "tables", **{**QUICK, "embed": {"dim": 6}}), "again")
    assert {step for step in STEPS if is_current(changed, step)} == {"ingest", "partition"}
    with pytest.raises(RunError, match="step 'fuse' of run 'again' cannot start: step 'embed' was run with other"):
        require_before(changed, "fuse")


def test_a_repeated_step_replaces_its_rows(spark, tmp_path):
    edges = write_graph(ZOO[4], tmp_path)
    config = make_config(edges, tmp_path / "tables", **SMALL)
    first = run_steps(spark, config, "twice")
    before = {name: first.tables.read(name).count() for name in table_names() if name != "run_steps"}
    second = run_steps(spark, config, "twice")
    assert {name: second.tables.read(name).count() for name in before} == before


def test_a_run_id_is_refused_for_other_inputs(spark, tmp_path):
    config = make_config(write_graph(ZOO[1], tmp_path), tmp_path / "tables", **QUICK)
    run_steps(spark, config, "inputs", last="ingest")
    write_graph(ZOO[2], tmp_path)
    with pytest.raises(RunError, match="begun on other input files"):
        open_run(spark, config, "inputs")


def test_a_killed_process_leaves_no_twins(spark, tmp_path):
    """Rows that a process wrote before it was killed, with no record of the step, are replaced when it starts again."""
    config = make_config(write_graph(ZOO[4], tmp_path), tmp_path / "tables", **QUICK)
    killed = open_run(spark, config, "killed")
    ingest(killed)  # and no record of it
    run = run_steps(spark, config, "killed", last="ingest")
    assert run.tables.read("nodes").count() == 20
    assert run.tables.read("edges").count() == 91


@pytest.fixture(scope="module")
def long_path(tmp_path_factory):
    """20,000 nodes in a row: at 2,048 columns more than the smallest budget holds."""
    folder, nodes = tmp_path_factory.mktemp("long"), np.arange(20_000)
    pq.write_table(pa.table({"src": nodes[:-1], "dst": nodes[1:]}), folder / "edges.parquet")
    return {"edges": str(folder / "edges.parquet")}


def test_subgraphs_are_made_small_enough_for_the_memory_of_a_task(spark, tmp_path, long_path):
    config = make_config(
        long_path, tmp_path / "tables", run={"task_memory_mb": 96}, embed={"dim": 512}, refine={"rounds": 0, "hops": 0}
    )
    run = run_steps(spark, config, "split", last="embed")
    assert run.details("partition")["subgraphs"] > 5
    assert run.details("embed")["vectors"] >= 19_000


def test_a_subgraph_over_the_budget_is_refused_by_name(spark, tmp_path, long_path):
    config = make_config(long_path, tmp_path / "tables", embed={"dim": 512}, refine={"rounds": 0, "hops": 0})
    run_steps(spark, config, "named", last="partition")
    tight = make_config(
        long_path, tmp_path / "tables", embed={"dim": 512}, refine={"rounds": 0, "hops": 0}, run={"task_memory_mb": 64}
    )
    with pytest.raises(MemoryBudgetError, match=r"subgraph 0 .*a task may hold 64 .*; lower partition.max_subgraph"):
        embed(open_run(spark, tight, "named"))


def test_a_union_after_cached_arrow_results_is_shuffled_again(spark):
    """Spark 4.2 skips a needed shuffle here unless spark.sql.unionOutputPartitioning is off; groups would split."""
    assert spark.conf.get("spark.sql.unionOutputPartitioning") == "false"

    def shifted(batches):
        for batch in batches:
            yield pa.RecordBatch.from_arrays([pa.array((batch["k"].to_numpy() + 1) % 50)], names=["k"])

    hashed = spark.range(500).select((F.col("id") % 50).alias("k")).repartition(4, "k").cache()
    moved = hashed.mapInArrow(shifted, "k long").cache()
    moved.count()
    groups = moved.union(hashed).groupBy("k").count().collect()
    assert sorted((row["k"], row["count"]) for row in groups) == [(k, 20) for k in range(50)]
    moved.unpersist()
    hashed.unpersist()
