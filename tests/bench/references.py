"""What the embedders are compared with, each given the same graph; those that need packages of their own run in an
interpreter of their own.

    prone               nodevectors: pip install nodevectors gensim "numpy<2"
    deepwalk, node2vec  pecanpy and gensim: pip install pecanpy gensim "numpy<2" "pandas<2.3" "pyarrow<18"
    line                the authors' program: github.com/tangjianpku/LINE, linux/line.cpp
    netmf, fastrp       the papers' formulas by scipy, here
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import eigsh

from graphseam.graph import Graph
from graphseam.methods import EMBEDDERS

LOADED = """
import sys, time, numpy as np, scipy.sparse as sp
loaded, seed = np.load(sys.argv[1]), int(sys.argv[3])
n, indptr, indices, data = int(loaded["n"]), loaded["indptr"], loaded["indices"], loaded["data"].astype(np.float32)
np.random.seed(seed)
"""
NODEVECTORS = (
    LOADED
    + """
import nodevectors, csrgraph
model = nodevectors.ProNE(n_components=128, verbose=False)
model.fit_transform(csrgraph.csrgraph(sp.csr_matrix(np.ones((200, 200), np.float32) - np.eye(200, dtype=np.float32))))
graph = csrgraph.csrgraph(sp.csr_matrix((data, indices, indptr), shape=(n, n)))
began = time.time()
vectors = model.fit_transform(graph)
print(time.time() - began)
np.save(sys.argv[2], vectors)
"""
)
PECANPY = (
    LOADED
    + """
from gensim.models import Word2Vec
from pecanpy import pecanpy
p, q = float(sys.argv[4]), float(sys.argv[5])
kind = pecanpy.FirstOrderUnweighted if p == q == 1 else pecanpy.SparseOTF
graph = kind(p, q, workers=2, verbose=False, random_state=seed)
graph.indptr, graph.indices, graph.data = indptr.astype(np.uint32), indices.astype(np.uint32), data
graph.set_node_ids([str(at) for at in range(n)])
graph.simulate_walks(1, 3)
began = time.time()
walks = graph.simulate_walks(10, 80)
model = Word2Vec(walks, vector_size=128, window=10, sg=1, min_count=0, workers=2, epochs=1, seed=seed)
print(time.time() - began)
np.save(sys.argv[2], np.stack([model.wv[str(at)] for at in range(n)]))
"""
)
Result = tuple[float, np.ndarray]  # seconds of the embedding alone (0: not told), float[n, dim]


def beside(python: str, script: str, graph: Graph, *told: object) -> Result:
    """Run a script in its own interpreter; it prints its seconds and saves its vectors."""
    with tempfile.TemporaryDirectory() as folder:
        matrix = graph.adjacency
        np.savez(
            f"{folder}/graph.npz", n=graph.num_nodes, data=matrix.data, indices=matrix.indices, indptr=matrix.indptr
        )
        seconds = subprocess.run(
            [python, "-c", script, f"{folder}/graph.npz", f"{folder}/vectors.npy", *map(str, told)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        return float(seconds.split()[-1]), np.load(f"{folder}/vectors.npy")


def line(program: str, graph: Graph) -> Result:
    """Both orders by the authors' program, 64 columns each, normalised and joined, as their train_youtube.sh does."""
    arcs, embedder = graph.adjacency.tocoo(), EMBEDDERS["line"]()
    millions = max(1, round(embedder.samples * arcs.nnz / 1e6))
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        rows = np.column_stack([arcs.row, arcs.col, arcs.data])
        np.savetxt(f"{folder}/edges.txt", rows, fmt=["%d", "%d", "%g"])
        for order in (1, 2):
            subprocess.run(
                [
                    program,
                    "-train",
                    f"{folder}/edges.txt",
                    "-output",
                    f"{folder}/vectors.txt",
                    "-size",
                    str(embedder.dim // 2),
                    "-order",
                    str(order),
                    "-negative",
                    str(embedder.negatives),
                    "-samples",
                    str(millions),
                ],
                stdout=subprocess.DEVNULL,
                check=True,
            )
            found = np.loadtxt(f"{folder}/vectors.txt", skiprows=1)
            vectors = np.zeros((graph.num_nodes, embedder.dim // 2))
            vectors[found[:, 0].astype(int)] = found[:, 1:]
            parts.append(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
    return 0.0, np.concatenate(parts, axis=1)


def netmf(graph: Graph) -> Result:
    """Dense in float64, factorised by Lanczos to machine precision."""
    embedder, degrees = EMBEDDERS["netmf"](), graph.degrees
    walk = sp.csr_matrix(sp.diags(1 / degrees) @ graph.adjacency)
    power = walk.toarray()
    total = power.copy()
    for _ in range(embedder.window - 1):
        power = walk @ power
        total += power
    total *= degrees.sum() / (embedder.window * degrees)
    np.log(np.maximum(total, 1, out=total), out=total)
    values, vectors = eigsh((total + total.T) / 2, k=embedder.dim, which="LM", v0=np.ones(graph.num_nodes))
    return 0.0, vectors * np.sqrt(np.abs(values))


def fastrp(graph: Graph, seed: int) -> Result:
    """A very sparse random matrix through the powers of the walk, as the authors' notebook combines them."""
    embedder, rng = EMBEDDERS["fastrp"](), np.random.default_rng(seed)
    shape, spread = (graph.num_nodes, embedder.dim), np.sqrt(graph.num_nodes)
    drawn = rng.random(shape)
    signs = np.where(drawn < 0.5 / spread, -1.0, np.where(drawn > 1 - 0.5 / spread, 1.0, 0.0)) * np.sqrt(spread)
    walk = sp.diags(1 / graph.degrees) @ graph.adjacency
    power, total = (graph.degrees / graph.degrees.sum())[:, None] ** embedder.degree_power * signs, np.zeros(shape)
    for weight in embedder.weights:
        power = walk @ power
        total += weight * power / np.maximum(np.linalg.norm(power, axis=1, keepdims=True), 1e-30)
    return 0.0, (total - total.mean(axis=0)) / total.std(axis=0)


def references(given: argparse.Namespace) -> dict[str, Callable[[Graph, int], Result]]:
    """{method: reference of (graph, seed)} of those that can be run with the interpreters and programs given."""
    biased = EMBEDDERS["node2vec"]()
    found: dict[str, Callable[[Graph, int], Result]] = {"netmf": lambda graph, _: netmf(graph), "fastrp": fastrp}
    if given.nodevectors:
        found["prone"] = lambda graph, seed: beside(given.nodevectors, NODEVECTORS, graph, seed)
    if given.pecanpy:
        found["deepwalk"] = lambda graph, seed: beside(given.pecanpy, PECANPY, graph, seed, 1, 1)
        found["node2vec"] = lambda graph, seed: beside(given.pecanpy, PECANPY, graph, seed, biased.p, biased.q)
    if given.line:
        found["line"] = lambda graph, _: line(str(Path(given.line).resolve()), graph)
    return found
