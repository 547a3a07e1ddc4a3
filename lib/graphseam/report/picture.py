"""Vectors in two dimensions, and a place for each subgraph on the map."""

from __future__ import annotations

from collections.abc import Mapping

import networkx as nx
import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from graphseam.vectors import unit_rows

PERPLEXITY = 30
STEPS = 400  # of t-SNE; the picture of 1,500 nodes hardly changes after them
ANGLE = 0.8  # how roughly far nodes are summed up; 0.5 takes 1.6 times as long and is hardly more trustworthy
LEADING = 50  # principal components that t-SNE sees


def in_the_plane(vectors: np.ndarray) -> np.ndarray:
    """float64[n, 2] in [0, 1]: t-SNE (van der Maaten, 2008) of the unit vectors, begun from their principal components.

    vectors: float32[n, dim], none of them zero. Cost: 1.3 s for 1,500 vectors. By one thread: the same picture on every
    machine, and idle threads of OpenMP would wait busily while Spark has work for the cores.
    """
    if len(vectors) < 4:
        return np.column_stack([np.linspace(0.2, 0.8, len(vectors)), np.full(len(vectors), 0.5)])
    unit = unit_rows(vectors)
    size = min(LEADING, *unit.shape)
    reduced = PCA(size, random_state=0, svd_solver="full").fit_transform(unit)
    perplexity = min(PERPLEXITY, (len(unit) - 1) / 3)
    with threadpool_limits(1):
        tsne = TSNE(perplexity=perplexity, max_iter=STEPS, angle=ANGLE, init="pca", random_state=0)
        places = tsne.fit_transform(reduced)
    return _in_unit_square(places)


def on_the_map(nodes: list[int], between: Mapping[tuple[int, int], int]) -> dict[int, tuple[float, float]]:
    """A place in [0, 1]² for each subgraph, near those it shares many edges with (Fruchterman and Reingold, 1991)."""
    graph = nx.Graph()
    graph.add_nodes_from(nodes)
    heaviest = max(between.values(), default=1)
    graph.add_weighted_edges_from((a, b, count / heaviest) for (a, b), count in sorted(between.items()))
    places = nx.spring_layout(graph, seed=0, k=2.2 / max(1.0, len(nodes)) ** 0.5, iterations=200)
    square = _in_unit_square(np.array([places[node] for node in nodes]))
    return {node: (float(x), float(y)) for node, (x, y) in zip(nodes, square, strict=True)}


def _in_unit_square(places: np.ndarray) -> np.ndarray:
    low, high = places.min(axis=0), places.max(axis=0)
    square: np.ndarray = (places - low) / np.where(high > low, high - low, 1.0)
    return square
