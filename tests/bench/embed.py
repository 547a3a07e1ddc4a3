"""The embedders beside their references: time in one run, and the memory of workers watched from outside.

    time      prone beside nodevectors' ProNE at about a million edges; deepwalk beside pecanpy and gensim, blogcatalog
    labels    Micro-F1 of every embedder beside its reference's, by the referee, one subgraph
    memory    cnr_2000 in 64 subgraphs: the largest Python worker against the budget

References run where they are given: --nodevectors and --pecanpy name a venv's python with the package, --line the
authors' program; references.py says how to get them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from references import references

from graphseam.graph import Graph
from graphseam.methods import EMBEDDERS

SHARED = Path(__file__).resolve().parents[3] / "shared"


def read(name: str) -> Graph:
    edges = pq.read_table(SHARED / "data" / name / "edges.parquet", columns=["src", "dst"])
    return Graph.from_edges(edges["src"].to_numpy(), edges["dst"].to_numpy(), np.ones(len(edges)))


def a_million_edges() -> Graph:
    """dblp_2010 joined to itself by a shift: real degrees, about 1.1 million edges."""
    graph = read("dblp_2010")
    src, dst = graph.adjacency.nonzero()
    keep = src < dst
    src, dst = src[keep], dst[keep]
    chosen = np.random.default_rng(1).random(len(src)) < 0.4
    moved = np.random.default_rng(2).permutation(graph.num_nodes)
    return Graph.from_edges(
        np.r_[src, moved[src[chosen]]], np.r_[dst, moved[dst[chosen]]], np.ones(len(src) + chosen.sum())
    )


def embedded(method: str, graph: Graph, seed: int) -> tuple[float, np.ndarray]:
    """(seconds, vectors)."""
    embedder = EMBEDDERS[method]()
    embedder.embed(Graph.from_edges(np.array([0, 1]), np.array([1, 2]), np.ones(2)), 1, "cpu")  # compiled by now
    began = time.monotonic()
    vectors = embedder.embed(graph, seed, "cpu")
    return time.monotonic() - began, vectors


def f1(name: str, graph: Graph, vectors: np.ndarray) -> np.ndarray:
    """float[2, 3]: the referee's Micro-F1 x 100 at 10, 50 and 90 %, of raw and of normalised vectors."""
    sys.path.insert(0, str(SHARED / "evalkit"))
    import evalkit

    with tempfile.TemporaryDirectory() as folder:
        evalkit.write_emb(f"{folder}/vectors.parquet", graph.node_ids, vectors)
        rows = evalkit.nc(str(SHARED / "data" / name / "labels.parquet"), f"{folder}/vectors.parquet")
    return np.array(
        [
            [100 * row["mean"] for row in rows if (row["form"], row["metric"]) == (form, "micro_f1")]
            for form in ("raw", "l2")
        ]
    )


def told(*found: np.ndarray) -> str:
    """The mean over seeds of what `f1` gave."""
    raw, normalised = (" / ".join(f"{value:.1f}" for value in values) for values in np.mean(found, axis=0))
    return f"raw {raw} | normalised {normalised}"


def run_time(arguments: argparse.Namespace) -> None:
    known = references(arguments)
    for method, name in (("prone", ""), ("deepwalk", "blogcatalog")):
        if method not in known:
            continue
        graph = read(name) if name else a_million_edges()
        for seed in arguments.seeds:
            (ours, vectors), (theirs, others) = embedded(method, graph, seed), known[method](graph, seed)
            print(
                f"{method}, {graph.num_edges:,} edges: {ours:.1f} s; the reference {theirs:.1f} s; ratio "
                f"{ours / theirs:.2f}",
                flush=True,
            )
            if name:
                print(
                    f"  ours      {told(f1(name, graph, vectors))}\n  reference {told(f1(name, graph, others))}",
                    flush=True,
                )


def run_labels(arguments: argparse.Namespace) -> None:
    known = references(arguments)
    for name in arguments.graphs:
        graph = read(name)
        for method in arguments.methods:
            ours = [f1(name, graph, embedded(method, graph, seed)[1]) for seed in arguments.seeds]
            print(f"{name} {method:9} ours      {told(*ours)}", flush=True)
            if method in known:
                theirs = [f1(name, graph, known[method](graph, seed)[1]) for seed in arguments.seeds]
                print(f"{name} {method:9} reference {told(*theirs)}", flush=True)


def run_memory(arguments: argparse.Namespace) -> None:
    """A run up to the embed step over 64 subgraphs in a session of its own, its workers watched by this process."""
    from watch import watched_memory

    script = f"""
import json, sys, tempfile
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from conftest import make_config, run_steps
from graphseam.embedding import embed
from graphseam.session import build_session
config = make_config({{"edges": {str(SHARED / "data" / "cnr_2000" / "edges.parquet")!r}, "directed": True}},
                     tempfile.mkdtemp(), partition={{"num_subgraphs": 64}},
                     run={{"task_memory_mb": {arguments.budget_mb}}}, embed={{"method": {arguments.methods[0]!r}}})
run = run_steps(build_session("memory", local=True), config, "memory", last="partition")
print("partitioned", flush=True)
embed(run)
row = run.tables.read("subgraph_stats").selectExpr("count(*)", "max(predicted_mb)", "max(peak_mb)", "max(worker_mb)",
    "min(predicted_mb - peak_mb)").collect()[0]
print(json.dumps(list(row)), flush=True)
"""
    with (
        watched_memory() as seen,
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process,
    ):
        for line in process.stdout or []:
            if line == "partitioned\n":
                before, seen["python"] = seen["python"], 0
            elif line.startswith("["):
                count, predicted, peak, worker, spare = json.loads(line)
    if process.returncode:
        raise SystemExit(f"the run that was watched ended with code {process.returncode}")
    print(
        f"{count} subgraphs, budget {arguments.budget_mb} MB: predicted at most {predicted:.0f} MB, measured "
        f"{peak:.0f}, least to spare {spare:.1f}; worker as it saw itself {worker:.0f}; largest Python worker seen "
        f"from outside while embedding {seen['python'] >> 20} MB, before it {before >> 20}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "labels", "memory"))
    parser.add_argument("--nodevectors", help="python with nodevectors")
    parser.add_argument("--pecanpy", help="python with pecanpy and gensim")
    parser.add_argument("--line", help="the program of LINE's authors")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--graphs", nargs="+", default=["blogcatalog", "ppi", "wikipedia_pos"])
    parser.add_argument("--methods", nargs="+", default=list(EMBEDDERS))
    parser.add_argument("--budget-mb", type=int, default=1024)
    arguments = parser.parse_args()
    {"time": run_time, "labels": run_labels, "memory": run_memory}[arguments.what](arguments)


if __name__ == "__main__":
    main()
