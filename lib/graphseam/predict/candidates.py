"""Pairs worth scoring, with their features: from nearest vectors, short paths, or pairs given by the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.errors import InputError, nearest
from graphseam.methods import SEARCHES
from graphseam.predict.features import as_pairs, count_blocks, pair_features
from graphseam.predict.group_search import ALL, BASE, BOTH, LEARNING, QUERY
from graphseam.predict.paths import PathSearch, neighbour_lists, paths, plan_paths, to_targets, wanted_of
from graphseam.predict.search import EXACT_LIMIT, choose_method, excluding_none, search_of, search_rows
from graphseam.predict.search import nearest as nearest_vectors
from graphseam.predict.search_plan import Plan, Search, for_few, plan_search
from graphseam.runs import Run
from graphseam.seeds import derive_seed, uniform
from graphseam.session import empty_list, persisted

TRAINING_NODES = 2000  # number of nodes whose candidates the model trains on
SHARED_BY = 4  # tasks, at most, that compute the features of all nodes if memory would allow one


@dataclass(frozen=True)
class LinkSearch:
    """What a run searches for. methods: exact or cells, two_hop, or pairs. three: paths have three edges because the
    graph is bipartite. lists: from paths.neighbour_lists. sources, targets: (node_id); None means all nodes. of_all:
    nearest nodes, neighbours included, found for each node on the way. kept: what stays persisted until the end of
    `link_search`'s block."""

    run: Run
    methods: tuple[str, ...]
    three: bool
    lists: DataFrame
    sources: DataFrame | None
    targets: DataFrame | None
    of_all: int
    kept: ExitStack

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

    @property
    def base(self) -> DataFrame:
        """(node_id, vector) of every target."""
        return among(self.vectors, self.targets)

    @property
    def method(self) -> str:
        """How nearest vectors are found: by the run's own method, or where it has none, as "auto" does."""
        return next((name for name in self.methods if name in SEARCHES), choose_method("auto", self.num_nodes))

    @cached_property
    def search(self) -> Search:
        return replace(search_of(self.run, self.method, self.num_candidates, "links"), of_all=self.of_all)

    @cached_property
    def rows(self) -> DataFrame:
        """What is searched, see search.nearest: targets as the base, sources as queries."""
        lists = among(self.lists, self.sources).select("node_id", "known")
        if self.targets is not None:
            queries = lists.join(self.vectors, on="node_id").withColumn("learning", F.lit(False))
            return search_rows(self.base, queries)
        role = F.when(F.col("known").isNull(), BASE).otherwise(BOTH)
        return self.vectors.join(lists, on="node_id", how="left").select(
            "node_id",
            "vector",
            F.coalesce("known", empty_list("bigint")).alias("known"),
            F.lit(False).alias("learning"),
            role.alias("role"),
        )

    @cached_property
    def plan(self) -> Plan:
        """Where the search sends nodes; made once, and used for every search."""
        return plan_search(self.rows, self.search, self.base)

    @cached_property
    def places(self) -> DataFrame:
        """(node_id, place DOUBLE in [0, 1)): near for near nodes, by vector where there are cells, else by subgraph."""
        if self.method == "cells":
            return self.keep(self.plan.places(self.vectors, self.run.config.embed.dim))
        subgraphs = self.run.tables.read("assignments", level=1)
        return subgraphs.select("node_id", uniform(self.search.seed, "subgraph_id").alias("place"))

    def keep(self, rows: DataFrame) -> DataFrame:
        """Persist rows until the end of `link_search`'s block."""
        return self.kept.enter_context(persisted(rows))

    def path_search(self, top: int) -> PathSearch:
        run, cores = self.run, self.run.spark.sparkContext.defaultParallelism
        return plan_paths(
            run.ingested.edges, run.task_memory_mb(), cores, (self.three, top, run.config.predict.links.hub_cap)
        )


def shares_search(run: Run) -> bool:
    """Whether predict_links finds the similar nodes too: it searches all nodes, by the method of predict.similar."""
    links, similar, ingested = run.config.predict.links, run.config.predict.similar, run.ingested
    if not (links.top_k and similar.top_k) or ingested.bipartite or links.src_type or links.dst_type:
        return False
    return choose_method(similar.method, ingested.nodes) in chosen_methods(links.candidates, ingested.nodes)


def chosen_methods(candidates: str, num_nodes: int) -> tuple[str, ...]:
    """The methods that predict.links.candidates stands for, such as ("exact", "two_hop")."""
    if candidates == "auto":
        return choose_method("auto", num_nodes), "two_hop"
    return tuple(dict.fromkeys(candidates.split("+")))


@contextmanager
def link_search(run: Run, of_all: int = 0) -> Iterator[LinkSearch]:
    """What the run searches for; its neighbour lists stay persisted for the duration of the block.

    of_all: nearest nodes of every node that `find_candidates` is to write into nearest_nodes as well.
    """
    ingested = run.ingested
    methods = chosen_methods(run.config.predict.links.candidates, ingested.nodes)
    sources, targets = _ends(run, ingested.bipartite)
    with ExitStack() as kept:
        lists = kept.enter_context(persisted(neighbour_lists(run.tables.read("edges"))))
        yield LinkSearch(run, methods, ingested.bipartite, lists, sources, targets, of_all, kept)


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
    return rows.union(_training_nodes(what).withColumn("learning", F.lit(True)))


def _training_nodes(what: LinkSearch) -> DataFrame:
    """The rows of `lists` of about TRAINING_NODES sources."""
    seed = derive_seed(what.run.config.run.seed, "learners")
    share = F.lit(TRAINING_NODES / max(1, what.num_nodes))
    return among(what.lists, what.sources).where(uniform(seed, "node_id") < share)


def find_candidates(what: LinkSearch, with_training_nodes: bool) -> DataFrame:
    """Rows of features.LISTS_SCHEMA: num_candidates per source and method, all of them non-neighbours.

    With `with_training_nodes`, some sources occur again with learning = true; for these, neighbours can be candidates
    too. Cost: that of the searches; vectors and lists are moved once per block.
    """
    queries = queries_of(what, with_training_nodes)
    if "pairs" in what.methods:
        given = wanted_of(what.run.tables.read("candidate_pairs")).withColumn("learning", F.lit(False))
    elif what.methods == ("two_hop",):
        given = None
    else:
        given = _nearest_targets(what, _with_training(what) if with_training_nodes else what.rows, what.plan)
    top = what.num_candidates if "two_hop" in what.methods else 0
    several = min(what.run.spark.sparkContext.defaultParallelism, SHARED_BY)
    tasks = several if what.num_nodes > EXACT_LIMIT else 1
    return lists_of(what, _with_wanted(queries, given), top, num_tasks=tasks)


def _with_training(what: LinkSearch) -> DataFrame:
    """What is searched, and the training nodes again as queries that exclude nothing."""
    again = _training_nodes(what).select("node_id").join(what.vectors, on="node_id", how="inner")
    return what.rows.unionByName(excluding_none(again, QUERY, learning=True))


def _nearest_targets(what: LinkSearch, rows: DataFrame, plan: Plan) -> DataFrame:
    """(node_id, learning, wanted BIGINT[]): what the search finds for each query. rows: as in search.nearest.

    Writes nearest_nodes, if that is asked for too.
    """
    found = nearest_vectors(rows, what.search, plan)
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
