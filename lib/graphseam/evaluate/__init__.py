"""evaluate: embeddings, evaluation_pairs, link_predictions, node_predictions, labels -> metrics, reliability."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.evaluate.labels import label_metrics
from graphseam.evaluate.metrics import WHOLE, link_metrics
from graphseam.evaluate.pairs import (
    HARD,
    POSITIVE,
    RANKED_AMONG,
    RANKING,
    UNIFORM,
    Pool,
    draw_negatives,
    ends_of,
    facing,
    numbered,
    pairs_of,
    sample_edges,
    with_degrees,
)
from graphseam.evaluate.reliability import calibration_errors, judged_labels, judged_links, reliability
from graphseam.evaluate.scores import num_score_blocks, score_pairs
from graphseam.seeds import derive_seed
from graphseam.session import persisted

if TYPE_CHECKING:
    from graphseam.runs import Run


SCORERS, LINK_MODEL = ("cosine", "dot_product", "degree_product"), "link_model"


def draw_pairs(run: Run, num_nodes: int, dense: bool, bipartite: bool = False) -> dict[str, Any]:
    """Draw the pairs once, from the whole graph, and write evaluation_pairs; ingest calls this.

    Positives are held-out edges, so a run that holds none out has nothing to draw. The far ends of `uniform`
    negatives are any nodes, those of `hard` ones the ends of positives, so that degree alone tells less; in a
    bipartite graph both are of the kind that links are predicted to.
    Returns what the step reports: how many pairs of each kind, and how many positives lack some of their 100.
    """
    settings, seed = run.config.evaluate, derive_seed(run.config.run.seed, "pairs")
    edges, held = run.tables.read("edges"), run.tables.read("holdout_edges")
    sample = sample_edges(pairs_of(held, run.config.input.directed), settings.max_pairs, seed)
    nodes = run.tables.read("nodes")
    with persisted(facing(sample, nodes) if bipartite else sample) as positives:
        num_positives = positives.count()
        pools = pools_of(positives, num_positives, nodes, bipartite, num_nodes if dense else None)
        pairs = positives.select(F.lit(POSITIVE).alias("kind"), "query", "src", "dst").union(
            draw_negatives(positives, pools, edges.union(held), settings.max_ranked, seed)
        )
        run.tables.write("evaluation_pairs", with_degrees(pairs, edges))
    return {"evaluation_pairs": _count_pairs(run, min(settings.max_ranked, num_positives))}


def pools_of(
    positives: DataFrame, num_positives: int, nodes: DataFrame, bipartite: bool, num_dense: int | None = None
) -> list[Pool]:
    """Where far ends come from: any node or, in a bipartite graph, any of the second kind; the ends of positives.

    num_dense: how many nodes there are where their numbers have no gap, which saves numbering them.
    """
    if bipartite:
        second = nodes.where(F.col("side") == "dst").select("node_id")
        ends = positives.select(F.col("dst").alias("node_id"), "src", "dst")
        return [Pool(UNIFORM, second.count(), numbered(second)), Pool(HARD, num_positives, numbered(ends))]
    whole = (
        Pool(UNIFORM, nodes.count(), numbered(nodes.select("node_id")))
        if num_dense is None
        else Pool(UNIFORM, num_dense, None)
    )
    return [whole, Pool(HARD, 2 * num_positives, numbered(ends_of(positives)))]


def _count_pairs(run: Run, num_ranked: int) -> dict[str, int]:
    """Pairs of each kind, and positives with fewer than 100 negatives to be ranked among, if any."""
    by_query = run.tables.read("evaluation_pairs").groupBy("kind", "query").count()
    full = F.count_if(F.col("count") >= RANKED_AMONG)
    rows = by_query.groupBy("kind").agg(F.sum("count").alias("pairs"), full.alias("full")).collect()  # five kinds
    counts = {row["kind"]: row["pairs"] for row in sorted(rows)}
    complete = {row["kind"]: row["full"] for row in rows}
    short = {f"fewer_{kind}": num_ranked - complete.get(kind, 0) for kind in RANKING.values()}
    return counts | {name: count for name, count in short.items() if count}


def evaluate(run: Run) -> dict[str, Any]:
    """Measure the embedding and the predictions: links on held-out edges, labels on the half a model has not seen.

    Writes metrics and reliability. Returns the metrics of the whole, {metric/variant/scorer: value}.
    """
    links = link_metrics_of(run) if run.config.holds_out else None
    labels = None
    if run.config.input.labels:
        predictions = run.tables.read("node_predictions").where("fold IS NOT NULL")
        labels = label_metrics(predictions, run.tables.read("labels"))
    bins = write_reliability(run)
    parts = [part for part in (links, labels, bins) if part is not None]
    if not parts:
        run.tables.drop_run("metrics")
        return {"metrics": {}}
    metrics = reduce(
        DataFrame.unionByName,
        [part if "stratum" in part.columns else part.withColumn("stratum", F.lit(WHOLE)) for part in parts],
    )
    run.tables.write("metrics", metrics)
    rows = run.tables.read("metrics").where(F.col("stratum") == WHOLE).collect()  # about a hundred rows
    return {"metrics": {f"{row['metric']}/{row['variant']}/{row['scorer']}": row["value"] for row in sorted(rows)}}


def link_metrics_of(run: Run) -> DataFrame:
    """Rows of METRIC_SCHEMA for every score that the pairs have: of the vectors, and the floor of the degrees."""
    pairs = run.tables.read("evaluation_pairs")
    told = run.details("ingest")
    num_pairs = sum(count for kind, count in told["evaluation_pairs"].items() if not kind.startswith("fewer_"))
    blocks = num_score_blocks(num_pairs, told["nodes"], run.config.embed.dim)
    scored = score_pairs(pairs, run.tables.read("embeddings"), blocks)
    if not run.details("predict_links").get("links"):
        return link_metrics(scored, SCORERS, run.config.evaluate.max_ranked)
    scored = scored.join(run.tables.read("pair_scores"), on=["src", "dst"], how="inner")
    return link_metrics(scored, (*SCORERS, LINK_MODEL), run.config.evaluate.max_ranked)


def write_reliability(run: Run) -> DataFrame | None:
    """Write reliability; returns the rows of METRIC_SCHEMA that sum it up, None where nothing can be checked."""
    judged = []
    if run.config.holds_out and run.config.predict.links.top_k:
        judged.append(judged_links(run.tables.read("link_predictions")))
    if run.config.input.labels:
        judged.append(judged_labels(run.tables.read("node_predictions"), run.tables.read("labels")))
    if not judged:
        run.tables.drop_run("reliability")
        return None
    run.tables.write("reliability", reliability(reduce(DataFrame.union, judged)))
    return calibration_errors(run.tables.read("reliability"))
