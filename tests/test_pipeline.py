"""The zoo through every step in one session, and the laws that hold over the tables of any run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from conftest import check_levels, cut_into_six, make_config, run_steps, write_graph
from graphs import AWKWARD, PLANTED, ZOO
from graphseam.methods import FUSIONS
from graphseam.pipeline import run_step
from graphseam.progress import StepProgress
from graphseam.runs import is_current, open_run
from graphseam.steps import STEPS
from published import ROOTS

SMALL = {
    "embed": {"dim": 8},
    "predict": {"links": {"top_k": 2}, "similar": {"top_k": 0}},
    "partition": {"num_subgraphs": 3},
}
BY_NAME = {graph.name: graph for graph in (*ZOO, PLANTED, AWKWARD)}
# Through tables; algorithms run on all of the zoo in memory. The first four together cover what the later ones show.
THROUGH_TABLES = [
    "no_edge",
    "ids_near_the_largest",
    "planted",
    "awkward",
    *[pytest.param(name, marks=pytest.mark.thorough) for name in ("one_edge", "string_ids", "directed", "communities")],
]


@pytest.fixture(scope="module", params=THROUGH_TABLES)
def zoo_run(request, spark, published, tmp_path_factory):
    """(graph, run) of small graphs, published."""
    name = request.param
    if name in ROOTS:
        return BY_NAME[name], published(name, next(iter(ROOTS[name].runs)))
    folder = tmp_path_factory.mktemp(name)
    config = make_config(write_graph(BY_NAME[name], folder), folder / "tables", **SMALL)
    return BY_NAME[name], run_steps(spark, config, "zoo")


def test_every_node_has_exactly_one_vector_and_its_own_id(zoo_run):
    graph, run = zoo_run
    rows = run.tables.read("embeddings").collect()
    assert sorted(row["id"] for row in rows) == sorted(str(node) for node in graph.node_ids)
    assert len({row["node_id"] for row in rows}) == len(rows)
    vectors = np.array([row["vector"] for row in rows])
    assert vectors.shape == (len(rows), run.config.embed.dim)
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
    assert (row["status"], row["num_nodes"], row["dim"]) == ("published", len(graph.node_ids), run.config.embed.dim)
    assert json.loads(row["config"])["embed"]["dim"] == run.config.embed.dim
    assert {"spark", "torch", "graphseam"} <= set(json.loads(row["versions"]))
    assert all(is_current(run, step) for step in STEPS)


SAME = (
    "nodes",
    "edges",
    "assignments",
    "subgraph_edges",
    "embeddings",
    "evaluation_pairs",
    "link_predictions",
    "similar_nodes",
    "metrics",
)


def rows_of(run) -> dict[str, list[str]]:
    return {name: sorted(map(str, run.tables.read(name).collect())) for name in SAME}


def write_parts(edges: pa.Table, folder: Path, num_parts: int, seed: int) -> str:
    """The edges in another order and in `num_parts` files."""
    folder.mkdir()
    shuffled = edges.take(pa.array(np.random.default_rng(seed).permutation(len(edges))))
    for part in range(num_parts):
        pq.write_table(
            shuffled.slice(part * len(edges) // num_parts, len(edges) // num_parts + 1), folder / f"part-{part}.parquet"
        )
    return str(folder)


def test_the_same_bytes_for_1_and_7_input_partitions(spark, published, tmp_path, monkeypatch):
    """The same with adaptive execution, from seven files in another order, under another run id."""
    first = published("planted")
    parts = write_parts(pq.read_table(first.config.input.edges), tmp_path / "edges", 7, seed=7)
    config = replace(
        first.config,
        input=replace(first.config.input, edges=parts),
        output=replace(first.config.output, root=str(tmp_path / "tables")),
    )
    monkeypatch.setattr("graphseam.session.ADAPT_FROM_ROWS", 0)
    again = rows_of(run_steps(spark, config, "again"))
    assert again == rows_of(first)
    assert len(again["embeddings"]) == 96


@pytest.mark.parametrize(("method", "max_levels"), [("multilevel", 4), ("hash", 4), ("multilevel", 1)])
def test_a_level_with_many_cuts_ends_in_one_core_for_the_frame(spark, published, tmp_path, method, max_levels):
    """multilevel ends with metis; for graphframes_lpa see test_graphframes."""
    check_levels(
        cut_into_six(published.copied("planted", tmp_path, "older", unpublish=True), method, max_levels), max_levels
    )


@pytest.mark.parametrize("method", FUSIONS)
def test_every_fusion_gives_each_embedded_node_one_vector(spark, published, tmp_path, method):
    """Of any width; without refinement it is the final vector."""
    run = published.copied("planted", tmp_path, "older", unpublish=True)
    changed = {
        "embed": replace(run.config.embed, dim=7),
        "fuse": replace(run.config.fuse, method=method),
        "refine": replace(run.config.refine, rounds=0, hops=0),
    }
    run = open_run(spark, replace(run.config, **changed), run.run_id)
    for step in ("partition", *changed):
        run_step(run, step, StepProgress(total=4))
    embedded = {row[0] for row in run.tables.read("subgraph_embeddings").select("node_id").collect()}
    rows = run.tables.read("fused_embeddings").collect()
    assert sorted(row["node_id"] for row in rows) == sorted(embedded)
    assert {len(row["vector"]) for row in rows} == {7}
    final = {row["node_id"]: row["vector"] for row in run.tables.read("embeddings").collect()}
    assert all(final[row["node_id"]] == row["vector"] for row in rows)


def test_one_frame_is_recovered_from_rotated_copies(spark, tmp_path):
    """Rotated parts of one embedding, joined by a border, are fused into that embedding up to 1e-5."""
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
