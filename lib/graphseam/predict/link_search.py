"""What link prediction searches for in a run: which nodes, by which methods, and the rows that they are found in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from graphseam.config import Config
from graphseam.errors import InputError, nearest
from graphseam.methods import SEARCHES
from graphseam.predict.carried import Carried, carried_from_base
from graphseam.predict.group_search import BASE, BOTH, QUERY
from graphseam.predict.kept_cells import KeptCells, kept_cells
from graphseam.predict.paths import PathSearch, neighbour_lists, plan_paths
from graphseam.predict.search import EXACT_LIMIT, choose_method, search_of, search_rows
from graphseam.predict.search_plan import Plan, Search, plan_search
from graphseam.predict.whole_graph import LAYOUTS, End, WholeGraph, whole_graph
from graphseam.predict.whole_lists import WholeSearch
from graphseam.predict.whole_plan import for_each, plan_whole
from graphseam.runs import Run
from graphseam.seeds import derive_seed, uniform
from graphseam.session import empty_list, persisted

TRAINING_NODES = 2000  # number of nodes whose candidates the model trains on
QUERY_BYTES = 20_000  # of a query in a task: what it finds in up to 5 cells, merged, and its candidates' features
FEW_QUERIES = 250  # that the recall of kept cells is measured on
TASKS_PER_CORE = 4  # of a search in a graph that one task can hold: so that none is waited for long


@dataclass(frozen=True)
class LinkSearch:
    """What a run searches for. methods: exact or cells, two_hop, or pairs. three: paths have three edges because the
    graph is bipartite. ends: which nodes links are predicted from and to, as (column of nodes, value); None means all.
    of_all: nearest nodes, neighbours included, found for each node on the way. kept: what stays persisted until the end
    of `link_search`'s block. whole: the graph, if one task can hold it. carried: what is taken over from a base run."""

    run: Run
    methods: tuple[str, ...]
    three: bool
    ends: tuple[End, End]
    of_all: int
    kept: ExitStack
    whole: WholeGraph | None = None
    carried: Carried | None = None

    @property
    def num_candidates(self) -> int:
        return self.run.config.predict.links.wanted_candidates

    @property
    def num_nodes(self) -> int:
        return self.run.ingested.nodes

    @cached_property
    def lists(self) -> DataFrame:
        """(node_id, known, degree), from paths.neighbour_lists."""
        return self.keep(neighbour_lists(self.run.tables.read("edges")))

    @property
    def sources(self) -> DataFrame | None:
        """(node_id) of the nodes that links are predicted from; None means all."""
        return self._end(0)

    @property
    def targets(self) -> DataFrame | None:
        return self._end(1)

    def _end(self, which: int) -> DataFrame | None:
        end, nodes = self.ends[which], self.run.tables.read("nodes")
        return None if end is None else nodes.where(F.col(end[0]) == end[1]).select("node_id")

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
        search = replace(search_of(self.run, self.method, self.num_candidates, "links"), of_all=self.of_all)
        return search if self._kept_cells is None else replace(search, queries=FEW_QUERIES)

    @cached_property
    def _kept_cells(self) -> KeptCells | None:
        """Those of the base, where answers are taken over from it: its vectors are in the same frame."""
        return kept_cells(self.carried.base.tables) if self.carried is not None and self.method == "cells" else None

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
    def settled(self) -> DataFrame:
        """(node_id) of the nodes whose answers are taken over; with `carried` only."""
        assert self.carried is not None
        return self.keep(self.carried.settled)

    @property
    def asked(self) -> DataFrame:
        """`rows`, in which settled nodes ask for nothing."""
        if self.carried is None:
            return self.rows
        return self._with_roles(of_settled=BASE, of_others=BOTH)

    @property
    def asked_beside(self) -> DataFrame:
        """`rows`, in which settled nodes ask, and the others are the base; with `carried` only."""
        return self._with_roles(of_settled=QUERY, of_others=BASE)

    def _with_roles(self, of_settled: int, of_others: int) -> DataFrame:
        """`rows`, of whose roles settled nodes and the others keep these; rows that keep none are left out."""
        kept = F.when(F.col("settled"), of_settled).otherwise(of_others)
        role = F.col("role").bitwiseAND(kept).cast("int").alias("role")
        rows = self.rows.join(self.settled.withColumn("settled", F.lit(True)), on="node_id", how="left")
        return rows.select("node_id", "vector", "known", "learning", role).where(F.col("role") > 0)

    @cached_property
    def plan(self) -> Plan:
        """Where the search sends nodes; made once, and used for every search."""
        if self.whole is not None:
            return plan_whole(self.run.spark, self.whole, self.search, self._kept_cells)
        return plan_search(self.rows, self.search, self.base, self._kept_cells)

    @property
    def top_by_paths(self) -> int:
        """Candidates per query that the shortest paths give."""
        return self.num_candidates if "two_hop" in self.methods else 0

    def in_whole(self, with_training_nodes: bool) -> WholeSearch:
        """The search for candidates in the graph that one task can hold."""
        assert self.whole is not None
        share = TRAINING_NODES / max(1, self.num_nodes) if with_training_nodes else 0.0
        found = WholeSearch(
            self.whole,
            self.path_search(self.top_by_paths),
            tasks_of_search(self.run.spark, self.num_nodes, self.run.task_memory_mb()),
            (self.learners, share),
            given="pairs" in self.methods,
        )
        if set(self.methods) & set(SEARCHES):
            found = replace(found, search=self.search, plan=self.plan)
        return found

    @property
    def learners(self) -> int:
        """The seed by which nodes are drawn to learn from."""
        return derive_seed(self.run.config.run.seed, "learners")

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


def tasks_of_search(spark: SparkSession, num_nodes: int, task_mb: int) -> int:
    """Tasks that search a graph which one of them can hold: as many as memory requires for the queries of each."""
    queries = max(1, (task_mb << 20) // QUERY_BYTES)
    cores = spark.sparkContext.defaultParallelism
    return max(cores * (TASKS_PER_CORE if num_nodes > EXACT_LIMIT else 1), -(-num_nodes // queries))


def shares_search(run: Run) -> bool:
    """Whether predict_links finds the similar nodes too: it searches all nodes, by the method of predict.similar."""
    return shares_search_of(run.config, run.ingested.nodes, run.ingested.bipartite)


def shares_search_of(config: Config, num_nodes: int, bipartite: bool) -> bool:
    links, similar = config.predict.links, config.predict.similar
    if not (links.top_k and similar.top_k) or bipartite or links.src_type or links.dst_type:
        return False
    return choose_method(similar.method, num_nodes) in chosen_methods(links.candidates, num_nodes)


def chosen_methods(candidates: str, num_nodes: int) -> tuple[str, ...]:
    """The methods that predict.links.candidates stands for, such as ("exact", "two_hop")."""
    if candidates == "auto":
        return choose_method("auto", num_nodes), "two_hop"
    return tuple(dict.fromkeys(candidates.split("+")))


@contextmanager
def link_search(run: Run, of_all: int = 0, whole: bool = False, carry: bool = False) -> Iterator[LinkSearch]:
    """What the run searches for; its neighbour lists stay persisted for the duration of the block.

    of_all: nearest nodes of every node that `write_candidates` is to write into nearest_nodes as well. whole: lay the
    graph out for the tasks, if one can hold it. carry: take over what an incremental run can.
    """
    ingested = run.ingested
    methods = chosen_methods(run.config.predict.links.candidates, ingested.nodes)
    ends = _ends(run, ingested.bipartite)
    with ExitStack() as kept:
        searched = carry and bool(set(methods) & set(SEARCHES))
        carried = carried_from_base(run, "+".join(methods), of_all) if searched else None
        graph = whole_graph(run, ends, carried) if whole else None
        if graph is not None:
            kept.callback(graph.store.remove)
            for_each(run.spark, LAYOUTS, graph.lay_out)
        yield LinkSearch(run, methods, ingested.bipartite, ends, of_all, kept, graph, carried)


def _ends(run: Run, bipartite: bool) -> tuple[End, End]:
    """(sources, targets): by type if the configuration names one, else by edge column in a bipartite graph."""
    links, nodes = run.config.predict.links, run.tables.read("nodes")
    found: list[End] = []
    for key, kind, side in (("src_type", links.src_type, "src"), ("dst_type", links.dst_type, "dst")):
        if kind:
            if nodes.where(F.col("type") == kind).isEmpty():
                some = nodes.select("type").where("type IS NOT NULL").distinct().limit(20).collect()
                known = sorted(row["type"] for row in some)
                raise InputError(f"predict.links.{key} is {kind!r}, and no node is of that type.{nearest(kind, known)}")
            found.append(("type", kind))
        elif bipartite and not (links.src_type or links.dst_type):
            found.append(("side", side))
        else:
            found.append(None)
    return found[0], found[1]


def among(rows: DataFrame, nodes: DataFrame | None) -> DataFrame:
    """The rows whose node is one of `nodes`; all rows if `nodes` is None."""
    return rows if nodes is None else rows.join(nodes, on="node_id", how="left_semi")
