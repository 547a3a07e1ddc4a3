"""Embedders against references, and the step that hands subgraphs to tasks: memory, starts, devices."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from sklearn.random_projection import SparseRandomProjection

from conftest import REPOSITORY, arrow_of, last_line_of
from graphseam.embedding import embed, forecast_of_a_subgraph
from graphseam.embedding.memory import gpu_bytes, subgraph_bytes
from graphseam.embedding.sampling import alias_table, draw, generator
from graphseam.embedding.skipgram import PAIRS_PER_CHUNK, SkipGram, pair_chunks, visits_of, walks_of_a_chunk
from graphseam.embedding.walks import WalkGraph, walks_from
from graphseam.errors import ConfigError, MemoryBudgetError, RunError
from graphseam.gpus import gpu_shares
from graphseam.graph import Graph
from graphseam.methods import EMBEDDERS
from graphseam.runs import open_run
from graphseam.seeds import derive_seed
from graphseam.spark_line import IS_SPARK_3
from test_algorithms import mean_cosine, planted

DIM = 16  # of the run
WARM = [method for method, kind in EMBEDDERS.items() if kind.warm]


def weighted(num_nodes: int, num_edges: int, seed: int, directed: bool = False) -> Graph:
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, num_nodes, (2, num_edges))
    keep = src != dst
    return Graph.from_edges(src[keep], dst[keep], rng.integers(1, 5, keep.sum()).astype(float), directed=directed)


def test_alias_tables_draw_by_weight():
    weights, state = np.array([1.0, 0.0, 5.0, 2.0, 0.5]), generator(3)
    table = alias_table(weights)
    found = np.bincount([draw(*table, state) for _ in range(40_000)], minlength=5) / 40_000
    np.testing.assert_allclose(found, weights / weights.sum(), atol=0.01)


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (0.25, 4.0), (5.0, 0.5)])
def test_steps_of_a_walk_have_node2vecs_probabilities(p, q, directed):
    """Judged by networkx' adjacency; the frequencies of second steps agree with the paper's formula."""
    graph = weighted(12, 50, seed=2, directed=directed)
    network = nx.from_scipy_sparse_array(graph.arcs, create_using=nx.DiGraph)
    starts = np.flatnonzero([network.out_degree(node) > 0 for node in network])
    walks = walks_from(WalkGraph.of(graph.arcs, p, q), np.tile(starts, 40_000), 3, generator(1))
    walks = walks[walks[:, 2] >= 0]
    for before, here in [(int(walks[0, 0]), int(walks[0, 1])), (int(walks[7, 0]), int(walks[7, 1]))]:
        weights = {
            there: data["weight"] * (1 / p if there == before else 1 if network.has_edge(before, there) else 1 / q)
            for there, data in network[here].items()
        }
        seen = walks[(walks[:, 0] == before) & (walks[:, 1] == here), 2]
        assert len(seen) > 1000
        for there, weight in weights.items():
            assert (seen == there).mean() == pytest.approx(weight / sum(weights.values()), abs=0.03)


def test_a_directed_walk_follows_the_arcs_and_ends_where_none_leaves():
    graph = Graph.from_edges(np.array([0, 1, 2]), np.array([1, 2, 3]), np.ones(3), directed=True)
    walks = walks_from(WalkGraph.of(graph.arcs, 1.0, 0.5), np.array([0, 2, 3]), 6, generator(0))
    assert walks.tolist() == [[0, 1, 2, 3, -1, -1], [2, 3, -1, -1, -1, -1], [3, -1, -1, -1, -1, -1]]


def test_netmf_is_the_papers_formula_by_dense_algebra():
    graph, embedder = weighted(60, 300, seed=4), EMBEDDERS["netmf"](dim=20, window=5)
    adjacency = graph.adjacency.toarray()
    degrees = adjacency.sum(axis=1)
    walk = adjacency / degrees[:, None]
    powers = sum(np.linalg.matrix_power(walk, power) for power in range(1, 6))
    expected = np.log(np.maximum(1, degrees.sum() / 5 * powers / degrees[None, :]))
    np.testing.assert_allclose(embedder.log_proximity(graph, "cpu").numpy(), expected, atol=1e-4)
    left, singular, _ = np.linalg.svd(expected)
    best = (left[:, :20] * singular[:20]) @ left[:, :20].T
    vectors = embedder.embed(graph, seed=1, device="cpu")
    np.testing.assert_allclose(vectors @ vectors.T, best, atol=2e-3 * singular[0])


def test_fastrp_is_the_papers_formula():
    graph = weighted(80, 400, seed=5)
    embedder = EMBEDDERS["fastrp"](dim=16, weights=(0.0, 1.0, 3.0), degree_power=-0.5)
    walk = sp.diags(1 / graph.degrees) @ graph.adjacency
    signs = SparseRandomProjection(16, random_state=7).fit(np.zeros((1, 80))).components_.T.toarray()
    power, total = (graph.degrees / graph.degrees.sum())[:, None] ** -0.5 * signs, 0
    for weight in embedder.weights:
        power = walk @ power
        total = total + weight * power / np.maximum(np.linalg.norm(power, axis=1, keepdims=True), 1e-30)
    expected = (total - total.mean(axis=0)) / total.std(axis=0)
    np.testing.assert_allclose(embedder.embed(graph, seed=7, device="cpu"), expected, atol=2e-4)


@pytest.mark.parametrize(
    ("method", "precision"),
    [
        pytest.param("deepwalk", "float32", marks=pytest.mark.thorough),  # as node2vec, but for its walks
        pytest.param("deepwalk", "mixed", marks=pytest.mark.thorough),
        ("node2vec", "float32"),
        ("node2vec", "mixed"),
        ("line", "float32"),
        ("line", "mixed"),
    ],
)
def test_training_in_batches_as_on_a_gpu_tells_communities_apart(method, precision, monkeypatch):
    """The torch path on the CPU: the code that a GPU runs."""
    kind = EMBEDDERS[method].load()
    monkeypatch.setattr(kind, "_train_on_cpu", kind.train_in_batches)
    vectors = kind(dim=16, precision=precision).embed(planted(), seed=3, device="cpu")
    assert np.isfinite(vectors).all()
    assert mean_cosine(vectors, same=True) > mean_cosine(vectors, same=False) + 0.3


@pytest.mark.parametrize("method", WARM)
def test_a_warm_start_repeats_and_stays_near_where_it_began(method):
    """Started from its own vectors, an embedder stays closer to the space they span than a run with another seed."""
    graph, embedder = planted(), EMBEDDERS[method](dim=8)
    before = embedder.embed(graph, seed=1, device="cpu")
    warm = [embedder.embed(graph, seed=2, device="cpu", start=before) for _ in range(2)]
    np.testing.assert_array_equal(*warm)
    assert np.isfinite(warm[0]).all()
    cold = embedder.embed(graph, seed=2, device="cpu")
    assert shared_span(before, warm[0]) >= shared_span(before, cold) - 1e-6


def shared_span(one: np.ndarray, other: np.ndarray) -> float:
    """Mean squared cosine of the principal angles between two column spaces; 1: the same."""
    left, right = (np.linalg.qr(vectors.astype(np.float64))[0] for vectors in (one, other))
    return float((np.linalg.svd(left.T @ right, compute_uv=False) ** 2).mean())


def test_no_embedder_takes_more_memory_than_it_says():
    found = json.loads(last_line_of("embedder_memory.py"))
    assert set(found) == set(EMBEDDERS)
    for method, (least, used, predicted) in found.items():
        assert least < used <= predicted, method


def test_small_subgraphs_share_a_gpu_and_large_ones_do_not():
    shares = gpu_shares({0: 100.0, 1: 8_000.0, 2: 4_000.0, 3: 3_999.0}, gpu_memory_mb=16_000, share=0.25)
    assert [(share.gpus, share.subgraphs) for share in shares] == [(1.0, [1]), (0.25, [0, 2, 3])]
    assert [share.gpus for share in gpu_shares({0: 1.0}, 16_000, 0.25)] == [0.25]
    assert gpu_shares({0: 1.0, 1: 9e9}, 0, 0.25)[0].subgraphs == [0, 1]


@pytest.fixture(scope="module")
def cut_run(spark, published, tmp_path_factory):
    """A run cut into subgraphs, ready to be embedded by any method: cut_run(method=...)."""
    run = published.copied("planted", tmp_path_factory.mktemp("cut"), "older", unpublish=True)
    assert run.details("partition")["subgraphs"] > 4
    return lambda **settings: open_run(
        spark, replace(run.config, embed=replace(run.config.embed, **settings)), run.run_id
    )


@pytest.mark.parametrize("method", EMBEDDERS)
def test_tasks_give_what_the_algorithm_gives_and_tell_where_it_went(cut_run, method):
    run = cut_run(method=method)
    details = embed(run)
    stats = run.tables.read("subgraph_stats").collect()
    rows = run.tables.read("subgraph_embeddings").collect()
    edges = arrow_of(run.tables.read("subgraph_edges"))
    assert details["subgraphs"] == len(stats) == len({row["subgraph_id"] for row in rows})
    for stat in stats:
        assert stat["peak_mb"] <= stat["predicted_mb"]
        assert (stat["method"], stat["device"], stat["gpu"]) == (method, "cpu", None)
        graph = Graph.from_arrow(edges.filter(pa.compute.equal(edges["subgraph_id"], stat["subgraph_id"])))
        seed = derive_seed(run.config.run.seed, "embed", stat["subgraph_id"])
        expected = EMBEDDERS[method](dim=DIM).embed(graph, seed, "cpu")
        found = {row["node_id"]: row["vector"] for row in rows if row["subgraph_id"] == stat["subgraph_id"]}
        assert (stat["num_nodes"], stat["num_edges"]) == (graph.num_nodes, graph.num_edges)
        np.testing.assert_array_equal(np.array([found[node] for node in graph.node_ids.tolist()], np.float32), expected)


def test_a_run_may_begin_from_the_border_or_from_an_earlier_run(cut_run):
    run = cut_run()
    embed(run)
    cold = vectors_of(run)
    border = cut_run(warm_start="border")
    embed(border)
    from_border = vectors_of(border)
    deepest = max(subgraph for subgraph, _ in cold)
    assert all(cold[key] == from_border[key] for key in cold if key[0] == deepest)
    assert any(cold[key] != from_border[key] for key in cold if key[0] != deepest)
    stats = border.tables.read("subgraph_stats").collect()
    ended = next(row["started_at"].timestamp() + row["seconds"] for row in stats if row["subgraph_id"] == deepest)
    assert all(row["started_at"].timestamp() >= ended - 0.01 for row in stats if row["subgraph_id"] != deepest)
    prone = EMBEDDERS["prone"](dim=DIM)
    for row in stats:
        told = subgraph_bytes(prone, row["num_nodes"], row["num_edges"], started=row["subgraph_id"] != deepest)
        assert row["peak_mb"] <= row["predicted_mb"] == told / 2**20


def test_vectors_to_begin_from_are_in_the_forecast(cut_run):
    """Held twice: as Arrow rows, and as the matrix in node order."""
    prone, nodes, edges = EMBEDDERS["prone"](dim=DIM), 10_000, 40_000
    cold, warm = (forecast_of_a_subgraph(cut_run(warm_start=start))(nodes, edges) for start in ("", "border"))
    assert cold == subgraph_bytes(prone, nodes, edges)
    assert warm - cold >= 2 * nodes * DIM * 4


def vectors_of(run):
    return {
        (row["subgraph_id"], row["node_id"]): row["vector"] for row in run.tables.read("subgraph_embeddings").collect()
    }


def test_a_start_that_does_not_exist_or_does_not_suit_is_named(cut_run):
    with pytest.raises(RunError, match=r"names the run 'gone', and it has no embeddings .* \"border\""):
        embed(cut_run(warm_start="gone"))
    with pytest.raises(ConfigError, match=r"fastrp begins from nothing; leave it out, or use one of: prone, netmf"):
        cut_run(method="fastrp", warm_start="border")


def test_the_memory_of_a_known_gpu_bounds_subgraphs_too(cut_run, monkeypatch):
    """The session has no GPU; only the request to Spark is replaced."""
    monkeypatch.setattr("graphseam.embedding.has_gpus", lambda _: True)
    line, wide = EMBEDDERS["line"](dim=DIM), cut_run(method="line", gpu_memory_mb=1 << 20)
    assert forecast_of_a_subgraph(wide)(1000, 9000) == subgraph_bytes(line, 1000, 9000)
    tight = cut_run(method="line", gpu_memory_mb=640)
    task_bytes = tight.task_memory_mb() << 20
    assert forecast_of_a_subgraph(tight)(1000, 9000) / task_bytes == pytest.approx(
        gpu_bytes(line, 1000, 9000) / (640 << 20), rel=1e-6
    )
    with pytest.raises(MemoryBudgetError, match=r"subgraph 0 .* and a GPU holds 640 \(embed.gpu_memory_mb\); lower"):
        embed(tight)


def test_chunks_of_pairs_keep_to_what_is_forecast_for_them():
    """Long walks with a wide window do not enlarge the chunks, and the pairs are those of the window."""
    settings = SkipGram(num_walks=2, walk_length=500, window=100)
    graph = planted()
    chunks = list(
        pair_chunks(settings, WalkGraph.of(graph.arcs, 1.0, 1.0), visits_of(graph.arcs), 1, torch.device("cpu"))
    )
    assert len(chunks) == -(-2 * graph.num_nodes // walks_of_a_chunk(settings)) > 1
    assert all(len(rows) == len(targets) <= 1.1 * PAIRS_PER_CHUNK for _, rows, targets in chunks)
    assert sum(len(rows) for _, rows, _ in chunks) > PAIRS_PER_CHUNK


@pytest.mark.slow
def test_gpus_are_given_one_a_task_shared_when_asked_and_lost_with_their_executor():
    shared = "" if IS_SPARK_3 else ", shared when asked"  # a stage of its own needs Spark 4
    assert last_line_of("gpu_cluster.py") == f"one GPU a task{shared}, the same vectors as on the CPU"


def test_the_example_of_an_embedder_in_the_docs_works_as_it_stands(tmp_path, monkeypatch):
    page = (REPOSITORY / "docs" / "embedders.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(example.splitlines()) < 40
    (tmp_path / "spectral_example.py").write_text(example, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    embedder = importlib.import_module("spectral_example").SpectralEmbedder(dim=16)
    vectors = embedder.embed(planted(), seed=3, device="cpu")
    assert mean_cosine(vectors, same=True) > mean_cosine(vectors, same=False) + 0.3
    assert 0 < embedder.predict_bytes(100, 1000) < embedder.predict_bytes(200, 5000)
