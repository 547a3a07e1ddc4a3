"""What the page says of quality: links, labels, calibration, and the run before."""

from __future__ import annotations

from typing import Any

from graphseam.base_run import EDGES, SAME
from graphseam.evaluate.metrics import STRATA
from graphseam.report.content import OTHER, Content
from graphseam.report.drawing import by_stratum, reliability_curve
from graphseam.report.measures import BETTER, LABEL_MEASURES, LINK_MEASURES, LINK_SCORERS, mean_error, remark_on_scorers

LABELS_SHOWN = 20
CHANGED = {SAME: "no edge of its own", EDGES: "its edges"}  # of a node that the base has, as in the table drift


def value_of(content: Content, metric: str, variant: str, scorer: str, stratum: str = "all") -> float | None:
    for row in content.metrics:
        if (row["metric"], row["variant"], row["scorer"], row["stratum"]) == (metric, variant, scorer, stratum):
            return float(row["value"])
    return None


def _table(
    content: Content, task: str, measures: dict[str, str], scorers: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    rows = [row for row in content.metrics if row["task"] == task and row["stratum"] == "all"]
    groups = sorted(
        {(row["variant"], row["scorer"]) for row in rows if row["metric"] in measures},
        key=lambda group: (group[0] != "uniform", group[0], scorers.index(group[1]) if group[1] in scorers else 99),
    )
    found = []
    for variant, scorer in groups:
        if scorers and scorer not in scorers:
            continue
        values = [value_of(content, measure, variant, scorer) for measure in measures]
        found.append({"variant": variant, "scorer": scorer.replace("_", " "), "values": values})
    for row in found:
        rivals = [other["values"] for other in found if other["variant"] == row["variant"]]
        row["cells"] = [
            {
                "text": "" if value is None else f"{value:.4f}",
                "best": value is not None and value == max(other[at] or 0 for other in rivals),
            }
            for at, value in enumerate(row["values"])
        ]
    return found


def links_of(content: Content) -> dict[str, Any] | None:
    rows = _table(content, "link_prediction", LINK_MEASURES, LINK_SCORERS)
    if not rows:
        return None
    strata = [name for name in STRATA if any(row["stratum"] == name for row in content.metrics)]
    series = {
        scorer.replace("_", " "): [value_of(content, "auc", "hard", scorer, stratum) for stratum in strata]
        for scorer in LINK_SCORERS
        if value_of(content, "auc", "hard", scorer) is not None
    }
    known = [value for values in series.values() for value in values if value is not None]
    least = max(0.0, min(0.9, 0.1 * int(10 * min(known, default=0.5))))
    held = content.ingested.holdout_edges
    return {
        "said": f"{held:,} edges were set aside before anything saw them, and are told from pairs that are no edges: "
        "drawn at random (uniform), or with degrees like those of edges (hard).",
        "names": list(LINK_MEASURES.values()),
        "rows": rows,
        "series": list(series),
        "degrees": by_stratum(strata, series, least),
        "remark": remark_on_scorers(content.metrics),
    }


def curves_of(content: Content) -> list[dict[str, Any]]:
    titles = {"link_prediction": "Do the probabilities of links come true?",
              "node_classification": "Do the probabilities of labels come true?"}  # fmt: skip
    found = []
    for task, title in titles.items():
        bins = [row for row in content.reliability if row["task"] == task]
        if bins:
            count = sum(row["support"] for row in bins)
            low, high = bins[0]["mean_probability"], bins[-1]["mean_probability"]
            found.append(
                {
                    "title": title,
                    "said": f"{count:,} predictions, with probabilities around {low:.3f} to {high:.3f} in "
                    f"{len(bins)} bins; off by {mean_error(bins):.2%} on average. On the dashed line a "
                    "probability is what it says.",
                    "svg": reliability_curve(bins),
                }
            )
    return found


def labels_of(content: Content) -> dict[str, Any] | None:
    if not content.label_quality:
        return None
    total = content.ingested.label_classes
    each = [
        {
            **row,
            **{name: "" if row[name] is None else f"{row[name]:.3f}" for name in ("precision", "recall", "f1")},
            "width": round(100 * (row["f1"] or 0)),
        }
        for row in content.label_quality[:LABELS_SHOWN]
    ]
    return {
        "said": f"{content.ingested.labelled_nodes:,} nodes have labels of {total:,} classes. Each half of them is "
        "predicted by a model trained on the other half.",
        "names": list(LABEL_MEASURES.values()),
        "rows": _table(content, "node_classification", LABEL_MEASURES),
        "each": each,
        "more": f"The {len(each)} most frequent of {total:,}; all are in label_quality." if total > len(each) else "",
    }


def matrix_of(content: Content) -> dict[str, Any] | None:
    if not content.confusion:
        return None
    named = {name for pair in content.confusion for name in pair}
    order = [row["label"] for row in content.label_quality if row["label"] in named]
    order += [OTHER] if OTHER in named else []
    rows = []
    for name in order:
        total = sum(content.confusion.get((name, other), 0) for other in order)
        if total:
            shares = [content.confusion.get((name, other), 0) / total for other in order]
            cells = [
                {"text": f"{100 * share:.0f}" if share >= 0.005 else "", "alpha": f"{0.75 * share:.2f}"}
                for share in shares
            ]
            rows.append({"name": name, "cells": cells})
    return {"columns": order, "rows": rows}


def compared(content: Content) -> dict[str, Any] | None:
    if content.previous is None:
        return None
    name, metrics = content.previous
    before = {(row["metric"], row["variant"], row["scorer"]): row["value"] for row in metrics}
    rows = []
    for row in sorted(content.metrics, key=lambda row: (row["task"], row["metric"], row["variant"], row["scorer"])):
        key = (row["metric"], row["variant"], row["scorer"])
        measured = row["stratum"] == "all" and (
            row["metric"] in LABEL_MEASURES or row["metric"] in ("auc", "mrr_of_101")
        )
        if measured and key in before and row["scorer"] not in ("dot_product", "degree_product"):
            change = row["value"] - before[key]
            rows.append(
                {
                    "name": f"{({**LINK_MEASURES, **LABEL_MEASURES})[key[0]]}, {key[1]}, {key[2].replace('_', ' ')}",
                    "before": before[key],
                    "now": row["value"],
                    "change": change,
                    "mood": "good" if change > BETTER else "bad" if change < -BETTER else "",
                }
            )
    return {"name": name, "rows": rows} if rows else None


def drift_of(content: Content) -> dict[str, Any] | None:
    """How far vectors have moved since the base run, by what has changed at the node and by its degree."""
    if not content.base:
        return None
    value = {
        (row["variant"], row["stratum"]): (row["value"], row["support"])
        for row in content.metrics
        if row["metric"] == "stability"
    }
    strata = [name for name in STRATA if any(stratum == name for _, stratum in value)]
    rows = [
        {
            "name": name,
            "nodes": value[variant, "all"][1],
            "cosine": value[variant, "all"][0],
            "strata": [f"{value[variant, name][0]:.3f}" if (variant, name) in value else "" for name in strata],
        }
        for kind, name in CHANGED.items()
        if ((variant := f"changed: {kind}"), "all") in value
    ]
    return {
        "name": content.base,
        "counts": [(key.replace("_", " "), f"{count:,}") for key, count in content.changes.items() if key != "nodes"],
        "strata": strata,
        "rows": rows,
    }
