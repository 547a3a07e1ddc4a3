"""evaluate: pairs of the stated kinds, metrics that agree with scikit-learn and the referee, a given split."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from conftest import make_config, run_steps
from graphs import clique, communities
from graphseam.errors import InputError
from graphseam.evaluate import link_metrics_of
from graphseam.evaluate.metrics import STRATA, link_metrics, metrics_of_pairs
from graphseam.evaluate.reliability import calibration_errors, reliability
from graphseam.evaluate.scores import _score_block, num_score_blocks, score_pairs
from graphseam.pairs import (
    HARD,
    RANKED_AMONG,
    RANKING,
    UNIFORM,
    Pool,
    draw_negatives,
    ends_of,
    numbered,
    sample_edges,
    with_degrees,
)

PAIR = "kind STRING, query BIGINT, src BIGINT, dst BIGINT"
EDGES = "src BIGINT, dst BIGINT, weight DOUBLE"
GRAPH = sorted({(min(edge), max(edge)) for edge in communities(4, 30, seed=3)})


def draw(spark, edges: list[tuple[int, int]], num_nodes: int, max_ranked: int, num_parts: int = 1, dense: bool = True):
    """(positives, negatives) of a graph with every third edge held out, drawn as ingest draws them."""
    rows = spark.createDataFrame([(a, b, 1.0) for a, b in edges], EDGES).repartition(num_parts)
    positives = sample_edges(rows.where("(src + dst) % 3 = 0"), 1000, seed=7).cache()
    nodes = None if dense else numbered(spark.range(num_nodes).select((F.col("id")).alias("node_id")))
    pools = [Pool(UNIFORM, num_nodes, nodes), Pool(HARD, 2 * positives.count(), numbered(ends_of(positives)))]
    negatives = draw_negatives(positives, pools, rows, max_ranked, seed=7)
    return positives, negatives


def test_negatives_are_no_edge_of_the_whole_graph_and_come_in_the_numbers_asked(spark):
    """One of each kind per positive, 100 for the first 20; same src, no loop; hard ends are ends of positives."""
    positives, negatives = draw(spark, GRAPH, 120, max_ranked=20)
    kept = {row["query"]: row for row in positives.collect()}
    found = negatives.collect()
    known = set(GRAPH)
    assert all((min(row["src"], row["dst"]), max(row["src"], row["dst"])) not in known for row in found)
    assert all(row["src"] != row["dst"] and row["src"] == kept[row["query"]]["src"] for row in found)
    ends = {end for row in kept.values() for end in (row["src"], row["dst"])}
    assert {row["dst"] for row in found if row["kind"] in (HARD, RANKING[HARD])} <= ends
    counts = Counter((row["kind"], row["query"]) for row in found)
    for kind in (UNIFORM, HARD):
        assert {counts[kind, query] for query in kept} == {1}
        assert {query: counts[RANKING[kind], query] for query in kept} == {
            query: RANKED_AMONG if query < 20 else 0 for query in kept
        }
    assert sorted(kept) == list(range(len(kept)))
    assert {(min(row["src"], row["dst"]), max(row["src"], row["dst"])) for row in kept.values()} == {
        edge for edge in GRAPH if sum(edge) % 3 == 0
    }


def test_the_same_pairs_are_drawn_whatever_the_layout(spark):
    """In 1 or 7 partitions, the edges in another order, and with node numbers looked up instead of counted."""
    expected = sorted(map(tuple, draw(spark, GRAPH, 120, 5)[1].collect()))
    moved = sorted(map(tuple, draw(spark, GRAPH[::-1], 120, 5, num_parts=7, dense=False)[1].collect()))
    assert expected == moved


def test_a_complete_graph_has_no_negatives_and_an_empty_one_no_pairs(spark):
    """If no pair can be drawn there are no pairs, and no metrics."""
    positives, negatives = draw(spark, clique(range(9)), 9, max_ranked=5)
    assert positives.count() > 0
    assert negatives.count() == 0
    pairs = (
        positives.select(F.lit("positive").alias("kind"), "query", "src", "dst")
        .union(negatives)
        .withColumns({"min_degree": F.lit(3), "cosine": F.lit(0.5)})
    )
    assert link_metrics(pairs, ["cosine"], 5).count() == 0
    empty = spark.createDataFrame([], EDGES)
    assert sample_edges(empty, 1000, seed=7).count() == 0
    assert link_metrics(pairs.where("query < 0"), ["cosine"], 5).count() == 0


def test_degrees_count_the_edges_of_the_embedded_graph(spark):
    """A node without an embedded edge has degree 0."""
    edges = spark.createDataFrame([(0, 1, 1.0), (0, 2, 1.0), (0, 3, 1.0), (1, 2, 1.0)], EDGES)
    pairs = spark.createDataFrame([("positive", 0, 0, 1), ("uniform", 0, 0, 9)], PAIR)
    found = {row["kind"]: (row["min_degree"], row["degree_product"]) for row in with_degrees(pairs, edges).collect()}
    assert found == {"positive": (2, 6.0), "uniform": (0, 0.0)}


@pytest.mark.parametrize("num_blocks", [1, 3])
def test_scores_are_those_of_the_vectors_in_any_number_of_blocks(spark, num_blocks):
    """Bit for bit the dot product of each pair's vectors; zero and missing vectors score 0."""
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((40, 6)).astype(np.float32)
    vectors[7] = 0
    rows = [(node, vector.tolist()) for node, vector in enumerate(vectors)]
    embeddings = spark.createDataFrame(rows, "node_id BIGINT, vector ARRAY<FLOAT>")
    ends = [*rng.integers(0, 40, (300, 2)).tolist(), [3, 7], [3, 99]]
    pairs = spark.createDataFrame([("uniform", at, *end) for at, end in enumerate(ends)], PAIR).repartition(4)
    found = {row["query"]: row for row in score_pairs(pairs, embeddings, num_blocks).collect()}
    assert sorted(found) == list(range(302))
    for at, (src, dst) in enumerate(ends[:301]):
        left, right = vectors[src].astype(float), vectors[dst].astype(float)
        assert found[at]["dot_product"] == pytest.approx(left @ right, abs=1e-12)
        lengths = max(np.linalg.norm(left) * np.linalg.norm(right), 1e-300)
        assert found[at]["cosine"] == pytest.approx(left @ right / lengths, abs=1e-12)
    assert found[301]["dot_product"] == found[301]["cosine"] == found[300]["cosine"] == 0


def test_score_blocks_grow_with_the_vectors_that_pairs_can_need():
    """128 MB of float32 per block: bounded by nodes in a small graph, by pairs in a large one."""
    assert num_score_blocks(500_000, 10_000, 128) == 1
    assert num_score_blocks(500_000, 100_000_000, 128) == 4
    assert num_score_blocks(0, 0, 128) == 1


def made_pairs(rng, num_positives: int, num_ranked: int) -> dict[str, np.ndarray]:
    kinds = ["positive"] * num_positives
    queries = list(range(num_positives))
    for kind in (UNIFORM, HARD):
        kinds += [kind] * num_positives + [RANKING[kind]] * (num_ranked * RANKED_AMONG)
        queries += [*range(num_positives), *np.repeat(range(num_ranked), RANKED_AMONG).tolist()]
    return {
        "kind": np.array(kinds),
        "query": np.array(queries),
        "min_degree": rng.integers(0, 50, len(kinds)),
        "perfect": np.array(kinds) == "positive",
        "random": rng.random(len(kinds)),
        "equal": np.zeros(len(kinds)),
    }


def values_of(table: pa.Table) -> dict[tuple[str, ...], float]:
    rows = table.to_pylist()
    found = {(row["metric"], row["variant"], row["scorer"], row["stratum"]): row["value"] for row in rows}
    assert len(found) == len(rows)
    return found


def test_perfect_scores_give_1_random_ones_a_half_and_equal_ones_the_middle_rank():
    """Each stratum is measured on its own positives."""
    made = made_pairs(np.random.default_rng(1), 3000, 1000)
    table = pa.table({**made, "perfect": made["perfect"].astype(float)})
    found = values_of(metrics_of_pairs(table, ["perfect", "random", "equal"], 1000))
    assert {value for (_, _, scorer, _), value in found.items() if scorer == "perfect"} == {1.0}
    for variant in (UNIFORM, HARD):
        assert found["auc", variant, "random", "all"] == pytest.approx(0.5, abs=0.03)
        assert found["ap", variant, "random", "all"] == pytest.approx(0.5, abs=0.03)
        assert found["hits@50_of_101", variant, "random", "all"] == pytest.approx(50 / 101, abs=0.05)
        assert found["ogb_hits@100", variant, "random", "all"] == pytest.approx(100 / 3000, abs=0.02)
        assert found["auc", variant, "equal", "all"] == 0.5
        assert found["mrr_of_101", variant, "equal", "all"] == pytest.approx(1 / 51)
        assert found["hits@50_of_101", variant, "equal", "all"] == 0
        assert found["hits@100_of_101", variant, "equal", "all"] == 1
    assert {stratum for *_, stratum in found} == {"all", *STRATA}
    degrees, scores = made["min_degree"], made["random"]
    low = np.flatnonzero((made["kind"] == "positive") & (degrees >= 3) & (degrees <= 7))
    ranked_negatives = defaultdict(list)
    for kind, query, score in zip(made["kind"], made["query"], scores, strict=True):
        if kind == RANKING[HARD]:
            ranked_negatives[query].append(score)
    ranks = [1 + sum(score > scores[at] for score in ranked_negatives[at]) for at in low if at < 1000]
    assert found["mrr_of_101", HARD, "random", "degree 3 to 7"] == pytest.approx(np.mean(1 / np.array(ranks)))


@pytest.fixture(scope="module")
def referee_split(evalkit, shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("split")
    evalkit.lp_split(str(shared_data / "cora" / "edges.parquet"), str(folder), seed=3)
    return folder


def as_evaluation_pairs(split: dict[str, np.ndarray]) -> tuple[pa.Table, int]:
    """(pairs, ranked positives): the referee's split as our table, without the negatives it marks -1."""
    numbers = np.empty(len(split["pos"]), np.int64)
    order = np.concatenate([split["rank_rows"], np.setdiff1d(np.arange(len(numbers)), split["rank_rows"])])
    numbers[order] = np.arange(len(numbers))
    parts = [("positive", numbers, split["pos"])]
    for kind in (UNIFORM, HARD):
        ranked = split[f"rank_{kind}"]
        ranked_negatives = np.stack(
            [np.repeat(split["pos"][split["rank_rows"], 0], ranked.shape[1]), ranked.ravel()], 1
        )
        parts += [
            (kind, numbers, split[f"neg_{kind}"]),
            (RANKING[kind], np.repeat(np.arange(len(ranked)), ranked.shape[1]), ranked_negatives),
        ]
    kinds = np.repeat([kind for kind, _, _ in parts], [len(pairs) for _, _, pairs in parts])
    queries, pairs = np.concatenate([query for _, query, _ in parts]), np.concatenate([part[2] for part in parts])
    real = pairs[:, 1] >= 0
    degree = split["degree"][pairs]
    return pa.table(
        {
            "kind": kinds,
            "query": queries,
            "src": pairs[:, 0],
            "dst": pairs[:, 1],
            "min_degree": degree.min(1),
            "degree_product": degree.prod(1).astype(float),
        }
    ).filter(real), len(split["rank_rows"])


def vectors_for(name: str, num_nodes: int, edges: np.ndarray) -> np.ndarray:
    """Random vectors; small integers, with many ties and zeros; and ProNE's vectors of the training edges."""
    from graphseam.graph import Graph
    from graphseam.methods import EMBEDDERS

    rng = np.random.default_rng(2)
    if name == "random":
        return rng.standard_normal((num_nodes, 16)).astype(np.float32)
    if name == "whole numbers":
        return rng.integers(-1, 2, (num_nodes, 3)).astype(np.float32)
    graph = Graph.from_edges(edges[:, 0], edges[:, 1], np.ones(len(edges)), np.arange(num_nodes))
    return EMBEDDERS["prone"](dim=32).embed(graph, 5, "cpu")


@pytest.mark.parametrize("name", ["random", "whole numbers", "prone"])
def test_metrics_are_the_referees(evalkit, referee_split, tmp_path, name):
    """Every metric of dot product, cosine and degrees within 1e-6 on the referee's own split."""
    split = dict(np.load(referee_split / "split.npz"))
    train = pq.read_table(referee_split / "train.parquet")
    edges = np.searchsorted(split["nodes"], np.stack([train["src"].to_numpy(), train["dst"].to_numpy()], 1))
    vectors = vectors_for(name, len(split["nodes"]), edges)
    evalkit.write_emb(tmp_path / "x.parquet", split["nodes"], vectors)
    judged = evalkit.lp_score(str(referee_split), str(tmp_path / "x.parquet"), scorers=("dot", "cosine", "degree"))
    pairs, num_ranked = as_evaluation_pairs(split)
    embeddings = pa.table({"node_id": np.arange(len(vectors)), "vector": list(vectors)})
    scored = _score_block(pairs.append_column("block", pa.array(np.zeros(len(pairs), int))), embeddings)
    found = values_of(metrics_of_pairs(scored, ["dot_product", "cosine", "degree_product"], num_ranked))
    scorers = {"dot": "dot_product", "degree": "degree_product"}
    ours = {
        "mrr": "mrr_of_101",
        "ogb_hits50": "ogb_hits@50",
        "ogb_hits100": "ogb_hits@100",
        **{f"hits{k}": f"hits@{k}_of_101" for k in (1, 10, 50, 100)},
    }
    assert len(judged) == 2 * 3 * 9
    for row in judged:
        key = (ours.get(row["metric"], row["metric"]), row["ratio"], scorers.get(row["form"], row["form"]), "all")
        assert found[key] == pytest.approx(row["mean"], abs=1e-6), key


def test_reliability_has_bins_of_about_equal_counts_and_ece_is_their_gap(spark):
    """Also where nearly all probabilities are small, as those of links are: bins of equal width told nothing there."""
    rng = np.random.default_rng(8)
    probabilities = np.concatenate([rng.random(5000) ** 6, np.full(700, 0.25), [0.0, 1.0, 1e-9]])
    truth = rng.random(len(probabilities)) < probabilities**2
    rows = list(zip(["link_prediction"] * len(truth), probabilities.tolist(), truth.tolist(), strict=True))
    judged = spark.createDataFrame(rows, "task STRING, probability DOUBLE, true BOOLEAN")
    bins = reliability(judged)
    found = sorted(bins.collect(), key=lambda row: row["bin_low"])
    assert (found[0]["bin_low"], found[-1]["bin_high"]) == (0.0, 1.0)
    assert all(one["bin_high"] < two["bin_low"] for one, two in itertools.pairwise(found))
    inside = [(probabilities >= row["bin_low"]) & (probabilities <= row["bin_high"]) for row in found]
    support = np.array([row["support"] for row in found])
    assert support.tolist() == [chosen.sum() for chosen in inside]
    assert support.sum() == len(truth)
    assert len(found) >= 8
    assert support.max() < 2.5 * len(truth) / 10  # the many that are equal share a bin
    mean, observed = (np.array([values[chosen].mean() for chosen in inside]) for values in (probabilities, truth))
    np.testing.assert_allclose([row["mean_probability"] for row in found], mean, atol=1e-9)
    np.testing.assert_allclose([row["observed_rate"] for row in found], observed, atol=1e-9)
    error = calibration_errors([row.asDict() for row in bins.collect()])
    assert [(row["task"], row["metric"], row["support"]) for row in error] == [("link_prediction", "ece", len(truth))]
    assert error[0]["value"] == pytest.approx(np.abs(observed - mean) @ support / support.sum(), abs=1e-9)


@pytest.mark.parametrize("probabilities", [[0.3], [0.0, 0.0], [0.5] * 20, [0.1, 0.9]])
def test_reliability_of_few_or_equal_probabilities(spark, probabilities):
    rows = [("node_classification", value, value > 0.4) for value in probabilities]
    found = reliability(spark.createDataFrame(rows, "task STRING, probability DOUBLE, true BOOLEAN")).collect()
    assert sum(row["support"] for row in found) == len(probabilities)
    assert {row["bin_low"] for row in found} == set(probabilities)


SPLIT = [
    ("1", "2", "0"),
    ("2", "3", "0"),
    ("3", "1", "1"),
    ("3", "4", "0"),
    ("4", "5", "2"),
    ("1", "4", "2"),
    ("4", "1", "2"),
    ("2", "4", "2"),
    ("4", "2", "0"),
    ("6", "1", "3"),
]


def given_split(spark, tmp_path, run_id: str, held_out: str, header: str = "", **input_section):
    path = tmp_path / f"{run_id}.csv"
    path.write_text("".join(f"{line}\n" for line in ([header] if header else []) + [",".join(row) for row in SPLIT]))
    config = make_config({"edges": str(path), **input_section}, tmp_path / "tables", evaluate={"held_out": held_out})
    return run_steps(spark, config, run_id, last="ingest")


def edges_in(run, table: str) -> set[tuple[int, int]]:
    ids = {row["node_id"]: int(row["id"]) for row in run.tables.read("nodes").collect()}
    return {tuple(sorted((ids[row["src"]], ids[row["dst"]]))) for row in run.tables.read(table).collect()}


def test_a_given_split_is_kept(spark, tmp_path):
    """By name and by position: only held-out values are set aside; an edge given both ways is embedded."""
    named = given_split(spark, tmp_path, "named", "2, 3", header="src,dst,part", split="part")
    assert edges_in(named, "holdout_edges") == {(4, 5), (1, 4), (1, 6)}
    assert edges_in(named, "edges") == {(1, 2), (2, 3), (1, 3), (3, 4), (2, 4)}
    told = named.details("ingest")
    assert (told["edges"], told["holdout_edges"], told["duplicate_edges"], told["nodes_held_out"]) == (5, 3, 2, 2)
    positives = named.tables.read("evaluation_pairs").where("kind = 'positive'").collect()
    assert len(positives) == 3
    placed = given_split(spark, tmp_path, "placed", "2", split="2", directed=True)
    assert edges_in(placed, "holdout_edges") == {(4, 5), (1, 4)}
    assert placed.details("ingest")["edges"] == 7  # both directions of (2, 4), as one of them is embedded


@pytest.mark.parametrize(
    ("held_out", "message"),
    [
        ("9", r"no row has '9' \(evaluate.held_out\) in column 'part' of .*most frequent there: '0' \(4 rows\), '2'"),
        ("2,9", "no row has '9'"),
        ("0,1,2,3", "every row has '0' or '1' or '2' or '3' .* none is left to embed"),
    ],
)
def test_a_split_that_separates_nothing_is_an_error(spark, tmp_path, held_out, message):
    with pytest.raises(InputError, match=message):
        given_split(spark, tmp_path, "wrong", held_out, header="src,dst,part", split="part")


def test_a_published_split_is_kept_on_real_data(spark, shared_data, tmp_path):
    """Check-ins of 300 gowalla users: the test part is held out, train and valid are embedded."""
    table = pq.read_table(shared_data / "gowalla" / "edges.parquet", filters=[("src", "<", 300)])
    pq.write_table(table, tmp_path / "gowalla.parquet")
    config = make_config(
        {"edges": str(tmp_path / "gowalla.parquet"), "split": "split"},
        tmp_path / "tables",
        evaluate={"held_out": "2", "max_ranked": 50},
    )
    run = run_steps(spark, config, "gowalla", last="ingest")
    for name, parts in (("holdout_edges", (2,)), ("edges", (0, 1))):
        expected = {(row["src"], row["dst"]) for row in table.to_pylist() if row["split"] in parts}
        assert edges_in(run, name) == expected
        assert len(expected) > 1000
    counts = run.details("ingest")["evaluation_pairs"]
    assert counts["positive"] == run.details("ingest")["holdout_edges"]
    assert counts["rank_uniform"] == counts["rank_hard"] == 50 * RANKED_AMONG


def test_one_task_measures_what_blocks_do(published, monkeypatch):
    """The same numbers to the last bit, with a link model among the scorers."""
    run = published("planted")
    alone = link_metrics_of(run).collect()
    assert {"link_model", "cosine"} <= {row["scorer"] for row in alone}
    monkeypatch.setattr("graphseam.evaluate.whole_link_metrics", lambda *_: None)
    monkeypatch.setattr("graphseam.evaluate.num_score_blocks", lambda *_: 3)
    assert sorted(link_metrics_of(run).collect()) == sorted(alone)
