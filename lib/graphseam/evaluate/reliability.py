"""Whether predicted probabilities come true: a reliability diagram with ten bins, and the calibration error."""

from __future__ import annotations

from functools import reduce

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

NUM_BINS = 10
EDGES = np.linspace(0.0, 1.0, NUM_BINS + 1)  # the bins of scikit-learn's calibration_curve
DIGITS = 12  # a mean's last bits depend on the order of summation


def judged_links(predictions: DataFrame) -> DataFrame:
    """(task, probability, true) of each predicted link: `true` if it is a held-out edge."""
    return predictions.select(F.lit("link_prediction").alias("task"), "probability", F.col("held_out").alias("true"))


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

    judged: (task, probability, true). A bin includes its upper bound but not its lower one, except that 0 is in the
    first bin. Cost: one aggregation to ten rows per task.
    Source: Niculescu-Mizil and Caruana, Predicting good probabilities, 2005.
    """
    place = reduce(Column.__add__, [(F.col("probability") > float(edge)).cast("int") for edge in EDGES[1:-1]])
    bins = (
        judged.withColumn("bin", place)
        .groupBy("task", "bin")
        .agg(
            F.round(F.avg("probability"), DIGITS).alias("mean_probability"),
            F.avg(F.col("true").cast("double")).alias("observed_rate"),
            F.count("*").alias("support"),
        )
    )
    return bins.select(
        "task",
        F.round(F.col("bin") / NUM_BINS, 1).alias("bin_low"),
        F.round((F.col("bin") + 1) / NUM_BINS, 1).alias("bin_high"),
        "mean_probability",
        "observed_rate",
        "support",
    )


def calibration_errors(bins: DataFrame) -> DataFrame:
    """Rows of METRIC_SCHEMA: ece, the mean over bins of |mean probability - observed rate|, weighted by support.

    bins: RELIABILITY. Source: Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities, AAAI 2015.
    """
    distance = F.abs(F.col("mean_probability") - F.col("observed_rate"))
    errors = bins.groupBy("task").agg(
        (F.sum(distance * F.col("support")) / F.sum("support")).alias("value"), F.sum("support").alias("support")
    )
    of_links = F.col("task") == "link_prediction"
    return errors.select(
        "task",
        F.lit("ece").alias("metric"),
        F.when(of_links, "predicted").otherwise("trained on 50 %").alias("variant"),
        F.when(of_links, "probability").otherwise("logistic_regression").alias("scorer"),
        F.lit("all").alias("stratum"),
        F.round("value", DIGITS).alias("value"),
        "support",
    )
