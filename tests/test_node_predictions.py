"""Labels of nodes: the classifier against scikit-learn and the referee; laws of the step for awkward labels."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from conftest import make_config
from graphseam.errors import ConfigError
from graphseam.evaluate.labels import label_metrics
from graphseam.ingested import Ingested
from graphseam.predict.label_calibration import calibration_error, fit_pair, probabilities
from graphseam.predict.label_model import LabelModel, Samples, predict_labels, train_models
from graphseam.predict.logistic import fit_one_vs_rest
from graphseam.predict.nodes import predict_nodes, read_models
from graphseam.runs import open_run

DIM = 6


def planted(num_nodes: int = 200, num_labels: int = 4, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(vectors, label of each): overlapping clouds, one centre per label."""
    rng = np.random.default_rng(seed)
    own = rng.choice(num_labels, num_nodes, p=np.arange(1, num_labels + 1) / sum(range(1, num_labels + 1)))
    centres = rng.normal(size=(num_labels, DIM))
    return (centres[own] + rng.normal(size=(num_nodes, DIM))).astype(np.float32), own


# --- the classifier


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_coefficients_are_liblinears(class_weight):
    vectors, own = planted()
    target = own[:, None] == np.arange(4)
    intercepts, coefficients = fit_one_vs_rest(vectors, target, class_weight)
    for at in range(4):
        judge = LogisticRegression(
            solver="liblinear",
            C=1.0,
            tol=1e-10,
            max_iter=10_000,
            class_weight=None if class_weight == "none" else "balanced",
        )
        judge.fit(vectors.astype(np.float64), target[:, at])
        np.testing.assert_allclose(coefficients[at], judge.coef_[0], atol=2e-5)
        np.testing.assert_allclose(intercepts[at], judge.intercept_[0], atol=2e-5)


def test_blocks_of_labels_do_not_show(monkeypatch):
    vectors, own = planted()
    target = own[:, None] == np.arange(4)
    whole = fit_one_vs_rest(vectors, target)
    monkeypatch.setattr("graphseam.predict.logistic.BLOCK_ELEMENTS", 1)
    for found, wanted in zip(fit_one_vs_rest(vectors, target), whole, strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_a_label_of_all_nodes_and_zero_vectors_get_finite_models():
    target = np.array([[True, True], [True, False], [True, False]])
    intercepts, coefficients = fit_one_vs_rest(np.zeros((3, DIM), np.float32), target)
    assert np.isfinite(intercepts).all()
    assert intercepts[0] > 0 > intercepts[1]
    np.testing.assert_array_equal(coefficients, 0)


@pytest.mark.shared
@pytest.mark.parametrize(("graph", "ratio"), [("ppi", 0.5), ("wikipedia_pos", 0.5), ("cora", 0.1)])
def test_micro_and_macro_f1_are_the_referees(spark, tmp_path, monkeypatch, evalkit, shared_data, graph, ratio):
    """The same split, the same vectors (an SVD of the adjacency matrix): the same labels for the same nodes."""
    import pandas as pd
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import svds

    labels = pd.read_parquet(shared_data / graph / "labels.parquet")
    edges, _ = evalkit.read_edges(shared_data / graph / "edges.parquet")
    nodes, truth = evalkit.label_matrix(labels)
    size = max(edges.max(), nodes.max()) + 1
    adjacency = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(size, size)).tocsr()
    left, values, _ = svds(adjacency + adjacency.T, k=32, v0=np.ones(size), random_state=0)
    vectors = (left * np.sqrt(values)).astype(np.float32)[nodes]

    monkeypatch.setattr(evalkit, "fit_ovr", partial(evalkit.fit_ovr, tol=1e-8, max_iter=5000))
    wanted = evalkit.nc_once(vectors.astype(np.float64), truth, ratio, seed=3)

    train = np.random.default_rng(3).permutation(len(nodes))[: int(ratio * len(nodes))]
    fold = np.where(np.isin(np.arange(len(nodes)), train), 1, 0)  # model 0 learns from fold 1
    pq.write_table(
        pa.table(
            {
                "node_id": nodes,
                "fold": pa.array(fold, pa.int32()),
                "vector": pa.array(list(vectors), pa.list_(pa.float32())),
                "labels": [[f"{label:03d}" for label in np.flatnonzero(row)] for row in truth],
            }
        ),
        tmp_path / "labelled.parquet",
    )
    rows = spark.read.parquet(str(tmp_path / "labelled.parquet"))
    everyone = Samples((10**6, 10**6), 10**7, 10**7, seed=0)
    models = {0: as_model([row for row in train_models(rows, everyone, "none", 1).collect() if row["model"] == 0])}
    tested = rows.where("fold = 0").selectExpr("node_id", "vector", "fold", "size(labels) AS num_labels")
    predicted = predict_labels(tested, models, 1, bool(truth.sum(axis=1).max() > 1))
    of_tested = rows.where("fold = 0").selectExpr("node_id", "explode(labels) AS label")
    found = {row["metric"]: row["value"] for row in label_metrics(predicted, of_tested).collect()}
    occurring = truth[fold == 0].any(axis=0).mean()  # the referee counts labels that do not occur as zero
    assert (found["micro_f1"], found["macro_f1"] * occurring) == pytest.approx(wanted, abs=1e-6)


def as_model(rows) -> LabelModel:
    rows = sorted(rows, key=lambda row: row["label"])
    return LabelModel(
        [row["label"] for row in rows],
        np.array([row["intercept"] for row in rows]),
        np.array([row["coefficients"] for row in rows]),
        np.ones(len(rows)),
        np.zeros(len(rows)),
    )


# --- probabilities


@pytest.mark.parametrize("multi_label", [False, True])
def test_calibration_finds_the_pair_that_was_lost(multi_label):
    """Truth drawn by known probabilities; the input is a distorted score."""
    rng = np.random.default_rng(2)
    true_scores = rng.normal(-1, 2, (20_000, 5))
    chance = probabilities(true_scores, multi_label)
    drawn = rng.random(len(chance))[:, None] < chance.cumsum(axis=1)
    truth = rng.random(chance.shape) < chance if multi_label else drawn & ~np.pad(drawn, ((0, 0), (1, 0)))[:, :-1]
    given = (true_scores - 0.7) / 0.4
    slope, shift = fit_pair(given, truth, multi_label)
    assert (slope, shift) == pytest.approx((0.4, 0.7), abs=0.06)
    assert calibration_error(probabilities(slope * given + shift, multi_label), truth) < 0.01
    assert calibration_error(probabilities(given, multi_label), truth) > 0.05


def test_no_order_changes_even_where_scores_are_worthless():
    scores = np.random.default_rng(3).normal(size=(500, 3))
    slope, _ = fit_pair(scores, scores < 0, multi_label=True)
    assert slope > 0


def test_probabilities_of_one_label_add_up_to_1_and_keep_the_order_of_scores():
    scores = np.random.default_rng(4).normal(0, 30, (300, 7)) - 500
    found = probabilities(scores, multi_label=False)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_array_equal(found.argmax(axis=1), scores.argmax(axis=1))


def test_scores_do_not_hang_on_the_nodes_beside():
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(1000, 128)).astype(np.float32)
    model = LabelModel(
        [str(at) for at in range(39)], rng.normal(size=39), rng.normal(size=(39, 128)), np.ones(39), np.zeros(39)
    )
    whole = model.scores(vectors)
    for start, stop in ((0, 1), (0, 3), (5, 262), (777, 1000)):
        np.testing.assert_array_equal(model.scores(vectors[start:stop]), whole[start:stop])


# --- the step


class Predicted:
    """predict_nodes over vectors and (node, label) rows written straight to the tables."""

    def __init__(self, spark, folder, vectors, labels, settings=None, num_partitions=None, kind_of=None):
        folder.mkdir(exist_ok=True)
        for name in ("edges", "labels"):
            pq.write_table(pa.table({"src": [0], "dst": [1]}), folder / f"{name}.parquet")
        config = make_config(
            {"edges": str(folder / "edges.parquet"), "labels": str(folder / "labels.parquet")},
            folder / "tables",
            predict={"nodes": settings or {}},
        )
        run = open_run(spark, config, "labels")
        ingested = Ingested(
            id_type="string",
            rows=1,
            nodes=len(vectors),
            edges=1,
            label_classes=len({label for _, label in labels}),
            bipartite=kind_of is not None,
        )
        run.records.append({"step": "ingest", "status": "finished", "details": json.dumps(ingested.details())})

        def write(name, columns):
            rows = spark.createDataFrame(list(columns), run.tables.schema(name))
            run.tables.write(name, rows.repartition(num_partitions) if num_partitions else rows)

        side = kind_of or (lambda node: "both")
        write("nodes", [(node, f"n{node}", None, side(node)) for node in range(len(vectors))])
        write("embeddings", [(node, f"n{node}", vector.tolist()) for node, vector in enumerate(vectors)])
        write("labels", labels)
        self.run, self.told = run, predict_nodes(run)
        self.predictions = [
            row.asDict() for row in run.tables.read("node_predictions").sort("node_id", "rank").collect()
        ]
        self.quality = {row["label"]: row.asDict() for row in run.tables.read("label_quality").collect()}

    def of(self, node: int) -> list[dict]:
        return [row for row in self.predictions if row["node_id"] == node]


@pytest.fixture
def predicted(spark, tmp_path):
    return partial(Predicted, spark, tmp_path / "run")


def rows_of(own, nodes) -> list[tuple[int, str]]:
    return [(int(node), f"class {own[node]}") for node in nodes]


def check_laws(found: Predicted, num_nodes: int, top_labels: int = 3) -> None:
    """Of any run with at least one label learned by every model."""
    by_node: dict[int, list[dict]] = {}
    for row in found.predictions:
        assert 0 <= row["probability"] <= 1
        assert (row["fold"] is None) == (row["source"] == "all_labels")
        by_node.setdefault(row["node_id"], []).append(row)
    assert len(by_node) == num_nodes
    for rows in by_node.values():
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        if found.run.config.predict.nodes.class_weight == "none":
            assert [row["probability"] for row in rows] == sorted((row["probability"] for row in rows), reverse=True)
    assert sum(found.told["labels"].values()) == len(found.quality)


def test_no_label_is_no_prediction_and_no_quality(predicted):
    found = predicted(planted(20)[0], [])
    assert (found.told["predictions"], found.predictions, found.quality) == (0, [], {})
    assert read_models(found.run.tables) == ({}, False)


def test_one_labelled_node_is_reported_as_too_few(predicted):
    found = predicted(planted(20)[0], [(3, "a"), (3, "b")])
    assert found.predictions == []
    assert {name: row["status"] for name, row in found.quality.items()} == dict.fromkeys("ab", "too few examples")
    assert found.told["such_as"]["too few examples"] == ["a", "b"]


def test_the_only_class_is_certain(predicted):
    found = predicted(planted(40)[0], [(node, "only") for node in range(20)])
    check_laws(found, 40)
    assert {(row["label"], row["probability"]) for row in found.predictions} == {("only", 1.0)}
    assert found.quality["only"]["f1"] == 1


def test_a_class_with_one_example_is_reported_and_the_others_are_learnt(predicted):
    vectors, own = planted()
    found = predicted(vectors, [(0, "rare"), *rows_of(own, range(1, 120))])
    check_laws(found, 200)
    rare = found.quality["rare"]
    assert (rare["status"], rare["num_examples"], rare["recall"]) == ("too few examples", 1, 0.0)
    assert found.told["such_as"]["too few examples"] == ["rare"]
    assert found.told["labels"]["learnt"] >= 3


def test_all_nodes_labelled_and_a_zero_vector_among_them(predicted):
    vectors, own = planted()
    vectors[7] = 0
    found = predicted(vectors, rows_of(own, range(200)), {"top_labels": 4})
    check_laws(found, 200)
    for node in range(200):  # every class is kept, so they add up to 1
        assert sum(row["probability"] for row in found.of(node)) == pytest.approx(1)
    assert {row["source"] for row in found.predictions} == {"cross_fit"}
    assert len(found.of(7)) == 4
    check_quality(found, own)


def check_quality(found: Predicted, own: np.ndarray) -> None:
    """label_quality of single labels against scikit-learn."""
    given = np.array([int(found.of(node)[0]["label"].split()[1]) for node in range(len(own))])
    for at, f1 in enumerate(f1_score(own, given, average=None)):
        row = found.quality[f"class {at}"]
        assert row["f1"] == pytest.approx(f1)
        assert row["precision"] == pytest.approx((own[given == at] == at).mean())
        assert row["recall"] == pytest.approx((given[own == at] == at).mean())
        assert (row["num_examples"], row["num_predicted"]) == ((own == at).sum(), (given == at).sum())
        assert row["observed_rate"] == pytest.approx((own == at).mean())  # all four classes are shown for every node
        shown = [one["probability"] for one in found.predictions if one["label"] == f"class {at}"]
        assert row["mean_probability"] == pytest.approx(np.mean(shown))


def test_several_labels_and_a_node_that_has_all(predicted):
    vectors, own = planted()
    rows = sorted(
        {
            *rows_of(own, range(150)),
            *((node, "even") for node in range(0, 150, 2)),
            *((5, f"class {at}") for at in range(4)),
            (5, "even"),
        }
    )
    found = predicted(vectors, rows, {"top_labels": 2})
    check_laws(found, 200)
    assert found.told["multi_label"] is True
    assert [row["label"] for row in sorted(found.of(5), key=lambda row: row["label"])] == [
        *(f"class {at}" for at in range(4)),
        "even",
    ]
    assert len(found.of(199)) == 2
    # a half learned as often as not: far from one probability shared out among five labels
    assert 0.3 < np.mean([row["probability"] for row in found.predictions if row["label"] == "even"]) < 0.7


def test_fewer_nodes_to_learn_from_than_have_labels(predicted):
    vectors, own = planted(400)
    found = predicted(vectors, rows_of(own, range(400)), {"max_train_nodes": 50})
    check_laws(found, 400)
    models = found.run.tables.read("label_models").collect()
    learned = [sum(row["num_examples"] for row in models if row["model"] == model) for model in range(3)]
    assert all(20 < count < 90 for count in learned)  # one draw per node, so about 50


def test_row_order_and_partitions_give_the_same_bytes(spark, tmp_path):
    vectors, own = planted()
    rows = rows_of(own, range(0, 200, 2))
    found = []
    for num_partitions, order in ((1, rows), (5, rows[::-1])):
        made = Predicted(spark, tmp_path / f"run-{num_partitions}", vectors, order, num_partitions=num_partitions)
        found.append(
            {
                name: sorted(map(str, made.run.tables.read(name).collect()))
                for name in ("node_predictions", "label_models", "label_quality")
            }
        )
    assert found[0] == found[1]
    assert len(found[0]["node_predictions"]) == 600


def test_balanced_finds_more_of_the_rare_and_its_probabilities_still_mean_what_they_say(spark, tmp_path):
    rng = np.random.default_rng(6)
    own = (rng.random(3000) < 0.05).astype(int)
    vectors = (rng.normal(size=(3000, DIM)) + own[:, None] * 0.6).astype(np.float32)
    made = {
        weight: Predicted(spark, tmp_path / weight, vectors, rows_of(own, range(3000)), {"class_weight": weight})
        for weight in ("none", "balanced")
    }
    recall = {weight: found.quality["class 1"]["recall"] for weight, found in made.items()}
    assert recall["balanced"] > recall["none"] + 0.2
    for found in made.values():
        for row in found.quality.values():
            assert row["mean_probability"] == pytest.approx(row["observed_rate"], abs=0.02)


def test_kept_models_predict_nodes_that_have_no_label(predicted):
    vectors, own = planted()
    found = predicted(vectors, rows_of(own, range(100)))
    models, multi_label = read_models(found.run.tables)
    arrivals = found.run.tables.read("embeddings").where("node_id >= 100").select("node_id", "vector")
    again = predict_labels(arrivals, models, 3, multi_label).sort("node_id", "rank").collect()
    kept = [row for row in found.predictions if row["node_id"] >= 100]
    assert [(row["label"], row["probability"]) for row in again] == [(row["label"], row["probability"]) for row in kept]
    assert sorted(models) == [0, 1, 2]


@pytest.mark.parametrize(
    ("wanted", "labelled", "all_predicted"),
    [("auto", range(0, 60, 2), False), ("auto", range(60), True), ("all", range(0, 60, 2), True)],
)
def test_unlabelled_nodes_of_the_other_kind_get_labels_only_where_they_have_some(
    predicted, wanted, labelled, all_predicted
):
    vectors, own = planted()
    found = predicted(
        vectors, rows_of(own, labelled), {"unlabelled": wanted}, kind_of=lambda node: "src" if node % 2 == 0 else "dst"
    )
    assert {row["node_id"] for row in found.predictions} == set(range(0, 200, 1 if all_predicted else 2))


def test_only_labelled_nodes_get_predictions_if_no_others_are_wanted(predicted):
    vectors, own = planted()
    found = predicted(vectors, rows_of(own, range(50, 150)), {"unlabelled": "none"})
    assert {row["node_id"] for row in found.predictions} == set(range(50, 150))
    assert all(row["id"] == f"n{row['node_id']}" for row in found.predictions)


def test_class_weight_is_checked(tmp_path):
    with pytest.raises(ConfigError, match=r"predict.nodes.class_weight is 'balance', which is not known.*balanced"):
        make_config({"edges": "e"}, tmp_path, predict={"nodes": {"class_weight": "balance"}})
