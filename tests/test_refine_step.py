"""Refinement on Spark: the same bytes as in one process, blocks and memory, an executor lost in a round."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest

from conftest import arrow_of, last_line_of, make_config, run_steps, write_graph
from graphs import SmallGraph, communities, in_memory
from graphseam.blocks.stages import LocalStages, SparkStages
from graphseam.blocks.store import FileStore, MemoryStore
from graphseam.errors import MemoryBudgetError
from graphseam.partition import partition
from graphseam.refine import refine
from graphseam.refine.block_plan import plan_refinement
from graphseam.refine.rows import Rows
from graphseam.refine.spectral import SpectralRefiner
from graphseam.runs import open_run
from refining import keep_in_blocks, random_start, refined


def test_spark_and_files_give_the_bytes_of_this_process(spark, tmp_path):
    small = SmallGraph("weighted communities", [(a, b, 0.1 + (a * b) % 7) for a, b in communities(5, 30, seed=4)])
    graph = in_memory(small)
    start = random_start(graph, 24)
    refiner = SpectralRefiner(rounds=3)  # one beyond the restart of the iteration
    here = refined(refiner, graph, start, 7, MemoryStore())
    store = FileStore((tmp_path / "by address").as_uri())
    there = refined(refiner, graph, start, 7, store, SparkStages(spark, 7))
    np.testing.assert_array_equal(there, here)
    store.remove()
    assert not list(tmp_path.rglob("*.npy"))


def test_pagerank_in_ten_lines_is_that_of_networkx(spark, tmp_path):
    """A minimal algorithm on the stages."""
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


@pytest.fixture(scope="module")
def fused_run(published, tmp_path_factory):
    """A directed, weighted graph with an isolated node and text ids, cut into four and fused, ready to refine."""
    return published.copied("awkward", tmp_path_factory.mktemp("fused"), unpublish=True)


def embeddings(run) -> pa.Table:
    return arrow_of(run.tables.read("embeddings")).sort_by("node_id")


@pytest.mark.parametrize(("num_blocks", "blocks", "weight"), [(3, 3, -1), (8, 8, 0.5)])
def test_the_step_writes_the_same_vectors_for_any_number_of_blocks(spark, fused_run, num_blocks, blocks, weight):
    found = []
    for number in (1, num_blocks):
        settings = replace(fused_run.config.refine, num_blocks=number, window_weight=weight)
        run = open_run(spark, replace(fused_run.config, refine=settings), fused_run.run_id)
        told = refine(run)
        found.append(embeddings(run))
    assert told["blocks"] == blocks
    assert told["vectors"] == found[0].num_rows == 151
    assert told["window_weight"] == max(0, weight)  # the graph is too small for the view
    assert len(told["view_widths"]) == (1 if weight > 0 else 2)
    assert found[0].drop_columns(["vector"]).equals(found[1].drop_columns(["vector"]))
    one, many = (np.stack(table["vector"].to_numpy()) for table in found)
    np.testing.assert_allclose(many, one, atol=1e-5)
    alone = found[0]["id"].to_pylist().index("alone")
    assert not one[alone].any()
    assert np.linalg.norm(np.delete(one, alone, axis=0), axis=1) == pytest.approx(2, rel=1e-5)


def test_every_fused_vector_knows_its_first_level_subgraph(fused_run):
    tables = fused_run.tables
    homes = {row["node_id"]: row["subgraph_id"] for row in tables.read("assignments").where("level = 1").collect()}
    fused = {row["node_id"]: row["subgraph_id"] for row in tables.read("fused_embeddings").collect()}
    assert len(fused) == 150
    assert fused == {node: homes[node] for node in fused}


def test_blocks_that_share_an_array_end_in_the_bytes_of_blocks_that_send_each_other_rows(spark, tmp_path, monkeypatch):
    section = write_graph(SmallGraph("ring", [(at, (at * 5 + 1) % 300) for at in range(300)]), tmp_path)
    found = []
    for share in (0.25, 0.0):
        monkeypatch.setattr("graphseam.session.SHARE_OF_MACHINE", share)
        config = make_config(section, tmp_path / f"tables-{share}", embed={"dim": 16}, refine={"num_blocks": 5})
        run = run_steps(spark, config, "shared", last="refine")
        found.append(arrow_of(run.tables.read("embeddings")).sort_by("node_id"))
    assert found[0].equals(found[1])


def test_as_many_blocks_as_the_budget_needs_and_a_refusal_before_anything_is_embedded(spark, tmp_path, monkeypatch):
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
    blocks = plan_refinement(run).blocks
    assert blocks.num_blocks > 2  # which two cores get anyway
    assert blocks.largest_bytes <= 64 << 20
    assert blocks.in_common == 6_000
    monkeypatch.setattr("graphseam.session.SHARE_OF_MACHINE", 0)
    sending = plan_refinement(run).blocks
    assert (sending.in_common, sending.num_blocks > blocks.num_blocks) == (0, True)
    assert plan_refinement(replace(run, config=wide(num_blocks=1))).blocks is None
    with pytest.raises(MemoryBudgetError, match=r"refining 6,000 nodes .* in 2 blocks .* raise refine.num_blocks"):
        partition(replace(run, config=wide(num_blocks=2)))


@pytest.mark.slow
def test_a_lost_executor_changes_nothing():
    """Two executors, one of which is killed in the middle of a round; in another session."""
    assert last_line_of("lost_executor.py") == "the same vectors, with an executor lost in a round"
