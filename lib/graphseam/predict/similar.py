"""predict_similar: embeddings (or nearest_nodes) -> similar_nodes, by largest cosine."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.edges import with_id_of
from graphseam.predict.group_search import BOTH
from graphseam.predict.search import choose_method, excluding_none, nearest, search_of, write_recall
from graphseam.predict.search_plan import Search, plan_search
from graphseam.predict.whole_graph import whole_vectors
from graphseam.predict.whole_similar import Named, search_all
from graphseam.runs import Run


def predict_similar(run: Run) -> dict[str, Any]:
    """The top_k most similar nodes of every node that has an edge, including its neighbours."""
    run.tables.drop_run("similar_nodes")
    if run.config.predict.similar.top_k == 0:
        return {"similar": 0}
    with_links = run.details("predict_links").get("similar_too")
    details = {"method": "with the candidates of predict_links"}
    if not with_links:
        run.tables.drop_run("search_recall", part="step = 'predict_similar'")
        search, whole = _search(run), whole_vectors(run)
        if whole is not None:
            count, plan = search_all(run, search, whole)
            return {"similar": count, **write_recall(run, "predict_similar", search, plan)}
        found, details = nearest_nodes(run, search)
    else:
        named = Named.of(run)
        if named is not None:
            counts = run.tables.write_in_tasks(["similar_nodes"], named.num_tasks, named.rows)
            return {"similar": counts["similar_nodes"], **details}
        found = run.tables.read("nearest_nodes")
    return {"similar": run.tables.write("similar_nodes", _named_rows(run, found)), **details}


def _named_rows(run: Run, found: DataFrame) -> DataFrame:
    """Rows of similar_nodes from (node_id, near, cosine)."""
    nodes, shift = run.tables.read("nodes"), run.ingested.id_shift
    near = F.posexplode(F.arrays_zip("near", "cosine")).alias("place", "one")
    of_src = with_id_of(found, "node_id", "src", nodes, shift)  # before there is a row for each pair
    rows = of_src.select(F.col("node_id").alias("src_node_id"), "src", near).select(
        "src_node_id", "src", F.col("one.near").alias("dst_node_id"), "one.cosine", (F.col("place") + 1).alias("rank")
    )
    return with_id_of(rows, "dst_node_id", "dst", nodes, shift)


def _search(run: Run) -> Search:
    settings = run.config.predict.similar
    return search_of(run, choose_method(settings.method, run.ingested.nodes), settings.top_k, "similar")


def nearest_nodes(run: Run, search: Search) -> tuple[DataFrame, dict[str, Any]]:
    """((node_id, near, cosine), what to report): the search used for predicted links, excluding only the node itself.

    Exact or approximate, according to predict.similar.method. Nodes with zero vectors are neither queries nor results.
    """
    rows = excluding_none(run.tables.read("embeddings"), BOTH)
    plan = plan_search(rows, search)
    found = nearest(rows, search, plan)
    found = found.select(F.col("src").alias("node_id"), F.col("dst").alias("near"), F.col("score").alias("cosine"))
    return found, write_recall(run, "predict_similar", search, plan)
