"""evaluate: embeddings, evaluation_pairs, node_predictions, labels -> metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.evaluate.labels import label_metrics
from graphseam.evaluate.metrics import link_metrics
from graphseam.evaluate.pairs import (
    HARD,
    POSITIVE,
    UNIFORM,
    draw_negatives,
    ends_of,
    numbered,
    sample_edges,
    with_cosine,
    with_degree_product,
)
from graphseam.seeds import derive_seed
from graphseam.session import persisted

if TYPE_CHECKING:
    from graphseam.runs import Run


def draw_pairs(run: Run, num_nodes: int, dense: bool) -> None:
    """Draw the pairs once, from the whole graph, and write evaluation_pairs; ingest calls this.

    Positives are held-out edges, or a sample of the embedded ones where none are held out: those then serve to fit
    the probability of links, not to measure it. The far ends of `uniform` negatives are any nodes, those of `hard`
    ones the ends of positives, so that degree alone tells less.
    """
    seed = derive_seed(run.config.run.seed, "pairs")
    edges, held = run.tables.read("edges"), run.tables.read("holdout_edges")
    known = edges.union(held) if run.config.evaluate.holdout else edges
    chosen = sample_edges(held if run.config.evaluate.holdout else edges, run.config.evaluate.max_pairs, seed)
    with persisted(chosen) as positives:
        num_positives = positives.count()
        pools = {UNIFORM: (_node_pool(run.tables.read("nodes"), dense), num_nodes),
                 HARD: (numbered(ends_of(positives)), 2 * num_positives)}
        pairs = positives.select(F.lit(POSITIVE).alias("kind"), "src", "dst")
        for kind, (pool, size) in pools.items():
            pairs = pairs.union(draw_negatives(positives, pool, size, known, kind, seed))
        run.tables.write("evaluation_pairs", with_degree_product(pairs, edges))


def _node_pool(nodes: DataFrame, dense: bool) -> DataFrame:
    """(place, node_id) of all nodes; numbers without gaps are their own places."""
    if dense:
        return nodes.select(F.col("node_id").alias("place"), "node_id")
    return numbered(nodes.select("node_id"))


def evaluate(run: Run) -> dict[str, Any]:
    """Measure the embedding: links on held-out edges, labels on the half that a model has not seen."""
    parts = []
    if run.config.evaluate.holdout:
        scored = with_cosine(run.tables.read("evaluation_pairs"), run.tables.read("embeddings"))
        parts.append(link_metrics(scored))
    if run.config.input.labels:
        predictions = run.tables.read("node_predictions").where("fold IS NOT NULL")
        parts.append(label_metrics(predictions, run.tables.read("labels")))
    if not parts:
        run.tables.drop_run("metrics")
        return {"metrics": {}}
    metrics = parts[0] if len(parts) == 1 else parts[0].union(parts[1])
    run.tables.write("metrics", metrics)
    rows = run.tables.read("metrics").collect()  # about ten rows
    return {"metrics": {f"{row['metric']}/{row['variant']}/{row['scorer']}": row["value"] for row in sorted(rows)}}
