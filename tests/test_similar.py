"""Similar nodes against plain numpy: for one node, exactly, and as a table for all."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import make_config, run_steps, write_graph
from graphs import SmallGraph, communities
from graphseam.errors import RunError
from graphseam.predict.similar import similar_nodes
from graphseam.tables import Tables

SMALL = {"embed": {"dim": 8}, "predict": {"links": {"top_k": 0}, "similar": {"top_k": 4}}}
LONELY = 10_000  # an id without an edge


@pytest.fixture(scope="module")
def run(spark, tmp_path_factory):
    """Two published runs of a planted partition, some of its edges held out; the newer one."""
    folder = tmp_path_factory.mktemp("similar")
    graph = SmallGraph("planted", communities(3, 25, seed=5), nodes=[LONELY])
    for name, seed in (("older", 1), ("newer", 2)):
        config = make_config(
            write_graph(graph, folder), folder / "tables", **SMALL, run={"seed": seed}, evaluate={"holdout": 0.1}
        )
        run = run_steps(spark, config, name)
    return run


@pytest.fixture(scope="module")
def strings(spark, tmp_path_factory):
    """Every node of a clique has the same neighbours, so many cosines tie."""
    folder = tmp_path_factory.mktemp("strings")
    names = [f"n{at}" for at in range(12)]
    graph = SmallGraph("names", [(a, b) for a in names for b in names if a < b])
    return run_steps(spark, make_config(write_graph(graph, folder), folder / "tables", **SMALL), "names")


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


def test_ties_are_in_the_order_of_the_ids_whatever_the_layout(spark, strings):
    found = similar_nodes(strings.tables, "n5", 20)
    assert len(found.rows) == 11
    keys = [(-cosine, name) for name, cosine, _ in found.rows]
    assert keys == sorted(keys)
    assert all(joined for _, _, joined in found.rows)
    path = strings.tables.location("embeddings")
    moved = spark.read.format("delta").load(path).repartition(5, "vector").cache()
    moved.count()
    moved.write.format("delta").mode("overwrite").save(path)
    assert similar_nodes(strings.tables, "n5", 20) == found


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


def test_ids_that_are_text_are_found_by_their_text(strings):
    with pytest.raises(RunError, match="there is no node 'n99' in run 'names'; its ids are text, such as 'n"):
        similar_nodes(strings.tables, "n99")


def test_a_root_without_a_published_run_is_told(spark, tmp_path):
    from graphseam.sections import OutputConfig

    with pytest.raises(RunError, match="no run is published"):
        similar_nodes(Tables(spark, OutputConfig(root=str(tmp_path))), "1")


def test_the_table_agrees_with_numpy(run):
    """Exactly below 50,000 nodes, in original ids; a node without edges neither asks nor is found."""
    rows = run.tables.read("similar_nodes").collect()
    ids, _ = vectors_of(run)
    assert len(rows) == 75 * 4
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


def test_the_table_can_be_left_out(spark, tmp_path):
    graph = SmallGraph("pair", [(1, 2)])
    config = make_config(
        write_graph(graph, tmp_path),
        tmp_path / "tables",
        embed={"dim": 4},
        predict={"links": {"top_k": 0}, "similar": {"top_k": 0}},
    )
    run = run_steps(spark, config, "without")
    assert run.details("predict_similar") == {"similar": 0}
    assert run.tables.read("similar_nodes").count() == 0
