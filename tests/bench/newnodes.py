"""Nodes placed after a run against nodes that were embedded with it.

    .venv/bin/python tests/bench/newnodes.py ca_condmat dblp_2010 --share 0.05 --seed 1

For each graph: a share of the nodes that have an edge is hidden. Of each hidden node's edges about half (at least one)
arrive afterwards, the others are held out: an edge is held out only where each hidden end keeps half of its own. The
pipeline embeds the graph of the rest (the run) and `place` adds the hidden nodes by the edges that arrive; the full
run embeds the rest and the arriving edges together. Both are judged by the cosine on the same pairs: held-out edges
against as many pairs (hidden node, other) that are no edge of the whole graph, the other end uniform over all nodes,
or drawn from the far ends of the held-out edges (hard) or from the ends of all edges (degree). One session.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

SHARED = Path(__file__).resolve().parents[3] / "shared"
ATTEMPTS = 50


@dataclass(frozen=True)
class Split:
    """Edges and pairs as int64[n, 2] of node numbers 0 .. num_nodes - 1."""

    num_nodes: int
    hidden: np.ndarray  # numbers of the hidden nodes
    rest: np.ndarray
    arriving: np.ndarray
    positives: np.ndarray  # (hidden node, other)
    negatives: dict[str, np.ndarray]


def split(edges: np.ndarray, share: float, seed: int) -> Split:
    """edges: int64[m, 2], simple. Deterministic in the seed."""
    rng, num_nodes = np.random.default_rng(seed), int(edges.max()) + 1
    hidden = np.zeros(num_nodes, bool)
    hidden[rng.choice(num_nodes, max(1, int(share * num_nodes)), replace=False)] = True
    touching = hidden[edges].any(axis=1)
    new = edges[touching][rng.permutation(touching.sum())]
    left = np.bincount(new.ravel(), minlength=num_nodes)
    least = np.where(hidden, (left + 1) // 2, 0)
    held = np.zeros(len(new), bool)
    for at, ends in enumerate(new.tolist()):
        if all(left[end] > least[end] for end in ends):
            held[at] = True
            for end in ends:
                left[end] -= 1
    positives = new[held]
    positives = np.where(hidden[positives[:, :1]], positives, positives[:, ::-1])
    keys = np.sort(edges.min(axis=1) * num_nodes + edges.max(axis=1))
    pools = {"uniform": np.arange(num_nodes), "hard": positives[:, 1], "degree": edges.ravel()}
    negatives = {kind: _corrupted(positives, pool, keys, num_nodes, rng) for kind, pool in pools.items()}
    return Split(num_nodes, np.flatnonzero(hidden), edges[~touching], new[~held], positives, negatives)


def _corrupted(
    positives: np.ndarray, pool: np.ndarray, keys: np.ndarray, num_nodes: int, rng: np.random.Generator
) -> np.ndarray:
    """A pair for each positive whose other end is drawn again until it is no edge and no loop."""
    near, far = positives[:, 0], rng.choice(pool, len(positives))
    for _ in range(ATTEMPTS):
        wanted = np.minimum(near, far) * num_nodes + np.maximum(near, far)
        bad = (near == far) | (keys[np.searchsorted(keys, wanted).clip(max=len(keys) - 1)] == wanted)
        far[bad] = rng.choice(pool, bad.sum())
    return np.stack([near, far], axis=1)[~bad]


def embed(edges: np.ndarray, folder: Path, run_id: str) -> tuple[object, float]:
    """The published run of the edges, and the seconds it took; predictions are left out."""
    from graphseam.config import config_of
    from graphseam.pipeline import run_pipeline

    config = config_of(
        {
            "input": {"edges": write(edges, folder / f"{run_id}.parquet")},
            "output": {"root": str(folder / run_id)},
            "predict": {"links": {"top_k": 0}, "similar": {"top_k": 0}},
        }
    )
    begun = time.monotonic()
    run = run_pipeline(config, run_id, local=True)
    return run, time.monotonic() - begun


def write(edges: np.ndarray, file: Path) -> str:
    pq.write_table(pa.table({"src": edges[:, 0], "dst": edges[:, 1]}), file)
    return str(file)


def add_vectors(table: Path, vectors: np.ndarray) -> None:
    """Put the rows of a Delta table of one run at the places of their ids; read without Spark."""
    from deltalake import DeltaTable

    for batch in DeltaTable(str(table)).to_pyarrow_dataset().to_batches(columns=["id", "vector"]):
        if batch.num_rows:
            places = batch["id"].cast(pa.int64()).to_numpy()
            vectors[places] = batch["vector"].flatten().to_numpy().reshape(batch.num_rows, -1)


def aucs(pairs: Split, vectors: np.ndarray) -> dict[str, float]:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)

    def score(rows: np.ndarray) -> np.ndarray:
        return np.einsum("ij,ij->i", unit[rows[:, 0]], unit[rows[:, 1]])

    positive, found = score(pairs.positives), {}
    for kind, rows in pairs.negatives.items():
        negative = score(rows)
        truth = np.concatenate([np.ones(len(positive)), np.zeros(len(negative))])
        found[kind] = 100 * roc_auc_score(truth, np.concatenate([positive, negative]))
    return found


def compare(edges_file: Path, share: float, seed: int, table: Table) -> None:
    """Two rows a graph: embedded in full, and placed."""
    from graphseam.config import config_of
    from graphseam.place import place

    graph, rows = edges_file.parent.name, pq.read_table(edges_file)
    edges = np.stack([rows[name].to_numpy() for name in ("src", "dst")], axis=1)
    edges = np.unique(np.sort(edges[edges[:, 0] != edges[:, 1]], axis=1), axis=0)
    pairs = split(np.unique(edges, return_inverse=True)[1].reshape(-1, 2).astype(np.int64), share, seed)
    with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as name:
        folder = Path(name)
        _, full_s = embed(np.concatenate([pairs.rest, pairs.arriving]), folder, "full")
        run, rest_s = embed(pairs.rest, folder, "rest")
        config = config_of(
            {
                "input": {"edges": write(pairs.arriving, folder / "arriving.parquet")},
                "output": {"root": str(folder / "rest")},
                "place": {"top_links": 0},
            }
        )
        begun = time.monotonic()
        told = place(run.spark, config, "rest", "arriving")
        place_s = time.monotonic() - begun
        dim = run.config.embed.dim
        for way, sources, seconds in (
            ("full run", ["full/embeddings"], f"{full_s:.0f}"),
            ("placed", ["rest/embeddings", "rest/placed_nodes"], f"{place_s:.0f} (run {rest_s:.0f})"),
        ):
            vectors = np.zeros((pairs.num_nodes, dim), np.float32)
            for source in sources:
                add_vectors(folder / source, vectors)
            found = aucs(pairs, vectors)
            row = (
                graph,
                f"{len(pairs.hidden):,}",
                f"{len(pairs.arriving):,}",
                f"{len(pairs.positives):,}",
                way,
                *[f"{found[kind]:.2f}" for kind in ("uniform", "hard", "degree")],
                seconds,
            )
            print("|", *row, "|", sep=" | ", flush=True)  # a long benchmark may be stopped
            table.add_row(*row)
        print({key: told[key] for key in ("nodes", "placed", "unreachable", "edges", "edges_between_known_nodes")})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", nargs="*", default=["ca_condmat"])
    parser.add_argument("--share", type=float, default=0.05, help="of the nodes to hide")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, default=SHARED / "data", help="folder of <graph>/edges.parquet")
    arguments = parser.parse_args()
    table = Table(title=f"AUC of the cosine x 100; {arguments.share:.0%} of the nodes arrive after the run")
    for name in ("graph", "hidden", "arriving edges", "held out", "vectors", "uniform", "hard", "degree", "seconds"):
        table.add_column(name, justify="left" if name in ("graph", "vectors") else "right")
    for graph in arguments.graphs:
        compare(arguments.data / graph / "edges.parquet", arguments.share, arguments.seed, table)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
