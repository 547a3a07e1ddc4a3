"""New nodes next to two labelled cliques, text ids, no refinement: their vectors, links and labels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from conftest import make_config, run_steps, write_graph
from graphs import SmallGraph
from placing import arrive, cosine, placed, vectors_of

NAMES = [f"{part}{at}" for part in "ab" for at in range(12)]
FRIENDS = {"new": ("b3", "b4", "b5"), "later": ("new",)}
ARRIVING = [*((name, friend) for name, friends in FRIENDS.items() for friend in friends), ("nobody", "no one")]


@pytest.fixture(scope="module")
def run(spark, tmp_path_factory):
    """A published run, and the nodes that arrived after it."""
    folder = tmp_path_factory.mktemp("names")
    graph = SmallGraph("names", [(x, y) for x in NAMES for y in NAMES if x < y and x[0] == y[0]] + [("a0", "b0")])
    (folder / "labels.csv").write_text("node,label\n" + "".join(f"{name},team {name[0]}\n" for name in NAMES))
    config = make_config(
        {**write_graph(graph, folder), "labels": str(folder / "labels.csv")},
        folder / "tables",
        embed={"dim": 16},
        predict={"links": {"top_k": 3}, "similar": {"top_k": 0}},
        refine={"rounds": 0, "hops": 0},
    )
    run = run_steps(spark, config, "names")
    told = arrive(run, [("src", "dst"), *ARRIVING], folder)
    assert (told["placed"], told["unreachable"], told["links"]) == (2, 2, 2 * 10)
    return run


@pytest.fixture(scope="module")
def vectors(run):
    """{id: vector} of those that were placed."""
    return {row["id"]: np.array(row["vector"]) for row in placed(run)}


def test_a_vector_that_is_not_refined_has_the_mean_length_of_its_friends(run, vectors):
    known = vectors_of(run)
    lengths = [np.linalg.norm(known[name]) for name in FRIENDS["new"]]
    assert np.linalg.norm(vectors["new"]) == pytest.approx(np.mean(lengths), rel=1e-5)


@pytest.mark.parametrize("name", FRIENDS)
def test_the_nearest_node_is_among_the_links(run, vectors, name):
    known = vectors_of(run)
    mine = [row for row in placed(run, table="placed_links") if row["src"] == name]
    assert [row["rank"] for row in mine] == list(range(1, 11))
    assert all(a["score"] >= b["score"] for a, b in itertools.pairwise(mine))
    free = [cosine(vectors[name], known[other]) for other in known if other not in FRIENDS[name]]
    assert max(row["cosine"] for row in mine) == pytest.approx(max(free), abs=1e-5)


def test_a_node_takes_its_friends_label_by_the_model_that_the_run_kept(run, vectors):
    """As the comments of the models' table describe."""
    for name in FRIENDS:
        labels = [row for row in placed(run, table="placed_labels") if row["id"] == name]
        assert [row["label"] for row in labels] == ["team b", "team a"]
        assert labels[0]["probability"] > 0.5
        assert sum(row["probability"] for row in labels) == pytest.approx(1)
        chances = {}
        for model in run.tables.read("label_models").where("model = 2").collect():
            score = np.dot(vectors[name], model["coefficients"]) + model["intercept"]
            scaled = model["calibration_slope"] * score + model["calibration_shift"]
            chances[model["label"]] = 1 / (1 + np.exp(-scaled))
        assert [row["probability"] for row in labels] == pytest.approx(
            [chances[row["label"]] / sum(chances.values()) for row in labels], abs=1e-9
        )
    assert {row["id"] for row in placed(run, table="placed_labels")} == set(FRIENDS)
