"""What link prediction takes over from the base run: the nearest nodes of nodes that have not moved.

In an incremental run most nodes have the edges and nearly the vector that they had. Their answers can change by nodes
that have moved only: those they had among them are dropped, and these nodes ask for the nearest among moved nodes
alone. All other nodes ask anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from graphseam.base_run import SAME, Base, base_named, kept_base
from graphseam.config import Config
from graphseam.predict.group_search import ALL, UNKNOWN
from graphseam.runs import Run

SETTLED = 0.999  # cosine with the base's vector, at least, of a node that has not moved


@dataclass(frozen=True)
class Carried:
    """Answers of `base` for the settled nodes of the run. of_all: whether those of kind ALL are wanted too."""

    run: Run
    base: Base
    of_all: bool

    @property
    def per_node(self) -> int:
        """Answers of a node, at most: those of the search, and as many that paths led to."""
        links, similar = self.run.config.predict.links, self.run.config.predict.similar
        return 2 * links.wanted_candidates + similar.top_k * self.of_all

    @property
    def settled(self) -> DataFrame:
        """(node_id): nodes with the same edges and nearly the same vector, which were asked for in the base."""
        asked = self.base.tables.read("candidate_lists").where(~F.col("learning")).select(F.col("src").alias("node_id"))
        return (
            self.run.tables.read("drift")
            .where(settled_by("change", "cosine"))
            .select("node_id")
            .join(asked, on="node_id", how="left_semi")
        )

    def found(self, settled: DataFrame) -> DataFrame:
        """Rows of group_search.FOUND_SCHEMA, one per settled node and settled answer, in any order."""
        lists = self.base.tables.read("candidate_lists").where(~F.col("learning"))
        parts = [_pairs(lists, F.col("src"), UNKNOWN, "dst")]
        if self.of_all:
            parts.append(_pairs(self.base.tables.read("nearest_nodes"), F.col("node_id"), ALL, "near"))
        pairs = reduce(DataFrame.union, parts)
        for end in ("src", "dst"):
            pairs = pairs.join(settled.withColumnRenamed("node_id", end), on=end, how="left_semi")
        one = [F.array(name).alias(name) for name in ("dst", "score")]
        return pairs.select("src", "kind", *one)


def settled_by(change: str, cosine: str) -> Column:
    return (F.col(change) == SAME) & (F.col(cosine) >= SETTLED)


def _pairs(rows: DataFrame, src: Column, kind: int, others: str) -> DataFrame:
    """(src, kind, dst, score) of lists with their cosines."""
    one = F.explode(F.arrays_zip(F.col(others).alias("dst"), F.col("cosine").alias("score"))).alias("one")
    return rows.select(src.alias("src"), F.lit(kind).alias("kind"), one).select("src", "kind", "one.dst", "one.score")


def carried_from_base(run: Run, methods: str, of_all: int) -> Carried | None:
    """What the run can take over; None in a full run, or if its base predicted links in another way."""
    name = kept_base(run)
    if name is None or "fit" not in run.details("refine"):
        return None
    base = base_named(run, name)
    told = base.details("predict_links")
    same = told.get("candidates") == methods and bool(told.get("similar_too")) == bool(of_all)
    same &= bool(told.get("bipartite")) == run.ingested.bipartite
    if not same or _asked(base.config) != _asked(run.config):
        return None
    return Carried(run, base, bool(of_all))


def _asked(config: Config) -> tuple[object, ...]:
    links = config.predict.links
    most = (links.num_candidates, links.top_k, config.predict.similar.top_k)
    return (*most, links.src_type, links.dst_type, config.predict.similar.method)
