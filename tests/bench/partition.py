"""The partitioner measured: its cut beside METIS', seconds an edge as graphs grow, and the largest graph at hand.

    .venv/bin/python tests/bench/partition.py cuts  [GRAPH ...]          edge cut / METIS', 16 and 64 subgraphs
    .venv/bin/python tests/bench/partition.py scale [planted rmat] [--millions 1 4 16 64]  seconds an edge
    .venv/bin/python tests/bench/partition.py large [GRAPH]              time and memory of the step, watched

`cuts` and `large` read ../shared/data. The distributed path is forced in all; each line is printed as it is known.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from watch import told, watched_memory

from conftest import SHARED, make_config, run_steps
from graphseam.graph import Graph
from graphseam.partition.distributed import assigned_by_blocks
from graphseam.partition.levels import Wanted
from graphseam.partition.metis import MetisPartitioner
from graphseam.partition.multilevel import MultilevelPartitioner
from graphseam.seeds import uniform
from graphseam.session import build_session, size_shuffles

GRAPHS = ("dblp_2010", "cnr_2000", "gowalla")
SHRINK = 10  # METIS gets a graph of at most a tenth of the edges
LARGE_TASK_MB, LARGE_HEAP = 2000, "2g"


def cuts(names: list[str]) -> None:
    print("graph subgraphs | METIS cut, balance, s | distributed cut, balance, s (one process) | ratio of cuts")
    for name in names:
        edges = pq.read_table(SHARED / "data" / name / "edges.parquet", columns=["src", "dst"])
        src, dst = (edges[end].to_numpy() for end in ("src", "dst"))
        keep = src != dst
        graph = Graph.from_edges(src[keep], dst[keep], np.ones(int(keep.sum())))
        graph.adjacency.data[:] = 1  # a pair given in both directions is one edge
        partitioner = MultilevelPartitioner(block_edges=graph.num_edges // 16, coarsest_edges=graph.num_edges // SHRINK)
        partitioner.partition(graph, 2, seed=0)  # compiled once, before the clock runs
        for count in (16, 64):
            told = []
            for method in (MetisPartitioner(), partitioner):
                started = time.monotonic()
                parts = method.partition(graph, count, seed=1)
                entries = graph.adjacency.tocoo()
                ends = np.bincount(parts, weights=np.diff(graph.adjacency.indptr), minlength=count)
                told.append(
                    (
                        int((parts[entries.row] != parts[entries.col]).sum()) // 2,
                        ends.max() / ends.mean(),
                        time.monotonic() - started,
                    )
                )
            print(
                f"{name} {count} | "
                + " | ".join(f"{cut:,} {balance:.3f} {s:.1f}" for cut, balance, s in told)
                + f" | {told[1][0] / told[0][0]:.3f}",
                flush=True,
            )


def rmat(spark: SparkSession, millions: float) -> DataFrame:
    """R-MAT (0.57, 0.19, 0.19, 0.05), 16 edges a node, every bit drawn from the row's number."""
    num_edges = int(millions * 1e6)
    bits = int(np.log2(num_edges / 16))

    def end(which: str) -> Column:
        place = F.lit(0).cast("long")
        for bit in range(bits):
            draw = uniform(bit, F.lit("rmat"), "id")
            high = draw >= 0.76 if which == "src" else ((draw >= 0.57) & (draw < 0.76)) | (draw >= 0.95)
            place = place + F.when(high, F.lit(1 << bit)).otherwise(0)
        return F.pmod(place * 0x9E3779B1, F.lit(1 << bits))  # an odd factor: a permutation of the ids

    return spark.range(num_edges).select(end("src").alias("src"), end("dst").alias("dst"))


def planted(spark: SparkSession, millions: float) -> DataFrame:
    """Communities of 2,000 nodes, 16 edges a node, one edge in five to anywhere; ids are no hint of the community."""
    num_edges, size = int(millions * 1e6), 2_000
    count = max(4, num_edges // 16 // size)
    total = count * size
    home = F.floor(uniform(1, F.lit("home"), "id") * count)

    def end(which: str) -> Column:
        own = home * size + F.floor(uniform(2, F.lit(which), "id") * size)
        away = F.floor(uniform(3, F.lit(which), "id") * total)
        node = F.when((uniform(4, "id") < 0.2) & F.lit(which == "dst"), away).otherwise(own)
        return F.pmod(node.cast("long") * 1_000_003, F.lit(total))  # coprime to the total: a permutation

    return spark.range(num_edges).select(end("src").alias("src"), end("dst").alias("dst"))


MAKERS = {"planted": planted, "rmat": rmat}


def scale(names: list[str], millions: list[float]) -> None:
    started = time.monotonic()
    spark = build_session("partition bench", local=True)
    print(f"fixed start-up, in no figure below: the session, {time.monotonic() - started:.1f} s, and a warm-up")
    schema = spark.createDataFrame([], "level INT, subgraph_id INT, node_id LONG").schema
    folder = Path(tempfile.mkdtemp(prefix="graphseam-bench-"))
    print("graph | million edges | s | microseconds an edge | / that of the smallest")
    for make in [MAKERS[name] for name in names or MAKERS]:
        first = 0.0
        for size in [0.02, *millions]:  # the first warms the session up
            path = str(folder / f"{make.__name__}-{size}")
            size_shuffles(spark, int(size * 1e6))
            make(spark, size).where("src <> dst").withColumn("weight", F.lit(1.0)).write.mode("overwrite").parquet(
                path
            )  # duplicate edges stay: the partitioner merges them
            edges = spark.read.parquet(path)
            num_edges = edges.count()
            partitioner = MultilevelPartitioner(
                block_edges=500_000 if num_edges > 1e5 else 10_000, coarsest_edges=num_edges // 8
            )
            started = time.monotonic()
            with assigned_by_blocks(edges, None, partitioner, Wanted(16, 1, 0, 1, schema), 4096) as assignments:
                assignments.write.mode("overwrite").parquet(path + "-assignments")
            seconds = time.monotonic() - started
            if size == 0.02:
                continue
            an_edge = seconds / num_edges * 1e6
            first = first or an_edge
            print(
                f"{make.__name__} | {num_edges / 1e6:.1f} | {seconds:.1f} | {an_edge:.2f} | {an_edge / first:.2f}",
                flush=True,
            )
            shutil.rmtree(path)
    shutil.rmtree(folder)


def large(name: str) -> None:
    os.environ["GRAPHSEAM_DRIVER_MEMORY"] = LARGE_HEAP
    root = Path(tempfile.mkdtemp(prefix="graphseam-bench-"))
    config = make_config(
        {"edges": str(SHARED / "data" / name / "edges.parquet")},
        root,
        refine={"rounds": 0, "hops": 0},
        run={"task_memory_mb": LARGE_TASK_MB},
        partition={"num_subgraphs": 64},
    )
    spark = build_session("partition bench", local=True)
    run_steps(spark, config, "large", last="ingest")
    spark.stop()
    with watched_memory() as peak:
        started = time.monotonic()
        spark = build_session("partition bench", local=True)
        from graphseam.pipeline import run_step
        from graphseam.progress import StepProgress
        from graphseam.runs import open_run

        run = open_run(spark, config, "large")
        run_step(run, "partition", StepProgress(total=1))
        seconds = time.monotonic() - started
    from rich.console import Console

    from graphseam.partition.report import print_levels

    print_levels(run.tables.read("partition_levels").sort("level").collect(), Console(width=150))
    print(f"{name}: partition with the session {seconds:.0f} s; heap {LARGE_HEAP}; {told(peak)}")
    shutil.rmtree(root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cuts", "scale", "large"))
    parser.add_argument("graphs", nargs="*")
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 4, 16])
    chosen = parser.parse_args()
    if chosen.what == "cuts":
        cuts(chosen.graphs or list(GRAPHS))
    elif chosen.what == "scale":
        scale(chosen.graphs, chosen.millions)
    else:
        large((chosen.graphs or ["debian_files"])[0])


if __name__ == "__main__":
    main()
