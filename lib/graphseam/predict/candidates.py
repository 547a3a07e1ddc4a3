"""Pairs worth scoring, with their features: from nearest vectors, short paths, or pairs given by the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.errors import InputError, nearest
from graphseam.predict.features import pair_features
from graphseam.predict.indexes import choose_index
from graphseam.predict.paths import PathSearch, neighbour_lists, paths, plan_paths, to_targets, wanted_of
from graphseam.predict.search import Search, count_blocks
from graphseam.predict.search import nearest as nearest_vectors
from graphseam.runs import Run
from graphseam.seeds import derive_seed, uniform
from graphseam.session import cores_of_a_task, empty_list, persisted

TRAINING_NODES = 2000  # number of nodes whose candidates the model trains on


@dataclass(frozen=True)
class LinkSearch:
    """What a run searches for. methods: exact or hnsw, two_hop, or pairs. three: paths have three edges because the
    graph is bipartite. lists: from paths.neighbour_lists. sources, targets: (node_id); None means all nodes."""

    run: Run
    methods: tuple[str, ...]
    three: bool
    lists: DataFrame
    sources: DataFrame | None
    targets: DataFrame | None

    @property
    def num_candidates(self) -> int:
        links = self.run.config.predict.links
        return links.num_candidates or max(20, 2 * links.top_k)

    @property
    def num_nodes(self) -> int:
        return self.run.ingested.nodes

    @property
    def vectors(self) -> DataFrame:
        """(node_id, vector) of every node in the run."""
        return self.run.tables.read("embeddings").select("node_id", "vector")

    def search(self, top_k: int, method: str | None = None) -> Search:
        """The search for nearest vectors, by `method` if given, else by the run's own method."""
        run, chosen = self.run, method or next(name for name in self.methods if name in ("exact", "hnsw"))
        cores = run.spark.sparkContext.defaultParallelism
        blocks = count_blocks(chosen, self.num_nodes, run.config.embed.dim, run.task_memory_mb(), cores)
        return Search(
            chosen, top_k, blocks, derive_seed(run.config.run.seed, "links"), cores_of_a_task(run.spark, blocks)
        )

    def path_search(self, top: int) -> PathSearch:
        run, cores = self.run, self.run.spark.sparkContext.defaultParallelism
        return plan_paths(
            run.ingested.edges, run.task_memory_mb(), cores, (self.three, top, run.config.predict.links.hub_cap)
        )


def chosen_methods(candidates: str, num_nodes: int) -> tuple[str, ...]:
    """The methods that predict.links.candidates stands for, such as ("exact", "two_hop")."""
    if candidates == "auto":
        return choose_index("auto", num_nodes), "two_hop"
    return tuple(dict.fromkeys(candidates.split("+")))


@contextmanager
def link_search(run: Run) -> Iterator[LinkSearch]:
    """What the run searches for; its neighbour lists stay persisted for the duration of the block."""
    ingested = run.ingested
    methods = chosen_methods(run.config.predict.links.candidates, ingested.nodes)
    sources, targets = _ends(run, ingested.bipartite)
    with persisted(neighbour_lists(run.tables.read("edges"))) as lists:
        yield LinkSearch(run, methods, ingested.bipartite, lists, sources, targets)


def _ends(run: Run, bipartite: bool) -> tuple[DataFrame | None, DataFrame | None]:
    """(sources, targets): by type if the configuration names one, else by edge column in a bipartite graph."""
    links, nodes = run.config.predict.links, run.tables.read("nodes")
    found: list[DataFrame | None] = []
    for key, kind, side in (("src_type", links.src_type, "src"), ("dst_type", links.dst_type, "dst")):
        if kind:
            chosen = nodes.where(F.col("type") == kind).select("node_id")
            if chosen.isEmpty():
                some = nodes.select("type").where("type IS NOT NULL").distinct().limit(20).collect()
                known = sorted(row["type"] for row in some)
                raise InputError(f"predict.links.{key} is {kind!r}, and no node is of that type.{nearest(kind, known)}")
            found.append(chosen)
        elif bipartite and not (links.src_type or links.dst_type):
            found.append(nodes.where(F.col("side") == side).select("node_id"))
        else:
            found.append(None)
    return found[0], found[1]


def among(rows: DataFrame, nodes: DataFrame | None) -> DataFrame:
    """The rows whose node is one of `nodes`; all rows if `nodes` is None."""
    return rows if nodes is None else rows.join(nodes, on="node_id", how="left_semi")


def queries_of(what: LinkSearch, with_training_nodes: bool) -> DataFrame:
    """(node_id, known, degree, learning): every source, and about TRAINING_NODES of them again if requested."""
    rows = among(what.lists, what.sources).withColumn("learning", F.lit(False))
    if not with_training_nodes:
        return rows
    seed = derive_seed(what.run.config.run.seed, "learners")
    share = F.lit(TRAINING_NODES / max(1, what.num_nodes))
    chosen = among(what.lists, what.sources).where(uniform(seed, "node_id") < share)
    return rows.union(chosen.withColumn("learning", F.lit(True)))


def find_candidates(what: LinkSearch, with_training_nodes: bool) -> DataFrame:
    """Rows of features.FEATURES_SCHEMA: num_candidates per source and method, all of them non-neighbours.

    With `with_training_nodes`, some sources occur again with learning = true; for these, neighbours can be candidates
    too. Cost: that of the searches; vectors and lists are moved once per block.
    """
    queries = queries_of(what, with_training_nodes)
    if "pairs" in what.methods:
        given = wanted_of(what.run.tables.read("candidate_pairs")).withColumn("learning", F.lit(False))
    elif what.methods == ("two_hop",):
        given = None
    else:
        nothing_known = F.when(F.col("learning"), empty_list("bigint")).otherwise(F.col("known")).alias("known")
        asked = queries.select("node_id", nothing_known, "learning").join(what.vectors, on="node_id", how="inner")
        given = _nearest_targets(what, asked, what.search(what.num_candidates))
    top = what.num_candidates if "two_hop" in what.methods else 0
    return features_of(what, _with_wanted(queries, given), top)


def _nearest_targets(what: LinkSearch, asked: DataFrame, search: Search) -> DataFrame:
    """(node_id, learning, wanted BIGINT[]): what the search finds for each query. asked: as in search.nearest."""
    found = nearest_vectors(among(what.vectors, what.targets), asked, search)
    return found.groupBy(F.col("src").alias("node_id"), "learning").agg(
        F.array_sort(F.collect_list("dst")).alias("wanted")
    )


def _with_wanted(queries: DataFrame, given: DataFrame | None) -> DataFrame:
    if given is None:
        return queries.withColumn("wanted", empty_list("bigint"))
    joined = queries.join(given, on=["node_id", "learning"], how="left")
    return joined.withColumn("wanted", F.coalesce("wanted", empty_list("bigint")))


def known_features(what: LinkSearch, pairs: DataFrame) -> DataFrame:
    """Rows of features.FEATURES_SCHEMA for the given pairs, each pair once. pairs: (src, dst)."""
    given = wanted_of(pairs)
    asked = given.join(what.lists, on="node_id", how="left").select(
        "node_id", F.coalesce("known", empty_list("bigint")).alias("known"), F.lit(False).alias("learning"), "wanted"
    )
    return features_of(what, asked, 0)


def unseen_node_features(what: LinkSearch, unseen_nodes: DataFrame) -> DataFrame:
    """Rows of features.FEATURES_SCHEMA: candidates for nodes that are not in the run.

    unseen_nodes: (node_id, vector, known BIGINT[]), where `known` lists nodes of the run. Uses nearest vectors and
    paths, as "auto" does. In a bipartite graph, only unseen nodes joined to targets are returned.
    """
    asked = unseen_nodes.withColumn("learning", F.lit(False))
    if what.targets is not None and what.three:
        ends = asked.select("node_id", F.explode("known").alias("other")).join(
            what.targets.select(F.col("node_id").alias("other")), on="other", how="left_semi"
        )
        asked = asked.join(ends.select("node_id").distinct(), on="node_id", how="left_semi")
    search = what.search(what.num_candidates, choose_index("auto", what.num_nodes))
    given = _nearest_targets(what, asked, search)
    return features_of(what, _with_wanted(asked.drop("vector"), given), what.num_candidates, asked)


def features_of(what: LinkSearch, queries: DataFrame, top: int, unseen_nodes: DataFrame | None = None) -> DataFrame:
    """queries: (node_id, known, wanted, learning). unseen_nodes: (node_id, vector, …), the queries not in the run."""
    run = what.run
    lists = what.lists if what.targets is None or what.three else to_targets(what.lists, what.targets)
    places = run.tables.read("assignments", level=1).select("node_id", "subgraph_id")
    found = paths(lists, queries.select("node_id", "known", "wanted", "learning"), what.path_search(top), places)
    degrees = what.lists.select("node_id", "degree")
    vectors = what.vectors.join(degrees, on="node_id", how="left").select(
        "node_id", "vector", F.coalesce("degree", F.lit(0)).alias("degree")
    )
    if unseen_nodes is not None:
        vectors = vectors.join(unseen_nodes.select("node_id"), on="node_id", how="left_anti").union(
            unseen_nodes.select("node_id", "vector", F.size("known").alias("degree"))
        )
    cores = run.spark.sparkContext.defaultParallelism
    return pair_features(
        vectors, found, count_blocks("exact", what.num_nodes, run.config.embed.dim, run.task_memory_mb(), cores)
    )
