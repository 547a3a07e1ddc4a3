"""Refinement in blocks: the same vectors for any number of them, judged by dense numpy and ProNE's filter. No Spark."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from graphs import ZOO, SmallGraph, communities, in_memory
from graphseam.blocks.stages import LocalStages
from graphseam.blocks.store import COMMON, FileStore, MemoryStore
from graphseam.embedding.prone import ProneEmbedder
from graphseam.errors import ConfigError
from graphseam.graph import Graph
from graphseam.refine.block_plan import Blocks, Size
from graphseam.refine.directions import by_product, put_directions
from graphseam.refine.filters import chebyshev, plain_hops
from graphseam.refine.product import product
from graphseam.refine.rounds import Task, View
from graphseam.refine.rows import Halo, Rows
from graphseam.refine.spectral import SpectralRefiner
from refining import DIM, keep_in_blocks, random_start, refined

REFINERS = {
    "krylov": SpectralRefiner(),
    "subspace": SpectralRefiner(iteration="subspace", filter="chebyshev", hops=5),
    "short": SpectralRefiner(rounds=1, hops=0),
}
CASES = [  # the default over all of the zoo; the others over a third of it, each over another, and the rest thoroughly
    pytest.param(
        small, refiner, id=f"{small.name}-{name}", marks=[pytest.mark.thorough] if which and (place + which) % 3 else []
    )
    for which, (name, refiner) in enumerate(REFINERS.items())
    for place, small in enumerate(ZOO)
]


@pytest.mark.parametrize(("small", "refiner"), CASES)
def test_the_number_of_blocks_does_not_show(small, refiner):
    graph = in_memory(small)
    for start in (random_start(graph), np.zeros((graph.num_nodes, DIM), np.float32)):
        whole = refiner.refine(graph, start, seed=1, device="cpu")
        assert np.isfinite(whole).all()
        for num_blocks in (2, 5):
            found = refined(refiner, graph, start, num_blocks, MemoryStore())
            np.testing.assert_allclose(found, whole, atol=1e-5)
            shared = refined(refiner, graph, start, num_blocks, MemoryStore(), in_common=True)
            np.testing.assert_array_equal(shared, found)


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
            product(rows, vectors[mine], Halo(rows.receive(block, store, "x")), scales, [5, 3], 0.5, "cpu", threads)
            for threads in (1, 2)
        ]
        size = np.abs(expected).max(initial=1)
        np.testing.assert_allclose(found[0], expected[mine], rtol=1e-5, atol=1e-6 * size)
        np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("small", ZOO, ids=lambda small: small.name)
def test_directions_are_those_of_dense_sums(small):
    """Of chosen rows only, in blocks, by the loop and by products, as a GPU makes them."""
    graph, store = in_memory(small), MemoryStore()
    vectors = random_start(graph)
    sums = graph.adjacency @ vectors.astype(np.float64)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    wanted = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    chosen = np.arange(graph.num_nodes) % 3 > 0
    block_of = keep_in_blocks(graph, 3, store)
    for block in range(3):
        Rows.kept(block, store).send(block, store, "x", vectors[block_of == block])
    for block in range(3):
        rows, mine = Rows.kept(block, store), block_of == block
        halo = Halo(rows.receive(block, store, "x"))
        found = [np.full((rows.num_rows, vectors.shape[1]), 7, np.float32) for _ in range(2)]
        put_directions(Task(store, (), 1, "cpu"), rows, vectors[mine], halo, chosen[mine], found[0])
        by_product(Task(store, (), 1, "cpu"), rows, vectors[mine], halo, chosen[mine], found[1])
        for out in found:
            np.testing.assert_allclose(out[chosen[mine]], wanted[mine][chosen[mine]], atol=1e-5)
            assert (out[~chosen[mine]] == 7).all()


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
    """On a regular graph, where the two normalisations of P coincide."""
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


@pytest.mark.parametrize("kind", ["memory", "files"])
def test_an_array_in_common_is_filled_by_all_and_dropped_with_its_name(kind, tmp_path):
    store = MemoryStore() if kind == "memory" else FileStore(str(tmp_path / "arrays"))
    rows = np.random.default_rng(0).random((1000, 3)).astype(np.float32)
    for block in (2, 0, 1, 1):  # one of the tasks is repeated
        at = np.arange(block, 999, 3)  # no block has the last row
        store.fill("sent.x", 1000, at, rows[at])
    np.testing.assert_array_equal(store.get(COMMON, "sent.x")[:999], rows[:999])
    assert not store.get(COMMON, "sent.x")[999].any()
    store.drop("sent.x")
    with pytest.raises((KeyError, FileNotFoundError)):
        store.get(COMMON, "sent.x")


def test_an_array_in_common_that_finds_no_room_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        FileStore(str(tmp_path)).fill("x", 10, np.arange(10), np.ones((10, 2)))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


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
            store.put(3, name, values)  # a task that is repeated
            np.testing.assert_array_equal(store.get(3, name), values)
            np.testing.assert_array_equal(store.get(3, name, 1, 5), values[1:5])
            assert store.get(3, name).dtype == values.dtype
        store.drop("numbers", "never there")
        with pytest.raises((KeyError, FileNotFoundError)):
            store.get(3, "numbers")
        store.remove()
    with pytest.raises(ConfigError, match=r"'nowhere://x', which pyarrow cannot open .* set spark.checkpoint.dir"):
        FileStore("nowhere://x").put(0, "a", arrays["numbers"])
    for count in (0, 3, 100_000):
        with stores[1].growing(3, "grown", np.dtype(np.int32)) as add:
            for start in range(count):
                if start % 1000 < 3:
                    add(np.arange(start, start + 1))
            add(np.arange(5))
        expected = [*[start for start in range(count) if start % 1000 < 3], *range(5)]
        assert stores[1].get(3, "grown").tolist() == expected


def test_blocks_are_even_keep_subgraphs_together_and_hold_every_node():
    sizes = [Size(0, 0, 999, 1000), Size(1, 5, 20, 10), Size(2, 7, 30, 10), Size(7, 2, 999, 500)]
    blocks = Blocks.even(sizes, 6)
    counts = np.bincount(blocks.of(np.zeros(1000, int), np.arange(1000)), minlength=blocks.num_blocks)
    assert (counts > 0).sum() == 4
    assert counts.max() <= 1.1 * counts[counts > 0].mean()
    assert len(set(blocks.of(np.array([1, 1]), np.array([5, 20])))) == 1
    assert Blocks.even(sizes, 1).num_blocks == 1
    assert Blocks.even([Size(4, 9, 9, 0)], 3).of(np.array([4]), np.array([9])).tolist() == [0]
