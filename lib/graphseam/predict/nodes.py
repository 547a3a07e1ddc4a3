"""The step that predicts labels: embeddings, labels -> node_predictions, label_models, label_quality."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.label_hits import label_hits, label_rates
from graphseam.predict.label_model import (
    ALL_LABELS,
    LabelModel,
    Samples,
    calibrate_models,
    labelled_nodes,
    predict_labels,
    train_models,
)
from graphseam.runs import Run
from graphseam.seeds import derive_seed
from graphseam.session import cores_of_a_task, persisted
from graphseam.steps import ALL_STEPS
from graphseam.tables import Tables

LEARNT, NEVER_PREDICTED, TOO_FEW = "learnt", "never predicted", "too few examples"
NUM_NAMED = 3  # labels named in the log; label_quality has all of them


def predict_nodes(run: Run) -> dict[str, Any]:
    """Predict each node's likeliest labels: for unlabelled nodes from all labels, for others from the other half's."""
    for name in ALL_STEPS["predict_nodes"].writes:
        run.tables.drop_run(name)
    if not run.config.input.labels:
        return {"predictions": 0}
    labels = run.tables.read("labels")
    labelled = labelled_nodes(labels, derive_seed(run.config.run.seed, "labels"))
    num_labelled, most = labelled.agg(F.count("*"), F.max(F.size("labels"))).first() or (0, 0)
    told: dict[str, Any] = {"predictions": 0, "labelled_nodes": num_labelled}
    if num_labelled >= 2:
        told["multi_label"] = most > 1
        with persisted(labelled) as labelled:
            started = time.monotonic()
            told["calibration"] = _learn(run, labelled, most > 1)
            told["learning_s"] = round(time.monotonic() - started, 3)
            told["predictions"] = _predict(run, labelled)
    if num_labelled:
        told |= _write_quality(run, labelled, labels)
    return told


def _learn(run: Run, labelled: DataFrame, multi_label: bool) -> dict[str, Any]:
    """Train and calibrate the models and write label_models; returns the results of the calibration."""
    settings, seed = run.config.predict.nodes, derive_seed(run.config.run.seed, "labels")
    samples = Samples.of(labelled, run.ingested.label_classes, settings.max_train_nodes, seed)
    vectors = run.tables.read("embeddings").select("node_id", "vector")
    with persisted(labelled.where(samples.any()).join(vectors, on="node_id", how="inner")) as sampled:
        rows = train_models(sampled, samples, settings.class_weight, cores_of_a_task(run.spark, 3)).collect()
        raw = _as_models(  # one row per label and model
            [{**row.asDict(), "calibration_slope": 1.0, "calibration_shift": row["log_odds"]} for row in rows]
        )
        pairs = {
            row["model"]: row
            for row in calibrate_models(sampled, raw, samples, settings.top_labels, multi_label).collect()
        }  # one row per model
    run.tables.write_rows(
        "label_models",
        [
            {
                **row.asDict(),
                "multi_label": multi_label,
                "calibration_slope": pairs[row["model"]]["slope"],
                "calibration_shift": pairs[row["model"]]["slope"] * row["log_odds"] + pairs[row["model"]]["shift"],
            }
            for row in rows
        ],
    )
    tested = sum(pair["num_nodes"] for pair in pairs.values())
    error = {
        name: sum(pair[name] * pair["num_nodes"] for pair in pairs.values()) / max(1, tested)
        for name in ("error_before", "error_after")
    }
    return {**error, "nodes": tested, "slope": pairs[ALL_LABELS]["slope"], "shift": pairs[ALL_LABELS]["shift"]}


def _predict(run: Run, labelled: DataFrame) -> int:
    """Write node_predictions; returns the number of rows. Cost: one pass over the vectors."""
    models, multi_label = read_models(run.tables)
    known = labelled.select("node_id", "fold", F.size("labels").alias("num_labels"))
    nodes = _with_wanted(run, known, run.tables.read("embeddings").join(known, on="node_id", how="left"))
    predicted = predict_labels(nodes, models, run.config.predict.nodes.top_labels, multi_label)
    source = F.when(F.col("model") == ALL_LABELS, "all_labels").otherwise("cross_fit")
    return run.tables.write("node_predictions", predicted.withColumn("source", source))


def _with_wanted(run: Run, labelled: DataFrame, vectors: DataFrame) -> DataFrame:
    """The rows of `vectors` that get predictions: labelled nodes, and the others that predict.nodes.unlabelled names.

    labelled: (node_id, …). vectors: (node_id, fold, …), fold null for unlabelled nodes. Cost: "auto" in a graph of two
    kinds or of typed nodes joins the vectors with the nodes of the labelled kinds.
    """
    wanted = run.config.predict.nodes.unlabelled
    if wanted == "none":
        return vectors.where("fold IS NOT NULL")
    kind = "type" if run.config.input.node_type else "side" if run.ingested.bipartite else ""
    if wanted == "all" or not kind:
        return vectors
    nodes = run.tables.read("nodes").select("node_id", F.coalesce(kind, F.lit("")).alias("kind"))
    kinds = nodes.join(labelled.select("node_id"), on="node_id", how="left_semi").select("kind").distinct()
    if nodes.select("kind").distinct().exceptAll(kinds).isEmpty():
        return vectors
    chosen = nodes.join(F.broadcast(kinds), on="kind", how="left_semi").select("node_id", F.lit(True).alias("of_kind"))
    return vectors.join(chosen, on="node_id", how="left").where("fold IS NOT NULL OR of_kind").drop("of_kind")


def read_models(tables: Tables) -> tuple[dict[int, LabelModel], bool]:
    """({model: LabelModel}, whether a node may have several labels) of this run, for predict_labels.

    ({}, False) if the run predicted no labels. Driver memory: 3 · classes · dim · 8 bytes.
    """
    rows = [row.asDict() for row in tables.read("label_models").collect()]  # one row per model and label
    return _as_models(rows), any(row["multi_label"] for row in rows)


def _as_models(rows: list[dict[str, Any]]) -> dict[int, LabelModel]:
    grouped: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["model"], row["label"])):
        grouped.setdefault(row["model"], []).append(row)
    return {
        model: LabelModel(
            [row["label"] for row in mine],
            *(
                np.array([row[name] for row in mine])
                for name in ("intercept", "coefficients", "calibration_slope", "calibration_shift")
            ),
        )
        for model, mine in grouped.items()
    }


def _write_quality(run: Run, labelled: DataFrame, labels: DataFrame) -> dict[str, Any]:
    """Write label_quality; returns how many labels have each status, and names the first few that were not learned."""
    of_nodes = labels.join(labelled.select("node_id", "fold"), on="node_id", how="inner")
    predictions = run.tables.read("node_predictions").where("fold IS NOT NULL")
    tested = of_nodes.join(predictions.select("node_id").distinct(), on="node_id", how="left_semi")
    counts = of_nodes.groupBy("label").agg(F.count("*").alias("num_examples"), F.count_distinct("fold").alias("halves"))
    rows = (
        counts.join(label_hits(predictions, tested), on="label", how="left")
        .join(label_rates(predictions, tested, run.config.predict.nodes.top_labels), on="label", how="left")
        .sort("label")
        .collect()
    )  # one row per label
    quality = [_quality(row.asDict()) for row in rows]
    run.tables.write_rows("label_quality", quality)
    by_status = {
        status: [row["label"] for row in quality if row["status"] == status]
        for status in (LEARNT, NEVER_PREDICTED, TOO_FEW)
    }
    return {
        "labels": {status: len(names) for status, names in by_status.items()},
        "such_as": {status: by_status[status][:NUM_NAMED] for status in (NEVER_PREDICTED, TOO_FEW)},
    }


def _quality(row: dict[str, Any]) -> dict[str, Any]:
    """A row of label_quality from a label's counts."""
    hits, tested, given = (row[name] or 0 for name in ("hits", "true", "given"))
    learnable = row["num_examples"] >= 2 and row["halves"] == 2
    return {
        "label": row["label"],
        "num_examples": row["num_examples"],
        "num_tested": tested,
        "num_predicted": given,
        "precision": hits / given if given else None,
        "recall": hits / tested if tested else None,
        "f1": 2 * hits / (tested + given) if tested else None,
        "mean_probability": row["mean_probability"],
        "observed_rate": row["observed_rate"],
        "status": TOO_FEW if not learnable else LEARNT if given else NEVER_PREDICTED,
    }
