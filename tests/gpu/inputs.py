"""The graphs of the check: real ones from the pack, and made-up ones of communities, made once in the background."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp

from graphseam.generate import Community, community_edges
from graphseam.graph import Graph

SCRATCH = Path(os.environ.get("GPU_CHECK_SCRATCH", "/tmp/graphseam-gpu"))
SEED = 7
NUMBERS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Sizes:
    """How much is measured. made: {name: (nodes, rows)} of the made-up graphs, a quarter of whose rows are twins of
    others and become one edge with them; "tenth" is for what one core must do."""

    made: dict[str, tuple[int, int]]
    dim: int
    settings: dict[str, int]  # of the embedders, to shorten a dry run
    walks_of_a_core: int
    samples_of_a_core: int
    gpu_seconds: float  # of training that is measured
    rows: tuple[int, ...]  # of the matrices
    vectors: int  # to search
    shuffles: int  # of the split that labels are scored on
    most_nodes: int  # of a real graph: those with the lowest ids


FULL = Sizes(
    made={"refined": (500_000, 6_700_000), "trained": (1_000_000, 13_400_000), "tenth": (50_000, 670_000)},
    dim=128,
    settings={},
    walks_of_a_core=6_000,
    samples_of_a_core=2_500_000,
    gpu_seconds=4.0,
    rows=(100_000, 1_000_000),
    vectors=20_000,
    shuffles=3,
    most_nodes=1 << 40,
)
TINY = Sizes(
    made={"refined": (2_000, 10_000), "trained": (3_000, 15_000), "tenth": (1_000, 5_000)},
    dim=16,
    settings={"num_walks": 1, "walk_length": 10, "samples": 1},
    walks_of_a_core=200,
    samples_of_a_core=20_000,
    gpu_seconds=0.3,
    rows=(2_000, 4_000),
    vectors=1_000,
    shuffles=1,
    most_nodes=600,
)


def sizes_for(dry_run: bool) -> Sizes:
    return TINY if dry_run else FULL


def real_graph(sizes: Sizes, name: str) -> Graph:
    edges = pq.read_table(SCRATCH / "graphs" / name / "edges.parquet", columns=["src", "dst"])
    src, dst = (edges[end].to_numpy() for end in ("src", "dst"))
    kept = np.maximum(src, dst) < sizes.most_nodes
    return Graph.from_edges(src[kept], dst[kept], np.ones(kept.sum()))


def real_labels(name: str, graph: Graph) -> np.ndarray:
    """bool[n, classes]: the labels of each node."""
    labels = pq.read_table(SCRATCH / "graphs" / name / "labels.parquet").to_pandas()
    labels = labels[np.isin(labels["node"], graph.node_ids)]
    classes, column = np.unique(labels["label"].to_numpy(), return_inverse=True)
    found = np.zeros((graph.num_nodes, len(classes)), bool)
    found[np.searchsorted(graph.node_ids, labels["node"].to_numpy()), column] = True
    return found


def make_graphs(sizes: Sizes) -> None:
    """Write the made-up graphs that are not there yet, the smallest first; one core, about half a minute."""
    for name, (num_nodes, num_rows) in sorted(sizes.made.items(), key=lambda made: made[1]):
        path = _made_at(num_nodes, num_rows)
        if path.exists():
            continue
        numbers = np.array_split(np.arange(num_rows), -(-num_rows // NUMBERS_AT_ONCE))
        parts = [community_edges(part, num_nodes, SEED, Community()) for part in numbers]
        src, dst = (np.concatenate(ends) for ends in zip(*parts, strict=True))
        plain = src != dst
        graph = Graph.from_edges(src[plain], dst[plain], np.ones(plain.sum()), np.arange(num_nodes))
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{name}-{os.getpid()}.npz")
        np.savez(beside, data=graph.adjacency.data, indices=graph.adjacency.indices, indptr=graph.adjacency.indptr)
        beside.replace(path)


def made_graph(sizes: Sizes, name: str, wait_s: float = 90) -> Graph:
    """A made-up graph, once the process that makes it has written it. Twin edges have become one of weight 2."""
    path = _made_at(*sizes.made[name])
    until = time.monotonic() + wait_s
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.2)
    with np.load(path) as found:
        num_nodes = len(found["indptr"]) - 1
        adjacency = sp.csr_matrix((found["data"], found["indices"], found["indptr"]), shape=(num_nodes, num_nodes))
    return Graph(np.arange(num_nodes), adjacency)


def _made_at(num_nodes: int, num_rows: int) -> Path:
    return SCRATCH / "made" / f"{num_nodes}-{num_rows}.npz"


if __name__ == "__main__":
    make_graphs(sizes_for(dry_run=sys.argv[1:] == ["tiny"]))
