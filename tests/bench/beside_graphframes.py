"""graphseam beside Word2Vec on random walks, as GraphFrames embeds: one session, the same cores, the same edges.

    .venv/bin/python tests/bench/beside_graphframes.py walks ca_astroph dblp_2010 --share 1 0.1
    .venv-spark35/bin/python tests/bench/beside_graphframes.py cuts ca_astroph email_enron --subgraphs 8 16

`walks`: pyspark.ml's Word2Vec over 10 walks of 80 from each node, window 10, 128 numbers: the RandomWalkEmbeddings of
GraphFrames 0.12, rebuilt here as that jar is for Spark 4 and not everywhere to be had. The walks are drawn as there, a
join with the lists of neighbours for each step, ten steps written at a time. share: of the walks from each node that
are drawn and learned from; time grows with them. The referee of ../shared/evalkit judges both by the cosine.
`cuts` (needs GraphFrames' jar): partition.method = "graphframes_lpa" beside "multilevel" and "hash".
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.ml.feature import Word2Vec
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from watch import told, watched_memory

from conftest import LASTFM, SHARED, make_config, run_steps
from graphseam.export import export_table
from graphseam.graphframes_jvm import require_graphframes
from graphseam.pipeline import run_pipeline
from graphseam.seeds import uniform
from graphseam.session import build_session, size_shuffles

os.environ.pop("JAVA_TOOL_OPTIONS", None)  # what the tests set: plain settings for both here
NUM_WALKS, LENGTH, WINDOW, DIM = 10, 80, 10, 128
STEPS_AT_ONCE = 10
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
    from pyspark.ml.functions import vector_to_array

    started = time.monotonic()
    rows = (
        spark.read.parquet(draw_walks(spark, edges, max(1, round(share * NUM_WALKS)), work))
        .select("walk")
        .repartition(spark.sparkContext.defaultParallelism)
    )
    drawn = time.monotonic() - started
    model = Word2Vec(
        vectorSize=DIM,
        windowSize=WINDOW,
        minCount=0,
        maxIter=1,
        seed=1,
        inputCol="walk",
        numPartitions=spark.sparkContext.defaultParallelism,
    ).fit(rows)
    model.getVectors().select(
        F.col("word").cast("long").alias("node"), vector_to_array("vector", "float32").alias("vector")
    ).coalesce(1).write.mode("overwrite").parquet(str(work / "word2vec"))
    seconds = time.monotonic() - started - drawn
    pq.write_table(pq.read_table(work / "word2vec"), output)
    return drawn, seconds


def draw_walks(spark: SparkSession, edges: Path, num_walks: int, work: Path) -> str:
    """A folder of (walk ARRAY<STRING>): a step is a join with the lists of neighbours, as GraphFrames does it."""
    pairs = spark.read.parquet(str(edges)).select("src", "dst")
    size_shuffles(spark, num_walks * pairs.count())
    both = pairs.union(pairs.select(F.col("dst").alias("src"), F.col("src").alias("dst")))
    neighbours = both.groupBy(F.col("src").alias("here")).agg(F.collect_list("dst").alias("others")).persist()
    walks = neighbours.select("here", F.explode(F.sequence(F.lit(1), F.lit(num_walks))).alias("number")).select(
        "here", F.array(F.col("here").cast("string")).alias("walk"), F.xxhash64("here", "number").alias("walker")
    )
    for begun in range(1, LENGTH, STEPS_AT_ONCE):
        for at in range(begun, min(begun + STEPS_AT_ONCE, LENGTH)):
            place = F.floor(uniform(at, "walker") * F.size("others")).cast("int")
            walks = (
                walks.join(neighbours, on="here", how="inner")
                .select("walker", "walk", F.get("others", place).alias("here"))
                .withColumn("walk", F.array_append("walk", F.col("here").cast("string")))
            )
        walks.write.mode("overwrite").parquet(str(work / f"walks-{begun}"))
        walks = spark.read.parquet(str(work / f"walks-{begun}"))
    neighbours.unpersist()
    return str(work / f"walks-{begun}")


def auc(kit, split: Path, vectors: Path) -> str:
    rows = {
        (row["ratio"], row["metric"]): row["mean"]
        for row in kit.lp_score(str(split), str(vectors), scorers=("cosine",))
    }
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
                print(
                    f"{name} graphseam: {own:.0f} s, {auc(kit, work / 'split', work / 'own.parquet')}; {told(peak)}",
                    flush=True,
                )
            with watched_memory() as peak:
                drawn, theirs = by_word2vec(spark, train, share, work, work / "theirs.parquet")
                print(
                    f"{name} Word2Vec on {share:g} of the walks: {drawn:.0f} + {theirs:.0f} s, "
                    f"{auc(kit, work / 'split', work / 'theirs.parquet')}; {told(peak)}",
                    flush=True,
                )
            print(
                f"{name} ratio: {(drawn + theirs) / own:.1f} as measured"
                + (f", {(drawn + theirs) / share / own:.0f} for all walks" if share < 1 else ""),
                flush=True,
            )


def cuts(spark: SparkSession, names: list[str], counts: list[int]) -> None:
    require_graphframes(spark, "this benchmark")
    print("graph subgraphs | method: edges cut, balance, seconds | ...")
    for name in names:
        edges = LASTFM if name == "lastfm_asia" else SHARED / "data" / name
        for count in counts:
            cells = []
            for method in ("multilevel", "graphframes_lpa", "hash"):
                with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as folder:
                    config = make_config(
                        {"edges": str(edges / "edges.parquet")},
                        Path(folder),
                        partition={"method": method, "num_subgraphs": count, "max_levels": 1},
                    )
                    run = run_steps(spark, config, "cut", last="partition")
                    level = run.tables.read("partition_levels", level=1).collect()[0]
                    cells.append(
                        f"{method}: {level['cut_share']:.1%}, {level['imbalance']:.2f}, {level['seconds']:.0f}"
                    )
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
