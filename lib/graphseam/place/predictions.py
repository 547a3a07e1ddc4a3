"""What is predicted of placed nodes: further links, by the run's own search, and labels, by the run's own models."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from graphseam.predict.calibration import fit_calibration, probability
from graphseam.predict.labels import read_models
from graphseam.predict.nodes import ALL_LABELS, predict_labels
from graphseam.runs import Run
from graphseam.seeds import derive_seed
from graphseam.session import cores_of_a_task, empty_list


def placed_links(run: Run, placed: DataFrame, arcs: DataFrame, top_k: int) -> DataFrame:
    """Rows of placed_links less batch: the run's nodes of largest cosine that the batch does not join the node to.

    placed: (node_id, id, vector), none of them zero. arcs: (node_id, other). Probabilities are those of the run's
    predicted links.
    """
    intercept, slope = _calibration(run)
    embeddings = run.tables.read("embeddings")
    known = arcs.groupBy("node_id").agg(F.collect_list("other").alias("known"))
    found = links_of(run, placed.join(known, on="node_id", how="inner"), embeddings, top_k)
    ids = embeddings.select(F.col("node_id").alias("dst_node_id"), F.col("id").alias("dst"))
    asked = placed.select(F.col("node_id").alias("src_node_id"), F.col("id").alias("src"))
    return found.withColumnsRenamed({"src": "src_node_id", "dst": "dst_node_id"}) \
        .withColumn("probability", probability(F.col("score"), intercept, slope)) \
        .join(asked, on="src_node_id", how="inner").join(ids, on="dst_node_id", how="inner")


def links_of(run: Run, new_vectors: DataFrame, embeddings: DataFrame, top_k: int) -> DataFrame:
    """(src, dst, score, rank): for each new node the `top_k` of the run's nodes of largest cosine.

    new_vectors: (node_id, vector, known BIGINT[]); what a node knows is not found. The run's vectors lie in blocks, as
    when links are predicted, and the new ones ask every block; exact or approximate as predict.links.candidates of the
    run says. Cost: one shuffle of the run's vectors, and the index's own.
    """
    from graphseam.predict import _num_blocks
    from graphseam.predict.indexes import choose_index
    from graphseam.predict.links import BASE, CANDIDATE_SCHEMA, QUERY, _search_stream

    num_nodes = run.details("ingest")["nodes"]
    method, num_blocks = choose_index(run.config.predict.links.candidates, num_nodes), _num_blocks(run, num_nodes)
    base = embeddings.select(F.lit(BASE).alias("kind"), "node_id", empty_list("bigint").alias("known"), "vector",
                             F.pmod(F.xxhash64("node_id"), F.lit(num_blocks)).cast("int").alias("block"))
    queries = new_vectors.select(F.lit(QUERY).alias("kind"), "node_id", "known", "vector",
                                 F.explode(F.sequence(F.lit(0), F.lit(num_blocks - 1))).alias("block"))
    rows = base.union(queries).repartitionById(num_blocks, F.col("block")).sortWithinPartitions("kind", "node_id")
    search = _search_stream(method, top_k, derive_seed(run.config.run.seed, "links"),
                            cores_of_a_task(run.spark, num_blocks))
    found = rows.select("kind", "node_id", "known", "vector").mapInArrow(search, CANDIDATE_SCHEMA)
    order = Window.partitionBy("src").orderBy(F.desc("score"), "dst")
    return found.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= top_k)


def _calibration(run: Run) -> tuple[float, float]:
    """(intercept, slope) that the run's links were given; fitted now where it predicted none."""
    from graphseam.evaluate.pairs import with_cosine

    told: dict[str, Any] = run.details("predict_links").get("calibration", {})
    if told:
        return told["intercept"], told["slope"]
    pairs = with_cosine(run.tables.read("evaluation_pairs"), run.tables.read("embeddings"))
    intercept, slope, _ = fit_calibration(pairs)
    return intercept, slope


def placed_labels(run: Run, placed: DataFrame) -> DataFrame | None:
    """Rows of placed_labels less batch, by the model that learnt from all labelled nodes; None where there is none.

    placed: (node_id, id, vector), none of them zero. Driver: the models, as read_models says.
    """
    models, multi_label = read_models(run.tables)
    if ALL_LABELS not in models:
        return None
    found = predict_labels(placed, {ALL_LABELS: models[ALL_LABELS]}, run.config.predict.nodes.top_labels, multi_label)
    return found.select("node_id", "label", "probability", "rank") \
        .join(placed.select("node_id", "id"), on="node_id", how="inner")
