"""Ten nights: a graph that changes a little each day, every run in the frame of the one before, and what models notice.

    .venv/bin/python tests/bench/nights.py lastfm_asia ppi --nights 10

From a real graph: day 0 has 85 % of its edges; each night 1 % of them come, 0.5 % go, and 0.5 % of the nodes are new.
A logistic regression is trained on day 0's vectors of half of the labelled nodes, and asked about the other half with
each day's vectors; beside it one trained on that day, and on the last day one without a base. Also: the share of nodes
without a change within two hops whose cosine with the day before is at least 0.99, and the seconds of each step.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
COME, GO, NEW = 0.01, 0.005, 0.005
QUICK = {"predict": {"links": {"top_k": 0}, "similar": {"top_k": 0}}, "output": {"report": False}}


def days_of(edges: np.ndarray, nights: int, seed: int) -> list[np.ndarray]:
    """The edges of each day, int64[m, 2]. New nodes are some that are kept out of day 0 with all of their edges."""
    rng = np.random.default_rng(seed)
    nodes = np.unique(edges)
    per_night = max(1, round(NEW * len(nodes)))
    arrival = np.zeros(nodes.max() + 1, np.int64)
    late = rng.permutation(nodes)[: per_night * nights]
    arrival[late] = np.repeat(np.arange(1, nights + 1), per_night)
    day = arrival[edges].max(axis=1)
    waiting = (rng.random(len(edges)) < 0.15) & (day == 0)
    some = rng.permutation(np.flatnonzero(waiting))
    come = round(COME * len(edges))
    for night in range(1, nights + 1):
        day[some[(night - 1) * come : night * come]] = night
    day[some[nights * come :]] = nights + 1  # never
    gone = np.full(len(edges), nights + 1)
    there = rng.permutation(np.flatnonzero(day == 0))
    go = round(GO * len(edges))
    for night in range(1, nights + 1):
        gone[there[(night - 1) * go : night * go]] = night
    return [edges[(day <= night) & (gone > night)] for night in range(nights + 1)]


def run_of(edges: np.ndarray, root: Path, name: str, base: str) -> Any:
    from graphseam.config import config_of
    from graphseam.pipeline import run_pipeline

    path = root / f"{name}.parquet"
    pq.write_table(pa.table({"src": edges[:, 0], "dst": edges[:, 1]}), path)
    tree = {**QUICK, "input": {"edges": str(path)}, "run": {"base": base}}
    tree["output"] = {**QUICK["output"], "root": str(root / "tables")}
    return run_pipeline(config_of(tree), name, local=True)


def vectors_of(run: Any) -> dict[int, np.ndarray]:
    rows = run.tables.read("embeddings").select("id", "vector").toArrow()
    matrix = rows["vector"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
    return {int(node): vector for node, vector in zip(rows["id"].to_pylist(), matrix, strict=True) if vector.any()}


def changed_within_two_hops(before: np.ndarray, now: np.ndarray) -> set[int]:
    """Nodes with an edge that came or went, their neighbours, and those of these."""
    old, new = ({tuple(edge) for edge in np.sort(edges, axis=1).tolist()} for edges in (before, now))
    touched = np.array(sorted({end for edge in old ^ new for end in edge}), np.int64)
    size = int(max(before.max(), now.max())) + 1
    both = np.concatenate([before, now])
    graph = sp.csr_matrix((np.ones(len(both)), both.T), (size, size))
    reached = np.zeros(size)
    reached[touched] = 1
    for _ in range(2):
        reached = reached + graph @ reached + graph.T @ reached
    return set(np.flatnonzero(reached).tolist())


def measure(graph: str, nights: int, table: Table) -> None:
    edges = pq.read_table(DATA / graph / "edges.parquet")
    edges = np.stack([edges.column(place).to_numpy() for place in (0, 1)], axis=1).astype(np.int64)
    labels = pq.read_table(DATA / graph / "labels.parquet")
    of_node: dict[int, list[Any]] = {}
    for node, label in zip(*(column.to_pylist() for column in labels.columns[:2]), strict=True):
        of_node.setdefault(int(node), []).append(label)
    days = days_of(edges, nights, seed=0)
    with tempfile.TemporaryDirectory(prefix="graphseam-nights-") as folder:
        root = Path(folder)
        runs = [run_of(day, root, f"day-{place}", "auto" if place else "") for place, day in enumerate(days)]
        alone = run_of(days[-1], root, "alone", "")
        vectors = [vectors_of(run) for run in runs]
        judge = Judge(of_node, vectors[0])
        old = judge.trained(vectors[0])
        for place, found in enumerate(vectors):
            stable = ""
            if place:
                skipped = changed_within_two_hops(days[place - 1], days[place])
                common = [node for node in found if node in vectors[place - 1] and node not in skipped]
                cosine = np.array([cosine_of(found[node], vectors[place - 1][node]) for node in common])
                stable = f"{(cosine >= 0.99).mean():.3f} of {len(common):,}, mean {cosine.mean():.4f}"
            seconds = sum(record["seconds"] for record in runs[place].records)
            table.add_row(
                graph,
                str(place),
                f"{len(days[place]):,}",
                f"{100 * judge.score(old, found):.1f}",
                f"{100 * judge.score(judge.trained(found), found):.1f}",
                stable,
                f"{seconds:.0f}",
            )
        found = vectors_of(alone)
        scores = (judge.score(old, found), judge.score(judge.trained(found), found))
        table.add_row(
            graph, f"{nights}, no base", f"{len(days[-1]):,}", *(f"{100 * score:.1f}" for score in scores), "", ""
        )


def cosine_of(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


class Judge:
    """Half of day 0's labelled nodes to train on, the others to ask about."""

    def __init__(self, of_node: dict[int, list[Any]], vectors: dict[int, np.ndarray]) -> None:
        nodes = np.random.default_rng(1).permutation(sorted(set(of_node) & set(vectors)))
        self.train, self.test = np.array_split(nodes, 2)
        self.of_node = of_node
        self.binary = MultiLabelBinarizer().fit(of_node.values())

    def _matrices(self, nodes: np.ndarray, vectors: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        there = [node for node in nodes.tolist() if node in vectors]
        return np.stack([vectors[node] for node in there]), self.binary.transform(
            [self.of_node[node] for node in there]
        )

    def trained(self, vectors: dict[int, np.ndarray]) -> OneVsRestClassifier:
        return OneVsRestClassifier(LogisticRegression(solver="liblinear")).fit(*self._matrices(self.train, vectors))

    def score(self, model: OneVsRestClassifier, vectors: dict[int, np.ndarray]) -> float:
        """Micro-F1, as many labels predicted for a node as it has."""
        given, truth = self._matrices(self.test, vectors)
        scores = model.predict_proba(given)
        counts = truth.sum(axis=1)
        rank = np.argsort(np.argsort(-scores, axis=1), axis=1)
        return float(f1_score(truth, rank < counts[:, None], average="micro"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", nargs="+", help="graphs of ../shared/data with labels")
    parser.add_argument("--nights", type=int, default=10)
    given = parser.parse_args()
    table = Table(title="In the frame of the run before")
    for name in (
        "graph",
        "day",
        "edges",
        "F1: day 0's model",
        "F1: today's model",
        "cosine >= 0.99 with the day before",
        "s",
    ):
        table.add_column(name, justify="left" if name == "graph" else "right")
    for graph in given.graphs:
        measure(graph, given.nights, table)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
