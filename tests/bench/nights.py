"""Ten nights: a graph that changes a little each day, every run in the frame of the one before, and what models notice.

    .venv/bin/python tests/bench/nights.py lastfm_asia ppi --nights 10
    .venv/bin/python tests/bench/nights.py lastfm_asia email_enron --nights 10 --incremental
    .venv/bin/python tests/bench/nights.py dblp_2010 --nights 2 --incremental --everything

From a real graph: day 0 has 85 % of its edges; each night 1 % of them come, 0.5 % go, and 0.5 % of the nodes are new.
5 % of each day's edges are held out: AUC by the cosine, against uniform and hard pairs. Where nodes have labels, a
logistic regression is trained on day 0's vectors of half of them, and asked about the other half with each day's
vectors; beside it one trained on that day. Also: the share of nodes without a change within two hops whose cosine with
the day before is at least 0.99. The last day once more as a full run in that frame, and as one without a base.
Links and similar nodes are predicted with --everything only. Seconds are those of all steps.
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
MOST_NIGHTS = 10
QUICK = {"predict": {"links": {"top_k": 0}, "similar": {"top_k": 0}}}


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


def run_of(edges: np.ndarray, root: Path, name: str, settings: dict[str, Any], everything: bool) -> Any:
    from graphseam.config import config_of
    from graphseam.pipeline import run_pipeline

    path = root / f"{name}.parquet"
    pq.write_table(pa.table({"src": edges[:, 0], "dst": edges[:, 1]}), path)
    tree = {"input": {"edges": str(path)}, "run": settings, "evaluate": {"holdout": 0.05, "max_ranked": 1000}}
    tree |= {} if everything else QUICK
    tree["output"] = {"root": str(root / "tables"), "report": False}
    return run_pipeline(config_of(tree), name, local=True)


def aucs_of(run: Any) -> str:
    """AUC in percent, uniform / hard."""
    rows = run.tables.read("metrics").where("metric = 'auc' AND scorer = 'cosine' AND stratum = 'all'").collect()
    value = {row["variant"]: 100 * row["value"] for row in rows}
    return f"{value['uniform']:.2f} / {value['hard']:.2f}" if value else ""


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


def measure(graph: str, given: argparse.Namespace, table: Table) -> None:
    edges = pq.read_table(DATA / graph / "edges.parquet")
    edges = np.stack([edges.column(place).to_numpy() for place in (0, 1)], axis=1).astype(np.int64)
    of_node: dict[int, list[Any]] = {}
    if (DATA / graph / "labels.parquet").exists():
        labels = pq.read_table(DATA / graph / "labels.parquet")
        for node, label in zip(*(column.to_pylist() for column in labels.columns[:2]), strict=True):
            of_node.setdefault(int(node), []).append(label)
    days = days_of(edges, MOST_NIGHTS, seed=0)[: given.nights + 1]
    nightly = {"base": "auto", "incremental": given.incremental}
    with tempfile.TemporaryDirectory(prefix="graphseam-nights-") as folder:
        root = Path(folder)
        plans = [(f"{place}", day, nightly if place else {}) for place, day in enumerate(days)]
        plans.append((f"{given.nights}, full", days[-1], {"base": f"day-{given.nights - 1}"}))
        plans.append((f"{given.nights}, no base", days[-1], {}))
        vectors: list[dict[int, np.ndarray]] = []
        judge = None
        for place, (name, day, settings) in enumerate(plans):
            run = run_of(day, root, f"day-{name.replace(', ', '-').replace(' ', '-')}", settings, given.everything)
            found = vectors_of(run)
            judge = judge or Judge(of_node, found)
            before = min(place, given.nights) - 1
            stable = stability(days[before], day, vectors[before], found) if before >= 0 and settings else ""
            seconds = sum(record["seconds"] for record in run.records if record["status"] == "finished")
            table.add_row(graph, name, f"{len(day):,}", aucs_of(run), *judge.row(found), stable, f"{seconds:.0f}")
            vectors.append(found)


def stability(before: np.ndarray, now: np.ndarray, old: dict[int, np.ndarray], new: dict[int, np.ndarray]) -> str:
    skipped = changed_within_two_hops(before, now)
    common = [node for node in new if node in old and node not in skipped]
    cosine = np.array([cosine_of(new[node], old[node]) for node in common])
    return f"{(cosine >= 0.99).mean():.3f} of {len(common):,}, mean {cosine.mean():.4f}"


def cosine_of(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


class Judge:
    """Half of day 0's labelled nodes to train on, the others to ask about."""

    def __init__(self, of_node: dict[int, list[Any]], vectors: dict[int, np.ndarray]) -> None:
        nodes = np.random.default_rng(1).permutation(sorted(set(of_node) & set(vectors)))
        self.train, self.test = np.array_split(nodes, 2)
        self.of_node = of_node
        self.binary = MultiLabelBinarizer().fit(of_node.values())
        self.first = self.trained(vectors) if of_node else None

    def row(self, vectors: dict[int, np.ndarray]) -> tuple[str, str]:
        """Micro-F1 in percent of the model of day 0, and of one trained on these vectors."""
        if self.first is None:
            return "", ""
        return tuple(f"{100 * self.score(model, vectors):.1f}" for model in (self.first, self.trained(vectors)))

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
    parser.add_argument("graphs", nargs="+", help="graphs of ../shared/data")
    parser.add_argument("--nights", type=int, default=MOST_NIGHTS, help=f"1 to {MOST_NIGHTS}")
    parser.add_argument("--incremental", action="store_true", help="with run.incremental")
    parser.add_argument("--everything", action="store_true", help="predict links and similar nodes too")
    given = parser.parse_args()
    table = Table(title="In the frame of the run before")
    for name in (
        "graph",
        "day",
        "edges",
        "AUC, uniform / hard",
        "F1: day 0's model",
        "F1: today's model",
        "cosine >= 0.99 with the day before",
        "s",
    ):
        table.add_column(name, justify="left" if name == "graph" else "right")
    for graph in given.graphs:
        measure(graph, given, table)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
