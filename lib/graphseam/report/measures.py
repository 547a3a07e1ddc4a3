"""What the summary and the report both tell of a run's quality."""

from __future__ import annotations

from typing import Any

from pyspark.sql import functions as F

from graphseam.runs import Run

LINK_MEASURES = {"auc": "AUC", "ap": "AP", "mrr_of_101": "MRR", "hits@10_of_101": "Hits@10"}
LABEL_MEASURES = {"micro_f1": "Micro-F1", "macro_f1": "Macro-F1"}
LINK_SCORERS = ("link_model", "cosine", "degree_product")  # the others are in the table
BETTER = 0.0005  # a difference that is told as one


def best_links(run: Run, count: int) -> list[dict[str, Any]]:
    """The likeliest predicted links of the run, each pair once, the most probable first; held-out edges left out."""
    rows = run.tables.read("link_predictions").where("rank = 1 AND NOT held_out")
    best = rows.sort(F.desc("probability"), F.desc("score"), "src_node_id").limit(2 * count).collect()
    pairs = {frozenset((row["src_node_id"], row["dst_node_id"])): row.asDict() for row in reversed(best)}
    found = sorted(pairs.values(), key=lambda row: (-row["probability"], -row["score"], row["src_node_id"]))
    return found[:count]


def remark_on_scorers(metrics: list[dict[str, Any]]) -> str:
    """A sentence if the cosine alone ranks held-out edges better than the link model; empty otherwise."""
    value = {
        (row["variant"], row["scorer"]): row["value"]
        for row in metrics
        if row["metric"] == "auc" and row["stratum"] == "all"
    }
    lost = [
        f"{variant} {value[variant, 'cosine']:.4f} against {value[variant, 'link_model']:.4f}"
        for variant in ("uniform", "hard")
        if value.get((variant, "cosine"), 0) > value.get((variant, "link_model"), 1) + BETTER
    ]
    return (
        f"The cosine alone ranks held-out edges better than the link model here (AUC {', '.join(lost)})."
        if lost
        else ""
    )


def mean_error(bins: list[dict[str, Any]]) -> float:
    """How far probabilities are off on average: `ece`, from the rows of reliability of one task."""
    off = sum(abs(row["mean_probability"] - row["observed_rate"]) * row["support"] for row in bins)
    return float(off / sum(row["support"] for row in bins))
