"""Predicted links on real graphs: the link model beside the plain cosine, a published recommender split, the searches.

    .venv/bin/python tests/bench/links.py model ca_astroph ca_condmat dblp_2010 email_enron
    .venv/bin/python tests/bench/links.py recommend
    .venv/bin/python tests/bench/links.py search

`model`: the referee of ../shared/evalkit holds out 20 % of the edges and draws the negatives; the pipeline embeds the
rest, its link model and its cosine score the referee's pairs, the referee's functions count. The error of calibration
and the share of held-out edges that the ten best hold come from a run that holds out 20 % itself. `recommend`: gowalla
with its own split, all items ranked for each user. `search`: exact and cells over dblp_2010, ten nearest of each node,
in one session, side by side.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table

SHARED = Path(__file__).resolve().parents[3] / "shared"
HELD_OUT = 0.2
OFF = {"similar": {"top_k": 0}}


def run(edges: Path, root: Path, run_id: str, **sections: dict[str, Any]) -> Any:
    """Run the pipeline; returns the run."""
    from graphseam.config import config_of
    from graphseam.pipeline import run_pipeline

    given = {"input": {"edges": str(edges)}, "output": {"root": str(root)}, **sections}
    given["input"] |= sections.get("input", {})
    given["input"]["edges"] = str(edges)
    return run_pipeline(config_of(given), run_id, local=True)


def score_pairs(run: Any, pairs: np.ndarray, work: Path) -> dict[str, np.ndarray]:
    """{"cosine", "link model"}: scores of the referee's pairs, places in its own list of nodes being ids here."""
    from graphseam.predict.candidates import known_features
    from graphseam.predict.features import ONE_KIND, PAIRS
    from graphseam.predict.link_model import LinkModel, with_score
    from graphseam.predict.link_search import link_search

    distinct, back = np.unique(pairs, axis=0, return_inverse=True)
    path = work / f"pairs-{len(distinct)}.parquet"
    pq.write_table(pa.table({"a": distinct[:, 0], "b": distinct[:, 1]}), path)
    ids = run.tables.read("nodes").select("node_id", F.col("id").cast("bigint").alias("id"))
    numbered = (
        run.spark.read.parquet(str(path))
        .join(ids.select(F.col("id").alias("a"), F.col("node_id").alias("src")), on="a")
        .join(ids.select(F.col("id").alias("b"), F.col("node_id").alias("dst")), on="b")
    )
    rows = run.tables.read("link_models").where("model = 'pairs'").collect()
    model = LinkModel.of([row.asDict() for row in rows], ONE_KIND[PAIRS])
    with link_search(run) as what:
        found = (
            with_score(known_features(what, numbered.select("src", "dst")), model)
            .join(numbered, on=["src", "dst"])
            .select("a", "b", "cosine", "score")
            .toArrow()
        )
    table = found.sort_by([("a", "ascending"), ("b", "ascending")])
    assert len(table) == len(distinct)
    return {
        "cosine": table["cosine"].to_numpy()[back.ravel()].astype(float),
        "link model": table["score"].to_numpy()[back.ravel()],
    }


def model_quality(graph: str, kit: Any, table: Table) -> None:
    with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as folder:
        work, edges = Path(folder), SHARED / "data" / graph / "edges.parquet"
        kit.lp_split(str(edges), str(work / "split"), seed=1)
        split = np.load(work / "split" / "split.npz")
        ran = run(work / "split" / "train.parquet", work / "tables", "referee", predict=OFF)
        nodes, kept = split["nodes"], split["rank_rows"][:5000]
        parts = {"pos": split["pos"]}
        for kind in ("uniform", "hard"):
            parts[kind] = split[f"neg_{kind}"][split[f"neg_{kind}"][:, 1] >= 0]
            ranked = split[f"rank_{kind}"][:5000]
            parts[f"rank {kind}"] = np.stack(
                [np.repeat(split["pos"][kept, 0], ranked.shape[1]), np.maximum(ranked.ravel(), 0)], 1
            )
        everything = nodes[np.concatenate(list(parts.values()))]
        cuts = np.cumsum([0, *[len(part) for part in parts.values()]])
        own = run(edges, work / "tables", "own", evaluate={"holdout": HELD_OUT}, predict=OFF)
        measured = {
            row["metric"]: row["value"]
            for row in own.tables.read("metrics").where("metric = 'ece' AND task = 'link_prediction'").collect()
        }
        hits = own.tables.read("link_predictions").where("held_out").count()
        share = hits / (2 * own.tables.read("holdout_edges").count())
        for name, scores in score_pairs(ran, everything, work).items():
            at = {part: scores[cuts[i] : cuts[i + 1]] for i, part in enumerate(parts)}
            row = [graph, name]
            for kind in ("uniform", "hard"):
                ranked = split[f"rank_{kind}"][:5000]
                ranks = kit.rank_metrics(at["pos"][kept], at[f"rank {kind}"].reshape(ranked.shape), ranked >= 0)
                row += [f"{100 * kit.pair_metrics(at['pos'], at[kind])['auc']:.2f}", f"{100 * ranks['mrr']:.1f}"]
            row += [f"{measured.get('ece', float('nan')):.4f}", f"{share:.3f}"] if name != "cosine" else ["", ""]
            table.add_row(*row)
            print("|", *row, sep=" | ", file=sys.stderr, flush=True)


def recommend() -> None:
    """Recall@20 and NDCG@20 over all items, those of the train and valid rows left out, as LightGCN counts them."""
    with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as folder:
        ran = run(
            SHARED / "data" / "gowalla" / "edges.parquet",
            Path(folder) / "tables",
            "gowalla",
            input={"split": "split"},
            evaluate={"held_out": "2"},
            predict={"links": {"top_k": 20}, **OFF},
        )
        seconds = next(row["seconds"] for row in reversed(ran.records) if row["step"] == "predict_links")
        held = ran.tables.read("holdout_edges").groupBy("src").agg(F.count("*").alias("held"))
        gain = F.when(F.col("held_out"), 1.0).otherwise(0.0)
        found = (
            ran.tables.read("link_predictions")
            .groupBy(F.col("src_node_id").alias("src"))
            .agg(
                F.sum(gain).alias("hits"),
                F.sum(gain / F.log2(F.col("rank") + 1.0)).alias("dcg"),
                F.max("rank").alias("most"),
            )
        )
        ideal = F.expr("aggregate(sequence(1, least(held, 20)), 0D, (s, i) -> s + 1 / log2(i + 1D))")
        told = (
            held.join(found, on="src", how="left")
            .na.fill(0)
            .agg(
                F.avg(F.col("hits") / F.col("held")).alias("recall"),
                F.avg(F.col("dcg") / ideal).alias("ndcg"),
                F.count("*").alias("users"),
                F.count_if(F.col("most") >= 20).alias("full"),
            )
            .head()
        )
        ece = [row["value"] for row in ran.tables.read("metrics").where("metric = 'ece'").collect()]
        Console().print(
            f"gowalla: Recall@20 {told['recall']:.4f}, NDCG@20 {told['ndcg']:.4f} over {told['users']:,} "
            f"users ({told['full']:,} with 20 items); predict_links {seconds:.0f} s; ECE {ece}. "
            "LightGCN as published: 0.1830, 0.1554"
        )


def search() -> None:
    """Ten nearest of each node of dblp_2010, exactly and by cells."""
    from graphseam.predict.group_search import BOTH
    from graphseam.predict.search import excluding_none, nearest, search_of
    from graphseam.predict.search_plan import plan_search

    with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as folder:
        ran = run(
            SHARED / "data" / "dblp_2010" / "edges.parquet",
            Path(folder) / "tables",
            "search",
            predict={"links": {"top_k": 0}, **OFF},
        )
        vectors = ran.tables.read("embeddings").select("node_id", "vector")
        rows = excluding_none(vectors, BOTH)
        num_nodes, seconds, plans = vectors.count(), {}, {}
        for method in ("cells", "exact"):
            how = search_of(ran, method, 10, "bench")
            started = time.monotonic()
            plans[method] = plan_search(rows, how)
            nearest(rows, how, plans[method]).write.mode("overwrite").parquet(f"{folder}/{method}")
            seconds[method] = time.monotonic() - started
        pairs = F.inline(F.arrays_zip("dst", "score"))
        exact, found = (
            ran.spark.read.parquet(f"{folder}/{method}").select("src", pairs) for method in ("exact", "cells")
        )
        last = exact.groupBy("src").agg(F.min("score").alias("least"), F.count("*").alias("wanted"))
        hits = found.join(last, on="src").where("score >= least - 1e-6").groupBy("src").agg(F.count("*").alias("hits"))
        told = (
            last.join(hits, on="src", how="left")
            .na.fill(0)
            .agg(F.sum(F.least("hits", "wanted")) / F.sum("wanted"), F.count("*"))
            .head()
        )
        Console().print(
            f"dblp_2010, {num_nodes:,} nodes, 10 nearest: exact {seconds['exact']:.0f} s, cells "
            f"{seconds['cells']:.0f} s ({seconds['cells'] / seconds['exact']:.2f} of it), recall "
            f"{told[0]:.4f} over {told[1]:,} nodes, foretold {plans['cells'].recall:.4f} by "
            f"{plans['cells'].queries:,} of them; {plans['cells'].copies:.2f} copies of a node"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["model", "recommend", "search"])
    parser.add_argument("graphs", nargs="*", default=["ca_condmat"])
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("this benchmark needs the graphs and the referee of ../shared, which is not beside this checkout")
    if arguments.what == "recommend":
        return recommend()
    if arguments.what == "search":
        return search()
    sys.path.insert(0, str(SHARED / "evalkit"))
    import evalkit

    table = Table(title="x 100; negatives of the referee, MRR of its first 5,000 rankings")
    for name in ("graph", "by", "AUC uniform", "MRR uniform", "AUC hard", "MRR hard", "ECE", "held out in the 10 best"):
        table.add_column(name, justify="left" if name in ("graph", "by") else "right")
    for graph in arguments.graphs:
        model_quality(graph, evalkit, table)
    Console(width=140).print(table)
    return None


if __name__ == "__main__":
    main()
