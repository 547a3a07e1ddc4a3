"""New nodes: vectors from their neighbours. Laws on small graphs, the same bytes in any layout, labels and links."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from graphs import LONELY
from graphseam.config import config_of
from graphseam.errors import ConfigError, InputError, RunError
from graphseam.lease import held
from graphseam.place import batch_name, place
from graphseam.place.telling import print_batch
from graphseam.session import size_shuffles
from graphseam.tables import Tables
from placing import arrive, cosine, placed, vectors_of

FIRST = range(100, 110)  # the first clique of the planted graph; the second begins at 110
ARRIVING = [
    *[(200, known) for known in FIRST],  # 200 is joined to all of the first clique
    (201, 111),
    (202, 201),
    (203, 202),  # a chain attached to the second one
    (300, 301),
    (301, 302),  # no path to the run
    (303, 303),  # only a loop
    (100, 101),
    (101, 100),
    (102, 111),  # between known nodes, one of them twice, one new
    (LONELY, 112),
    (LONELY, 113),  # known, but it had no edge there
]


@pytest.fixture(scope="module")
def run(published, tmp_path_factory):
    """The newer of two published runs of the planted graph, in this file's own root."""
    return published.copied("planted", tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def told(run, tmp_path_factory):
    return arrive(run, ARRIVING, tmp_path_factory.mktemp("arriving"))


def test_what_became_of_the_rows_is_told(told):
    assert told["run_id"] == "newer"
    assert {
        key: told[key]
        for key in (
            "rows",
            "loops",
            "duplicate_edges",
            "edges",
            "edges_between_known_nodes",
            "nodes",
            "placed",
            "unreachable",
            "rejected",
        )
    } == {
        "rows": 21,
        "loops": 1,
        "duplicate_edges": 1,
        "edges": 17,
        "edges_between_known_nodes": 2,
        "nodes": 9,
        "placed": 5,
        "unreachable": 4,
        "rejected": {},
    }
    assert told["share_of_run"] == 9 / 96


def test_a_node_joined_to_all_of_a_clique_lands_nearest_to_it(run, told):
    new = {row["id"]: row for row in placed(run)}["200"]
    known = vectors_of(run)
    order = sorted((name for name in known if known[name].any()), key=lambda name: -cosine(new["vector"], known[name]))
    assert set(order[:10]) == {str(at) for at in FIRST}
    assert (new["hops"], new["num_neighbours"], new["status"]) == (1, 10, "placed")
    assert cosine(new["vector"], known["103"]) > 0.95


def test_a_chain_is_placed_step_by_step(run, told):
    rows = {row["id"]: row for row in placed(run)}
    assert [rows[name]["hops"] for name in ("201", "202", "203")] == [1, 2, 3]
    assert [rows[name]["num_neighbours"] for name in ("201", "202", "203")] == [2, 2, 1]
    known = vectors_of(run)
    for name in ("201", "202", "203"):
        assert cosine(rows[name]["vector"], known["115"]) > cosine(rows[name]["vector"], known["105"])


def test_what_no_vector_reaches_is_kept_with_zeros(run, told):
    rows = {row["id"]: row for row in placed(run)}
    for name, degree in (("300", 1), ("301", 2), ("302", 1), ("303", 0)):
        assert (rows[name]["status"], rows[name]["hops"], rows[name]["num_neighbours"]) == ("unreachable", None, degree)
        assert rows[name]["vector"] == [0.0] * 16


def test_a_node_that_had_no_edge_in_the_run_is_placed_under_its_own_number(run, told):
    numbers = {row["id"]: row["node_id"] for row in run.tables.read("nodes").collect()}
    rows = {row["id"]: row for row in placed(run)}
    assert (rows[str(LONELY)]["node_id"], rows[str(LONELY)]["hops"]) == (numbers[str(LONELY)], 1)
    assert np.any(rows[str(LONELY)]["vector"])
    others = [row["node_id"] for name, row in rows.items() if name != str(LONELY)]
    assert sorted(others) == list(range(max(numbers.values()) + 1, max(numbers.values()) + 9))


def test_vectors_are_the_views_mean_of_the_neighbours(run, told):
    """By numpy, for a node with neighbours only in the run: each view has the mean direction and mean length."""
    known = vectors_of(run)
    near = np.array([known[str(at)] for at in FIRST])
    expected = []
    for view in np.split(near, [14], axis=1):  # 7 / 8 of the columns and the rest
        mean = view.mean(axis=0)
        expected.append(mean / np.linalg.norm(mean) * np.linalg.norm(view, axis=1).mean())
    row = {row["id"]: row for row in placed(run)}["200"]
    np.testing.assert_allclose(row["vector"], np.concatenate(expected), atol=1e-6)
    for name in ("200", "201", "203"):
        vector = np.array({row["id"]: row for row in placed(run)}[name]["vector"])
        assert np.linalg.norm(vector) == pytest.approx(2.0, abs=1e-5)  # as refined vectors are


def test_links_are_of_the_run_and_not_those_the_batch_holds(run, told, capsys):
    rows = placed(run, table="placed_links")
    assert told["links"] == len(rows) == 5 * 10
    known = vectors_of(run)
    joined = {(str(a), str(b)) for a, b in ARRIVING} | {(str(b), str(a)) for a, b in ARRIVING}
    vectors = {row["id"]: row["vector"] for row in placed(run)}
    for row in rows:
        assert row["dst"] in known
        assert (row["src"], row["dst"]) not in joined
        assert row["src"] != row["dst"]
        assert row["cosine"] == pytest.approx(cosine(vectors[row["src"]], known[row["dst"]]), abs=1e-5)
    for name in ("201", "203"):
        mine = [row for row in rows if row["src"] == name]
        assert [row["rank"] for row in mine] == list(range(1, 11))
        assert all(a["score"] >= b["score"] for a, b in itertools.pairwise(mine))
        assert all(a["probability"] >= b["probability"] for a, b in itertools.pairwise(mine))
    assert told["labels"] == len(placed(run, table="placed_labels")) == 0
    assert told["no_model_of"] == ["labels"]
    print_batch(told)
    assert "The run has no model of labels: it predicted none\n" in capsys.readouterr().out


def test_layout_does_not_show_and_a_batch_is_replaced(run, told, tmp_path, monkeypatch):
    """Rows in another order, ends swapped, other partition counts: the same rows, none twice."""
    before = {table: placed(run, table=table) for table in ("placed_nodes", "placed_links")}
    shuffled = [(b, a) for a, b in ARRIVING]
    random.Random(4).shuffle(shuffled)
    monkeypatch.setattr("graphseam.session.ADAPT_FROM_ROWS", 0)  # adaptive execution, which small inputs do not use
    again = arrive(run, shuffled, tmp_path)
    monkeypatch.undo()
    size_shuffles(run.spark, 0)
    assert again == told
    assert {table: placed(run, table=table) for table in before} == before


def test_another_batch_of_an_older_run_leaves_the_first_alone(run, told, tmp_path):
    before = placed(run)
    arrive(run, [(200, 103), (400, 104)], tmp_path, run_id="older", batch="two")
    rows = {row["id"]: row for row in placed(run, "two")}
    assert {row["run_id"] for row in rows.values()} == {"older"}
    assert set(rows) == {"200", "400"}
    assert placed(run) == before
    arrive(run, [(200, 103), (400, 104)], tmp_path, batch="three")
    newer = {row["id"]: row["node_id"] for row in placed(run, "three")}
    assert newer["200"] == next(row["node_id"] for row in before if row["id"] == "200")
    assert newer["400"] not in {row["node_id"] for row in before}


def test_nodes_further_than_max_hops_are_not_reached(run, tmp_path):
    arrive(
        run,
        [(1000 + at, 1001 + at) for at in range(4)] + [(1000, 5)],
        tmp_path,
        batch="far",
        settings=("place.max_hops=3", "place.top_links=0"),
    )
    assert [(row["id"], row["hops"]) for row in placed(run, "far")] == [
        ("1000", 1),
        ("1001", 2),
        ("1002", 3),
        ("1003", None),
        ("1004", None),
    ]
    assert placed(run, "far", "placed_links") == []


def test_heavier_neighbours_count_more(run, tmp_path):
    arrive(
        run,
        [("src", "dst", "weight"), (500, 103, 9), (500, 113, 1), (501, 103, 1), (501, 113, 9)],
        tmp_path,
        batch="heavy",
        settings=("input.weight=weight", "place.top_links=0"),
    )
    known, rows = vectors_of(run), placed(run, "heavy")
    assert cosine(rows[0]["vector"], known["103"]) > cosine(rows[0]["vector"], known["113"])
    assert cosine(rows[1]["vector"], known["113"]) > cosine(rows[1]["vector"], known["103"])


def test_bad_rows_are_counted_and_kept(run, told, tmp_path):
    told = arrive(run, [(600, 3), ("x", 3), ("", 4), (601,)], tmp_path, batch="bad")
    assert told["rejected"] == {"dst is missing": 1, "src is missing": 1, "src is not a whole number of 64 bits": 1}
    assert [row["id"] for row in placed(run, "bad")] == ["600"]
    kept = run.tables.read("rejected_rows").where("source = 'batch bad'").collect()
    assert sorted(row["content"] for row in kept) == [",4", "601", "x,3"]
    arrive(run, [(600, 3)], tmp_path, batch="bad")
    assert run.tables.read("rejected_rows").where("source = 'batch bad'").count() == 0
    with pytest.raises(InputError, match=r"no row of the new edges can be used \(2 read; most often: src is not"):
        arrive(run, [("a", 1), ("b", 2)], tmp_path, batch="worse")


def test_what_cannot_work_is_told(run, tmp_path):
    with pytest.raises(RunError, match=r"there is no published run 'newest'\. Did you mean 'newer'"):
        arrive(run, [(1, 100)], tmp_path, run_id="newest")
    with pytest.raises(ConfigError, match=r"--batch is .* give 1 to 128 letters"):
        arrive(run, [(1, 100)], tmp_path, batch="a'b")
    with pytest.raises(ConfigError, match=r"place\.max_hops is 0"):
        arrive(run, [(1, 100)], tmp_path, settings=("place.max_hops=0",))
    with (
        held(run.spark, run.config.output, run.run_id, "place"),
        pytest.raises(RunError, match=r"is at the same work \(place\) on run"),
    ):
        arrive(run, [(1, 100)], tmp_path)
    assert batch_name("/data/new edges (2).csv") == "new-edges-2-.csv"
    assert batch_name("/data/day=1/") == "day-1"


def test_a_root_without_a_published_run_is_told(spark, run, tmp_path):
    (tmp_path / "e.csv").write_text("1,2\n")
    config = config_of({"input": {"edges": str(tmp_path / "e.csv")}, "output": {"root": str(tmp_path / "none")}})
    with pytest.raises(RunError, match="no run is published"):
        place(spark, config)
    assert Tables(spark, config.output).all_runs("placed_nodes").count() == 0


def test_the_job_takes_the_configuration_of_any_run():
    """Settings of the run's own files, its split and its pairs, do not apply to the new edges."""
    from graphseam.place.submit import for_edges

    config = config_of(
        {
            "input": {"edges": "old", "nodes": "n", "node_type": "kind", "pairs": "p", "split": "s", "weight": "w"},
            "output": {"root": "r"},
            "evaluate": {"held_out": "2"},
            "predict": {"links": {"candidates": "pairs", "src_type": "user"}},
        }
    )
    alone = for_edges(config, "new")
    assert (alone.input.edges, alone.input.weight, alone.output.root) == ("new", "w", "r")
    assert (alone.input.nodes, alone.input.pairs, alone.input.split) == ("", "", "")
    assert not alone.holds_out
