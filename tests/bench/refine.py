"""Refinement in blocks, measured beside scipy's own products over the same edges.

    .venv/bin/python tests/bench/refine.py rounds [GRAPH] [--blocks 16]   seconds of each round, as Spark runs it
    .venv/bin/python tests/bench/refine.py large  [GRAPH]                 the whole step in a 2 GB task budget, watched

The graph is ingested and cut as always; the start is drawn by a hash of the node instead of embedded, which changes no
time of refinement. Then scipy multiplies the adjacency with float32[n, 128] in this process, as often as the step has
passes over the edges. Both need ../shared/data.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import functions as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conftest import SHARED, make_config, run_steps
from graphseam.arrow import vector_column
from graphseam.blocks.stages import SparkStages
from graphseam.refine import refine
from graphseam.refine.steps import _noise
from graphseam.session import build_session, size_shuffles

DIM, LARGE_TASK_MB, LARGE_HEAP = 128, 2000, "2g"


def measure(name: str, num_subgraphs: int, sections: dict[str, dict[str, int]]) -> None:
    peak, stop = {"java": 0, "python": 0}, threading.Event()
    root = Path(tempfile.mkdtemp(prefix="graphseam-bench-"))
    config = make_config({"edges": str(SHARED / "data" / name / "edges.parquet")}, root,
                         partition={"num_subgraphs": num_subgraphs}, **sections)
    spark = build_session("refine bench", local=True)
    run = run_steps(spark, config, "bench", last="partition")
    run.tables.write("fused_embeddings", drawn_start(run))
    size_shuffles(spark, run.details("ingest")["edges"])
    watch_rounds()
    threading.Thread(target=watch_memory, args=(peak, stop), daemon=True).start()
    for attempt in ("first run, functions compiled and workers started", "second run"):
        print(f"{name}: {attempt}", flush=True)
        started = time.monotonic()
        told = refine(run)
        seconds = time.monotonic() - started
        print(f"{name}: refine {seconds:.1f} s in {told['blocks']} blocks; largest java process "
              f"{peak['java'] >> 20:,} MB, largest Python worker {peak['python'] >> 20:,} MB (resident)", flush=True)
        if sections.get("run"):
            break  # a large graph shows it once
    stop.set()
    passes = 2 * config.refine.rounds + 1 + config.refine.hops
    edges = run.tables.read("edges").select("src", "dst").toArrow()
    spark.stop()
    shutil.rmtree(root)
    product_s = scipy_product_s(edges["src"].to_numpy(), edges["dst"].to_numpy())
    print(f"{name}: scipy's product {product_s:.2f} s, {passes} of them {passes * product_s:.1f} s; "
          f"the step / the products: {seconds / (passes * product_s):.2f}")


def drawn_start(run):
    def draw(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            vectors = _noise(batch["node_id"].to_numpy(), DIM, 1).astype(np.float32)
            yield pa.RecordBatch.from_arrays([*batch.columns, vector_column(vectors, kind)],
                                             names=[*batch.schema.names, "vector"])

    kind = pa.list_(pa.field("element", pa.float32()))
    homes = run.tables.read("assignments").where("level = 1").select("node_id", "subgraph_id",
                                                                     F.lit(1.0).alias("degree"))
    return homes.mapInArrow(draw, "node_id LONG, subgraph_id INT, degree DOUBLE, vector ARRAY<FLOAT>")


def watch_rounds() -> None:
    """Print the seconds of every round."""
    run_round = SparkStages.run

    def timed(self, step):
        started = time.monotonic()
        sums = run_round(self, step)
        print(f"  {step.func.__name__:<9}{time.monotonic() - started:6.2f} s", flush=True)
        return sums

    SparkStages.run = timed


def watch_memory(peak: dict[str, int], stop: threading.Event) -> None:
    while not stop.wait(0.3):
        for process in psutil.Process().children(recursive=True):
            try:
                kind = process.name().rstrip("0123456789.")
                if kind in peak:  # the JVM's helpers share its memory for a moment, under other names
                    peak[kind] = max(peak[kind], process.memory_info().rss)
            except psutil.Error:
                continue


def scipy_product_s(src: np.ndarray, dst: np.ndarray) -> float:
    """Seconds of one product, the best of three."""
    size = int(max(src.max(), dst.max())) + 1
    half = sp.csr_matrix((np.ones(len(src), np.float32), (src, dst)), shape=(size, size))
    adjacency = sp.csr_matrix(half + half.T)
    vectors = np.ones((size, DIM), np.float32)
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        adjacency @ vectors
        seconds.append(time.monotonic() - started)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rounds", "large"))
    parser.add_argument("graph", nargs="?")
    parser.add_argument("--blocks", type=int, default=16)
    chosen = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("this benchmark needs the graphs of ../shared, which is not beside this checkout")
    os.environ["GRAPHSEAM_DRIVER_MEMORY"] = LARGE_HEAP
    if chosen.what == "rounds":
        measure(chosen.graph or "dblp_2010", chosen.blocks, {"refine": {"num_blocks": chosen.blocks}})
    else:
        measure(chosen.graph or "debian_files", 64, {"run": {"task_memory_mb": LARGE_TASK_MB}})


if __name__ == "__main__":
    main()
