"""Pairs for evaluating link prediction: held-out edges, and pairs that are not an edge of the whole graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from graphseam.edges import both_ways, end_nodes
from graphseam.runs import Run
from graphseam.seeds import derive_seed, uniform
from graphseam.session import persisted
from graphseam.spark_line import with_row_numbers

ATTEMPTS = 8  # far ends drawn for one negative; a node joined to nearly all others may still get none
RANKED_AMONG = 100  # ranked negatives of each kind per positive
RANK_ATTEMPTS = 150  # far ends drawn for them; a node joined to a third of the others may get fewer
POSITIVE, UNIFORM, HARD = "positive", "uniform", "hard"
RANKING = {UNIFORM: "rank_uniform", HARD: "rank_hard"}


@dataclass(frozen=True)
class Pool:
    """Where the far ends of one kind of negatives come from."""

    kind: str  # uniform or hard
    size: int  # number of places, which count from 0
    nodes: DataFrame | None  # (place, node_id); None if each place is the number of its node


def draw_pairs(run: Run, num_nodes: int, dense: bool, bipartite: bool = False) -> dict[str, Any]:
    """Draw the pairs once, from the whole graph, and write evaluation_pairs; called by ingest.

    Positives are held-out edges, so a run that holds none out has nothing to draw. The far ends of `uniform`
    negatives are arbitrary nodes, those of `hard` negatives are ends of positives, so that degree alone is less
    informative; in a bipartite graph both are of the kind that links are predicted to.
    Returns what the step reports: the number of pairs of each kind, and of positives with fewer than 100 negatives.
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
    """Where far ends come from: any node (if bipartite, any node of the second kind), and the ends of positives.

    num_dense: the number of nodes if their numbers have no gap, which saves numbering them.
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
    """The number of pairs of each kind, and of positives with fewer than 100 ranked negatives, if any."""
    by_query = run.tables.read("evaluation_pairs").groupBy("kind", "query").count()
    full = F.count_if(F.col("count") >= RANKED_AMONG)
    rows = by_query.groupBy("kind").agg(F.sum("count").alias("pairs"), full.alias("full")).collect()  # five kinds
    return told_of({row["kind"]: row["pairs"] for row in rows}, {row["kind"]: row["full"] for row in rows}, num_ranked)


def told_of(pairs: dict[str, int], complete: dict[str, int], num_ranked: int) -> dict[str, int]:
    """What ingest reports. pairs: by kind; complete: queries with 100 of the kind."""
    short = {f"fewer_{kind}": num_ranked - complete.get(kind, 0) for kind in RANKING.values()}
    return dict(sorted(pairs.items())) | {name: count for name, count in short.items() if count}


def sample_edges(edges: DataFrame, max_pairs: int, seed: int) -> DataFrame:
    """At most `max_pairs` of the edges, those with the smallest hash; another hash decides the orientation of each.

    edges: (src, dst), no pair twice. Returns (query, src, dst): dst is the end that a negative replaces, query the
    position in the order of the hash, so that any first few of them are a sample too.
    """
    draw = uniform(seed, F.lit("pair"), "src", "dst")
    turned = uniform(seed, F.lit("turn"), "src", "dst") < 0.5
    chosen = (
        edges.select("src", "dst", draw.alias("draw"))
        .sort("draw", "src", "dst")
        .limit(max_pairs)
        .select(
            F.when(turned, F.col("dst")).otherwise(F.col("src")).alias("src"),
            F.when(turned, F.col("src")).otherwise(F.col("dst")).alias("dst"),
        )
    )
    return with_row_numbers(chosen, "query").select("query", "src", "dst")


def facing(positives: DataFrame, nodes: DataFrame) -> DataFrame:
    """`positives` of a bipartite graph, each oriented so that its src is from the first column of the input.

    nodes: NODES. All far ends are then of the kind that links are predicted to. Cost: one join of the positives.
    """
    sides = nodes.select(F.col("node_id").alias("src"), (F.col("side") == "dst").alias("turn"))
    return positives.join(sides, on="src", how="inner").select(
        "query",
        F.when(F.col("turn"), F.col("dst")).otherwise(F.col("src")).alias("src"),
        F.when(F.col("turn"), F.col("src")).otherwise(F.col("dst")).alias("dst"),
    )


def pairs_of(edges: DataFrame, directed: bool) -> DataFrame:
    """(src, dst): each pair of nodes once, since embedded edges have no direction. Directed edges cost one shuffle."""
    if not directed:
        return edges.select("src", "dst")
    return edges.select(F.least("src", "dst").alias("src"), F.greatest("src", "dst").alias("dst")).distinct()


def draw_negatives(positives: DataFrame, pools: list[Pool], known: DataFrame, max_ranked: int, seed: int) -> DataFrame:
    """Pairs of a positive's src and a far end from a pool that no edge joins to src.

    positives: (query, src, dst). known: EDGES of the whole graph. Returns (kind, query, src, dst): for each positive
    and pool the first of 8 draws that is neither an edge nor a loop, and for each query below `max_ranked` the first
    100 such draws of 150; these may repeat, because draws are with replacement. Cost: the rows of draws, joined with
    the pools and with the neighbours of the positives' src, which are found by one pass over the edges.
    """

    def far_ends(pool: Pool) -> DataFrame:
        one = _attempts(positives, pool.kind, ATTEMPTS)
        many = _attempts(positives.where(F.col("query") < max_ranked), RANKING[pool.kind], RANK_ATTEMPTS)
        place = F.floor(uniform(seed, "kind", "src", "dst", "attempt") * pool.size)
        drawn = one.union(many).withColumn("place", place)
        columns = ("kind", "query", "src", "attempt", "far")
        if pool.nodes is None:
            return drawn.withColumnRenamed("place", "far").select(*columns)
        return drawn.join(pool.nodes.withColumnRenamed("node_id", "far"), on="place", how="inner").select(*columns)

    drawn = reduce(DataFrame.union, map(far_ends, pools)).where("src <> far")
    free = drawn.join(_neighbours(positives, known), on=["src", "far"], how="left_anti")
    wanted = F.when(F.col("kind").isin(*RANKING.values()), RANKED_AMONG).otherwise(1)
    order = Window.partitionBy("kind", "query").orderBy("attempt")
    return (
        free.withColumn("place", F.row_number().over(order))
        .where(F.col("place") <= wanted)
        .select("kind", "query", "src", F.col("far").alias("dst"))
    )


def _attempts(positives: DataFrame, kind: str, count: int) -> DataFrame:
    return positives.select(
        F.lit(kind).alias("kind"),
        "query",
        "src",
        "dst",
        F.explode(F.sequence(F.lit(0), F.lit(count - 1))).alias("attempt"),
    )


def _neighbours(positives: DataFrame, known: DataFrame) -> DataFrame:
    """(src, far): the edges at a positive's src, seen from it; at most evaluate.max_pairs numbers are broadcast."""
    ends = both_ways(known, "src", "far")
    return ends.join(F.broadcast(positives.select("src").distinct()), on="src", how="left_semi")


def numbered(pool: DataFrame) -> DataFrame:
    """(place, node_id): the rows of (node_id, …) numbered from 0, sorted by all their columns."""
    return with_row_numbers(pool.sort(*pool.columns), "place").select("place", "node_id")


def ends_of(positives: DataFrame) -> DataFrame:
    """(node_id, src, dst): both ends of each positive; as a pool they have the degree distribution of positives."""
    return positives.select(F.explode(F.array("src", "dst")).alias("node_id"), "src", "dst")


def with_degrees(pairs: DataFrame, edges: DataFrame) -> DataFrame:
    """`pairs` with min_degree BIGINT and degree_product DOUBLE, from the two nodes' degrees in `edges`.

    Cost: one aggregation of the edges, two joins of the pairs.
    """
    degrees = end_nodes(edges).groupBy("node_id").agg(F.count("*").alias("degree"))

    def degree_of(end: str) -> Column:
        return F.coalesce(F.col(f"{end}_degree"), F.lit(0))

    joined = pairs
    for end in ("src", "dst"):
        of_end = degrees.select(F.col("node_id").alias(end), F.col("degree").alias(f"{end}_degree"))
        joined = joined.join(of_end, on=end, how="left")
    product = degree_of("src").cast("double") * degree_of("dst").cast("double")
    return joined.select(
        *pairs.columns, F.least(degree_of("src"), degree_of("dst")).alias("min_degree"), product.alias("degree_product")
    )
