"""The window view of refinement: its matrix judged by numpy, the same in any blocks; when it is used. No Spark."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from graphs import ZOO, SmallGraph, communities, in_memory
from graphseam.blocks.stages import LocalStages
from graphseam.blocks.store import MemoryStore
from graphseam.graph import Graph
from graphseam.refine import rounds, window
from graphseam.refine.rounds import Task
from graphseam.refine.rows import Rows
from graphseam.refine.spectral import SpectralRefiner
from graphseam.refine.walks import HEAVIEST, MASS_UNIT, Sampling
from refining import DIM, keep_in_blocks, random_start, refined

COMMUNITIES = SmallGraph("communities", communities(4, 12, seed=3))
WEIGHTED = SmallGraph("weighted communities", [(a, b, 0.5 + (a * b) % 5) for a, b in COMMUNITIES.edges])


def matrix_of(graph: Graph, num_blocks: int, per_entry: float) -> np.ndarray:
    """The window matrix, float64[n, n], from the rows that the blocks keep."""
    store, stages = MemoryStore(), LocalStages(num_blocks)
    block_of = keep_in_blocks(graph, num_blocks, store)
    for block in range(num_blocks):
        store.put(block, "start", np.zeros((int((block_of == block).sum()), 1), np.float32))
    task = Task(store, SpectralRefiner().views, threads=1, device="cpu", mean_weight=float(graph.adjacency.data.mean()))
    stages.run(partial(rounds.begin, task=task))
    weighted = bool((graph.adjacency.data != 1).any())
    sampling = Sampling(per_entry, window.STEPS, seed=7, num_blocks=num_blocks, weighted=weighted)
    window.build(stages, task, sampling, volume=float(graph.degrees.sum()))
    found = np.zeros((graph.num_nodes, graph.num_nodes))
    for block in range(num_blocks):
        rows = Rows.kept(block, store, window.WINDOW)
        rows.send(block, store, "ids", rows.node_ids)
    for block in range(num_blocks):
        rows = Rows.kept(block, store, window.WINDOW)
        columns = np.concatenate([rows.node_ids, rows.receive(block, store, "ids")])
        row_of = np.repeat(rows.node_ids, np.diff(rows.indptr))
        found[row_of, columns[rows.neighbours]] = rows.weights
    return found


@pytest.mark.parametrize("small", [COMMUNITIES, WEIGHTED], ids=lambda small: small.name)
def test_very_many_walks_give_netmfs_matrix(small):
    graph = in_memory(small)
    degrees, adjacency = graph.degrees, graph.adjacency.toarray()
    step = adjacency / degrees[:, None]
    powers = [np.linalg.matrix_power(step, length) for length in range(1, window.STEPS + 1)]
    expected = degrees.sum() * np.mean(powers, axis=0) / degrees[None, :]
    found = matrix_of(graph, 1, 4_000.0)
    assert (found == found.T).all()
    sampled = np.exp(found) / np.maximum(expected, 1)
    often = expected * degrees[:, None] * degrees[None, :] > 0.2 * np.median(degrees) ** 2
    assert often.mean() > 0.3
    np.testing.assert_allclose(sampled[often], 1, atol=0.25)
    assert np.abs(sampled[often] - 1).mean() < 0.04


@pytest.mark.parametrize("small", ZOO, ids=lambda small: small.name)
def test_the_matrix_and_the_vectors_do_not_depend_on_the_blocks(small):
    graph = in_memory(small)
    if graph.num_edges:
        whole = matrix_of(graph, 1, 2.5)
        for num_blocks in (2, 5):
            np.testing.assert_array_equal(matrix_of(graph, num_blocks, 2.5), whole)
    refiner, start = SpectralRefiner(window_weight=1.0), random_start(graph)
    vectors = refiner.refine(graph, start, seed=1, device="cpu")
    assert np.isfinite(vectors).all()
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(lengths, 2.0 * (graph.degrees > 0), rtol=1e-5)
    for num_blocks in (2, 5):
        np.testing.assert_allclose(refined(refiner, graph, start, num_blocks, MemoryStore()), vectors, atol=1e-5)


def test_weights_are_counted_in_units_and_the_heaviest_are_cut():
    """An edge of 1e12 beside edges of 1 is counted as one of 65,536 times the mean, and nothing overflows."""
    graph = in_memory(SmallGraph("heavy", [(at, at + 1, 1.0) for at in range(2_000)] + [(0, 2, 1e12)]))
    vectors = SpectralRefiner(window_weight=1.0).refine(graph, random_start(graph), seed=1, device="cpu")
    assert np.isfinite(vectors).all()
    assert HEAVIEST // MASS_UNIT == 65_536


def test_the_view_is_for_graphs_that_walks_do_not_mix():
    assert window.weight_of(10_000, 65) == 0  # each node has a 150th of all nodes as neighbours
    assert 0 < window.weight_of(3_000, 4) < window.weight_of(20_000, 17) < window.weight_of(300_000, 5)
    assert window.weight_of(1e9, 15) == window.MOST_WEIGHT
    assert window.walks_wanted(1_000, 3_000) == 3_000 * window.WALKS_PER_EDGE
    assert window.walks_wanted(1e9, 15e9) < 1.1 * 15e9


def test_left_to_the_graph_the_view_is_used_where_its_weight_is_not_zero(monkeypatch):
    graph = in_memory(COMMUNITIES)
    start = random_start(graph, DIM)

    def refined_by(weight: float | None) -> np.ndarray:
        return SpectralRefiner(window_weight=weight).refine(graph, start, seed=1, device="cpu")

    np.testing.assert_array_equal(refined_by(None), refined_by(0))
    monkeypatch.setattr(window, "weight_of", lambda nodes, degree: 0.7)
    np.testing.assert_array_equal(refined_by(None), refined_by(0.7))
    assert np.abs(refined_by(None) - refined_by(0)).max() > 0.01
