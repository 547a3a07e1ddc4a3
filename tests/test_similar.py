"""Similar nodes against plain numpy: for one node, exactly, and as a table for all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conftest import arrow_of, publish_row
from graphs import LONELY
from graphseam.errors import RunError
from graphseam.predict.similar import predict_similar
from graphseam.predict.similar_node import Similar, similar_here
from graphseam.predict.similar_node import similar_nodes as by_spark
from graphseam.sections import OutputConfig
from graphseam.tables import Tables


@pytest.fixture(scope="module")
def run(published):
    """The newer of two published runs of a planted partition, some of its edges held out."""
    return published("planted")


@pytest.fixture
def names(spark, tmp_path):
    """The tables of a published run of twelve nodes: a clique whose vectors tie in threes."""
    tables = Tables(spark, OutputConfig(root=str(tmp_path / "tables")), "names")
    ids = [f"n{at}" for at in range(12)]
    vectors = [np.eye(4)[at % 4] + 0.5 for at in range(12)]
    tables.write_rows(
        "nodes", [{"node_id": at, "id": name, "type": None, "side": "both"} for at, name in enumerate(ids)]
    )
    tables.write_rows(
        "embeddings", [{"node_id": at, "id": ids[at], "vector": vector.tolist()} for at, vector in enumerate(vectors)]
    )
    tables.write_rows("edges", [{"src": a, "dst": b, "weight": 1.0} for a in range(12) for b in range(a + 1, 12)])
    publish_row(tables, id_type="string")
    return tables


def similar_nodes(tables, node: str, top_k: int = 10, run_id: str | None = None) -> Similar:
    """What both ways answer, or refuse in the same words."""
    told = []
    for ask, where in ((by_spark, tables), (similar_here, tables.output.root)):
        try:
            told.append(ask(where, node, top_k, run_id))
        except RunError as error:
            told.append(error)
    if isinstance(told[0], RunError):
        assert str(told[0]) == str(told[1])
        raise told[0]
    assert told[0] == told[1]
    return told[0]


def vectors_of(run) -> tuple[list[str], np.ndarray]:
    rows = run.tables.read("embeddings").sort("node_id").collect()
    return [row["id"] for row in rows], np.array([row["vector"] for row in rows], np.float64)


def expected(run, node: str, top_k: int, order) -> list[tuple[str, float]]:
    """By numpy: (id, cosine) of the most similar others, ties by id."""
    ids, vectors = vectors_of(run)
    lengths = np.linalg.norm(vectors, axis=1)
    asked = ids.index(node)
    cosine = vectors @ vectors[asked] / np.maximum(lengths * lengths[asked], 1e-300)
    others = [(-round(cosine[at], 12), order(ids[at])) for at in range(len(ids)) if at != asked and lengths[at] > 0]
    return [(str(name), -score) for score, name in sorted(others)[:top_k]]


@pytest.mark.parametrize("top_k", [1, 10, 1000])
@pytest.mark.parametrize("node", ["0", " 33 ", "74"])
def test_one_node_is_answered_exactly(run, node, top_k):
    found = similar_nodes(run.tables, node, top_k, "newer")
    wanted = expected(run, node.strip(), top_k, int)
    assert found.node == node.strip()
    assert sorted(round(cosine, 12) for _, cosine, _ in found.rows) == sorted(round(score, 12) for _, score in wanted)
    assert [name for name, _, _ in found.rows] == [name for name, _ in wanted]


def test_ties_are_in_the_order_of_the_ids_whatever_the_layout(spark, names):
    found = similar_nodes(names, "n5", 20)
    assert [name for name, _, _ in found.rows[:2]] == ["n1", "n9"]
    assert len(found.rows) == 11
    keys = [(-cosine, name) for name, cosine, _ in found.rows]
    assert keys == sorted(keys)
    assert len({cosine for cosine, _ in keys}) == 2
    assert all(joined for _, _, joined in found.rows)
    path = names.location("embeddings")
    moved = spark.read.format("delta").load(path).repartition(5, "vector").cache()
    moved.count()
    moved.write.format("delta").mode("overwrite").save(path)
    assert similar_nodes(names, "n5", 20) == found


def test_an_edge_is_told_held_out_or_not(run):
    ids = {row["node_id"]: row["id"] for row in run.tables.read("nodes").collect()}
    edges = {
        frozenset((ids[row["src"]], ids[row["dst"]]))
        for name in ("edges", "holdout_edges")
        for row in run.tables.read(name).collect()
    }
    assert run.tables.read("holdout_edges").count() > 0
    rows = similar_nodes(run.tables, "7", 1000).rows
    assert [joined for _, _, joined in rows] == [frozenset((name, "7")) in edges for name, _, _ in rows]
    assert 0 < sum(joined for _, _, joined in rows) < len(rows)


def test_the_newest_run_is_asked_by_default_and_an_older_one_by_name(run):
    assert similar_nodes(run.tables, "7") == similar_nodes(run.tables, "7", run_id="newer")
    older = similar_nodes(run.tables, "7", run_id="older")
    assert (older.run_id, older.rows == similar_nodes(run.tables, "7").rows) == ("older", False)


@pytest.mark.parametrize(
    ("node", "run_id", "message"),
    [
        ("75000", None, r"there is no node '75000' in run 'newer'; its ids are whole numbers, such as '\d+'"),
        ("x", None, "--node is 'x', and the ids of run 'newer' are whole numbers"),
        (str(LONELY), None, "node '10000' has no edge in run 'newer', so its vector is zero"),
        ("7", "newest", "there is no published run 'newest'. Did you mean 'newer'"),
    ],
)
def test_what_cannot_be_answered_is_told(run, node, run_id, message):
    with pytest.raises(RunError, match=message):
        similar_nodes(run.tables, node, run_id=run_id)


def test_ids_that_are_text_are_found_by_their_text(names):
    with pytest.raises(RunError, match="there is no node 'n99' in run 'names'; its ids are text, such as 'n"):
        similar_nodes(names, "n99")


def test_a_root_without_a_published_run_is_told(spark, tmp_path):
    with pytest.raises(RunError, match="no run is published"):
        similar_nodes(Tables(spark, OutputConfig(root=str(tmp_path))), "1")


def test_the_table_agrees_with_numpy(run):
    """Exact below 50,000 nodes, with original ids; a node without edges is neither query nor result."""
    rows = run.tables.read("similar_nodes").collect()
    ids, _ = vectors_of(run)
    assert len(rows) == 95 * 4
    assert {row["src"] for row in rows} == set(ids) - {str(LONELY)}
    numbers = {row["id"]: row["node_id"] for row in run.tables.read("nodes").collect()}
    for node in ("0", "33", "74"):
        mine = sorted((row for row in rows if row["src"] == node), key=lambda row: row["rank"])
        assert [row["rank"] for row in mine] == [1, 2, 3, 4]
        assert [row["cosine"] for row in mine] == pytest.approx(
            [score for _, score in expected(run, node, 4, int)], abs=1e-6
        )
        assert all(
            (numbers[row["src"]], numbers[row["dst"]]) == (row["src_node_id"], row["dst_node_id"]) for row in mine
        )


def test_the_table_can_be_left_out(published):
    older = published("planted", "older")
    told = older.details("predict_similar")
    assert (told["similar"], told["rows_written"]) == (0, {"similar_nodes": 0})
    assert older.tables.read("similar_nodes").count() == 0


@pytest.mark.spark
@pytest.mark.parametrize("method", ["auto", "exact", "cells"])
def test_tasks_write_what_joins_and_shuffles_make(published, tmp_path, monkeypatch, method):
    """auto: from what predict_links has found; else by a search of its own, as where nodes are of two kinds."""
    monkeypatch.setattr("graphseam.predict.search_plan.NODES_PER_CELL", 30)
    run = published.copied("planted", tmp_path)
    records = [dict(record) for record in run.records]
    if method != "auto":
        for record in records:
            record["details"] = (record["details"] or "").replace('"similar_too": true', '"similar_too": false')
    assert bool(replace(run, records=records).details("predict_links").get("similar_too")) == (method == "auto")
    settings = run.config.predict
    predict = replace(settings, similar=replace(settings.similar, method=method))
    found, recalls = [], []
    for in_one_task in (True, False):
        config = replace(run.config, predict=predict, run=replace(run.config.run, in_one_task=in_one_task))
        one = replace(run, config=config, records=list(records))
        predict_similar(one)
        found.append(arrow_of(one.tables.read("similar_nodes").sort("src_node_id", "rank")))
        recalls.append(one.tables.read("search_recall").where("step = 'predict_similar'").collect())
    assert found[0].num_rows > run.ingested.nodes
    assert found[0].equals(found[1])
    assert recalls[0] == recalls[1]
    assert bool(recalls[0]) == (method == "cells")
