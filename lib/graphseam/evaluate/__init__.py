"""evaluate: embeddings, evaluation_pairs, link_predictions, node_predictions, labels -> metrics, reliability."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.evaluate.labels import label_metrics
from graphseam.evaluate.metrics import STRATA, WHOLE, link_metrics
from graphseam.evaluate.reliability import calibration_errors, judged_labels, judged_links, reliability
from graphseam.evaluate.scores import num_score_blocks, score_pairs
from graphseam.evaluate.whole import whole_link_metrics
from graphseam.runs import Run
from graphseam.spark_line import for_a_thread

NAMES = ("metric", "variant", "scorer")  # of a number, in the details of the step
ORDER = ("task", *NAMES, "stratum")
SCORERS, LINK_MODEL = ("cosine", "dot_product", "degree_product"), "link_model"
STABILITY_UNITS = 2.0**30  # of a cosine of 1: so many that 2^33 nodes do not overflow a sum


def evaluate(run: Run) -> dict[str, Any]:
    """Measure the embedding and the predictions: links on held-out edges, labels on the half a model has not seen.

    Writes metrics and reliability. Returns the metrics over all strata, {metric/variant/scorer: value}.
    """
    with ThreadPoolExecutor(1) as pool:  # one task computes the metrics, and leaves cores free
        judged, moved = (pool.submit(for_a_thread(run.spark, part), run) for part in (reliability_of, stability_of))
        rows = _metrics_of(run)
        bins = judged.result()
        rows += moved.result()
    run.tables.write_rows("reliability", bins)
    rows += calibration_errors(bins)
    rows.sort(key=lambda row: [row[name] for name in ORDER])
    run.tables.write_rows("metrics", rows)
    return {"metrics": {"/".join(row[name] for name in NAMES): row["value"] for row in rows if row["stratum"] == WHOLE}}


def _metrics_of(run: Run) -> list[dict[str, Any]]:
    """Rows of METRIC_SCHEMA, about a hundred, of links and labels."""
    links = link_metrics_of(run) if run.config.holds_out else None
    labels = None
    if run.config.input.labels:
        predictions = run.tables.read("node_predictions").where("fold IS NOT NULL")
        labels = label_metrics(predictions, run.tables.read("labels"))
    parts = [part for part in (links, labels) if part is not None]
    if not parts:
        return []
    metrics = reduce(
        DataFrame.unionByName,
        [part if "stratum" in part.columns else part.withColumn("stratum", F.lit(WHOLE)) for part in parts],
    )
    return [row.asDict() for row in metrics.collect()]


def stability_of(run: Run) -> list[dict[str, Any]]:
    """Rows of METRIC_SCHEMA: what the vectors share with the base's; at most 18."""
    rows = stability(run)
    return [] if rows is None else [row.asDict() for row in rows.collect()]


def stability(run: Run) -> DataFrame | None:
    """Rows of METRIC_SCHEMA: the mean cosine with the base's vectors, by what has changed; None without a base.

    A cosine below 0 counts as 0. Added up in units of 2^-30, so that the order of rows does not matter.
    """
    if not run.details("refine").get("base"):
        return None
    of_degree = [F.when(F.col("degree").between(low, high), name) for name, (low, high) in STRATA.items()]
    fixed = F.round(F.greatest("cosine", F.lit(0.0)) * STABILITY_UNITS).cast("bigint").alias("cosine")
    drift = (
        run.tables.read("drift")
        .where("cosine IS NOT NULL")
        .select("change", F.coalesce(*of_degree).alias("own"), fixed)
    )
    by_degree = drift.groupBy("change", "own").agg(F.sum("cosine").alias("total"), F.count(F.lit(1)).alias("support"))
    stratum = F.explode(F.array(F.lit(WHOLE), "own")).alias("stratum")
    return (
        by_degree.select("change", stratum, "total", "support")
        .groupBy("change", "stratum")
        .agg((F.sum("total") / F.sum("support") / STABILITY_UNITS).alias("value"), F.sum("support").alias("support"))
        .select(
            *(F.lit("stability").alias(name) for name in ("task", "metric")),
            F.concat(F.lit("changed: "), "change").alias("variant"),
            F.lit("cosine").alias("scorer"),
            "stratum",
            "value",
            "support",
        )
    )


def link_metrics_of(run: Run) -> DataFrame:
    """Rows of METRIC_SCHEMA for every score of the pairs: those from the vectors, and from degrees as a baseline."""
    pairs = run.tables.read("evaluation_pairs")
    ingested = run.ingested
    num_pairs = sum(count for kind, count in ingested.evaluation_pairs.items() if not kind.startswith("fewer_"))
    model = LINK_MODEL if run.details("predict_links").get("links") else ""
    scorers = (*SCORERS, model) if model else SCORERS
    found = whole_link_metrics(run, num_pairs, scorers, model)
    if found is not None:
        return found
    blocks = num_score_blocks(num_pairs, ingested.nodes, run.config.embed.dim)
    scored = score_pairs(pairs, run.tables.read("embeddings"), blocks)
    if model:
        scored = scored.join(run.tables.read("pair_scores"), on=["src", "dst"], how="inner")
    return link_metrics(scored, scorers, run.config.evaluate.max_ranked)


def reliability_of(run: Run) -> list[dict[str, Any]]:
    """Rows of reliability, none if nothing can be checked. At most ten of links and ten of labels."""
    judged = []
    if run.config.holds_out and run.config.predict.links.top_k:
        judged.append(judged_links(run.tables.read("link_predictions")))
    if run.config.input.labels:
        judged.append(judged_labels(run.tables.read("node_predictions"), run.tables.read("labels")))
    bins = reliability(reduce(DataFrame.union, judged)).sort("task", "bin_low").collect() if judged else []
    return [row.asDict() for row in bins]
