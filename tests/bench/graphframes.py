"""graphseam beside Word2Vec on random walks, as GraphFrames embeds: one session, the same cores, the same edges.

    .venv/bin/python tests/bench/graphframes.py walks ca_astroph dblp_2010 --share 1 0.1
    .venv-spark35/bin/python tests/bench/graphframes.py cuts ca_astroph email_enron --subgraphs 8 16

`walks`: pyspark.ml's Word2Vec over 10 walks of 80 from each node, window 10, 128 numbers (what the RandomWalkEmbeddings
of GraphFrames 0.12 call; rebuilt here, as that jar is for Spark 4 and not everywhere to be had). share: of the walks
that Word2Vec is given; its time grows with them, so that 0.1 stands for a tenth of the time. The walks themselves are
drawn by graphseam's compiled code, far faster than by joins. The referee of ../shared/evalkit judges both.
`cuts` (needs GraphFrames' jar): partition.method = "graphframes_lpa" beside "multilevel" and "hash".
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.ml.feature import Word2Vec
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from watch import told, watched_memory

from conftest import LASTFM, SHARED, make_config, run_steps
from graphseam.embedding.sampling import generator
from graphseam.embedding.walks import WalkGraph, walks_from
from graphseam.export import export_table
from graphseam.graph import Graph
from graphseam.graphframes_jvm import require_graphframes
from graphseam.pipeline import run_pipeline
from graphseam.session import build_session

NUM_WALKS, LENGTH, WINDOW, DIM = 10, 80, 10, 128
NOTHING_PREDICTED = {"predict": {"links": {"top_k": 0}, "similar": {"top_k": 0}}}


def by_graphseam(spark: SparkSession, edges: Path, work: Path, output: Path) -> float:
    config = make_config({"edges": str(edges)}, work / "tables", embed={"dim": DIM}, **NOTHING_PREDICTED)
    started = time.monotonic()
    run = run_pipeline(config, spark=spark)
    seconds = time.monotonic() - started
    export_table(run.tables, "embeddings", str(output), run.run_id)
    return seconds


def by_word2vec(spark: SparkSession, edges: Path, share: float, work: Path, output: Path) -> tuple[float, float]:
    """(seconds of the walks, seconds of Word2Vec); writes its vectors as (node, vector)."""
    started = time.monotonic()
    table = pq.read_table(edges, columns=["src", "dst"])
    src, dst = (table[end].to_numpy() for end in ("src", "dst"))
    graph = Graph.from_edges(src, dst, np.ones(len(src)))
    starts = np.tile(np.flatnonzero(graph.degrees > 0), max(1, round(share * NUM_WALKS))).astype(np.int64)
    walks = walks_from(WalkGraph.of(graph.adjacency, 1.0, 1.0), starts, LENGTH, generator(1))
    words = pa.array(graph.node_ids[walks].ravel()).cast(pa.string())
    offsets = pa.array(np.arange(0, len(words) + 1, LENGTH, dtype=np.int32))
    pq.write_table(pa.table({"walk": pa.ListArray.from_arrays(offsets, words)}), work / "walks.parquet",
                   row_group_size=20_000)
    drawn = time.monotonic() - started
    rows = spark.read.parquet(str(work / "walks.parquet")).repartition(spark.sparkContext.defaultParallelism)
    model = Word2Vec(vectorSize=DIM, windowSize=WINDOW, minCount=0, maxIter=1, seed=1, inputCol="walk",
                     numPartitions=spark.sparkContext.defaultParallelism).fit(rows)
    from pyspark.ml.functions import vector_to_array

    model.getVectors().select(F.col("word").cast("long").alias("node"),
                              vector_to_array("vector", "float32").alias("vector")) \
        .coalesce(1).write.mode("overwrite").parquet(str(work / "word2vec"))
    seconds = time.monotonic() - started - drawn
    pq.write_table(pq.read_table(work / "word2vec"), output)
    return drawn, seconds


def auc(kit, split: Path, vectors: Path) -> str:
    rows = {(row["ratio"], row["metric"]): row["mean"] for row in kit.lp_score(str(split), str(vectors),
                                                                               scorers=("cosine",))}
    return f"AUC uniform {100 * rows['uniform', 'auc']:.2f}, hard {100 * rows['hard', 'auc']:.2f}"


def walks(spark: SparkSession, names: list[str], shares: list[float], kit) -> None:
    with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as folder:  # both once, before the clock runs
        by_graphseam(spark, LASTFM / "edges.parquet", Path(folder), Path(folder, "own.parquet"))
        by_word2vec(spark, LASTFM / "edges.parquet", 0.1, Path(folder), Path(folder, "theirs.parquet"))
    for name, share in zip(names, shares, strict=True):
        with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as folder:
            work = Path(folder)
            kit.lp_split(str(SHARED / "data" / name / "edges.parquet"), str(work / "split"), seed=1)
            train = work / "split" / "train.parquet"
            with watched_memory() as peak:
                own = by_graphseam(spark, train, work, work / "own.parquet")
                print(f"{name} graphseam: {own:.0f} s, {auc(kit, work / 'split', work / 'own.parquet')}; {told(peak)}",
                      flush=True)
            with watched_memory() as peak:
                drawn, theirs = by_word2vec(spark, train, share, work, work / "theirs.parquet")
                print(f"{name} Word2Vec on {share:g} of the walks: {drawn:.0f} + {theirs:.0f} s, "
                      f"{auc(kit, work / 'split', work / 'theirs.parquet')}; {told(peak)}", flush=True)
            print(f"{name} ratio: {(drawn + theirs) / own:.1f} as measured"
                  + (f", {(drawn + theirs) / share / own:.0f} for all walks" if share < 1 else ""), flush=True)


def cuts(spark: SparkSession, names: list[str], counts: list[int]) -> None:
    require_graphframes(spark, "this benchmark")
    print("graph subgraphs | method: edges cut, balance, seconds | ...")
    for name in names:
        edges = LASTFM if name == "lastfm_asia" else SHARED / "data" / name
        for count in counts:
            cells = []
            for method in ("multilevel", "graphframes_lpa", "hash"):
                with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as folder:
                    config = make_config({"edges": str(edges / "edges.parquet")}, Path(folder),
                                         partition={"method": method, "num_subgraphs": count, "max_levels": 1})
                    run = run_steps(spark, config, "cut", last="partition")
                    level = run.tables.read("partition_levels", level=1).collect()[0]
                    cells.append(f"{method}: {level['cut_share']:.1%}, {level['imbalance']:.2f}, "
                                 f"{level['seconds']:.0f}")
            print(f"{name} {count} | " + " | ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("walks", "cuts"))
    parser.add_argument("graphs", nargs="+")
    parser.add_argument("--share", nargs="+", type=float, help="of the walks, one a graph; 1 where not given")
    parser.add_argument("--subgraphs", nargs="+", type=int, default=[8])
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("this benchmark needs the graphs and the referee of ../shared, which is not beside this checkout")
    sys.path.insert(0, str(SHARED / "evalkit"))
    import evalkit

    spark = build_session("graphseam bench", local=True)
    if arguments.what == "cuts":
        cuts(spark, arguments.graphs, arguments.subgraphs)
    else:
        walks(spark, arguments.graphs, arguments.share or [1.0] * len(arguments.graphs), evalkit)


if __name__ == "__main__":
    main()
