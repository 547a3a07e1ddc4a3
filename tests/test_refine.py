"""Refinement in blocks: the same vectors for any number of them, judged by dense numpy, networkx and ProNE's filter."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest

from conftest import arrow_of, last_line_of, make_config, run_steps, write_graph
from graphs import ZOO, SmallGraph, communities, in_memory
from graphseam.blocks.stages import LocalStages, SparkStages
from graphseam.blocks.store import FileStore, MemoryStore, Store
from graphseam.embedding.prone import ProneEmbedder
from graphseam.errors import ConfigError, MemoryBudgetError
from graphseam.graph import Graph
from graphseam.partition import partition
from graphseam.refine import refine
from graphseam.refine.block_plan import Blocks, Size, plan_blocks
from graphseam.refine.filters import chebyshev, plain_hops
from graphseam.refine.product import product
from graphseam.refine.rounds import Task, View
from graphseam.refine.rows import Rows
from graphseam.refine.spectral import SpectralRefiner
from graphseam.runs import open_run

DIM = 8


def keep_in_blocks(graph: Graph, num_blocks: int, store: Store) -> np.ndarray:
    """The graph's rows in the store, nodes scattered over the blocks; returns the block of each node."""
    adjacency = graph.adjacency.tocoo()
    block_of = (np.arange(graph.num_nodes) * 7919) % num_blocks
    for block in range(num_blocks):
        mine = block_of[adjacency.row] == block
        Rows.build(
            block,
            np.flatnonzero(block_of == block),
            adjacency.row[mine].astype(np.int64),
            adjacency.col[mine].astype(np.int64),
            block_of[adjacency.col[mine]],
            adjacency.data[mine],
        ).keep(block, store)
    return block_of


def refined(
    refiner: SpectralRefiner, graph: Graph, start: np.ndarray, num_blocks: int, store: Store, stages=None
) -> np.ndarray:
    block_of = keep_in_blocks(graph, num_blocks, store)
    for block in range(num_blocks):
        store.put(block, "start", start[block_of == block])
    task = Task(store, refiner.views, threads=1, device="cpu")
    projection = refiner.run(stages or LocalStages(num_blocks), task, start.shape[1], seed=1)
    vectors = np.zeros(start.shape, np.float32)
    for block in range(num_blocks):
        mine = np.flatnonzero(block_of == block)
        for part, values in projection.vectors(block, task):
            vectors[mine[part]] = values
    return vectors


def random_start(graph: Graph, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((graph.num_nodes, dim)).astype(np.float32)


REFINERS = [
    SpectralRefiner(),
    SpectralRefiner(iteration="subspace", filter="chebyshev", hops=5),
    SpectralRefiner(rounds=1, hops=0),
]


@pytest.mark.parametrize("refiner", REFINERS, ids=["krylov", "subspace", "short"])
@pytest.mark.parametrize("small", ZOO, ids=lambda small: small.name)
def test_the_number_of_blocks_does_not_show(small, refiner):
    graph = in_memory(small)
    for start in (random_start(graph), np.zeros((graph.num_nodes, DIM), np.float32)):
        whole = refiner.refine(graph, start, seed=1, device="cpu")
        assert np.isfinite(whole).all()
        for num_blocks in (2, 5):
            np.testing.assert_allclose(refined(refiner, graph, start, num_blocks, MemoryStore()), whole, atol=1e-5)


def test_spark_and_files_give_the_bytes_of_this_process(spark, tmp_path):
    small = SmallGraph("weighted communities", [(a, b, 0.1 + (a * b) % 7) for a, b in communities(5, 30, seed=4)])
    graph = in_memory(small)
    start = random_start(graph, 24)
    refiner = SpectralRefiner(rounds=3)  # one beyond where the iteration begins anew
    here = refined(refiner, graph, start, 7, MemoryStore())
    store = FileStore((tmp_path / "by address").as_uri())
    there = refined(refiner, graph, start, 7, store, SparkStages(spark, 7))
    np.testing.assert_array_equal(there, here)
    store.remove()
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize("small", ZOO, ids=lambda small: small.name)
def test_a_product_is_the_dense_one(small):
    graph, store = in_memory(small), MemoryStore()
    vectors, rng = random_start(graph), np.random.default_rng(1)
    scale = rng.random((graph.num_nodes, 2)).astype(np.float32) + 0.1
    columns = np.repeat(scale, [5, 3], axis=1)
    expected = columns * (graph.adjacency @ (columns * vectors) + 0.5 * columns * vectors)
    block_of = keep_in_blocks(graph, 3, store)
    for block in range(3):
        Rows.kept(block, store).send(block, store, "x", vectors[block_of == block])
        Rows.kept(block, store).send(block, store, "s", scale[block_of == block])
    for block in range(3):
        rows, mine = Rows.kept(block, store), block_of == block
        np.testing.assert_array_equal(rows.degrees, graph.degrees[mine])
        scales = np.concatenate([scale[mine], rows.receive(block, store, "s")])
        found = [
            product(rows, vectors[mine], rows.receive(block, store, "x"), scales, [5, 3], 0.5, "cpu", threads)
            for threads in (1, 2)
        ]
        size = np.abs(expected).max(initial=1)
        np.testing.assert_allclose(found[0], expected[mine], rtol=1e-5, atol=1e-6 * size)
        np.testing.assert_array_equal(found[0], found[1])


def test_threads_do_not_show_in_a_large_product():
    rng = np.random.default_rng(3)
    ends = rng.integers(0, 9_000, (40_000, 2))
    graph = Graph.from_edges(ends[:, 0], ends[:, 1], rng.random(40_000))
    start = random_start(graph)
    one, two = (SpectralRefiner().refine(graph, start, seed=1, device="cpu", threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("iteration", ["krylov", "subspace"])
def test_many_rounds_find_the_leading_eigenvectors_that_numpy_finds(iteration):
    graph, width = in_memory(SmallGraph("communities", communities(6, 40, seed=1))), 6
    degrees = graph.degrees
    scale = 1 / np.sqrt(degrees + 1.5 * degrees.mean())
    values, vectors = np.linalg.eigh(scale[:, None] * graph.adjacency.toarray() * scale[None, :])
    leading = np.argsort(-np.abs(values))[:width]
    expected = vectors[:, leading] * np.abs(values[leading])
    expected *= 2 / np.linalg.norm(expected, axis=1, keepdims=True)
    refiner = SpectralRefiner(
        iteration=iteration, rounds=12, tolerance=0, hops=0, whiten=0, views=(View(1.5, 1.0, 1.0),)
    )
    found = refiner.refine(graph, np.zeros((graph.num_nodes, width), np.float32), seed=1, device="cpu")
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=2e-2)


def test_rounds_end_when_the_ritz_values_have_settled():
    graph = in_memory(SmallGraph("communities", communities(6, 40, seed=1)))
    store = MemoryStore()
    keep_in_blocks(graph, 1, store)
    store.put(0, "start", random_start(graph, 6))
    refiner = SpectralRefiner(rounds=15, tolerance=1e-4)
    projection = refiner.run(LocalStages(1), Task(store, refiner.views, 1, "cpu"), 6, seed=1)
    assert 2 <= projection.details["rounds"] < 15
    assert projection.changes[-1] < 1e-4 <= projection.changes[-2]


def test_the_chebyshev_filter_is_prones():
    """On a regular graph, where the two normalisations of P are one."""
    graph = in_memory(SmallGraph("ring", [(at, (at + 1) % 30) for at in range(30)]))
    start = random_start(graph)
    import torch

    expected = ProneEmbedder(dim=DIM, order=3)._propagate(graph, torch.from_numpy(start)).numpy()
    walk = (graph.adjacency.toarray() + np.eye(30)) / 3
    found, power = np.zeros_like(start), start
    for weight in chebyshev(5):
        found, power = found + weight * power, walk @ power
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert plain_hops(3) == [1, 1, 1, 1]
    assert chebyshev(6) == chebyshev(5)
    assert chebyshev(0) == [1.0]


def test_pagerank_in_ten_lines_is_that_of_networkx(spark, tmp_path):
    """What an algorithm on the stages takes."""
    graph, store = in_memory(SmallGraph("communities", communities(4, 60, seed=2))), FileStore(str(tmp_path))
    block_of = keep_in_blocks(graph, 6, store)

    def start(block: int, store: FileStore = store) -> np.ndarray:
        rows = Rows.kept(block, store)
        return _spread(rows, block, store, "rank.0", np.full(rows.num_rows, 1 / 240))

    def step(block: int, at: int, store: FileStore = store) -> np.ndarray:
        rows = Rows.kept(block, store)
        before = store.get(block, f"rank.{at}")
        received = np.concatenate([before / rows.degrees, rows.receive(block, store, f"rank.{at}")])
        entries = received[rows.neighbours] * (rows.weights if len(rows.weights) else 1)
        inflow = np.add.reduceat(entries, rows.indptr[:-1])
        rank = 0.15 / 240 + 0.85 * inflow
        return np.append(_spread(rows, block, store, f"rank.{at + 1}", rank), np.abs(rank - before).sum())

    def _spread(rows: Rows, block: int, store: FileStore, name: str, rank: np.ndarray) -> np.ndarray:
        store.put(block, name, rank)
        rows.send(block, store, name, rank / rows.degrees)
        return np.array([rank.sum()])

    for stages, rounds in ((SparkStages(spark, 6), range(3)), (LocalStages(6), range(3, 25))):
        if not rounds.start:
            assert stages.run(start)[0] == pytest.approx(1)
        for at in rounds:
            total, moved = stages.run(partial(step, at=at))
            assert total == pytest.approx(1)
    assert moved < 1e-5
    found = np.zeros(240)
    for block in range(6):
        found[block_of == block] = store.get(block, "rank.25")
    expected = nx.pagerank(nx.from_scipy_sparse_array(graph.adjacency), tol=1e-10)
    np.testing.assert_allclose(found, [expected[node] for node in range(240)], atol=1e-5)


def test_sums_of_many_blocks_are_added_up_by_tasks_before_the_driver_sees_them(spark):
    def step(block: int) -> np.ndarray:
        return np.array([1.0, block, 0.1**block])

    assert SparkStages(spark, 80).run(step).tolist() == pytest.approx([80, 3_160, 1 / 0.9])
    np.testing.assert_array_equal(SparkStages(spark, 9).run(step), LocalStages(9).run(step))


def test_a_store_gives_back_what_it_was_given(tmp_path):
    arrays = {
        "numbers": np.arange(12),
        "vectors": np.random.default_rng(0).random((400_000, 1)).astype(np.float32),
        "none": np.zeros((0, 3), np.float32),
        "bytes": np.frombuffer(b"text", np.uint8),
    }
    stores = [MemoryStore(), FileStore(str(tmp_path / "a")), FileStore((tmp_path / "b").as_uri())]
    for store in stores:
        for name, values in arrays.items():
            store.put(3, name, values)
            store.put(3, name, values)  # a task that is run again
            np.testing.assert_array_equal(store.get(3, name), values)
            np.testing.assert_array_equal(store.get(3, name, 1, 5), values[1:5])
            assert store.get(3, name).dtype == values.dtype
        store.drop("numbers", "never there")
        with pytest.raises((KeyError, FileNotFoundError)):
            store.get(3, "numbers")
        store.remove()
    with pytest.raises(ConfigError, match=r"'nowhere://x', which pyarrow cannot open .* set spark.checkpoint.dir"):
        FileStore("nowhere://x").put(0, "a", arrays["numbers"])


def test_blocks_are_even_keep_subgraphs_together_and_hold_every_node():
    sizes = [Size(0, 0, 999, 1000), Size(1, 5, 20, 10), Size(2, 7, 30, 10), Size(7, 2, 999, 500)]
    blocks = Blocks.even(sizes, 6)
    counts = np.bincount(blocks.of(np.zeros(1000, int), np.arange(1000)), minlength=blocks.num_blocks)
    assert (counts > 0).sum() == 4
    assert counts.max() <= 1.1 * counts[counts > 0].mean()
    assert len(set(blocks.of(np.array([1, 1]), np.array([5, 20])))) == 1
    assert Blocks.even(sizes, 1).num_blocks == 1
    assert Blocks.even([Size(4, 9, 9, 0)], 3).of(np.array([4]), np.array([9])).tolist() == [0]


@pytest.fixture(scope="module")
def fused_run(spark, tmp_path_factory):
    """A directed, weighted graph with an isolated node and text ids, cut into five, up to and with fuse."""
    folder = tmp_path_factory.mktemp("fused")
    edges = [(f"n{a}", f"n{b}", 0.5 + (a + b) % 3) for a, b in communities(5, 30, seed=5)]
    section = write_graph(SmallGraph("text ids", edges, nodes=["alone"], directed=True), folder)
    sections = {"partition": {"num_subgraphs": 5}, "embed": {"dim": 16}}
    run = run_steps(spark, make_config(section, folder / "tables", **sections), "r", last="fuse")
    return run, section, folder, sections


def embeddings(run) -> pa.Table:
    return arrow_of(run.tables.read("embeddings")).sort_by("node_id")


@pytest.mark.parametrize(("num_blocks", "blocks"), [(3, 3), (8, 8)])
def test_the_step_writes_the_same_vectors_for_any_number_of_blocks(spark, fused_run, num_blocks, blocks):
    _, section, folder, sections = fused_run
    found = []
    for number in (1, num_blocks):
        config = make_config(section, folder / "tables", refine={"num_blocks": number}, **sections)
        run = open_run(spark, config, "r")
        told = refine(run)
        found.append(embeddings(run))
    assert told["blocks"] == blocks
    assert told["vectors"] == found[0].num_rows == 151
    assert found[0].drop_columns(["vector"]).equals(found[1].drop_columns(["vector"]))
    one, many = (np.stack(table["vector"].to_numpy()) for table in found)
    np.testing.assert_allclose(many, one, atol=1e-5)
    alone = found[0]["id"].to_pylist().index("alone")
    assert not one[alone].any()
    assert np.linalg.norm(np.delete(one, alone, axis=0), axis=1) == pytest.approx(2, rel=1e-5)


def test_every_fused_vector_knows_its_first_level_subgraph(fused_run):
    run, *_ = fused_run
    homes = {row["node_id"]: row["subgraph_id"] for row in run.tables.read("assignments").where("level = 1").collect()}
    fused = {row["node_id"]: row["subgraph_id"] for row in run.tables.read("fused_embeddings").collect()}
    assert len(fused) == 150
    assert fused == {node: homes[node] for node in fused}


def test_as_many_blocks_as_the_budget_needs_and_a_refusal_before_anything_is_embedded(spark, tmp_path):
    edges = [(at, (at * 7 + step) % 6_000) for at in range(6_000) for step in (1, 3)]
    section = write_graph(SmallGraph("wide", edges), tmp_path)

    def wide(**settings):
        return make_config(
            section,
            tmp_path / "tables",
            run={"task_memory_mb": 64},
            partition={"num_subgraphs": 6},
            embed={"dim": 1024},
            refine=settings,
        )

    run = run_steps(spark, wide(), "wide", last="partition")
    blocks = plan_blocks(run)
    assert blocks.num_blocks > 4
    assert blocks.largest_bytes <= 64 << 20
    assert plan_blocks(replace(run, config=wide(num_blocks=1))) is None
    with pytest.raises(MemoryBudgetError, match=r"refining 6,000 nodes .* in 2 blocks .* raise refine.num_blocks"):
        partition(replace(run, config=wide(num_blocks=2)))


@pytest.mark.slow
def test_a_lost_executor_changes_nothing():
    """Two executors, one of which is killed in the middle of a round: in a session of its own."""
    assert last_line_of("lost_executor.py") == "the same vectors, with an executor lost in a round"
