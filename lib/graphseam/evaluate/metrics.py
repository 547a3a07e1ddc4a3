"""Numbers that tell how good an embedding is; scikit-learn computes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.evaluate.pairs import HARD, POSITIVE, UNIFORM
from graphseam.session import in_one_task

METRIC_SCHEMA = "task STRING, metric STRING, variant STRING, scorer STRING, value DOUBLE, support BIGINT"


def link_metrics(scored: DataFrame) -> DataFrame:
    """AUC and average precision against each kind of negatives, for the cosine and for the degree product.

    scored: (kind, src, dst, degree_product, score), at most 3 · evaluate.max_pairs rows: one task holds them.
    """
    return in_one_task(scored, _link_metrics, METRIC_SCHEMA)


def _link_metrics(scored: pa.Table) -> pa.Table:
    from sklearn.metrics import average_precision_score, roc_auc_score

    kinds = np.asarray(scored["kind"].to_pylist(), dtype=object)
    rows: list[tuple[object, ...]] = []
    for variant in (UNIFORM, HARD):
        chosen = (kinds == POSITIVE) | (kinds == variant)
        truth = kinds[chosen] == POSITIVE
        if truth.all() or not truth.any():
            continue  # a complete graph has no negatives
        for scorer, column in (("cosine", "score"), ("degree_product", "degree_product")):
            scores = scored[column].to_numpy()[chosen]
            measures: tuple[tuple[str, Callable[..., float]], ...] = \
                (("auc", roc_auc_score), ("ap", average_precision_score))
            rows += [("link_prediction", name, variant, scorer, float(measure(truth, scores)), int(truth.sum()))
                     for name, measure in measures]
    names = ("task", "metric", "variant", "scorer", "value", "support")
    columns = [[row[at] for row in rows] for at in range(len(names))]
    kinds_of = [pa.string()] * 4 + [pa.float64(), pa.int64()]
    return pa.table({name: pa.array(column, kind)
                     for name, column, kind in zip(names, columns, kinds_of, strict=True)})


def label_metrics(predictions: DataFrame, labels: DataFrame) -> DataFrame:
    """Micro- and Macro-F1 of the labelled nodes, each predicted by the model that learnt from the other half.

    A node is given as many labels as it has (DeepWalk's protocol). predictions: NODE_PREDICTIONS with a fold; labels:
    LABELS. Rows of METRIC_SCHEMA. Macro-F1 is the mean over the labels that occur. Cost: two small aggregations.
    """
    wanted = labels.groupBy("node_id").agg(F.count("*").alias("num_labels"))
    given = predictions.join(wanted, on="node_id", how="inner").where("rank <= num_labels") \
        .select("node_id", "label", F.lit(1).alias("given"))
    both = labels.select("node_id", "label", F.lit(1).alias("true")).join(given, on=["node_id", "label"], how="full")
    hit = F.coalesce(F.col("true") * F.col("given"), F.lit(0))
    by_label = both.groupBy("label").agg(F.sum(hit).alias("hits"), F.count("true").alias("true"),
                                         F.count("given").alias("given"))
    f1 = 2 * F.col("hits") / (F.col("true") + F.col("given"))
    micro = 2 * F.sum("hits") / (F.sum("true") + F.sum("given"))
    total = by_label.agg(micro.alias("micro_f1"), F.round(F.avg(F.when(F.col("true") > 0, f1)), 12).alias("macro_f1"),
                         F.sum("true").alias("support"))
    rows = [total.select(F.lit("node_classification").alias("task"), F.lit(name).alias("metric"),
                         F.lit("trained on 50 %").alias("variant"), F.lit("logistic_regression").alias("scorer"),
                         F.col(name).cast("double").alias("value"), "support") for name in ("micro_f1", "macro_f1")]
    return rows[0].union(rows[1]).where("value IS NOT NULL")
