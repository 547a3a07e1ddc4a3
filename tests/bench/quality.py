"""Quality of the default pipeline, cut and uncut, by the independent referee of ../shared/evalkit.

    .venv/bin/python tests/bench/quality.py lastfm_asia blogcatalog --subgraphs 1 8 --methods procrustes concat

For each graph: the referee holds out 20 % of the edges, the pipeline embeds the rest (default configuration but for
the number of subgraphs), the referee scores the exported vectors; then the same for node labels on the whole graph.
One process, one session, side by side. `unrefined` rows show what the seams cost before the global rounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

SHARED = Path(__file__).resolve().parents[3] / "shared"
SKIPPED = {"predict": {"links": {"top_k": 0}}}  # predictions take no part in the vectors


def embed(edges: Path, root: Path, num_subgraphs: int, method: str, refined: bool, output: Path) -> float:
    """Run the pipeline and export its vectors; returns the seconds it took."""
    from graphseam.config import Config, _build
    from graphseam.export import export_table
    from graphseam.pipeline import run_pipeline

    refine = {} if refined else {"refine": {"rounds": 0, "hops": 0}}
    config = _build(
        Config,
        {
            "input": {"edges": str(edges)},
            "output": {"root": str(root)},
            "partition": {"num_subgraphs": num_subgraphs},
            "fuse": {"method": method},
            **refine,
            **SKIPPED,
        },
        prefix="",
    )
    started = time.monotonic()
    run = run_pipeline(config, local=True)
    seconds = time.monotonic() - started
    export_table(run.tables, "embeddings", str(output), run.run_id)
    return seconds


def score(graph: str, variants: list[tuple[int, str, bool]], table: Table, kit) -> None:
    """One row a variant of the graph."""
    data = SHARED / "data" / graph
    with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as folder:
        work = Path(folder)
        kit.lp_split(str(data / "edges.parquet"), str(work / "split"), seed=1)
        for num_subgraphs, method, refined in variants:
            seconds = embed(
                work / "split" / "train.parquet",
                work / "tables",
                num_subgraphs,
                method,
                refined,
                work / "links.parquet",
            )
            links = {
                (row["ratio"], row["metric"]): row["mean"]
                for row in kit.lp_score(str(work / "split"), str(work / "links.parquet"), scorers=("cosine",))
            }
            labels = {}
            if (data / "labels.parquet").exists():
                embed(data / "edges.parquet", work / "tables", num_subgraphs, method, refined, work / "nodes.parquet")
                scores = kit.nc(str(data / "labels.parquet"), str(work / "nodes.parquet"))
                labels = {(row["form"], row["ratio"]): row["mean"] for row in scores if row["metric"] == "micro_f1"}
            num_edges = pq.read_metadata(work / "split" / "train.parquet").num_rows
            name = method if refined else f"{method}, unrefined"
            f1 = [
                f"{100 * labels['raw', ratio]:.1f} / {100 * labels['l2', ratio]:.1f}" if labels else "-"
                for ratio in (0.1, 0.5, 0.9)
            ]
            row = (
                graph,
                f"{num_edges:,}",
                str(num_subgraphs),
                name,
                f"{100 * links['uniform', 'auc']:.2f}",
                f"{100 * links['hard', 'auc']:.2f}",
                *f1,
                f"{seconds:.0f}",
            )
            print("|", *row, "|", sep=" | ", file=sys.stderr, flush=True)  # a long benchmark may be stopped
            table.add_row(*row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", nargs="*", default=["lastfm_asia"])
    parser.add_argument("--subgraphs", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--methods", nargs="+", default=["procrustes"])
    parser.add_argument("--unrefined", action="store_true", help="also without the global rounds")
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("this benchmark needs the graphs and the referee of ../shared, which is not beside this checkout")
    sys.path.insert(0, str(SHARED / "evalkit"))
    import evalkit

    table = Table(title="AUC: cosine, uniform and hard negatives; Micro-F1 at 10 / 50 / 90 %, raw / L2 vectors; x 100")
    for name in (
        "graph",
        "edges",
        "subgraphs",
        "fusion",
        "AUC uniform",
        "AUC hard",
        "F1 10 %",
        "F1 50 %",
        "F1 90 %",
        "seconds",
    ):
        table.add_column(name, justify="left" if name in ("graph", "fusion") else "right")
    variants = [
        (count, method, refined)
        for refined in ([True, False] if arguments.unrefined else [True])
        for method in arguments.methods
        for count in arguments.subgraphs
        if count > 1 or method == "procrustes"
    ]
    for graph in arguments.graphs:
        score(graph, variants, table, evalkit)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
