"""Node labels of the default pipeline: the referee's F1 of its vectors, and what the pipeline says of its own labels.

    .venv/bin/python tests/bench/labels.py cora ppi lastfm_asia musae_facebook blogcatalog deezer_hu

For each graph of ../shared the pipeline embeds all edges (default configuration, links off) and predicts the labels;
the referee trains on 10, 50 and 90 % of the raw vectors (mean of five shuffles). `own` is the pipeline's cross-fit F1,
two halves of the labelled nodes, each predicted by what learned from the other; ECE is the expected calibration error
of the labels written, before and after calibration. One process, one session.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

SHARED = Path(__file__).resolve().parents[3] / "shared"
GRAPHS = ("cora", "ppi", "lastfm_asia", "musae_facebook", "blogcatalog", "deezer_hu")
METRICS = ("micro_f1", "macro_f1")


def run_graph(graph: str, class_weight: str, work: Path):
    """Embed the graph and predict its labels; returns the run, with its vectors in work/vectors.parquet."""
    from graphseam.config import Config, _build
    from graphseam.export import export_table
    from graphseam.pipeline import run_pipeline

    data = SHARED / "data" / graph
    config = _build(
        Config,
        {
            "input": {"edges": str(data / "edges.parquet"), "labels": str(data / "labels.parquet")},
            "output": {"root": str(work / "tables")},
            "predict": {"links": {"top_k": 0}, "nodes": {"class_weight": class_weight}},
        },
        prefix="",
    )
    run = run_pipeline(config, local=True)
    export_table(run.tables, "embeddings", str(work / "vectors.parquet"), run.run_id)
    return run


def score(graph: str, class_weight: str, shuffles: int, kit) -> list[str]:
    """The cells of the graph's row."""
    with tempfile.TemporaryDirectory(prefix="graphseam-bench-") as folder:
        run = run_graph(graph, class_weight, Path(folder))
        rows = kit.nc(
            str(SHARED / "data" / graph / "labels.parquet"),
            str(Path(folder) / "vectors.parquet"),
            shuffles=shuffles,
            forms=("raw",),
        )
        own = {row["metric"]: row["value"] for row in run.tables.read("metrics").collect()}  # two rows
    referee = {(row["metric"], row["ratio"]): row["mean"] for row in rows}
    told, seconds = run.details("predict_nodes"), run.newest("predict_nodes")["seconds"]
    cells = [" / ".join(f"{100 * referee[metric, ratio]:.1f}" for ratio in (0.1, 0.5, 0.9)) for metric in METRICS]
    cells += [f"{100 * own[metric]:.1f}" for metric in METRICS]
    calibration = told["calibration"]
    cells += [
        f"{100 * calibration['error_before']:.2f} / {100 * calibration['error_after']:.2f}",
        " / ".join(str(count) for count in told["labels"].values()),
        f"{seconds:.0f}",
    ]
    return [graph, *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graphs", nargs="*", default=GRAPHS)
    parser.add_argument("--class-weight", default="none", choices=["none", "balanced"])
    parser.add_argument("--shuffles", type=int, default=5)
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit("this benchmark needs the graphs and the referee of ../shared, which is not beside this checkout")
    sys.path.insert(0, str(SHARED / "evalkit"))
    import evalkit

    table = Table(title=f"Labels, class_weight = {arguments.class_weight}; x 100")
    for name in (
        "graph",
        "Micro-F1 10 / 50 / 90 %",
        "Macro-F1 10 / 50 / 90 %",
        "own Micro",
        "own Macro",
        "ECE before / after",
        "learnt / never / too few",
        "seconds",
    ):
        table.add_column(name, justify="left" if name == "graph" else "right")
    for graph in arguments.graphs:
        row = score(graph, arguments.class_weight, arguments.shuffles, evalkit)
        print("|", *row, "|", sep=" | ", file=sys.stderr, flush=True)  # a long benchmark may be stopped
        table.add_row(*row)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
