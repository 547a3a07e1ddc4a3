"""predict: embeddings -> link_predictions, node_predictions, label_models, label_quality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from graphseam.predict.calibration import fit_calibration, probability
from graphseam.predict.indexes import INDEXES, choose_index
from graphseam.predict.labels import predict_nodes
from graphseam.predict.links import nearest_strangers
from graphseam.seeds import derive_seed
from graphseam.session import cores_of_a_task

if TYPE_CHECKING:
    from graphseam.runs import Run

__all__ = ["INDEXES", "predict_links", "predict_nodes"]

NODES_PER_BLOCK = 20_000  # below it a block is not worth a task of its own
INDEX_COPIES = 4          # of the vectors a task holds while it builds an index


def predict_links(run: Run) -> dict[str, Any]:
    """The top_k likeliest missing links of every node, each with a probability."""
    from graphseam.evaluate.pairs import with_cosine

    run.tables.drop_run("link_predictions")
    settings = run.config.predict.links
    if settings.top_k == 0:
        return {"links": 0}
    embeddings = run.tables.read("embeddings")
    pairs = run.tables.read("evaluation_pairs").where("kind IN ('positive', 'uniform', 'hard')")
    intercept, slope, support = fit_calibration(with_cosine(pairs, embeddings))
    num_nodes = run.details("ingest")["nodes"]
    method = choose_index(settings.candidates, num_nodes)
    num_blocks = _num_blocks(run, num_nodes)
    found = nearest_strangers(embeddings, run.tables.read("edges"), method, settings.top_k, num_blocks,
                              derive_seed(run.config.run.seed, "links"), cores_of_a_task(run.spark, num_blocks))
    ids = run.tables.read("nodes")
    rows = found.withColumnsRenamed({"src": "src_node_id", "dst": "dst_node_id"}) \
        .withColumn("probability", probability(F.col("score"), intercept, slope))
    held = run.tables.read("holdout_edges").select(
        F.least("src", "dst").alias("low"), F.greatest("src", "dst").alias("high"), F.lit(True).alias("is_held"))
    rows = rows.withColumn("low", F.least("src_node_id", "dst_node_id")) \
        .withColumn("high", F.greatest("src_node_id", "dst_node_id")) \
        .join(held.distinct(), on=["low", "high"], how="left") \
        .withColumn("held_out", F.col("is_held").isNotNull())
    for end in ("src", "dst"):
        rows = rows.join(ids.select(F.col("node_id").alias(f"{end}_node_id"), F.col("id").alias(end)),
                         on=f"{end}_node_id", how="inner")
    return {"links": run.tables.write("link_predictions", rows), "candidates": method, "blocks": num_blocks,
            "calibration": {"intercept": intercept, "slope": slope, "pairs": support,
                            "positives": "held-out edges" if run.config.holds_out else "embedded edges"}}


def _num_blocks(run: Run, num_nodes: int) -> int:
    """Blocks of vectors: as many as memory asks for, and enough for the cores where the graph is worth it."""
    vector_bytes = num_nodes * run.config.embed.dim * 4 * INDEX_COPIES
    task_bytes = run.task_memory_mb() << 20
    for_memory = -(-vector_bytes // task_bytes)
    for_cores = min(run.spark.sparkContext.defaultParallelism, num_nodes // NODES_PER_BLOCK)
    return max(1, for_memory, for_cores)
