"""Labels of nodes: logistic regression on the vectors, with one or several labels per node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from graphseam.arrow import vector_matrix
from graphseam.predict.label_calibration import UNCHANGED, calibration_error, fit_pair, probabilities
from graphseam.predict.logistic import fit_one_vs_rest
from graphseam.seeds import uniform
from graphseam.session import in_one_task
from graphseam.spark_line import by_group, repartition_by_number
from graphseam.task import limit_threads

MODEL_SCHEMA = (
    "model INT, label STRING, intercept DOUBLE, coefficients ARRAY<DOUBLE>, num_examples BIGINT, log_odds DOUBLE"
)
CALIBRATION_SCHEMA = "model INT, slope DOUBLE, shift DOUBLE, num_nodes BIGINT, error_before DOUBLE, error_after DOUBLE"
PREDICTION_SCHEMA = "node_id BIGINT, id STRING, label STRING, probability DOUBLE, rank INT, model INT, fold INT"
ARROW_PREDICTIONS = pa.schema(
    [
        ("node_id", pa.int64()),
        ("id", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float64()),
        ("rank", pa.int32()),
        ("model", pa.int32()),
        ("fold", pa.int32()),
    ]
)
ALL_LABELS = 2  # the model trained on every labelled node; models 0 and 1 predict the half they have not seen
CALIBRATION_SCORES = 1_000_000  # enough to fit two numbers: 8 MB per array
ROWS_AT_ONCE = 256  # nodes per matrix product, always exactly this many: BLAS may sum other shapes in another order


@dataclass(frozen=True)
class LabelModel:
    """Scores nodes for c labels: score = vector · coefficients + intercept ranks the labels, and slope · score + offset
    is converted to a probability."""

    labels: list[str]  # sorted
    intercepts: np.ndarray  # float64[c]
    coefficients: np.ndarray  # float64[c, dim]
    slopes: np.ndarray  # float64[c]
    offsets: np.ndarray  # float64[c]

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """float64[n, c]. A node's scores have the same bytes whichever other nodes are in the batch."""
        found = np.empty((len(vectors), len(self.labels)))
        block = np.zeros((ROWS_AT_ONCE, vectors.shape[1]))
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            rows = vectors[start : start + ROWS_AT_ONCE]
            block[: len(rows)] = rows
            found[start : start + len(rows)] = (block @ self.coefficients.T)[: len(rows)]
        return found + self.intercepts

    def probabilities(self, scores: np.ndarray, multi_label: bool) -> np.ndarray:
        """float64[n, c]; with one label per node each row adds up to 1."""
        return probabilities(self.slopes * scores + self.offsets, multi_label)


def labelled_nodes(labels: DataFrame, seed: int) -> DataFrame:
    """(node_id, labels STRING[] sorted, fold 0 or 1): one row per labelled node; a hash of the node gives its fold."""
    fold = F.when(uniform(seed, F.lit("fold"), "node_id") < 0.5, 0).otherwise(1)
    return labels.groupBy("node_id").agg(F.array_sort(F.collect_set("label")).alias("labels")).withColumn("fold", fold)


@dataclass(frozen=True)
class Samples:
    """Which labelled nodes train and calibrate, by a hash of the node, whatever else is in the table.

    sizes: the labelled nodes of folds 0 and 1. max_train: nodes a model is trained on. max_tested: nodes of a fold that
    calibrate.
    """

    sizes: tuple[int, int]
    max_train: int
    max_tested: int
    seed: int

    @staticmethod
    def of(labelled: DataFrame, num_classes: int, max_train: int, seed: int) -> Samples:
        """labelled: (fold, …). Cost: one aggregation of it."""
        counts = {row["fold"]: row["count"] for row in labelled.groupBy("fold").count().collect()}  # two rows
        most = max(1000, CALIBRATION_SCORES // max(1, num_classes))
        return Samples((counts.get(0, 0), counts.get(1, 0)), max_train, most, seed)

    def _draw(self) -> Column:
        return uniform(self.seed, F.lit("train"), "node_id")

    def any(self) -> Column:
        """Whether a node may be in one of the samples."""
        return self._draw() * F.lit(min(self.sizes)) < F.lit(max(self.max_train, self.max_tested))

    def trains(self) -> Column:
        """Whether a node of a model (`model`) is among about max_train of those that it learns from."""
        learnt_from = F.when(F.col("model") == 0, self.sizes[1]).when(F.col("model") == 1, self.sizes[0])
        return self._draw() * learnt_from.otherwise(sum(self.sizes)) < F.lit(self.max_train)

    def calibrates(self) -> Column:
        """Whether a node is among about max_tested of its fold."""
        size = F.when(F.col("fold") == 0, self.sizes[0]).otherwise(self.sizes[1])
        return self._draw() * size < F.lit(self.max_tested)


def train_models(labelled: DataFrame, samples: Samples, class_weight: str, threads: int) -> DataFrame:
    """Train one model per half, and one for all nodes, each in its own task.

    labelled: (node_id, labels, fold, vector). Returns rows of MODEL_SCHEMA: one per model and label. Model 0 learns
    from fold 1, model 1 from fold 0, ALL_LABELS from both. A label without an example in a model's part has no row.
    log_odds: the shift that makes a score account for how rare the label is; 0 if the model already does.
    Memory: samples.max_train · dim · 16 bytes per task.
    """
    models = labelled.withColumn("model", F.explode(F.array(F.lit(ALL_LABELS), 1 - F.col("fold"))))
    examples = models.where(samples.trains()).select("model", "node_id", "labels", "vector")
    # by number, the largest first: two of three tasks of a hash might be one
    placed = repartition_by_number(examples.withColumn("task", F.lit(ALL_LABELS) - F.col("model")), 3, "task")
    return placed.drop("task").mapInArrow(by_group("model", _train(class_weight, threads), MODEL_SCHEMA), MODEL_SCHEMA)


def _train(class_weight: str, threads: int) -> Callable[[pa.Table], pa.Table]:
    def train(rows: pa.Table) -> pa.Table:
        limit_threads(1)  # of BLAS: the shares of the nodes have a thread each
        rows = rows.sort_by("node_id")
        labels = sorted(set(rows["labels"].combine_chunks().flatten().to_pylist()))
        target = label_matrix(rows["labels"], labels)
        intercepts, coefficients = fit_one_vs_rest(vector_matrix(rows["vector"]), target, class_weight, threads)
        num_examples = target.sum(axis=0)
        others = (len(target) - num_examples).clip(0.5)
        log_odds = np.log(num_examples / others) if class_weight == "balanced" else np.zeros(len(labels))
        return pa.table(
            {
                "model": pa.array([rows["model"][0].as_py()] * len(labels), pa.int32()),
                "label": pa.array(labels, pa.string()),
                "intercept": pa.array(intercepts),
                "coefficients": pa.array(list(coefficients), pa.list_(pa.float64())),
                "num_examples": pa.array(num_examples, pa.int64()),
                "log_odds": pa.array(log_odds),
            }
        )

    return train


def label_matrix(column: pa.ChunkedArray, labels: Sequence[str]) -> np.ndarray:
    """bool[n, c] from a list<string> column: which of the sorted labels each row has; other labels are ignored."""
    lists = column.combine_chunks()
    of_row = np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy(zero_copy_only=False))
    places = pc.index_in(lists.flatten(), pa.array(labels, pa.string()))
    known = places.is_valid().to_numpy(zero_copy_only=False)
    target = np.zeros((len(lists), len(labels)), bool)
    target[of_row[known], places.drop_null().to_numpy(zero_copy_only=False)] = True
    return target


def calibrate_models(
    labelled: DataFrame, models: dict[int, LabelModel], samples: Samples, top_labels: int, multi_label: bool
) -> DataFrame:
    """Rows of CALIBRATION_SCHEMA, one per model: the (slope, shift) that turns its scores into probabilities.

    labelled: (node_id, labels, fold, vector). Models 0 and 1 are tested on the half they have not seen; the pair of
    each is fitted on the *other* model's scores of its own unseen half, so that a node's own label plays no part in its
    probability. The pair of ALL_LABELS is the mean of the two. Errors are calibration_error over the `top_labels`
    likeliest labels of each node, before and after. Memory: a sample of 1,000,000 scores in one task.
    """
    return in_one_task(
        labelled.where(samples.calibrates()).select("node_id", "labels", "fold", "vector"),
        _calibrate(models, top_labels, multi_label),
        CALIBRATION_SCHEMA,
    )


@dataclass(frozen=True)
class _HeldOut:
    """A model's scores on the half it has not seen."""

    scores: np.ndarray  # float64[n, c]
    truth: np.ndarray  # bool[n, c]
    shown: np.ndarray  # int[n, t], the likeliest labels

    def _pick(self, values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, self.shown, axis=1)

    def pair(self, multi_label: bool) -> tuple[float, float]:
        if multi_label:
            return fit_pair(self._pick(self.scores), self._pick(self.truth), multi_label)
        return fit_pair(self.scores, self.truth, multi_label)

    def error(self, pair: tuple[float, float], multi_label: bool) -> float:
        found = probabilities(pair[0] * self.scores + pair[1], multi_label)
        return calibration_error(self._pick(found), self._pick(self.truth))


def _held_out(model: LabelModel, half: pa.Table, top_labels: int) -> _HeldOut:
    scores = model.scores(vector_matrix(half["vector"]))
    shown = np.argsort(-scores, axis=1, kind="stable")[:, :top_labels]
    return _HeldOut(model.slopes * scores + model.offsets, label_matrix(half["labels"], model.labels), shown)


def _calibrate(models: dict[int, LabelModel], top_labels: int, multi_label: bool) -> Callable[[pa.Table], pa.Table]:
    def calibrate(rows: pa.Table) -> pa.Table:
        limit_threads(1)
        rows = rows.sort_by("node_id")
        folds = rows["fold"].to_numpy()
        halves = {
            fold: _held_out(models[fold], rows.filter(pa.array(folds == fold)), top_labels)
            for fold in sorted({0, 1} & set(models) & set(folds.tolist()))
        }
        pairs = {fold: half.pair(multi_label) for fold, half in halves.items()}
        found = []
        for model in sorted(models):
            pair = _middle([pairs[fold] for fold in pairs if fold != model])
            told = (
                (
                    len(halves[model].scores),
                    halves[model].error(UNCHANGED, multi_label),
                    halves[model].error(pair, multi_label),
                )
                if model in halves
                else (0, 0.0, 0.0)
            )
            found.append((model, *pair, *told))
        names = ("model", "slope", "shift", "num_nodes", "error_before", "error_after")
        kinds = (pa.int32(), pa.float64(), pa.float64(), pa.int64(), pa.float64(), pa.float64())
        return pa.table(
            {
                name: pa.array(list(column), kind)
                for name, column, kind in zip(names, zip(*found, strict=True), kinds, strict=True)
            }
        )

    return calibrate


def _middle(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """The mean (slope, shift) of the halves; UNCHANGED if there are none."""
    if not pairs:
        return UNCHANGED
    slopes, shifts = zip(*pairs, strict=True)
    return float(np.exp(np.mean(np.log(slopes)))), float(np.mean(shifts))


def predict_labels(nodes: DataFrame, models: dict[int, LabelModel], top_labels: int, multi_label: bool) -> DataFrame:
    """Rows of PREDICTION_SCHEMA: the likeliest labels of each node, by the model that has not seen it.

    nodes: (node_id, vector) and, where there are any, id and, if some of them have labels, (fold, num_labels), null for
    unlabelled nodes. Keeps `top_labels` labels per node, or as many as the node has if that is more. models,
    multi_label: as returned by read_models. A node whose model is missing has no row. Cost: nodes · classes · dim; no
    shuffle.
    """
    kinds = {"id": "string", "fold": "int", "num_labels": "int"}
    given = [name if name in nodes.columns else F.lit(None).cast(kind).alias(name) for name, kind in kinds.items()]
    return nodes.select("node_id", "vector", *given).mapInArrow(
        _predict_stream(models, top_labels, multi_label), PREDICTION_SCHEMA
    )


def _predict_stream(
    models: dict[int, LabelModel], top_labels: int, multi_label: bool
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def predict_stream(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        limit_threads(1)
        for batch in batches:
            folds = batch["fold"].fill_null(ALL_LABELS).to_numpy()
            for fold in sorted(set(folds.tolist()) & set(models)):
                yield _predict_batch(batch.filter(pa.array(folds == fold)), fold, models[fold], top_labels, multi_label)

    return predict_stream


def _predict_batch(
    batch: pa.RecordBatch, fold: int, model: LabelModel, top_labels: int, multi_label: bool
) -> pa.RecordBatch:
    scores = model.scores(vector_matrix(batch["vector"]))
    found = model.probabilities(scores, multi_label)
    wanted = np.maximum(batch["num_labels"].fill_null(0).to_numpy(), top_labels).clip(max=len(model.labels))
    order = np.argsort(-scores, axis=1, kind="stable")[:, : int(wanted.max())]
    rows, ranks = np.nonzero(np.arange(order.shape[1])[None, :] < wanted[:, None])
    columns = order[rows, ranks]
    of_fold = pa.nulls(len(rows), pa.int32()) if fold == ALL_LABELS else pa.array(np.full(len(rows), fold, np.int32))
    return pa.RecordBatch.from_arrays(
        [
            batch["node_id"].take(pa.array(rows)),
            batch["id"].take(pa.array(rows)),
            pa.array(model.labels, pa.string()).take(pa.array(columns)),
            pa.array(found[rows, columns]),
            pa.array((ranks + 1).astype(np.int32)),
            pa.array(np.full(len(rows), fold, np.int32)),
            of_fold,
        ],
        schema=ARROW_PREDICTIONS,
    )
