"""Whether predicted probabilities come true: a reliability diagram of about ten bins, and the calibration error."""

from __future__ import annotations

import math
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

NUM_BINS = 10
NARROW = 16  # narrow bins, which are merged, for each doubling of the probability
LEAST = -20 * NARROW  # what is below a millionth is in one of them
MEASURED = {
    "link_prediction": ("predicted", "probability"),
    "node_classification": ("trained on 50 %", "logistic_regression"),
}  # by task: what errors are of, as metrics name it
DIGITS = 12  # a mean's last bits depend on the order of summation


def judged_links(predictions: DataFrame) -> DataFrame:
    """(task, probability, true) of each predicted link: `true` if it is a held-out edge.

    The probability is that of a curve fitted on other nodes; a run of an earlier version has only that.
    """
    probability = F.coalesce("cross_fitted", "probability").alias("probability")
    return predictions.select(F.lit("link_prediction").alias("task"), probability, F.col("held_out").alias("true"))


def judged_labels(predictions: DataFrame, labels: DataFrame) -> DataFrame:
    """(task, probability, true) of each label predicted by a model that has not seen the node. Cost: one join."""
    seen = labels.select("node_id", "label", F.lit(True).alias("given")).distinct()
    return (
        predictions.where("fold IS NOT NULL")
        .join(seen, on=["node_id", "label"], how="left")
        .select(F.lit("node_classification").alias("task"), "probability", F.col("given").isNotNull().alias("true"))
    )


def reliability(judged: DataFrame) -> DataFrame:
    """Rows of RELIABILITY: for each bin, the mean probability and how often the prediction came true.

    judged: (task, probability, true). Up to ten bins of about equal counts per task, so that they lie where the
    probabilities do: those of links are often all below a tenth. Probabilities less than 5 % apart share a bin.
    Cost: one aggregation to at most 330 rows per task, of which neighbours are then merged.
    Source: Niculescu-Mizil and Caruana, Predicting good probabilities, 2005; bins of equal counts: Nguyen and O'Connor,
    Posterior calibration and exploratory analysis for NLP models, 2015.
    """
    narrow = F.greatest(F.lit(LEAST), F.floor(NARROW * F.log2("probability")))  # of 0 the logarithm is NULL: the least
    counts = (
        judged.withColumn("narrow", narrow)
        .groupBy("task", "narrow")
        .agg(
            F.min("probability").alias("bin_low"),
            F.max("probability").alias("bin_high"),
            F.sum("probability").alias("expected"),
            F.sum(F.col("true").cast("bigint")).alias("came_true"),
            F.count("*").alias("support"),
        )
    )
    task = Window.partitionBy("task")
    before = F.sum("support").over(task.orderBy("narrow")) - F.col("support") / 2
    place = F.floor(NUM_BINS * before / F.sum("support").over(task))
    return (
        counts.withColumn("bin", place)
        .groupBy("task", "bin")
        .agg(
            F.min("bin_low").alias("bin_low"),
            F.max("bin_high").alias("bin_high"),
            F.round(F.sum("expected") / F.sum("support"), DIGITS).alias("mean_probability"),
            (F.sum("came_true") / F.sum("support")).alias("observed_rate"),
            F.sum("support").alias("support"),
        )
        .drop("bin")
    )


def calibration_errors(bins: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of METRIC_SCHEMA: ece, the mean over bins of |mean probability - observed rate|, weighted by support.

    bins: rows of RELIABILITY. Source: Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities, 2015.
    """
    rows = []
    for task, (variant, scorer) in MEASURED.items():
        own = [row for row in bins if row["task"] == task]
        support = sum(row["support"] for row in own)
        if support:
            distances = (abs(row["mean_probability"] - row["observed_rate"]) * row["support"] for row in own)
            value = round(math.fsum(distances) / support, DIGITS)
            named = {"task": task, "metric": "ece", "variant": variant, "scorer": scorer, "stratum": "all"}
            rows.append({**named, "value": value, "support": support})
    return rows
