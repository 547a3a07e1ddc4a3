"""Pairs worth scoring, with their features: from nearest vectors, short paths, or pairs given by the user."""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.predict.features import as_pairs, count_blocks, pair_features
from graphseam.predict.group_search import ALL, LEARNING, QUERY
from graphseam.predict.link_search import TRAINING_NODES, LinkSearch, among
from graphseam.predict.paths import paths, to_targets, wanted_of
from graphseam.predict.search import EXACT_LIMIT, excluding_none, merged, search_rows
from graphseam.predict.search import nearest as nearest_vectors
from graphseam.predict.search_plan import Plan, for_few
from graphseam.predict.whole_lists import Ranking, known_lists
from graphseam.seeds import uniform
from graphseam.session import empty_list

SHARED_BY = 4  # tasks, at most, that compute the features of all nodes if memory would allow one


def queries_of(what: LinkSearch, with_training_nodes: bool) -> DataFrame:
    """(node_id, known, degree, learning): every source, and about TRAINING_NODES of them again if requested."""
    rows = among(what.lists, what.sources).withColumn("learning", F.lit(False))
    if not with_training_nodes:
        return rows
    return rows.union(_training_nodes(what).withColumn("learning", F.lit(True)))


def _training_nodes(what: LinkSearch) -> DataFrame:
    """The rows of `lists` of about TRAINING_NODES sources."""
    share = F.lit(TRAINING_NODES / max(1, what.num_nodes))
    return among(what.lists, what.sources).where(uniform(what.learners, "node_id") < share)


def write_candidates(what: LinkSearch, with_training_nodes: bool, ranking: Ranking | None = None) -> dict[str, int]:
    """Write num_candidates per source and method into candidate_lists, all of them non-neighbours; returns how many
    rows tasks have written into which tables.

    With `with_training_nodes`, some sources occur again with learning = true; for these, neighbours can be candidates
    too. Writes nearest_nodes, if those are asked for too, and with a `ranking`, where one task can hold the graph,
    link_predictions. Cost: that of the searches; vectors and lists are moved once per block, or not at all if one task
    can hold the graph.
    """
    tables = what.run.tables
    if what.whole is None:
        tables.write("candidate_lists", _found_candidates(what, with_training_nodes))
        return {}
    search = replace(what.in_whole(with_training_nodes), ranking=ranking)
    return tables.write_in_tasks(search.writes, search.num_tasks, search.lists)


def _found_candidates(what: LinkSearch, with_training_nodes: bool) -> DataFrame:
    """Rows of features.LISTS_SCHEMA."""
    queries = queries_of(what, with_training_nodes)
    if "pairs" in what.methods:
        given = wanted_of(what.run.tables.read("candidate_pairs")).withColumn("learning", F.lit(False))
    elif what.methods == ("two_hop",):
        given = None
    else:
        given = _nearest_targets(what, _with_training(what) if with_training_nodes else what.asked, what.plan)
    several = min(what.run.spark.sparkContext.defaultParallelism, SHARED_BY)
    tasks = several if what.num_nodes > EXACT_LIMIT else 1
    return lists_of(what, _with_wanted(queries, given), what.top_by_paths, num_tasks=tasks)


def _with_training(what: LinkSearch) -> DataFrame:
    """What is searched, and the training nodes again as queries that exclude nothing."""
    again = _training_nodes(what).select("node_id").join(what.vectors, on="node_id", how="inner")
    return what.asked.unionByName(excluding_none(again, QUERY, learning=True))


def _nearest_targets(what: LinkSearch, rows: DataFrame, plan: Plan) -> DataFrame:
    """(node_id, learning, wanted BIGINT[]): what the search finds for each query. rows: as in search.nearest.

    Writes nearest_nodes, if that is asked for too.
    """
    found = nearest_vectors(rows, what.search, plan)
    if what.carried is not None:
        beside = nearest_vectors(what.asked_beside, what.search, plan.mirrored())
        found = merged([found, beside, what.carried.found(what.settled)], what.search)
    if what.of_all:
        found = what.keep(found)
        nearest = found.where(F.col("kind") == ALL)
        what.run.tables.write(
            "nearest_nodes",
            nearest.select(F.col("src").alias("node_id"), F.col("dst").alias("near"), F.col("score").alias("cosine")),
        )
        found = found.where(F.col("kind") != ALL)
    learning = (F.col("kind") == LEARNING).alias("learning")
    return found.select(F.col("src").alias("node_id"), learning, F.array_sort("dst").alias("wanted"))


def _with_wanted(queries: DataFrame, given: DataFrame | None) -> DataFrame:
    if given is None:
        return queries.withColumn("wanted", empty_list("bigint"))
    joined = queries.join(given, on=["node_id", "learning"], how="left")
    return joined.withColumn("wanted", F.coalesce("wanted", empty_list("bigint")))


def known_features(what: LinkSearch, pairs: DataFrame) -> DataFrame:
    """Rows of features.FEATURES_SCHEMA for the given pairs, each pair once. pairs: (src, dst)."""
    if what.whole is not None:
        return as_pairs(known_lists(what.whole, pairs, what.path_search(0)))
    given = wanted_of(pairs)
    asked = given.join(what.lists, on="node_id", how="left").select(
        "node_id", F.coalesce("known", empty_list("bigint")).alias("known"), F.lit(False).alias("learning"), "wanted"
    )
    return as_pairs(lists_of(what, asked, 0))


def unseen_node_lists(what: LinkSearch, unseen_nodes: DataFrame) -> DataFrame:
    """Rows of features.LISTS_SCHEMA: candidates for nodes that are not in the run.

    unseen_nodes: (node_id, vector, known BIGINT[]), where `known` lists nodes of the run. Uses nearest vectors and
    paths, as "auto" does. In a bipartite graph, only unseen nodes joined to targets are returned.
    """
    asked = unseen_nodes.withColumn("learning", F.lit(False))
    if what.targets is not None and what.three:
        ends = asked.select("node_id", F.explode("known").alias("other")).join(
            what.targets.select(F.col("node_id").alias("other")), on="other", how="left_semi"
        )
        asked = asked.join(ends.select("node_id").distinct(), on="node_id", how="left_semi")
    plan = for_few(what.plan, asked, what.run.config.embed.dim)
    given = _nearest_targets(what, search_rows(what.base, asked), plan)
    return lists_of(what, _with_wanted(asked.drop("vector"), given), what.num_candidates, asked)


def lists_of(
    what: LinkSearch, queries: DataFrame, top: int, unseen_nodes: DataFrame | None = None, num_tasks: int = 1
) -> DataFrame:
    """Rows of features.LISTS_SCHEMA.

    queries: (node_id, known, wanted, learning). unseen_nodes: (node_id, vector, …), the queries not in the run.
    num_tasks: that share the features if memory would allow one; each gets all vectors, so few queries want one.
    """
    run, settings = what.run, what.path_search(top)
    lists = what.lists if what.targets is None or what.three else to_targets(what.lists, what.targets)
    per_node = top + what.num_candidates
    blocks = count_blocks(what.num_nodes, per_node, run.config.embed.dim, run.task_memory_mb())
    fit_one = blocks == 1
    if fit_one:
        blocks = num_tasks
    asked = queries.select("node_id", "known", "wanted", "learning")
    if fit_one and settings.whole:
        asked = asked.withColumn("place", F.lit(0.0))
    else:
        anywhere = uniform(what.search.seed, "node_id")
        asked = asked.join(what.places, on="node_id", how="left").withColumn("place", F.coalesce("place", anywhere))
    found = paths(lists, asked, settings)
    degrees = what.lists.select("node_id", "degree")
    vectors = what.vectors.join(degrees, on="node_id", how="left").select(
        "node_id", "vector", F.coalesce("degree", F.lit(0)).alias("degree")
    )
    if unseen_nodes is not None:
        vectors = vectors.join(unseen_nodes.select("node_id"), on="node_id", how="left_anti").union(
            unseen_nodes.select("node_id", "vector", F.size("known").alias("degree"))
        )
    return pair_features(vectors, found if fit_one else what.keep(found), blocks, to_all=fit_one)
