"""Predictions for placed nodes: further links, found by the run's own search, and labels, by its own models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.edges import with_original_ids
from graphseam.predict.borrowed import kept_model
from graphseam.predict.candidates import unseen_node_lists
from graphseam.predict.label_model import ALL_LABELS, predict_labels
from graphseam.predict.link_search import link_search
from graphseam.predict.nodes import read_models
from graphseam.predict.ranking import best_links
from graphseam.runs import Run


@contextmanager
def placed_links(run: Run, placed: DataFrame, arcs: DataFrame, top_k: int) -> Iterator[DataFrame | None]:
    """Rows of placed_links without batch: the likeliest further links of each placed node, by the run's own link model.

    placed: (node_id, id, vector), with no zero vectors. arcs: (node_id, other). Candidates, features and calibration
    are those of the run's predicted links; yields None if the run predicted none. In a bipartite graph, only nodes
    joined to the second kind get links.
    """
    kept = kept_model(run)
    if kept is None or top_k == 0:
        yield None
        return
    model, curves = kept
    known = arcs.groupBy("node_id").agg(F.array_sort(F.collect_set("other")).alias("known"))
    unseen_nodes = placed.select("node_id", "vector").join(known, on="node_id", how="inner")
    with link_search(run) as what:
        best = best_links(unseen_node_lists(what, unseen_nodes), model, top_k, curves)
        yield with_original_ids(best, placed, run.tables.read("nodes"))


def placed_labels(run: Run, placed: DataFrame) -> DataFrame | None:
    """Rows of placed_labels without batch, by the model trained on all labelled nodes; None if there is none.

    placed: (node_id, id, vector), with no zero vectors. Driver memory: the models, see read_models.
    """
    models, multi_label = read_models(run.tables)
    if ALL_LABELS not in models:
        return None
    found = predict_labels(placed, {ALL_LABELS: models[ALL_LABELS]}, run.config.predict.nodes.top_labels, multi_label)
    return found.select("node_id", "id", "label", "probability", "rank")
