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
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import functions as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from watch import told, watched_memory

from conftest import SHARED, make_config, run_steps
from graphseam.arrow import vector_column
from graphseam.blocks.stages import SparkStages
from graphseam.refine import refine
from graphseam.refine.block_plan import plan_refinement
from graphseam.refine.rounds import _noise
from graphseam.session import build_session, size_shuffles

DIM, LARGE_TASK_MB, LARGE_HEAP = 128, 2000, "2g"
PASSES = [0]


def measure(name: str, num_subgraphs: int, sections: dict[str, dict[str, int]]) -> None:
    root = Path(tempfile.mkdtemp(prefix="graphseam-bench-"))
    config = make_config(
        {"edges": str(SHARED / "data" / name / "edges.parquet")},
        root,
        partition={"num_subgraphs": num_subgraphs},
        **sections,
    )
    spark = build_session("refine bench", local=True)
    run = run_steps(spark, config, "bench", last="partition")
    run.tables.write("fused_embeddings", drawn_start(run))
    size_shuffles(spark, run.details("ingest")["edges"])
    blocks = plan_refinement(run).blocks
    assert blocks is not None  # the benchmark asks for more than one
    print(f"{name}: a block's task is predicted to hold {blocks.largest_bytes >> 20:,} MB beside what Python loads")
    watch_rounds()
    with watched_memory() as peak:
        for attempt in ("first run, functions compiled and workers started", "second run"):
            print(f"{name}: {attempt}", flush=True)
            PASSES[0], started = 0, time.monotonic()
            details = refine(run)
            seconds = time.monotonic() - started
            print(
                f"{name}: refine {seconds:.1f} s, {details['rounds']} rounds in {details['blocks']} blocks; "
                f"{told(peak)}",
                flush=True,
            )
            if sections.get("run"):
                break  # a large graph shows it once
    passes = PASSES[0]
    edges = run.tables.read("edges").select("src", "dst").toArrow()
    spark.stop()
    shutil.rmtree(root)
    product_s = scipy_product_s(edges["src"].to_numpy(), edges["dst"].to_numpy())
    print(
        f"{name}: scipy's product {product_s:.2f} s, {passes} of them {passes * product_s:.1f} s; "
        f"the step / the products: {seconds / (passes * product_s):.2f}"
    )


def drawn_start(run):
    def draw(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            vectors = _noise(batch["node_id"].to_numpy(), DIM, 1).astype(np.float32)
            yield pa.RecordBatch.from_arrays(
                [*batch.columns, vector_column(vectors, kind)], names=[*batch.schema.names, "vector"]
            )

    kind = pa.list_(pa.field("element", pa.float32()))
    homes = (
        run.tables.read("assignments").where("level = 1").select("node_id", "subgraph_id", F.lit(1.0).alias("degree"))
    )
    return homes.mapInArrow(draw, "node_id LONG, subgraph_id INT, degree DOUBLE, vector ARRAY<FLOAT>")


def watch_rounds() -> None:
    """Print the seconds of every round, and count those that pass over the edges."""
    run_round = SparkStages.run

    def timed(self, step):
        started = time.monotonic()
        sums = run_round(self, step)
        PASSES[0] += step.func.__name__ in ("advance", "hop")
        print(f"  {step.func.__name__:<9}{time.monotonic() - started:6.2f} s", flush=True)
        return sums

    SparkStages.run = timed


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
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("this benchmark needs the graphs of ../shared, which is not beside this checkout")
    os.environ["GRAPHSEAM_DRIVER_MEMORY"] = LARGE_HEAP
    refine_section = {"rounds": chosen.rounds}
    if chosen.what == "rounds":
        measure(chosen.graph or "dblp_2010", chosen.blocks, {"refine": {"num_blocks": chosen.blocks, **refine_section}})
    else:
        measure(
            chosen.graph or "debian_files", 64, {"run": {"task_memory_mb": LARGE_TASK_MB}, "refine": refine_section}
        )


if __name__ == "__main__":
    main()
