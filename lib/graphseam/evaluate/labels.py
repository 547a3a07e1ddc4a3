"""Quality metrics of predicted labels, on nodes whose labels the model has not trained on."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.label_hits import label_hits


def label_metrics(predictions: DataFrame, labels: DataFrame) -> DataFrame:
    """Micro- and Macro-F1 of the labelled nodes, each predicted by the model that trained on the other half.

    predictions: NODE_PREDICTIONS with a fold; labels: LABELS. Returns rows of METRIC_SCHEMA. Macro-F1 is the mean over
    the labels that occur. Cost: two small aggregations.
    """
    f1 = 2 * F.col("hits") / (F.col("true") + F.col("given"))
    micro = 2 * F.sum("hits") / (F.sum("true") + F.sum("given"))
    total = label_hits(predictions, labels).agg(
        micro.alias("micro_f1"),
        F.round(F.avg(F.when(F.col("true") > 0, f1)), 12).alias("macro_f1"),
        F.sum("true").alias("support"),
    )
    rows = [
        total.select(
            F.lit("node_classification").alias("task"),
            F.lit(name).alias("metric"),
            F.lit("trained on 50 %").alias("variant"),
            F.lit("logistic_regression").alias("scorer"),
            F.col(name).cast("double").alias("value"),
            "support",
        )
        for name in ("micro_f1", "macro_f1")
    ]
    return rows[0].union(rows[1]).where("value IS NOT NULL")
