"""One self-contained HTML page from a report's content: text and numbers made ready here, laid out by page.html."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from graphseam.config import Config
from graphseam.files import size_told
from graphseam.partition.report import verdict
from graphseam.report.content import Content
from graphseam.report.drawing import cut_map, scatter
from graphseam.report.quality import compared, curves_of, drift_of, labels_of, links_of, matrix_of, value_of
from graphseam.sections import InputConfig, OutputConfig
from graphseam.usage import MB
from graphseam.version import __version__

CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"]+@")  # user:password@ in an address


def page_of(content: Content) -> str:
    """The page. Everything from the data is escaped; no other file and no network is needed to read it."""
    env = Environment(
        loader=PackageLoader("graphseam.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    picture, legend = scatter(content.sample)
    told = content.ingested
    seconds = sum(step.seconds for step in content.steps)
    page = env.get_template("page.html").render(
        run_id=content.run_id,
        source=without_credentials(content.config["input"]["edges"]),
        started=content.started,
        took=f"{_seconds(seconds)} of work",
        tiles=_tiles(content, seconds),
        picture={
            "svg": picture,
            "legend": legend,
            "said": f"{len(content.sample.ids):,} nodes, near each other where their vectors are (t-SNE), coloured by "
            f"{content.sample.by}; point at a dot for its id.",
        },
        graph=_graph(content),
        rejected=sorted(told.rejected.items(), key=lambda item: (-item[1], item[0])),
        levels=content.levels,
        cut_said=_sentence(verdict(content.levels)) if content.levels else "",
        cut_svg=cut_map(content.cut) if content.cut and content.cut.nodes else "",
        map_said=_map_said(content),
        links=links_of(content),
        curves=curves_of(content),
        labels=labels_of(content),
        matrix=matrix_of(content),
        best=content.links,
        num_links=f"{content.num_links:,} rows",
        previous=compared(content),
        drift=drift_of(content),
        costs=_costs(content),
        costs_said=_costs_said(content),
        changed=_changed(content.config),
        config_said=f"Settings that differ from their defaults. Seed {content.config['run']['seed']}.",
        config=without_credentials(json.dumps(content.config, indent=2)),
        versions=json.dumps(content.versions, indent=2),
        graphseam=__version__,
        root=content.config["output"]["root"] or "DIR",
    )
    return page


def without_credentials(text: str) -> str:
    return CREDENTIALS.sub("***@", text)


def _tiles(content: Content, seconds: float) -> list[dict[str, str]]:
    told = content.ingested
    tiles = [(f"{told.nodes:,}", "nodes"), (f"{told.edges + told.holdout_edges:,}", "edges")]
    if content.levels:
        tiles.append((f"{content.levels[-1]['total_subgraphs']:,}", "subgraphs"))
    tiles.append((str(content.config["embed"]["dim"]), "dimensions"))
    aucs = [(value_of(content, "auc", "hard", scorer), scorer) for scorer in ("link_model", "cosine")]
    if known := [(auc, scorer) for auc, scorer in aucs if auc is not None]:
        auc, scorer = max(known)
        tiles.append((f"{auc:.4f}", f"AUC of held-out edges by the {scorer.replace('_', ' ')}, hard negatives"))
    f1 = [row["value"] for row in content.metrics if row["metric"] == "micro_f1"]
    if f1:
        tiles.append((f"{max(f1):.4f}", "Micro-F1 of labels"))
    tiles.append((_seconds(seconds), "all steps"))
    return [{"value": value, "name": name} for value, name in tiles]


def _graph(content: Content) -> list[tuple[str, str]]:
    told, source = content.ingested, content.config["input"]
    rows = [
        ("rows read", f"{told.rows:,}"),
        ("kind", f"{'directed' if source['directed'] else 'undirected'}, "
         f"{'weighted' if source['weight'] else 'unweighted'}, {told.id_type} ids"),
        ("loops left out", f"{told.loops:,}"),
        ("duplicate edges merged", f"{told.duplicate_edges:,}"),
        ("edges embedded", f"{told.edges:,}"),
        ("edges held out to measure with", f"{told.holdout_edges:,}"),
        ("nodes", f"{told.nodes:,}"),
    ]  # fmt: skip
    if told.nodes_held_out:
        rows.append(("nodes whose every edge is held out (zero vector)", f"{told.nodes_held_out:,}"))
    if told.label_rows is not None:
        rows.append(("nodes with labels", f"{told.labelled_nodes:,}"))
        rows.append(("classes", f"{told.label_classes:,}"))
        if told.labels_of_unknown_nodes:
            rows.append(("labels of nodes that are not in the graph", f"{told.labels_of_unknown_nodes:,}"))
    rows.append(("mean degree", f"{2 * told.edges / max(1, told.nodes):.1f}"))
    return rows


def _map_said(content: Content) -> str:
    if content.cut is None:
        return ""
    shown = len(content.cut.nodes)
    which = (
        "Every subgraph" if shown == content.cut.total else f"The {shown} largest of {content.cut.total:,} subgraphs"
    )
    return f"{which} of level 1 as a circle (area: nodes), joined by lines as wide as the edges cut between them."


def _costs(content: Content) -> list[dict[str, Any]]:
    longest = max((step.seconds for step in content.steps), default=1.0) or 1.0
    return [
        {
            "name": step.name,
            "width": round(100 * step.seconds / longest),
            "seconds": f"{step.seconds:,.1f}",
            "memory": f"{step.memory_mb:,.0f} MB",
            "shuffled": "" if step.shuffled_mb is None else size_told(step.shuffled_mb * MB),
            "kept": "" if step.kept is None else size_told(step.kept),
        }
        for step in content.steps
    ]


def _costs_said(content: Content) -> str:
    told = content.embed
    workers = (
        f" The largest subgraph took {told['peak_mb']:,.0f} MB of a worker ({told['predicted_mb']:,.0f} MB forecast), "
        f"on {', '.join(told['devices'])}."
        if told.get("subgraphs")
        else ""
    )
    return f"The memory is that of the driver's process, Spark included in a local session.{workers}"


def _changed(config: dict[str, Any]) -> list[tuple[str, str]]:
    """(section.key, value) of each setting that is not its default."""
    usual = dataclasses.asdict(Config(input=InputConfig(edges="-"), output=OutputConfig(root="-")))
    found = []

    def walk(tree: dict[str, Any], default: Any, above: str) -> None:
        for key, value in tree.items():
            known = default.get(key) if isinstance(default, dict) else None
            if isinstance(value, dict):
                walk(value, known, f"{above}{key}.")
            elif value != known:
                found.append((f"{above}{key}", without_credentials(json.dumps(value))))

    walk(config, usual, "")
    return found


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
