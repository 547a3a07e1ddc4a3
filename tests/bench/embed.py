"""The embedders beside their references: time in one run, and the memory of workers watched from outside.

    time      prone beside nodevectors' ProNE at about a million edges; deepwalk beside pecanpy and gensim, blogcatalog
    labels    Micro-F1 of every embedder by the referee, one subgraph
    memory    cnr_2000 in 64 subgraphs: the largest Python worker against the budget

References run in their own interpreters, given by --nodevectors and --pecanpy (a venv's python with the package).
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

from graphseam.embed import EMBEDDERS
from graphseam.graph import Graph

SHARED = Path(__file__).resolve().parents[3] / "shared"
NODEVECTORS = """
import sys, time, numpy as np, scipy.sparse as sp, nodevectors, csrgraph
loaded = np.load(sys.argv[1]); n = int(loaded["n"])
matrix = sp.csr_matrix((loaded["data"], loaded["indices"], loaded["indptr"]), shape=(n, n))
model = nodevectors.ProNE(n_components=128, verbose=False)
small = csrgraph.csrgraph(sp.csr_matrix(np.ones((200, 200), np.float32) - np.eye(200, dtype=np.float32)))
model.fit_transform(small)
graph = csrgraph.csrgraph(matrix.astype(np.float32))
began = time.time(); model.fit_transform(graph); print(time.time() - began)
"""
PECANPY = """
import sys, time, numpy as np
from gensim.models import Word2Vec
from pecanpy import pecanpy
loaded = np.load(sys.argv[1]); n = int(loaded["n"])
graph = pecanpy.FirstOrderUnweighted(1, 1, workers=2, verbose=False, random_state=1)
graph.indptr = loaded["indptr"].astype(np.uint32); graph.indices = loaded["indices"].astype(np.uint32)
graph.data = loaded["data"].astype(np.float32); graph.set_node_ids([str(at) for at in range(n)])
graph.simulate_walks(1, 3)
began = time.time()
walks = graph.simulate_walks(10, 80)
model = Word2Vec(walks, vector_size=128, window=10, sg=1, min_count=0, workers=2, epochs=1, seed=1)
print(time.time() - began)
np.save(sys.argv[2], np.stack([model.wv[str(at)] for at in range(n)]))
"""


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
    return Graph.from_edges(np.r_[src, moved[src[chosen]]], np.r_[dst, moved[dst[chosen]]],
                            np.ones(len(src) + chosen.sum()))


def seconds(method: str, graph: Graph) -> tuple[float, np.ndarray]:
    embedder = EMBEDDERS[method]()
    embedder.embed(Graph.from_edges(np.array([0, 1]), np.array([1, 2]), np.ones(2)), 1, "cpu")  # compiled by now
    began = time.monotonic()
    vectors = embedder.embed(graph, 1, "cpu")
    return time.monotonic() - began, vectors


def referee(name: str, graph: Graph, vectors: np.ndarray) -> str:
    """Micro-F1 at 10, 50 and 90 %: raw / normalised."""
    sys.path.insert(0, str(SHARED / "evalkit"))
    import evalkit

    with tempfile.TemporaryDirectory() as folder:
        evalkit.write_emb(f"{folder}/vectors.parquet", graph.node_ids, vectors)
        data = SHARED / "data" / name
        told = subprocess.run([sys.executable, SHARED / "evalkit" / "evalkit.py", "nc", "--edges",
                               data / "edges.parquet", "--labels", data / "labels.parquet", "--emb",
                               f"{folder}/vectors.parquet"], capture_output=True, text=True, check=True).stdout
    values = [line.split() for line in told.splitlines() if "micro_f1" in line]
    return " | ".join(f"{form} " + " / ".join(f"{100 * float(value[4]):.1f}" for value in values if value[1] == form)
                      for form in ("raw", "l2"))


def beside(python: str, script: str, graph: Graph) -> tuple[float, np.ndarray | None]:
    """(seconds, vectors if the script saved some) of a reference in its own interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        matrix = graph.adjacency
        np.savez(f"{folder}/graph.npz", n=graph.num_nodes, data=matrix.data, indices=matrix.indices,
                 indptr=matrix.indptr)
        told = subprocess.run([python, "-c", script, f"{folder}/graph.npz", f"{folder}/vectors.npy"],
                              capture_output=True, text=True, check=True).stdout
        saved = Path(folder, "vectors.npy")
        return float(told.split()[-1]), np.load(saved) if saved.exists() else None


def run_time(arguments: argparse.Namespace) -> None:
    for _ in range(arguments.repeats):
        if arguments.nodevectors:
            graph = a_million_edges()
            ours, theirs = seconds("prone", graph)[0], beside(arguments.nodevectors, NODEVECTORS, graph)[0]
            print(f"prone, {graph.num_edges:,} edges: {ours:.1f} s; nodevectors {theirs:.1f} s; ratio "
                  f"{ours / theirs:.2f}", flush=True)
        if arguments.pecanpy:
            graph = read("blogcatalog")
            (ours, vectors), (theirs, others) = seconds("deepwalk", graph), beside(arguments.pecanpy, PECANPY, graph)
            print(f"deepwalk, blogcatalog: {ours:.1f} s; pecanpy and gensim {theirs:.1f} s; ratio {ours / theirs:.2f}\n"
                  f"  ours   {referee('blogcatalog', graph, vectors)}\n"
                  f"  theirs {referee('blogcatalog', graph, others)}", flush=True)


def run_labels(arguments: argparse.Namespace) -> None:
    for name in arguments.graphs:
        graph = read(name)
        for method in arguments.methods:
            took, vectors = seconds(method, graph)
            print(f"{name} {method} {took:.1f} s: {referee(name, graph, vectors)}", flush=True)


def run_memory(arguments: argparse.Namespace) -> None:
    """The embed step over 64 subgraphs in a session of its own, its Python workers watched by this process."""
    from watch import watched_memory

    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})
from conftest import make_config, run_steps
from graphseam.session import build_session
import tempfile, json
config = make_config({{"edges": {str(SHARED / "data" / "cnr_2000" / "edges.parquet")!r}, "directed": True}},
                     tempfile.mkdtemp(), partition={{"num_subgraphs": 64}},
                     run={{"task_memory_mb": {arguments.budget_mb}}}, embed={{"method": {arguments.methods[0]!r}}})
run = run_steps(build_session("memory", local=True), config, "memory", last="embed")
row = run.tables.read("subgraph_stats").selectExpr("count(*)", "max(predicted_mb)", "max(peak_mb)", "max(worker_mb)",
    "min(predicted_mb - peak_mb)").collect()[0]
print(json.dumps(list(row)))
"""
    with watched_memory() as seen:
        told = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout
    count, predicted, peak, worker, spare = json.loads(told.splitlines()[-1])
    print(f"{count} subgraphs, budget {arguments.budget_mb} MB: predicted at most {predicted:.0f} MB, measured "
          f"{peak:.0f}, least to spare {spare:.1f}; worker as it saw itself {worker:.0f}, largest Python worker seen "
          f"from outside {seen['python'] >> 20}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "labels", "memory"))
    parser.add_argument("--nodevectors", help="python with nodevectors")
    parser.add_argument("--pecanpy", help="python with pecanpy and gensim")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--graphs", nargs="+", default=["blogcatalog", "ppi", "wikipedia_pos"])
    parser.add_argument("--methods", nargs="+", default=list(EMBEDDERS))
    parser.add_argument("--budget-mb", type=int, default=1024)
    arguments = parser.parse_args()
    {"time": run_time, "labels": run_labels, "memory": run_memory}[arguments.what](arguments)


if __name__ == "__main__":
    main()
