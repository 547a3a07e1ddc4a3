"""How good vectors are, and how far two sets of them are apart: short, with scikit-learn, as nothing else is there."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier

from graphseam.graph import Graph
from graphseam.vectors import unit_rows


def micro_f1(vectors: np.ndarray, labels: np.ndarray, shuffles: int) -> float:
    """Micro-F1 x 100, half of the nodes for training, the mean over some shuffles: as in DeepWalk's paper, a node is
    given as many labels as it has. labels: bool[n, classes]; a node without one takes no part."""
    labelled = labels.any(axis=1)
    vectors, labels = vectors[labelled], labels[labelled]
    found = []
    for seed in range(shuffles):
        order = np.random.default_rng(seed).permutation(len(vectors))
        train, test = np.split(order, [len(order) // 2])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class may have no node among those for training
            model = OneVsRestClassifier(LogisticRegression(C=1.0, max_iter=300)).fit(vectors[train], labels[train])
            scores = model.decision_function(vectors[test])
        rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
        chosen = rank < labels[test].sum(axis=1, keepdims=True)
        found.append(100 * f1_score(labels[test], chosen, average="micro", zero_division=0))
    return float(np.mean(found))


def held_out(graph: Graph, share: float, seed: int) -> tuple[Graph, np.ndarray, np.ndarray]:
    """(the graph without a share of its edges, those edges int64[m, 2], as many random pairs)."""
    half = graph.adjacency.tocoo()
    upper = half.row < half.col
    ends, weights = np.stack([half.row[upper], half.col[upper]], axis=1), half.data[upper]
    rng = np.random.default_rng(seed)
    hidden = rng.random(len(ends)) < share
    kept = ends[~hidden]
    everyone = np.arange(graph.num_nodes)
    left = Graph.from_edges(kept[:, 0], kept[:, 1], weights[~hidden], everyone)
    return left, ends[hidden], rng.integers(0, graph.num_nodes, (int(hidden.sum()), 2))


def cosines(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    unit = unit_rows(vectors)
    return np.einsum("ij,ij->i", unit[pairs[:, 0]], unit[pairs[:, 1]], dtype=np.float64)


def auc(vectors: np.ndarray, edges: np.ndarray, others: np.ndarray) -> float:
    """AUC x 100 of the cosine: of held-out edges before random pairs."""
    scores = np.concatenate([cosines(vectors, edges), cosines(vectors, others)])
    return 100 * float(roc_auc_score(np.repeat([1, 0], [len(edges), len(others)]), scores))


def product_difference(one: np.ndarray, other: np.ndarray, rows: int = 2000) -> float:
    """The largest difference of the products of some rows, as a share of the largest product: it does not depend on
    the signs and rotations that a factorisation leaves open."""
    chosen = np.random.default_rng(0).permutation(len(one))[:rows]
    products, others = (vectors[chosen].astype(np.float64) for vectors in (one, other))
    products, others = products @ products.T, others @ others.T
    return float(np.abs(products - others).max() / max(np.abs(products).max(), 1e-30))
