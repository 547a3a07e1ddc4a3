"""Predicted links: paths, nearest vectors, features, the model, its calibration, each against a plain reference."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.predict.calibration import curve, fit_curves
from graphseam.predict.cells import NEVER, Cells, best_reach, gap_for, gap_needed, largest, recall_at, train_cells
from graphseam.predict.features import (
    CANDIDATES,
    LISTED_NAMES,
    LISTS_SCHEMA,
    ONE_KIND,
    PAIRS,
    TWO_KINDS,
    as_pairs,
    count_blocks,
    pair_features,
    without_the_edge,
)
from graphseam.predict.group_search import ALL, BASE, BOTH, LEARNING, QUERY, UNKNOWN, Members, search_group
from graphseam.predict.kept_cells import KeptCells
from graphseam.predict.kernels import find_paths, workspace
from graphseam.predict.leaders import EXCLUDED, cosine_of, leading, leading_of_each, value_of_rank
from graphseam.predict.link_model import LinkModel, fit_link_models, with_score
from graphseam.predict.paths import PathSearch, neighbour_lists, paths, plan_paths, wanted_of
from graphseam.predict.ranking import best_links
from graphseam.predict.routes import Blocks
from graphseam.predict.search import excluding_none, nearest, search_rows
from graphseam.predict.search_plan import Plan, Rows, Search, _probe_queries, for_few, plan_search
from graphseam.seeds import derive_seed, uniform, uniform_of
from graphseam.vectors import unit_rows


def random_edges(num_nodes: int, num_edges: int, seed: int, bipartite: bool = False) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    half = num_nodes // 2
    drawn = rng.integers(0, (half, num_nodes - half) if bipartite else num_nodes, (num_edges, 2))
    ends = drawn + np.array([0, half]) if bipartite else drawn
    return sorted({(int(min(a, b)), int(max(a, b))) for a, b in ends if a != b})


def adjacency(edges: list[tuple[int, int]], num_nodes: int) -> sp.csr_matrix:
    src, dst = np.array(edges).T
    ones = np.ones(2 * len(edges))
    return sp.csr_matrix((ones, (np.r_[src, dst], np.r_[dst, src])), (num_nodes, num_nodes))


def reference_sums(edges: list[tuple[int, int]], num_nodes: int, three: bool, hub_cap: int) -> np.ndarray:
    """float64[n, n, 3]: count, Adamic-Adar, resource allocation of 2- or 3-step walks, by matrix products.

    A walk through the edge between its own ends does not count.
    """
    matrix = adjacency(edges, num_nodes).toarray()
    degree = matrix.sum(axis=1)
    allowed = (degree <= hub_cap) & (degree > 0)
    found = np.zeros((num_nodes, num_nodes, 3))
    for kind, weight in enumerate((np.ones(num_nodes), 1 / np.log(np.maximum(degree, 2)), 1 / np.maximum(degree, 1))):
        middle = np.diag(weight * allowed)
        if not three:
            found[:, :, kind] = matrix @ middle @ matrix
            continue
        for a, b in product(range(num_nodes), range(num_nodes)):
            without = matrix.copy()
            without[a, b] = without[b, a] = 0
            found[a, b, kind] = without[a] @ middle @ without @ middle @ without[:, b]
    return found


@pytest.mark.parametrize("hub_cap", [4, 1000])
@pytest.mark.parametrize("three", [False, True])
def test_paths_are_those_of_matrix_products(spark, three, hub_cap):
    """For every wanted pair: its sums, and whether it is an edge."""
    edges, n = random_edges(24, 60, seed=2, bipartite=three), 24
    frame = spark.createDataFrame(edges, "src BIGINT, dst BIGINT")
    lists = neighbour_lists(frame)
    every = spark.createDataFrame(
        [(a, list(range(n)), False, 0.0) for a in range(n)],
        "node_id BIGINT, wanted ARRAY<BIGINT>, learning BOOLEAN, place DOUBLE",
    )
    queries = lists.join(every, on="node_id")
    found = paths(lists, queries, PathSearch(three, 0, hub_cap, 3, 10_000, True)).collect()
    sums, matrix = reference_sums(edges, n, three, hub_cap), adjacency(edges, n).toarray()
    assert len(found) == len({end for edge in edges for end in edge})
    checked = 0
    for row in found:
        assert row["src_degree"] == matrix[row["src"]].sum()
        for at, dst in enumerate(row["dst"]):
            assert row["known"][at] == bool(matrix[row["src"], dst])
            if dst == row["src"]:
                continue
            count, aa, ra = sums[row["src"], dst]
            assert row["num_paths"][at] == count
            assert row["adamic_adar"][at] == pytest.approx(aa, rel=1e-5, abs=1e-6)
            assert row["resource_allocation"][at] == pytest.approx(ra, rel=1e-5, abs=1e-6)
            checked += 1
    assert checked > 400


@pytest.mark.parametrize("learning", [False, True])
def test_the_best_by_adamic_adar_come_first_ties_by_node(learning):
    """Against networkx; only training queries get neighbours, and twice as many nodes."""
    import networkx as nx

    edges, n, top = random_edges(40, 120, seed=5), 40, 4
    graph = nx.Graph(edges)
    graph.add_nodes_from(range(n))
    matrix = adjacency(edges, n)
    matrix.sort_indices()
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    degrees = np.maximum(np.diff(indptr), 1).astype(float)
    queries = np.arange(n)
    none = np.zeros(n + 1, np.int64)
    rows, nodes, known, sums = find_paths(
        queries,
        indptr,
        indices.astype(np.int64),
        none,
        none[:0],
        np.full(n, learning),
        indptr,
        indices,
        degrees,
        top,
        0,
        workspace(n, False),
    )
    for q in queries:
        others = [v for v in range(n) if v != q and (learning or not graph.has_edge(q, v))]
        scores = {v: value for _, v, value in nx.adamic_adar_index(graph, [(q, v) for v in others]) if value > 0}
        wanted = sorted(scores, key=lambda v, scores=scores: (-round(scores[v], 9), v))[: top * (1 + learning)]
        mine = rows == q
        assert nodes[mine].tolist() == wanted
        assert np.allclose(sums[mine, 1], [scores[v] for v in wanted])
        assert known[mine].tolist() == [graph.has_edge(q, v) for v in wanted]


@pytest.mark.parametrize("three", [False, True])
def test_blocks_and_halos_do_not_show(spark, three):
    """The same rows with one block or five, with all lists in each or only those needed."""
    edges = random_edges(60, 200, seed=3, bipartite=three)
    lists = neighbour_lists(spark.createDataFrame(edges, "src BIGINT, dst BIGINT"))
    wanted = F.array(F.lit(7), F.lit(50)).cast("array<bigint>").alias("wanted")
    place = ((F.col("node_id") % 4) / 4).alias("place")
    queries = lists.select("node_id", "known", wanted, F.lit(False).alias("learning"), place)
    searches = [
        PathSearch(three, 5, 1000, blocks, 100_000, whole)
        for blocks, whole in ((1, True), (5, True), (5, False), (2, False))
    ]
    found = [sorted(map(str, paths(lists, queries, search).collect())) for search in searches]
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == lists.count()


def test_a_task_holds_no_more_ends_than_its_budget(spark):
    """The longest lists are left out first: their paths are missing, and no false ones appear."""
    edges = [(0, leaf) for leaf in range(1, 30)] + [(1, 30), (2, 30), (1, 31), (2, 31)]
    lists = neighbour_lists(spark.createDataFrame(edges, "src BIGINT, dst BIGINT"))
    wanted = F.array(F.lit(2).cast("bigint")).alias("wanted")
    queries = lists.select("node_id", "known", wanted, F.lit(False).alias("learning"), F.lit(0.0).alias("place"))

    def paths_from_1(max_ends: int) -> int:
        rows = paths(lists, queries, PathSearch(False, 0, 1000, 1, max_ends, False)).collect()
        return next(row["num_paths"][0] for row in rows if row["src"] == 1)

    assert paths_from_1(1000) == 3  # through 0, 30 and 31
    assert paths_from_1(40) == 2  # the list of node 0, of length 29, no longer fits


def test_plans_follow_memory():
    small = plan_paths(1_000_000, 4096, 2, (False, 20, 1000))
    large = plan_paths(1_000_000_000, 4096, 2, (False, 20, 1000))
    assert (small.whole, small.num_blocks) == (True, 2)
    assert not large.whole
    assert large.num_blocks > 100
    assert count_blocks(100_000, 40, 128, 4096) == 1
    assert count_blocks(10_000_000, 40, 128, 1024) == 67


@pytest.fixture(scope="module")
def some_vectors(spark):
    """(frame, ids, unit vectors): a mixture of clusters, a zero vector, and 40 equal vectors."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 8))[rng.integers(0, 20, 400)] + 0.3 * rng.normal(size=(400, 8))
    vectors[7] = 0
    vectors[100:140] = vectors[100]
    ids = rng.permutation(10_000)[:400]
    frame = spark.createDataFrame(
        list(zip(ids.tolist(), vectors.astype(np.float32).tolist(), strict=True)), "node_id BIGINT, vector ARRAY<FLOAT>"
    ).persist()
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    return frame, ids, unit


def a_search(method: str, top_k: int, task_mb: int = 64, **changed) -> Search:
    settings = {"num_nodes": 400, "dim": 8, "cores": 2, "threads": 1, "seed": 1}
    return Search(method=method, top_k=top_k, task_mb=task_mb, **{**settings, **changed})


def found_by(rows, search: Search, plan: Plan | None = None) -> dict[tuple[int, bool], list[int]]:
    return {(row["src"], row["kind"] == LEARNING): row["dst"] for row in nearest(rows, search, plan).collect()}


@pytest.mark.parametrize(("blocks", "chunks"), [(1, 1), (3, 1), (3, 2)])
def test_exact_search_is_brute_force(some_vectors, blocks, chunks):
    """Without neighbours and the node itself, ties in id order, twice as many for a training query."""
    frame, ids, unit = some_vectors
    known = {int(ids[3]): [int(ids[4]), int(ids[5])], int(ids[100]): [int(ids[101])]}
    barred = F.coalesce(
        *[
            F.when(F.col("node_id") == node, F.array(*[F.lit(other).cast("bigint") for other in others]))
            for node, others in known.items()
        ],
        F.array().cast("array<bigint>"),
    )
    queries = frame.withColumn("known", barred).withColumn("learning", F.col("node_id") == int(ids[9]))
    plan = Plan(Blocks(blocks, chunks), float(blocks))
    found = found_by(search_rows(frame, queries), a_search("exact", 5), plan)
    scores = unit @ unit.T
    for at, node in enumerate(ids.tolist()):
        if at == 7:
            assert (node, False) not in found
            continue
        others = [o for o in range(400) if o not in (at, 7) and int(ids[o]) not in known.get(node, [])]
        best = sorted(others, key=lambda o, at=at: (-round(scores[at, o] * (1 << 20)), ids[o]))[: 10 if at == 9 else 5]
        assert sorted(found[node, at == 9]) == sorted(int(ids[o]) for o in best)


def in_cells(frame, num_partitions: int) -> DataFrame:
    return excluding_none(frame.repartition(num_partitions), BOTH)


def test_cells_find_the_share_they_measure_whatever_the_layout(some_vectors, monkeypatch):
    """The measured recall is that of the search, against brute force; few nodes go to every cell."""
    monkeypatch.setattr("graphseam.predict.search_plan.NODES_PER_CELL", 20)
    frame, _, _ = some_vectors
    exact = found_by(in_cells(frame, 3), a_search("exact", 10))
    shares, gaps = [], []
    for recall in (0.5, 0.99):
        search = a_search("cells", 10, recall=recall)
        plan = plan_search(in_cells(frame, 3), search)
        found = found_by(in_cells(frame, 3), search, plan)
        assert found == found_by(in_cells(frame, 7), search)
        assert set(found) == set(exact)
        pairs = [(set(found[key]), set(nodes)) for key, nodes in exact.items() if len(set(exact[key])) == 10]
        shares.append(sum(len(one & other) for one, other in pairs) / (10 * len(pairs)))
        assert plan.queries == 399
        assert plan.recall >= recall
        assert shares[-1] >= plan.recall - 0.06  # ties between equal vectors may be broken otherwise
        assert 1 <= plan.copies < plan.route.num_groups / 2
        gaps.append(plan.route.cells.gap)
    assert gaps[0] < gaps[1]
    assert shares[0] <= shares[1]


def test_kept_cells_serve_as_long_as_they_find_what_is_wished(some_vectors, monkeypatch):
    """The plan of cells that were kept finds what it found; where they have become useless, others are trained."""
    monkeypatch.setattr("graphseam.predict.search_plan.NODES_PER_CELL", 20)
    frame, _, _ = some_vectors
    search = a_search("cells", 10)
    plan = plan_search(in_cells(frame, 3), search)
    kept = KeptCells.of(plan, search.num_nodes)
    again = plan_search(in_cells(frame, 3), search, kept=kept)
    assert again.recall == plan.recall
    assert again.copies == pytest.approx(plan.copies)
    assert np.array_equal(again.route.parts, plan.route.parts)
    assert found_by(in_cells(frame, 3), search, again) == found_by(in_cells(frame, 3), search, plan)
    useless = replace(kept, centroids=kept.centroids[::-1][:3], gap=0.0, found_gap=0.0, shares=kept.shares[:3])
    assert useless.plan(Rows(frame, search, _probe_queries(in_cells(frame, 3), search)), search).recall < 0.9
    anew = plan_search(in_cells(frame, 3), search, kept=useless)
    assert np.array_equal(anew.route.cells.centroids, plan.route.cells.centroids)


def test_few_nodes_to_be_found_go_to_the_queries(some_vectors, monkeypatch):
    """Mirrored: as many pairs meet, and queries are not copied."""
    monkeypatch.setattr("graphseam.predict.search_plan.NODES_PER_CELL", 20)
    frame, ids, unit = some_vectors
    search = a_search("cells", 10)
    plan = plan_search(in_cells(frame, 3), search)
    few = [int(node) for node in ids[::10]]
    is_few = F.col("node_id").isin(*few)
    rows = in_cells(frame, 3).withColumn("role", F.when(is_few, BASE).otherwise(QUERY))
    found = found_by(rows, search, plan.mirrored())
    assert found == found_by(rows.repartition(5), search, plan.mirrored())
    sought = np.isin(ids, few)
    wanted = hits = 0
    for at, node in enumerate(ids.tolist()):
        if sought[at] or not unit[at].any():
            continue
        scores = np.where(sought & unit.any(axis=1), unit @ unit[at], -2)
        nearest_few = [int(ids[other]) for other in np.argsort(-scores)[:10] if scores[other] > 0.9]
        wanted += len(nearest_few)
        hits += len(set(nearest_few) & set(found.get((node, False), [])))
    assert hits >= 0.9 * wanted > 0
    copies = [
        len(route(ids, unit.astype(np.float32), np.where(sought, BASE, QUERY).astype(np.int32))[0])
        for route in (plan.mirrored().route, plan.route)
    ]
    assert copies[0] < copies[1]


def test_few_queries_need_only_their_own_cells(some_vectors, monkeypatch):
    """The same answers as with all cells, from fewer rows."""
    monkeypatch.setattr("graphseam.predict.search_plan.NODES_PER_CELL", 20)
    frame, ids, _ = some_vectors
    search = a_search("cells", 10)
    plan = plan_search(in_cells(frame, 3), search)
    few = frame.where(F.col("node_id").isin(*[int(node) for node in ids[:5]]))
    asked = few.withColumns({"known": F.array().cast("array<bigint>"), "learning": F.lit(False)})
    less = for_few(plan, asked, 8)
    assert found_by(search_rows(frame, asked), search, less) == found_by(search_rows(frame, asked), search, plan)
    assert 0 < less.route.asked.sum() < len(less.route.asked)
    unit = unit_rows(np.array([row["vector"] for row in frame.collect()], np.float32))
    copies = [len(route(ids, unit, np.full(400, BASE, np.int32))[0]) for route in (less.route, plan.route)]
    assert copies[0] < copies[1] / 2


def test_vectors_that_are_all_alike_are_divided(spark, monkeypatch):
    """A cell too large for a task goes into parts, by a hash: its nodes still find as many others."""
    monkeypatch.setattr("graphseam.predict.search_plan.NODES_PER_CELL", 100)
    monkeypatch.setattr("graphseam.predict.search_plan.MOST_ROWS", 120)
    rows = [(node, [1.0, 0.0] if node < 900 else [0.0, 1.0]) for node in range(1000)]
    frame = spark.createDataFrame(rows, "node_id BIGINT, vector ARRAY<FLOAT>")
    search = a_search("cells", 5, num_nodes=1000, dim=2)
    plan = plan_search(in_cells(frame, 2), search)
    found = found_by(in_cells(frame, 2), search, plan)
    assert plan.route.num_groups > 2
    assert plan.copies == 1
    assert all(len(nodes) == 5 and max(nodes) < 900 for (src, _), nodes in found.items() if src < 900)
    assert all(len(nodes) == 5 and min(nodes) >= 900 for (src, _), nodes in found.items() if src >= 900)
    assert len(found) == 1000


def test_the_gap_follows_the_wished_recall_within_the_budget():
    needed = np.array([0.0, 0.1, 0.2, 0.3], np.float32)
    gaps = np.tile(np.arange(8, dtype=np.float32) / 10, (50, 1))
    assert gap_for(0.75, needed, gaps) == pytest.approx(0.2)
    assert recall_at(0.2, needed) == 0.75
    assert gap_for(1.0, needed, gaps) == pytest.approx(0.3)
    assert gap_for(1.0, np.full(4, NEVER), gaps) == pytest.approx(0.4)  # no more copies than MOST_COPIES
    assert recall_at(0.4, np.full(4, NEVER)) == 0


def test_cells_in_groups_are_nearly_those_of_all_comparisons(monkeypatch):
    """A row is compared with the cells of eight groups instead of all; its nearest are among them, but for a few."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(60, 12))
    unit = unit_rows((centres[rng.integers(60, size=6000)] + 0.4 * rng.normal(size=(6000, 12))).astype(np.float32))
    centroids = train_cells(unit, 800, seed=1)
    monkeypatch.setattr("graphseam.predict.cells.COMPARED_WITH_ALL", 100)
    monkeypatch.setattr("graphseam.predict.cells.PROBED", 8)
    cells = Cells.of(centroids, seed=1)
    assert len(cells.groups) > 50
    assert sorted(cells.members[cells.members >= 0].tolist()) == list(range(len(centroids)))
    nearest, gaps = cells.reach(unit)
    exact = unit.astype(np.float64) @ centroids.T.astype(np.float64)
    assert (nearest[:, 0] == exact.argmax(axis=1)).mean() > 0.98
    assert (cells.home(unit) == nearest[:, 0]).mean() > 0.999
    angles = np.arccos(np.clip(np.take_along_axis(exact, nearest, 1), -1, 1))
    np.testing.assert_allclose(gaps, angles - angles[:, :1], atol=1e-6)
    assert (np.diff(gaps, axis=1) >= 0).all()
    some = rng.permutation(6000)[:777]  # whatever the rows beside it
    for one, all_of_them in zip(cells.reach(unit[some]), (nearest, gaps), strict=True):
        assert np.array_equal(one, all_of_them[some])


def test_a_node_is_found_where_that_costs_least():
    """Pairs that meet in the second node's own cell need no copies of it; others do, within as many copies."""
    cells, gaps = np.array([[0, 1, 2]]), np.array([[0.0, 0.1, 0.3]], np.float32)
    other = np.array([[3, 2, 1]]), np.array([[0.0, 0.04, 0.2]], np.float32)
    assert gap_needed(cells, gaps, *other, 0.0) == [NEVER]
    assert gap_needed(cells, gaps, *other, 1.0) == pytest.approx([0.2])  # in cell 1
    assert gap_needed(cells, gaps, *other, 0.5) == pytest.approx([0.3])  # in cell 2, where twice 0.04 is within 0.3
    assert gap_needed(cells, gaps, np.array([[1, 0, 5]]), other[1], 0.0) == pytest.approx([0.1])
    many = np.tile(np.arange(8, dtype=np.float32) / 10, (50, 1))
    near, far = np.full(100, 0.2, np.float32), np.full(100, 0.5, np.float32)
    assert best_reach(0.97, {0.0: {ALL: near}, 1.0: {ALL: near}}, many).share == 0.0
    both = best_reach(0.97, {0.0: {ALL: far}, 1.0: {ALL: near}}, many)
    assert (both.share, both.copies, both.work) == pytest.approx((1.0, 3.0, 9.0))
    none = best_reach(0.97, {0.0: {ALL: far}, 1.0: {ALL: np.append(near, far[:60])}}, many)
    assert (none.share, round(none.recall[ALL], 3)) == (1.0, 0.625)


def test_the_nearest_of_all_nodes_are_found_on_the_way(some_vectors, monkeypatch):
    """One search gives both answers, as two searches would; for cells both recalls are measured."""
    monkeypatch.setattr("graphseam.predict.search_plan.NODES_PER_CELL", 40)
    frame, ids, _ = some_vectors
    barred = F.when(F.col("node_id") % 2 == 0, F.array(*[F.lit(int(node)).cast("bigint") for node in ids[:50]]))
    queries = frame.withColumns(
        {"known": F.coalesce(barred, F.array().cast("array<bigint>")), "learning": F.lit(False)}
    )
    rows = search_rows(frame, queries)
    for method in ("exact", "cells"):
        search = a_search(method, 5, of_all=7)
        plan = plan_search(rows, search)
        both = nearest(rows, search, plan).collect()
        apart = {
            UNKNOWN: found_by(rows, a_search(method, 5), plan),
            ALL: found_by(in_cells(frame, 3), a_search(method, 7), plan),
        }
        for kind, alone in apart.items():
            assert {(row["src"], False): row["dst"] for row in both if row["kind"] == kind} == alone
        assert min(plan.recall, plan.recall_of_all) >= 0.96


def test_the_best_of_each_node_are_those_of_a_sort():
    rng = np.random.default_rng(2)
    src, dst, allowed = np.sort(rng.integers(0, 30, 500)), rng.permutation(500), rng.random(500) < 0.7
    scores = np.round(rng.random(500), 1)  # many ties
    kept, rank = leading_of_each(src, dst, scores, allowed, 3)
    expected = [
        (at, place + 1)
        for node in range(30)
        for place, at in enumerate(
            sorted(np.flatnonzero((src == node) & allowed), key=lambda at: (-scores[at], dst[at]))[:3]
        )
    ]
    assert list(zip(kept, rank, strict=True)) == expected
    nothing = leading_of_each(src, dst, scores, np.zeros(500, bool), 3)
    assert [len(part) for part in nothing] == [0, 0]


def test_the_value_of_a_rank_is_that_of_the_sorted_row():
    rng = np.random.default_rng(4)
    lengths = rng.integers(0, 9, 50)
    ends = np.r_[0, np.cumsum(lengths)]
    values = rng.random(ends[-1]).astype(np.float32).round(1)
    expected = [np.sort(values[a:b])[::-1][3] if b - a > 3 else np.float32(EXCLUDED) for a, b in pairwise(ends)]
    assert value_of_rank(ends, values, 4).tolist() == expected


def test_nothing_below_the_floor_is_found_and_all_above_it():
    rng = np.random.default_rng(5)
    unit = unit_rows(rng.standard_normal((80, 8)).astype(np.float32))
    known = [np.sort(rng.choice(80, 5, replace=False)) for _ in range(80)]
    members = Members(
        np.arange(80), unit, np.full(80, BOTH, np.int32), np.zeros(80, bool), np.arange(81) * 5, np.concatenate(known)
    )
    floor = rng.uniform(0.3, 0.9, 80).astype(np.float32)

    def answers(floor: np.ndarray | None) -> dict[tuple[int, int], list[tuple[int, float]]]:
        found = pa.Table.from_batches(search_group(members, (6, 12, 6), "cpu", None, floor)).to_pylist()
        return {(row["src"], row["kind"]): list(zip(row["dst"], row["score"], strict=True)) for row in found}

    whole, some = answers(None), answers(floor)
    for (src, kind), pairs in whole.items():
        wanted = [(dst, score) for dst, score in pairs if score >= floor[src] or (kind == ALL and dst in known[src])]
        assert [pair for pair in some.get((src, kind), []) if pair in wanted] == wanted
        assert {dst for dst, score in some.get((src, kind), []) if score < floor[src] - 1e-5} <= set(known[src])


@pytest.mark.parametrize("columns", [5, 64, 1000])
def test_leading_scores_are_those_of_topk(columns):
    """Above a floor; fewer than are wanted are filled up, and of equal scores the first count."""
    scores = np.random.default_rng(3).uniform(-1, 2, (40, columns)).astype(np.float32).round(2)
    scores[0] = 0.5
    floor = np.full(40, EXCLUDED, np.float32)
    floor[1] = 1.0
    values, places = leading(scores, floor, 9)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :9]
    best = np.take_along_axis(scores, order, axis=1)
    filled = np.full((40, 9), np.float32(EXCLUDED))
    filled[:, : best.shape[1]] = best
    filled[1] = np.where(filled[1] > 1, filled[1], EXCLUDED)
    assert np.array_equal(values, filled)
    here = (values > EXCLUDED)[:, : best.shape[1]]
    assert np.array_equal(places[:, : best.shape[1]][here], order[here])


@pytest.mark.parametrize("dim", [3, 8, 13])
def test_a_cosine_is_the_product_of_its_rows(dim):
    own, other = np.random.default_rng(4).normal(size=(2, dim)).astype(np.float32)
    assert cosine_of(own, other) == pytest.approx(own @ other, abs=1e-5)


def test_the_largest_numbers_of_a_row_are_those_of_topk():
    import torch

    scores = torch.rand(50, 5000, generator=torch.Generator().manual_seed(1))
    for one, other in zip(largest(scores, 20), torch.topk(scores, 20), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("blocks", "to_all"), [(1, True), (3, True), (3, False)])
def test_features_are_the_vectors_cosine_and_the_degree(spark, some_vectors, blocks, to_all):
    """Of pairs in several blocks, some of which need the same vectors."""
    frame, ids, unit = some_vectors
    vectors = frame.withColumn("degree", (F.col("node_id") % 50).cast("int"))
    listed = [int(ids[0]), int(ids[7]), int(ids[50])]
    sums = (listed, [False, False, True], [1, 0, 2], [0.5, 0.0, 1.5], [0.1, 0.0, 0.2])
    found = spark.createDataFrame(
        [(int(ids[1]), 0.1, True, 4, *sums), (int(ids[2]), 0.9, False, 5, *sums)],
        "src BIGINT, place DOUBLE, learning BOOLEAN, src_degree BIGINT, dst ARRAY<BIGINT>, known ARRAY<BOOLEAN>, "
        "num_paths ARRAY<BIGINT>, adamic_adar ARRAY<FLOAT>, resource_allocation ARRAY<FLOAT>",
    )
    rows = {(row["src"], row["dst"]): row for row in as_pairs(pair_features(vectors, found, blocks, to_all)).collect()}
    assert len(rows) == 6
    for src, degree in ((1, 4), (2, 5)):
        for place, at in ((0, 0), (1, 7), (2, 50)):
            row = rows[int(ids[src]), listed[place]]
            assert row["cosine"] == pytest.approx(unit[src] @ unit[at], abs=1e-6)
            assert (row["src_degree"], row["dst_degree"]) == (degree, listed[place] % 50)
            assert (row["num_paths"], row["known"], row["learning"]) == ([1, 0, 2][place], place == 2, src == 1)


def examples(num_rows: int, seed: int) -> pa.Table:
    """Pairs whose truth depends on the cosine and on the paths."""
    rng = np.random.default_rng(seed)
    cosine, count = rng.uniform(-0.2, 1, num_rows), rng.poisson(2, num_rows)
    truth = rng.random(num_rows) < 1 / (1 + np.exp(-(4 * cosine + count - 4)))
    return pa.table(
        {
            "src": np.arange(num_rows),
            "dst": np.arange(num_rows) + num_rows,
            "learning": np.zeros(num_rows, bool),
            "known": truth,
            "cosine": cosine.astype(np.float32),
            "num_paths": count,
            "adamic_adar": (count / 2).astype(np.float32),
            "resource_allocation": (count / 5).astype(np.float32),
            "src_degree": rng.integers(3, 90, num_rows),
            "dst_degree": rng.integers(3, 90, num_rows),
            "truth": truth,
            "weight": rng.uniform(0.5, 2, num_rows),
        }
    )


@pytest.mark.parametrize("designs", [ONE_KIND, TWO_KINDS], ids=["one_kind", "two_kinds"])
def test_the_model_is_scikit_learns_and_survives_its_table(spark, designs):
    """The same log-odds as scikit-learn's pipeline; rebuilt from rows, the same bytes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    table = examples(3000, seed=1)
    frame = spark.createDataFrame(table.to_pandas()).repartition(4)
    both = frame.withColumn("model", F.lit(PAIRS)).union(frame.withColumn("model", F.lit(CANDIDATES)))
    rows, design = fit_link_models(both, designs), designs[CANDIDATES]
    assert (rows[PAIRS] == rows[CANDIDATES]) == (designs[PAIRS] == design)
    model = LinkModel.of(rows[CANDIDATES], design)
    judge = make_pipeline(
        StandardScaler(),
        PolynomialFeatures(2 if design.products else 1, include_bias=False),
        StandardScaler(),
        LogisticRegression(C=0.1, solver="newton-cholesky"),
    )
    weight = table["weight"].to_numpy()
    judge.fit(design.matrix(table), table["truth"].to_numpy(), logisticregression__sample_weight=weight / weight.mean())
    assert np.allclose(model.scores(table), judge.decision_function(design.matrix(table)), atol=1e-3)
    again = LinkModel.of(model.rows(), design)
    assert np.array_equal(again.scores(table), model.scores(table))
    scored = with_score(frame, model).sort("src").collect()
    assert np.allclose([row["score"] for row in scored], model.scores(table))


@pytest.mark.parametrize("at_once", [1, 1 << 15])
def test_the_best_links_are_those_of_scores_sorted(spark, monkeypatch, at_once):
    """However many pairs are looked at together; a node whose candidates are all neighbours has none."""
    monkeypatch.setattr("graphseam.predict.features.PAIRS_AT_ONCE", at_once)
    table = examples(300, seed=5).to_pandas().assign(src=np.arange(300) // 30, learning=False)
    table["known"] |= table["src"] == 4
    names = [name for name in LISTED_NAMES if name not in ("src", "learning", "src_degree")]
    lists = table.groupby("src")[names].agg(list).reset_index().assign(learning=False, src_degree=7)
    lists["fold"] = (lists["src"] % 2).astype("int32")
    frame = spark.createDataFrame(lists[[*LISTED_NAMES, "fold"]]).selectExpr(
        *(f"CAST({name} AS {kind}) AS {name}" for name, kind in (part.split() for part in LISTS_SCHEMA.split(", "))),
        "CAST(fold AS INT) AS fold",
    )
    rows, design = fit_link_models(pairs_to_learn(spark), ONE_KIND), ONE_KIND[PAIRS]
    model = LinkModel.of(rows[PAIRS], design)
    curves = {fold: (np.array([-9.0, 9.0]), np.array([0.0, 1.0 - fold / 10])) for fold in (0, 1, 2)}
    found = best_links(frame, model, 4, curves).toPandas().sort_values(["src", "rank"])
    scored = with_score(as_pairs(frame), model).toPandas()
    wanted = scored[~scored["known"]].sort_values(["src", "score", "dst"], ascending=[True, False, True])
    wanted = wanted.groupby("src").head(4)
    assert found[["src", "dst"]].to_numpy().tolist() == wanted[["src", "dst"]].to_numpy().tolist()
    assert np.allclose(found["score"], wanted["score"])
    assert 4 not in set(found["src"])
    assert (found["rank"] == found.groupby("src").cumcount() + 1).all()
    assert np.allclose(found["probability"], np.interp(found["score"], *curves[2]))
    own = np.where(found["fold"] == 0, np.interp(found["score"], *curves[0]), np.interp(found["score"], *curves[1]))
    assert np.allclose(found["cross_fitted"], own)


def pairs_to_learn(spark) -> DataFrame:
    return spark.createDataFrame(examples(400, seed=6).to_pandas()).withColumn("model", F.lit(PAIRS))


def test_too_few_examples_fit_no_model(spark):
    table = examples(3000, seed=2).slice(0, 12)
    assert fit_link_models(spark.createDataFrame(table.to_pandas()).withColumn("model", F.lit(PAIRS)), ONE_KIND) == {}


def test_an_embedded_edge_is_judged_as_if_it_were_not():
    """Its cosine falls, and falls more if its ends have few edges; that of a non-neighbour does not change."""
    cosine = np.array([0.9, 0.9, 0.9])
    low, middle, high = without_the_edge(cosine, np.array([1.0, 10, 1000]), np.array([1.0, 10, 1000]), 1.5)
    assert low < middle < high < 0.9
    table = examples(50, seed=3)
    non_neighbour = table.set_column(3, "known", pa.array(np.zeros(50, bool)))
    assert np.allclose(ONE_KIND[PAIRS].matrix(non_neighbour)[:, 0], table["cosine"].to_numpy())
    edges = table["known"].to_numpy()
    assert (ONE_KIND[PAIRS].matrix(table)[edges, 0] < table["cosine"].to_numpy()[edges]).all()


def test_curves_are_monotone_sure_of_nothing_and_come_true(spark):
    """Fitted on one half of the nodes, right for the other: 0.8 is right four times in five."""
    rng = np.random.default_rng(4)
    score = rng.normal(size=40_000)
    truth = rng.random(40_000) < 1 / (1 + np.exp(-(2 * score - 1)))
    frame = spark.createDataFrame(
        list(
            zip(
                range(40_000),
                range(40_000),
                (np.arange(40_000) % 2).tolist(),
                score.tolist(),
                truth.tolist(),
                strict=True,
            )
        ),
        "src BIGINT, dst BIGINT, fold INT, score DOUBLE, truth BOOLEAN",
    )
    curves = fit_curves(frame)
    assert set(curves) == {0, 1, 2}
    for scores, probabilities in curves.values():
        assert (np.diff(scores) >= 0).all()
        assert (np.diff(probabilities) >= 0).all()
        assert probabilities.min() > 0
        assert probabilities.max() < 1
    frame = frame.toPandas()
    told = {fold: np.interp(frame["score"], *points) for fold, points in curves.items()}
    rows = frame.assign(probability=told[2], cross_fitted=np.where(frame["fold"] == 0, told[0], told[1])).sort_values(
        "score"
    )
    assert rows["probability"].is_monotonic_increasing  # one curve for all: the order is that of the scores
    for told in ("probability", "cross_fitted"):
        for low in np.arange(0, 1, 0.1):
            chosen = rows[(rows[told] >= low) & (rows[told] < low + 0.1)]
            if len(chosen) > 200:
                assert chosen["truth"].mean() == pytest.approx(chosen[told].mean(), abs=0.05)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_curve_of_hardly_anything(count):
    scores, probabilities = curve(np.arange(count, dtype=float), np.zeros(count, bool))
    assert len(scores) == len(probabilities) == 1
    assert 0 <= probabilities[0] < 0.5


def test_wanted_pairs_are_sorted_and_counted_once(spark):
    pairs = spark.createDataFrame([(1, 5), (1, 2), (1, 5), (2, 1)], "src BIGINT, dst BIGINT")
    assert sorted(map(tuple, wanted_of(pairs).collect())) == [(1, [2, 5]), (2, [1])]


def test_numpy_draws_what_spark_draws(spark):
    ids = np.array([0, 1, -5, 1 << 62, 123_456_789], np.int64)
    rows = spark.createDataFrame([(int(one),) for one in ids], "node_id BIGINT")
    for seed in (derive_seed(3, "links"), derive_seed(9, "curves")):
        for texts in ((), ("cells",), ("recall",), ("eight by", "a text of thirty-one bytes.....")):
            drawn = rows.select(uniform(seed, *map(F.lit, texts), "node_id").alias("one")).collect()
            assert uniform_of(seed, *texts, ids).tolist() == [row["one"] for row in drawn]
    small = np.array([0, 1, -7, (1 << 31) - 1], np.int32)
    rows = spark.createDataFrame([(int(one),) for one in small], "attempt INT")
    drawn = rows.select(uniform(seed, F.lit("hard"), "attempt").alias("one")).collect()
    assert uniform_of(seed, "hard", small).tolist() == [row["one"] for row in drawn]
    with pytest.raises(ValueError, match="a text of 32 bytes"):
        uniform_of(1, "x" * 32, ids)
