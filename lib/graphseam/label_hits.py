"""How often predicted labels are right: counted for the step that predicts them and the step that evaluates them."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def label_hits(predictions: DataFrame, labels: DataFrame) -> DataFrame:
    """(label, hits, true, given): the nodes that have the label (true), that are given it (given), and both (hits).

    A node with n labels is given its n best ranked predictions (DeepWalk's protocol). predictions: (node_id, label,
    rank); labels: (node_id, label), no row twice. Cost: two shuffles of both.
    """
    wanted = labels.groupBy("node_id").agg(F.count("*").alias("num_labels"))
    given = (
        predictions.join(wanted, on="node_id", how="inner")
        .where("rank <= num_labels")
        .select("node_id", "label", F.lit(1).alias("given"))
    )
    both = labels.select("node_id", "label", F.lit(1).alias("true")).join(given, on=["node_id", "label"], how="full")
    hit = F.coalesce(F.col("true") * F.col("given"), F.lit(0))
    return both.groupBy("label").agg(
        F.sum(hit).alias("hits"), F.count("true").alias("true"), F.count("given").alias("given")
    )


def label_rates(predictions: DataFrame, labels: DataFrame, top_labels: int) -> DataFrame:
    """(label, mean_probability, observed_rate) of each label, over the nodes where it is in the `top_labels` likeliest.

    The mean is summed in decimals, so that it does not depend on the order of the rows. Arguments: as for label_hits.
    """
    true = labels.select("node_id", "label", F.lit(1.0).alias("true"))
    shown = predictions.where(F.col("rank") <= top_labels).join(true, on=["node_id", "label"], how="left")
    exact = F.sum(F.col("probability").cast("decimal(18,12)")).cast("double") / F.count("*")
    return shown.groupBy("label").agg(
        exact.alias("mean_probability"), (F.count("true") / F.count("*")).alias("observed_rate")
    )
