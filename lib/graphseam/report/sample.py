"""The nodes in the picture of the vectors, and their places; of a small graph begun before the run has ended."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from pyspark.sql import functions as F

from graphseam.runs import Run
from graphseam.seeds import derive_seed, uniform

OTHER = "other labels"
PICTURED = 1500  # nodes in the picture


@dataclass(frozen=True)
class Sample:
    """Some nodes. places: float64[n, 2] in [0, 1], by their vectors. groups: their label or subgraph. by: which of
    these."""

    ids: list[str]
    places: np.ndarray
    groups: list[str]
    by: str


@dataclass(frozen=True)
class Pictured:
    """Nodes and their places, see Sample; known: the labels, or the subgraph, of each."""

    ids: list[str]
    places: np.ndarray
    known: list[list[str]]
    labelled: bool

    def grouped(self, shown: list[str]) -> Sample:
        """shown: labels that are told apart; of several that a node has, the first counts."""
        if not self.labelled:
            return Sample(self.ids, self.places, [known[0] for known in self.known], "subgraph")
        groups = [min(set(known) & set(shown), default=OTHER) for known in self.known]
        return Sample(self.ids, self.places, groups, "label")


def picture(run: Run, labelled: bool) -> Pictured:
    """Nodes chosen by a hash of their ids: those with a label, or any that are in a subgraph.

    Cost: a pass over the vectors, and 2 s on the driver, which holds 1,500 of them.
    """
    from graphseam.report.picture import in_the_plane  # scikit-learn: not before it is needed

    seed = derive_seed(run.config.run.seed, "picture")
    if labelled:
        known, num = run.tables.read("labels").select("node_id", "label"), run.ingested.labelled_nodes
    else:
        subgraphs = run.tables.read("assignments", level=1)
        known, num = subgraphs.select("node_id", F.col("subgraph_id").cast("string").alias("label")), run.ingested.nodes
    order = uniform(seed, "node_id")
    some = known.where(order < 1.2 * PICTURED / max(1, num)).groupBy("node_id")
    rows = (
        run.tables.read("embeddings")
        .join(F.broadcast(some.agg(F.collect_set("label").alias("known"))), on="node_id")
        .sort(order, "node_id")
        .limit(PICTURED)
        .select("id", "vector", "known")
        .collect()
    )
    vectors = np.array([row["vector"] for row in rows], np.float32).reshape(len(rows), run.config.embed.dim)
    live = np.flatnonzero(np.linalg.norm(vectors, axis=1) > 0)
    return Pictured(
        [rows[at]["id"] for at in live], in_the_plane(vectors[live]), [rows[at]["known"] for at in live], labelled
    )


def begin_picture(run: Run) -> Future[Pictured]:
    """Let a thread make the picture of a run that is refined, while its other steps mostly wait for Spark."""
    begun: Future[Pictured] = Future()

    def make() -> None:
        try:
            begun.set_result(picture(run, labelled=bool(run.ingested.labelled_nodes)))
        except Exception as error:  # the report asks, and tells
            begun.set_exception(error)

    threading.Thread(target=make, daemon=True).start()
    return begun
