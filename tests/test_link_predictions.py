"""The step predict_links through tables: what is predicted, for which nodes, and whether probabilities are right."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from conftest import arrow_of, make_config, run_steps
from graphs import communities
from graphseam.errors import ConfigError, InputError, RunError
from graphseam.pipeline import run_step
from graphseam.predict.features import as_pairs
from graphseam.predict.paths import PathSearch
from graphseam.progress import StepProgress
from graphseam.publish import require_what_was_written
from graphseam.runs import Run, open_run
from graphseam.scratch import scratch_folder

SMALL = {"embed": {"dim": 16}, "predict": {"links": {"top_k": 5}, "similar": {"top_k": 0}}}


def write_edges(path, edges, **columns) -> str:
    src, dst = zip(*edges, strict=True)
    pq.write_table(pa.table({"src": list(src), "dst": list(dst), **columns}), path)
    return str(path)


def links_of(run) -> list:
    return run.tables.read("link_predictions").sort("src_node_id", "rank").collect()


def ring(num_nodes: int, seed: int) -> list[tuple[int, int]]:
    """Nodes close on a ring are more likely joined, so some missing edges are more certain than others."""
    rng = np.random.default_rng(seed)
    return sorted(
        {
            (node, (node + step) % num_nodes)
            for node in range(num_nodes)
            for step in range(1, 30)
            if rng.random() < 0.9 * 0.88**step
        }
    )


@pytest.fixture(scope="module")
def held(spark, tmp_path_factory):
    """(input, root, run) of a ring with 20 % of its edges held out."""
    folder = tmp_path_factory.mktemp("held")
    section = {"edges": write_edges(folder / "edges.parquet", ring(480, seed=1))}
    config = make_config(section, folder / "tables", evaluate={"holdout": 0.2}, **SMALL)
    return section, folder / "tables", run_steps(spark, config, "measured", last="evaluate")


def test_no_edge_no_loop_no_duplicate_and_the_best_first(held):
    _, _, run = held
    ends = run.tables.read("edges").select("src", "dst").collect()
    edges = {frozenset((row["src"], row["dst"])) for row in ends}
    held_out = {frozenset((row["src"], row["dst"])) for row in run.tables.read("holdout_edges").collect()}
    by_source: dict[int, list] = {}
    for row in links_of(run):
        pair = frozenset((row["src_node_id"], row["dst_node_id"]))
        assert len(pair) == 2
        assert pair not in edges
        assert row["held_out"] == (pair in held_out)
        by_source.setdefault(row["src_node_id"], []).append(row)
    assert len(by_source) == 480
    for rows in by_source.values():
        assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
        assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
        assert [row["probability"] for row in rows] == sorted((row["probability"] for row in rows), reverse=True)
        assert len({row["dst_node_id"] for row in rows}) == 5


def test_features_are_those_of_the_graph(held):
    import networkx as nx

    _, _, run = held
    graph = nx.Graph([(row["src"], row["dst"]) for row in run.tables.read("edges").collect()])
    vectors = {row["node_id"]: np.array(row["vector"]) for row in run.tables.read("embeddings").collect()}
    for row in links_of(run)[::97]:
        pair = row["src_node_id"], row["dst_node_id"]
        assert row["num_paths"] == len(list(nx.common_neighbors(graph, *pair)))
        assert row["adamic_adar"] == pytest.approx(next(nx.adamic_adar_index(graph, [pair]))[2], rel=1e-5, abs=1e-9)
        assert row["resource_allocation"] == pytest.approx(
            next(nx.resource_allocation_index(graph, [pair]))[2], rel=1e-5, abs=1e-9
        )
        assert (row["src_degree"], row["dst_degree"]) == (graph.degree(pair[0]), graph.degree(pair[1]))
        left, right = (vectors[node] for node in pair)
        assert row["cosine"] == pytest.approx(left @ right / np.linalg.norm(left) / np.linalg.norm(right), abs=1e-5)


def test_probabilities_come_true(held):
    """The share of held-out edges among predictions matches the probabilities, overall and in each half."""
    _, _, run = held
    rows = run.tables.read("link_predictions").toPandas()
    assert rows["probability"].mean() == pytest.approx(rows["held_out"].mean(), abs=0.01)
    low = rows["probability"] < rows["probability"].median()
    assert rows[low]["probability"].mean() == pytest.approx(rows[low]["held_out"].mean(), abs=0.05)
    assert rows[~low]["probability"].mean() == pytest.approx(rows[~low]["held_out"].mean(), abs=0.05)
    assert rows[~low]["held_out"].mean() > rows[low]["held_out"].mean()
    error = {row["scorer"]: row["value"] for row in run.tables.read("metrics").where("metric = 'ece'").collect()}
    assert len(error) == 1
    assert max(error.values()) <= 0.03


def test_the_model_tells_edges_from_drawn_pairs(held):
    """It is measured like the cosine, on every drawn pair."""
    _, _, run = held
    metrics = {
        (row["metric"], row["variant"], row["scorer"]): row["value"]
        for row in run.tables.read("metrics").where("stratum = 'all'").collect()
    }
    assert metrics["auc", "hard", "link_model"] > 0.8
    pairs = run.tables.read("evaluation_pairs").select("src", "dst").distinct()
    scored = run.tables.read("pair_scores").select("src", "dst")
    assert pairs.join(scored, on=["src", "dst"], how="left_anti").count() == 0
    assert scored.count() == scored.distinct().count()


def test_another_run_may_lend_its_model(spark, held):
    """A nightly run that embeds every edge uses the model and curves of a run that held edges out."""
    section, root, first = held
    links = {"top_k": 5, "model_run": "measured"}
    config = make_config(section, root, **{**SMALL, "predict": {"links": links, "similar": {"top_k": 0}}})
    run = run_steps(spark, config, "nightly", last="predict_links")
    assert run.details("predict_links")["calibrated_on"] == "run measured"
    kept = [sorted(map(str, one.tables.read("link_models").collect())) for one in (first, run)]
    assert kept[0] == kept[1]
    rows = links_of(run)
    assert len(rows) == 480 * 5
    assert not any(row["held_out"] for row in rows)
    assert 0 < max(row["probability"] for row in rows) < 1
    wrong = replace(config.predict, links=replace(config.predict.links, model_run="none"))
    with pytest.raises(RunError, match=r"predict.links.model_run is 'none', and that run has no link model"):
        run_step(open_run(spark, replace(config, predict=wrong), "nightly"), "predict_links", StepProgress(total=1))


def test_without_held_out_edges_the_run_says_what_it_was_calibrated_on(published):
    run = published("planted", "older")
    assert run.details("predict_links")["calibrated_on"] == "embedded edges"
    assert len(links_of(run)) == 95 * 2


def bipartite_edges(seed: int) -> list[tuple[str, str]]:
    """Users who choose most of their items from one of four shelves; item names sort before user names."""
    rng = np.random.default_rng(seed)
    edges = set()
    for user in range(120):
        for _ in range(12):
            shelf = user % 4 if rng.random() < 0.85 else rng.integers(4)
            edges.add((f"user {user:03d}", f"book {shelf * 15 + rng.integers(15):02d}"))
    return sorted(edges)


@pytest.fixture(scope="module")
def shop(spark, tmp_path_factory):
    """(folder, run) of a bipartite graph with node types, edges held out by a column."""
    folder = tmp_path_factory.mktemp("shop")
    edges = bipartite_edges(5)
    split = ["test" if at % 5 == 0 else "train" for at in range(len(edges))]
    names = sorted({end for edge in edges for end in edge})
    pq.write_table(pa.table({"node": names, "kind": [name.split()[0] for name in names]}), folder / "nodes.parquet")
    section = {
        "edges": write_edges(folder / "edges.parquet", edges, split=split),
        "split": "split",
        "nodes": str(folder / "nodes.parquet"),
        "node_type": "kind",
    }
    config = make_config(section, folder / "tables", evaluate={"held_out": "test"}, **SMALL)
    return folder, run_steps(spark, config, "shop", last="predict_links")


@pytest.fixture(scope="module")
def plain(spark, tmp_path_factory):
    """(run,) of a ring of which nothing is held out."""
    folder = tmp_path_factory.mktemp("plain")
    section = {"edges": write_edges(folder / "edges.parquet", ring(240, seed=2))}
    return (run_steps(spark, make_config(section, folder / "tables", **SMALL), "plain", last="refine"),)


def test_users_get_items_not_users(shop):
    _, run = shop
    assert run.details("ingest")["bipartite"]
    rows = links_of(run)
    assert {row["src"].split()[0] for row in rows} == {"user"}
    assert {row["dst"].split()[0] for row in rows} == {"book"}
    assert len({row["src"] for row in rows}) == 120
    own_shelf = np.mean([int(row["dst"][5:]) // 15 == int(row["src"][5:]) % 4 for row in rows if row["rank"] == 1])
    assert own_shelf > 0.8
    hits = sum(row["held_out"] for row in rows)
    assert hits > 0.4 * run.tables.read("holdout_edges").count()


def test_pairs_to_measure_by_face_the_items(shop):
    _, run = shop
    sides = {row["node_id"]: row["side"] for row in run.tables.read("nodes").collect()}
    pairs = run.tables.read("evaluation_pairs").collect()
    assert len(pairs) > 1000
    assert {(sides[row["src"]], sides[row["dst"]]) for row in pairs} == {("src", "dst")}
    types = {row["id"]: row["type"] for row in run.tables.read("nodes").collect()}
    assert types["book 00"] == "book"


def test_types_choose_who_gets_what(spark, shop, tmp_path):
    """Books get users if the configuration says so, from the same vectors."""
    folder, made = shop
    shutil.copytree(folder / "tables", tmp_path / "tables")

    def predict_again(**settings) -> Run:
        links = replace(made.config.predict.links, **settings)
        output = replace(made.config.output, root=str(tmp_path / "tables"))
        config = replace(made.config, output=output, predict=replace(made.config.predict, links=links))
        run = open_run(spark, config, "shop")
        run_step(run, "predict_links", StepProgress(total=1))
        return run

    rows = links_of(predict_again(top_k=3, src_type="book", dst_type="user"))
    assert {(row["src"].split()[0], row["dst"].split()[0]) for row in rows} == {("book", "user")}
    with pytest.raises(InputError, match=r"predict.links.src_type is 'boook', and no node is of that type.*'book'"):
        predict_again(src_type="boook")


PREDICTED = {
    "candidate_lists": ["src", "learning"],
    "nearest_nodes": ["node_id"],
    "link_predictions": ["src_node_id", "rank"],
    "pair_scores": ["src", "dst"],
    "link_models": ["model", "term"],
    "link_calibration": ["fold", "score"],
}


def predicted(run: Run) -> dict[str, pa.Table]:
    """What predict_links has written, in order."""
    return {name: arrow_of(run.tables.read(name).sort(*order)) for name, order in PREDICTED.items()}


@pytest.mark.parametrize(
    ("graph", "links"),
    [
        ("held", {}),
        pytest.param("held", {"candidates": "cells"}, marks=pytest.mark.thorough),
        pytest.param("shop", {}, marks=pytest.mark.thorough),
        ("shop", {"src_type": "book", "dst_type": "user", "hub_cap": 20}),
        pytest.param("plain", {}, marks=pytest.mark.thorough),
    ],
)
def test_a_graph_that_one_task_holds_is_predicted_as_one_that_none_does(
    spark, request, tmp_path, monkeypatch, graph, links
):
    """The same bytes. Of the latter, features are computed by several tasks which get all vectors; the former's lists
    of neighbours are made in parts."""
    monkeypatch.setattr("graphseam.predict.whole_graph.parts_that_fit", lambda *_: 4)
    monkeypatch.setattr("graphseam.predict.search_plan.NODES_PER_CELL", 40)
    monkeypatch.setattr("graphseam.predict.candidates.EXACT_LIMIT", 100)
    made, found = request.getfixturevalue(graph)[-1], []
    for held in ("whole", "in parts"):
        if held == "in parts":
            monkeypatch.setattr("graphseam.predict.link_search.whole_graph", lambda *_: None)
        shutil.copytree(made.config.output.root, tmp_path / held)
        predict = replace(
            made.config.predict,
            links=replace(made.config.predict.links, top_k=4, **links),
            similar=replace(made.config.predict.similar, top_k=3, method="auto" if graph == "shop" else "exact"),
        )
        output = replace(made.config.output, root=str(tmp_path / held))
        run = open_run(spark, replace(made.config, output=output, predict=predict), made.run_id)
        run_step(run, "predict_links", StepProgress(total=1))
        require_what_was_written(run)
        found.append(predicted(run))
    for name, whole in found[0].items():
        assert whole.equals(found[1][name]), name
    assert found[0]["link_predictions"].num_rows > 100
    assert (found[0]["nearest_nodes"].num_rows > 0) == (graph != "shop" and not links)
    assert set(found[0]["link_models"]["model"].to_pylist()) == {"candidates", "pairs"}
    assert not list(scratch_folder().glob("blocks-*")), "the graph was left there"


def test_given_pairs_and_no_others(spark, tmp_path):
    """Known edges, loops and pairs with unknown nodes are not predicted, and are counted."""
    edges = communities(4, 30, seed=3)
    known = edges[-1]
    wanted = [(0, 1), (0, 50), (0, 119), (1, 77), known, (5, 5), (5, 9999)]
    free = {pair for pair in wanted[:4] if pair not in set(edges) and pair[::-1] not in set(edges)}
    section = {
        "edges": write_edges(tmp_path / "edges.parquet", edges),
        "pairs": write_edges(tmp_path / "pairs.parquet", wanted),
    }
    predict = {"links": {"top_k": 5, "candidates": "pairs"}, "similar": {"top_k": 0}}
    config = make_config(section, tmp_path / "tables", evaluate={"holdout": 0.1}, **{**SMALL, "predict": predict})
    run = run_steps(spark, config, "given", last="predict_links")
    told = run.details("ingest")
    assert (told["pairs"], told["pairs_left_out"]) == (5, 2)
    embedded = {frozenset((row["src"], row["dst"])) for row in run.tables.read("edges").collect()}
    got = {(int(row["src"]), int(row["dst"])) for row in links_of(run)}
    ids = {row["id"]: row["node_id"] for row in run.tables.read("nodes").collect()}
    assert free <= got <= set(wanted[:5])
    assert not any(frozenset((ids[str(a)], ids[str(b)])) in embedded for a, b in got)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"predict": {"links": {"candidates": "pairs"}}}, "belong together"),
        ({"predict": {"links": {"candidates": "exact+cells"}}}, "give exact or cells, not both"),
        ({"predict": {"links": {"candidates": "two_hops"}}}, "Did you mean 'two_hop'"),
        ({"predict": {"links": {"candidates": "auto+two_hop"}}}, "give auto or pairs alone"),
        ({"predict": {"links": {"top_k": 10, "num_candidates": 5}}}, "predict.links.num_candidates is 5"),
        ({"predict": {"links": {"src_type": "user"}}}, "input.node_type is not"),
        ({"predict": {"links": {"model_run": "../x"}}}, "run id '../x' cannot be used"),
        ({"predict": {"links": {"hub_cap": 1}}}, "predict.links.hub_cap is 1"),
    ],
)
def test_settings_that_cannot_work_are_told(tmp_path, sections, message):
    with pytest.raises(ConfigError, match=message.replace("..", r"\.\.")):
        make_config({"edges": "edges.csv"}, tmp_path, **sections)


def test_every_kind_of_candidates_predicts_links(spark, held, tmp_path, monkeypatch):
    """From the same vectors: the run is resumed with other settings. Tasks that hold all of the graph find the same as
    blocks that know only what their nodes need."""
    monkeypatch.setattr("graphseam.predict.search_plan.NODES_PER_CELL", 40)
    section, root, _ = held
    shutil.copytree(root, tmp_path / "tables")
    found = {}

    def three_blocks(edges: int, task_mb: int, cores: int, shape: tuple[bool, int, int]) -> PathSearch:
        return PathSearch(*shape, 3, 1 << 30, whole=False)

    for candidates in ("exact", "cells", "two_hop", "hnsw+two_hop", "cells+two_hop"):
        if candidates == "cells+two_hop":  # several tasks, each with the vectors it needs
            monkeypatch.setattr("graphseam.predict.link_search.whole_graph", lambda *_: None)
            monkeypatch.setattr("graphseam.predict.candidates.count_blocks", lambda *_: 3)
            monkeypatch.setattr("graphseam.predict.link_search.plan_paths", three_blocks)
        predict = {"links": {"top_k": 5, "candidates": candidates}, "similar": {"top_k": 0}}
        config = make_config(section, tmp_path / "tables", evaluate={"holdout": 0.2}, **{**SMALL, "predict": predict})
        run = open_run(spark, config, "measured")
        run_step(run, "predict_links", StepProgress(total=1))
        require_what_was_written(run)
        found[candidates] = {(row["src"], row["dst"]) for row in links_of(run)}
        assert len(found[candidates]) > 2000
        recall = run.tables.read("search_recall").collect()
        assert [row["method"] for row in recall] == (["cells"] if candidates.startswith(("cells", "hnsw")) else [])
        assert all(row["recall"] > 0.9 and row["queries"] > 100 and row["indexes"] > 3 for row in recall)
    assert len(found["exact"] & found["cells"]) / len(found["exact"]) > 0.9
    assert found["cells+two_hop"] == found["hnsw+two_hop"]
    assert found["two_hop"] != found["exact"]
    candidates = as_pairs(run.tables.read("candidate_lists"))
    assert (
        candidates.where((F.col("num_paths") == 0) & ~F.col("learning")).count() > 0
    )  # nearest vectors add pairs that no path joins
