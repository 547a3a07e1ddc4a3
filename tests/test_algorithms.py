"""Laws of the algorithms in one task's memory: every registered partitioner and embedder over the zoo, no Spark."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import ZOO, in_memory
from graphseam.embedding.memory import gpu_bytes, gpu_peak_bytes, watch_gpu
from graphseam.embedding.prone import log_proximity
from graphseam.fuse.concat import level_widths
from graphseam.graph import Graph
from graphseam.methods import EMBEDDERS, PARTITIONERS
from graphseam.refine.spectral import SpectralRefiner
from graphseam.rotation import align

DIM = 8
IN_ONE_TASK = [method for method in PARTITIONERS if method != "graphframes_lpa"]  # see test_graphframes


def planted(seed: int = 0) -> Graph:
    from graphs import communities

    edges = np.array(communities(6, 40, seed))
    return Graph.from_edges(edges[:, 0], edges[:, 1], np.ones(len(edges)))


@pytest.fixture(params=ZOO, ids=lambda graph: graph.name)
def graph(request):
    return in_memory(request.param)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("method", IN_ONE_TASK)
def test_a_partition_is_a_number_below_the_count_for_each_node_and_repeats(method, count, graph):
    partitioner = PARTITIONERS[method]()
    labels = partitioner.partition(graph, count, seed=5)
    assert labels.shape == (graph.num_nodes,)
    assert labels.dtype == np.int32
    assert ((labels >= 0) & (labels < count)).all()
    np.testing.assert_array_equal(labels, partitioner.partition(graph, count, seed=5))


def test_planted_communities_are_found_and_hash_finds_none():
    graph = planted()
    network = nx.from_scipy_sparse_array(graph.adjacency)
    cuts = {}
    for method in IN_ONE_TASK:
        labels = PARTITIONERS[method]().partition(graph, 6, seed=1)
        parts = [set(np.flatnonzero(labels == part).tolist()) for part in range(6)]
        cuts[method] = sum(nx.cut_size(network, part) for part in parts) / 2
    assert max(cuts["metis"], cuts["multilevel"]) < 0.15 * graph.num_edges < cuts["hash"]


@pytest.mark.parametrize("method", ["multilevel", "metis"])
def test_edge_ends_are_balanced(method):
    graph = planted()
    labels = PARTITIONERS[method](imbalance=0.05).partition(graph, 6, seed=1)
    ends = np.bincount(labels, weights=np.diff(graph.adjacency.indptr), minlength=6)
    assert ends.max() <= 1.051 * ends.mean()


@pytest.mark.parametrize("method", EMBEDDERS)
def test_an_embedding_has_a_finite_row_for_each_node_and_repeats(method, graph):
    embedder = EMBEDDERS[method](dim=DIM)
    vectors = embedder.embed(graph, seed=3, device="cpu")
    assert vectors.shape == (graph.num_nodes, DIM)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert (vectors[graph.degrees == 0] == 0).all()
    np.testing.assert_array_equal(vectors, embedder.embed(graph, seed=3, device="cpu"))


@pytest.mark.parametrize("method", EMBEDDERS)
def test_an_embedding_tells_communities_apart(method):
    graph = planted()
    vectors = EMBEDDERS[method](dim=16).embed(graph, seed=3, device="cpu")
    assert mean_cosine(vectors, same=True) > mean_cosine(vectors, same=False) + 0.3


@pytest.mark.parametrize("method", EMBEDDERS)
def test_the_forecast_of_memory_grows_with_the_graph(method):
    embedder = EMBEDDERS[method](dim=128)
    assert 0 < embedder.predict_bytes(100, 1000) < embedder.predict_bytes(200, 1000) < embedder.predict_bytes(200, 5000)


@pytest.fixture
def gpu():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and this machine has none")
    return "cuda:0"


@pytest.mark.gpu
@pytest.mark.parametrize("method", EMBEDDERS)
def test_an_embedding_on_a_gpu_is_near_the_one_on_a_cpu(method, gpu, monkeypatch):
    """Trained embedders run in batches on a GPU and are compared with the same batches on the CPU, in float32."""
    from graphseam.embedding import batches

    kind, settings = EMBEDDERS[method].load(), {"dim": 16}
    if hasattr(kind, "train_in_batches"):
        settings["precision"] = "float32"
        monkeypatch.setattr(kind, "_train_on_cpu", kind.train_in_batches)
        monkeypatch.setattr(
            batches,
            "batch_trainer",
            lambda negatives, alpha, device, precision: batches.PairTrainer(negatives, alpha=alpha),
        )
    on_cpu, on_gpu = (kind(**settings).embed(planted(), seed=3, device=device) for device in ("cpu", gpu))
    products = on_cpu @ on_cpu.T
    assert np.abs(products - on_gpu @ on_gpu.T).max() < 1e-2 * np.abs(products).max()


@pytest.mark.gpu
@pytest.mark.parametrize("method", EMBEDDERS)
def test_an_embedding_on_a_gpu_tells_communities_apart_in_the_memory_it_said(method, gpu):
    graph, embedder = planted(), EMBEDDERS[method](dim=16)
    watch_gpu(gpu)
    vectors = embedder.embed(graph, seed=3, device=gpu)
    assert 0 < gpu_peak_bytes(gpu) <= gpu_bytes(embedder, graph.num_nodes, graph.num_edges)
    assert mean_cosine(vectors, same=True) > mean_cosine(vectors, same=False) + 0.3


def test_a_product_into_given_memory_is_the_product():
    """Sparse or dense, into memory of the right shape; memory of another shape is left alone."""
    import torch

    from graphseam import linalg

    graph, rng = planted(), np.random.default_rng(1)
    sparse = linalg.to_torch(graph.adjacency, torch.device("cpu"))
    columns = torch.from_numpy(rng.standard_normal((graph.num_nodes, 5)).astype(np.float32))
    for left in (sparse, columns.T.contiguous()):
        out = torch.full((left.shape[0], 5), torch.nan)
        assert linalg.product(left, columns, out) is out
        assert torch.equal(out, left @ columns)
        other = torch.zeros(3, 5)
        assert torch.equal(linalg.product(left, columns, other), out)
        assert not other.any()


@pytest.mark.parametrize("rank", [5, 3])
def test_a_basis_is_the_same_with_and_without_spare_memory(rank):
    """Also where columns are zero, and the basis has fewer."""
    import torch

    from graphseam import linalg

    rng = np.random.default_rng(2)
    columns = torch.from_numpy(rng.standard_normal((50, 5)).astype(np.float32))
    columns[:, rank:] = 0
    plain = linalg.orthonormal(columns)
    given, spare = columns.clone(), torch.zeros_like(columns)
    basis = linalg.orthonormal(given, spare)
    assert basis.shape == (50, rank)
    assert torch.equal(basis, plain)
    assert (basis is given) == (rank == 5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(rank), atol=1e-5)


def test_log_proximity_is_the_papers_formula():
    graph = planted()
    dense = graph.adjacency.toarray()
    walk = dense / dense.sum(axis=1, keepdims=True)
    contexts = walk.sum(axis=0) ** 0.75
    expected = np.where(dense > 0, np.log(np.where(dense > 0, walk, 1)) - np.log(contexts / contexts.sum()), 0)
    np.testing.assert_allclose(log_proximity(graph, 0.75).toarray(), expected, atol=1e-12)


def test_refined_vectors_are_finite_unit_and_repeat(graph):
    start = np.random.default_rng(0).standard_normal((graph.num_nodes, DIM)).astype(np.float32)
    refiner = SpectralRefiner()
    vectors = refiner.refine(graph, start, seed=1, device="cpu")
    assert vectors.shape == start.shape
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(lengths[graph.degrees > 0], refiner.length, rtol=1e-5)
    assert (lengths[graph.degrees == 0] == 0).all()
    np.testing.assert_array_equal(vectors, refiner.refine(graph, start, seed=1, device="cpu"))


@pytest.mark.parametrize("dim", [2, 3, 7, 300])
def test_refinement_takes_any_width_and_a_start_of_zeros(dim):
    graph = planted()
    vectors = SpectralRefiner().refine(graph, np.zeros((graph.num_nodes, dim), np.float32), seed=1, device="cpu")
    assert vectors.shape == (graph.num_nodes, dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 2, rtol=1e-5)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_alignment_recovers_a_rotated_copy(seed):
    rng = np.random.default_rng(seed)
    source = rng.standard_normal((50, DIM))
    rotation, _ = np.linalg.qr(rng.standard_normal((DIM, DIM)))
    found = align(source, source @ rotation, rng.random(50) + 0.1)
    np.testing.assert_allclose(source @ found.rotation, source @ rotation, atol=1e-5)
    assert found.status == "aligned"
    assert found.fit_error < 1e-6


@pytest.mark.parametrize(
    ("shared", "status"), [(0, "unaligned"), (1, "degenerate"), (3, "degenerate"), (30, "aligned")]
)
def test_alignment_by_too_few_nodes_is_still_a_rotation_and_says_so(shared, status):
    rng = np.random.default_rng(1)
    source, target = rng.standard_normal((2, shared, DIM))
    found = align(source, target, np.ones(shared))
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(DIM), atol=1e-10)
    assert (found.status, found.rank) == (status, min(shared, DIM))


@given(st.integers(1, 300), st.integers(1, 16))
def test_concatenated_levels_fill_the_width_exactly(dim, levels):
    widths = level_widths(dim, levels)
    assert sum(widths) == dim
    assert max(widths) - min(widths) <= 1


def mean_cosine(vectors: np.ndarray, same: bool) -> float:
    """Mean cosine of pairs of nodes of the planted graph, within a community or across two."""
    community = np.arange(len(vectors)) // 40
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    pairs = (community[:, None] == community[None, :]) == same
    np.fill_diagonal(pairs, False)
    return float((unit @ unit.T)[pairs].mean())
