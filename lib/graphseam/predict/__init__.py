"""predict: embeddings -> link_predictions, node_predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.predict.indexes import INDEXES
from graphseam.predict.links import predict_links
from graphseam.predict.nodes import ALL_LABELS, labelled_nodes, predict_labels, train_models
from graphseam.seeds import derive_seed
from graphseam.session import cores_of_a_task

if TYPE_CHECKING:
    from graphseam.runs import Run

__all__ = ["CANDIDATES", "INDEXES", "predict_links", "predict_nodes"]

CANDIDATES = (*INDEXES, "two_hop")


def predict_nodes(run: Run) -> dict[str, Any]:
    """The likeliest labels of every node: unlabelled ones by all labels, labelled ones by those of the other half."""
    run.tables.drop_run("node_predictions")
    if not run.config.input.labels:
        return {"predictions": 0}
    settings, seed = run.config.predict.nodes, derive_seed(run.config.run.seed, "labels")
    embeddings = run.tables.read("embeddings")
    labelled = labelled_nodes(run.tables.read("labels"), seed)
    num_labelled, most = labelled.agg(F.count("*"), F.max(F.size("labels"))).first() or (0, 0)
    if num_labelled < 2:
        return {"predictions": 0, "labelled_nodes": num_labelled}
    multi_label = most > 1
    with_vectors = labelled.join(embeddings.select("node_id", "vector"), on="node_id", how="inner")
    models = _collect_models(train_models(with_vectors, settings.max_train_nodes, multi_label, seed,
                                          cores_of_a_task(run.spark, 3)))
    known = labelled.select("node_id", "fold", F.size("labels").alias("num_labels"))
    nodes = embeddings.join(known, on="node_id", how="left")
    predicted = predict_labels(nodes, models, settings.top_labels, multi_label)
    source = F.when(F.col("model") == ALL_LABELS, "all_labels").otherwise("cross_fit")
    rows = predicted.join(run.tables.read("nodes"), on="node_id", how="inner").withColumn("source", source)
    return {"predictions": run.tables.write("node_predictions", rows), "labelled_nodes": num_labelled,
            "multi_label": multi_label}


def _collect_models(models: DataFrame) -> dict[int, tuple[list[str], np.ndarray, np.ndarray]]:
    """{model: (labels, intercepts, coefficients)}: one row a label reaches the driver, 3 · classes in all."""
    rows = models.sort("model", "label").collect()
    grouped = {model: [row for row in rows if row["model"] == model] for model in {row["model"] for row in rows}}
    return {model: ([row["label"] for row in mine], np.array([row["intercept"] for row in mine]),
                    np.array([row["coefficients"] for row in mine])) for model, mine in grouped.items()}
