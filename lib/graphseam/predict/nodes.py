"""Labels of nodes: logistic regression on the vectors, for one label a node or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.arrow import vector_matrix
from graphseam.embed.executor import limit_threads
from graphseam.seeds import uniform

MODEL_SCHEMA = "model INT, label STRING, intercept DOUBLE, coefficients ARRAY<DOUBLE>"
PREDICTION_SCHEMA = "node_id BIGINT, label STRING, probability DOUBLE, rank INT, model INT, fold INT"
ARROW_PREDICTIONS = pa.schema([("node_id", pa.int64()), ("label", pa.string()), ("probability", pa.float64()),
                               ("rank", pa.int32()), ("model", pa.int32()), ("fold", pa.int32())])
ALL_LABELS = 2  # the model trained on every labelled node; models 0 and 1 predict the half they have not seen


def labelled_nodes(labels: DataFrame, seed: int) -> DataFrame:
    """(node_id, labels STRING[] sorted, fold 0 or 1): one row a labelled node, halved by the node's own hash."""
    fold = F.when(uniform(seed, F.lit("fold"), "node_id") < 0.5, 0).otherwise(1)
    return labels.groupBy("node_id").agg(F.array_sort(F.collect_set("label")).alias("labels")).withColumn("fold", fold)


def train_models(labelled: DataFrame, max_nodes: int, multi_label: bool, seed: int, threads: int) -> DataFrame:
    """One model a half, and one for all, each in its own task.

    labelled: (node_id, labels, fold, vector). Returns rows of MODEL_SCHEMA: one a model and label. Model 0 learns
    from fold 1 and the other way round, ALL_LABELS from both. A label without an example in a model's part has no row.
    At most `max_nodes` nodes a model, those of the smallest hash. Memory: max_nodes · dim · 8 bytes a task.
    """
    draw = uniform(seed, F.lit("train"), "node_id")
    models = labelled.withColumn("model", F.explode(F.array(F.lit(ALL_LABELS), 1 - F.col("fold"))))
    counts = models.groupBy("model").count()
    chosen = models.join(F.broadcast(counts), on="model", how="inner").where(draw * F.col("count") < max_nodes)
    return chosen.select("model", "node_id", "labels", "vector").groupBy("model") \
        .applyInArrow(_train(multi_label, threads), MODEL_SCHEMA)


def _train(multi_label: bool, threads: int) -> Callable[[pa.Table], pa.Table]:
    def train(rows: pa.Table) -> pa.Table:
        limit_threads(threads)
        rows = rows.sort_by("node_id")
        vectors, labels = vector_matrix(rows["vector"]).astype(np.float64), rows["labels"].to_pylist()
        classes = np.array(sorted({label for several in labels for label in several}), dtype=object)
        intercepts, coefficients = fit_logistic(vectors, labels, classes, multi_label)
        return pa.table({
            "model": pa.array([rows["model"][0].as_py()] * len(classes), pa.int32()),
            "label": pa.array(classes.tolist(), pa.string()),
            "intercept": pa.array(intercepts),
            "coefficients": pa.array(list(coefficients), pa.list_(pa.float64())),
        })

    return train


def fit_logistic(vectors: np.ndarray, labels: list[list[str]], classes: np.ndarray,
                 multi_label: bool) -> tuple[np.ndarray, np.ndarray]:
    """(intercepts [c], coefficients [c, dim]) of an L2 logistic regression with C = 1, all classes at once.

    One label a node: softmax; several: one logistic function a class. scikit-learn's perceptron without a hidden
    layer is that model, solved by L-BFGS with one matrix product a step for all classes.
    """
    from sklearn.neural_network import MLPClassifier

    places = {label: at for at, label in enumerate(classes)}
    if len(classes) == 1:
        return np.array([30.0]), np.zeros((1, vectors.shape[1]))  # the only label there is: sure of it
    if multi_label:
        target = np.zeros((len(labels), len(classes)), int)
        for row, several in enumerate(labels):
            target[row, [places[label] for label in several]] = 1
    else:
        target = np.array([places[several[0]] for several in labels])
    model = MLPClassifier(hidden_layer_sizes=(), solver="lbfgs", alpha=1.0, max_iter=500, tol=1e-5, random_state=0)
    model.fit(vectors, target)
    intercepts, coefficients = model.intercepts_[0], model.coefs_[0].T
    if not multi_label and len(classes) == 2:  # scikit-learn keeps one logistic function for two classes
        intercepts, coefficients = np.append(-intercepts, intercepts), np.vstack([-coefficients, coefficients])
        intercepts, coefficients = intercepts / 2, coefficients / 2
    return intercepts, coefficients


def predict_labels(nodes: DataFrame, models: dict[int, tuple[list[str], np.ndarray, np.ndarray]], top_labels: int,
                   multi_label: bool) -> DataFrame:
    """Rows of PREDICTION_SCHEMA: the likeliest labels of each node, by the model that has not seen it.

    nodes: (node_id, vector, fold, num_labels), the last two null for a node without a label. As many labels as the
    node has of its own are kept where that is more than `top_labels`. models: {model: (labels, intercepts [c],
    coefficients [c, dim])}. Cost: nodes · classes · dim; no shuffle.
    """
    return nodes.select("node_id", "vector", "fold", "num_labels") \
        .mapInArrow(_predict_stream(models, top_labels, multi_label), PREDICTION_SCHEMA)


def _predict_stream(models: dict[int, tuple[list[str], np.ndarray, np.ndarray]], top_labels: int,
                    multi_label: bool) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def predict_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            folds = batch["fold"].fill_null(ALL_LABELS).to_numpy()
            for model in sorted(set(folds.tolist()) & set(models)):
                yield _predict_batch(batch.filter(pa.array(folds == model)), model, *models[model], top_labels,
                                     multi_label)

    return predict_stream


def _predict_batch(batch: pa.RecordBatch, model: int, labels: list[str], intercepts: np.ndarray,
                   coefficients: np.ndarray, top_labels: int, multi_label: bool) -> pa.RecordBatch:
    scores = vector_matrix(batch["vector"]) @ coefficients.T + intercepts
    probabilities = 1 / (1 + np.exp(-scores)) if multi_label else _softmax(scores)
    wanted = np.maximum(batch["num_labels"].fill_null(0).to_numpy(), top_labels).clip(max=len(labels))
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, : int(wanted.max())]
    rows, ranks = np.nonzero(np.arange(order.shape[1])[None, :] < wanted[:, None])
    columns = order[rows, ranks]
    fold = pa.nulls(len(rows), pa.int32()) if model == ALL_LABELS else pa.array(np.full(len(rows), model, np.int32))
    return pa.RecordBatch.from_arrays([
        pa.array(batch["node_id"].to_numpy()[rows]), pa.array(np.array(labels, dtype=object)[columns], pa.string()),
        pa.array(probabilities[rows, columns]), pa.array((ranks + 1).astype(np.int32)),
        pa.array(np.full(len(rows), model, np.int32)), fold], schema=ARROW_PREDICTIONS)


def _softmax(scores: np.ndarray) -> np.ndarray:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
