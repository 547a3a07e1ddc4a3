"""Run by test_embed in a process of its own: what each embedder takes at its peak, and what it said it would take."""

import json

import numpy as np

from graphseam.embedding.memory import PeakMemory, subgraph_bytes
from graphseam.graph import Graph
from graphseam.methods import EMBEDDERS

LESS_WORK = {
    "deepwalk": {"num_walks": 1, "walk_length": 10},
    "node2vec": {"num_walks": 1, "walk_length": 10},
    "line": {"samples": 1},
}


def main() -> None:
    found = {}
    for method, kind in EMBEDDERS.items():
        embedder = kind(dim=64, **LESS_WORK.get(method, {}))
        num_nodes = 3_000 if method == "netmf" else 40_000
        src, dst = np.random.default_rng(1).integers(0, num_nodes, (2, 8 * num_nodes))
        peak = PeakMemory(embedder)
        graph = Graph.from_edges(src, dst, np.ones(len(src)))
        vectors = embedder.embed(graph, 1, "cpu")
        found[method] = (
            vectors.nbytes,
            peak.peak_bytes()[0],
            subgraph_bytes(embedder, graph.num_nodes, graph.num_edges),
        )
        del graph, vectors
    print(json.dumps(found))


if __name__ == "__main__":
    main()
