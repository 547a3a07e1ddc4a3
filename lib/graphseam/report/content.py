"""What the report shows of a run, read from its tables: counts, a row per subgraph, and a sample of the vectors."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import functions as F

from graphseam.ingested import Ingested
from graphseam.report.measures import best_links
from graphseam.report.sample import OTHER, Pictured, Sample, picture
from graphseam.runs import USAGE, Run, versions
from graphseam.steps import ALL_STEPS
from graphseam.usage import SHUFFLED_MB, bytes_of_run

MOST_CIRCLES = 60  # subgraphs on the map
MOST_LABELS = 11  # labels told apart; the others are one
MOST_LINKS = 10
AT_ONCE = 4  # queries


@dataclass(frozen=True)
class StepCost:
    """What a step took. memory_mb: of the driver's process at its peak. kept: bytes of the rows it wrote, in tables
    under a local root; None where they lie elsewhere. shuffled_mb: None in runs of earlier versions."""

    name: str
    seconds: float
    memory_mb: float
    kept: float | None
    shuffled_mb: float | None = None


@dataclass(frozen=True)
class CutMap:
    """The subgraphs of level 1, the largest, and the edges between them.

    nodes, edges: {subgraph: how many}. between: {(a, b): edges cut, a < b}. total: subgraphs of the level.
    """

    nodes: dict[int, int]
    edges: dict[int, int]
    between: dict[tuple[int, int], int]
    total: int


@dataclass(frozen=True)
class Content:
    """Everything the page shows. metrics, reliability, …: rows of the tables of these names, as dictionaries."""

    run_id: str
    ingested: Ingested
    config: dict[str, Any]
    versions: dict[str, str]
    started: str
    levels: list[dict[str, Any]]
    steps: list[StepCost]
    embed: dict[str, Any]
    metrics: list[dict[str, Any]]
    reliability: list[dict[str, Any]]
    label_quality: list[dict[str, Any]]
    links: list[dict[str, Any]]
    cut: CutMap | None
    sample: Sample
    confusion: dict[tuple[str, str], int] = field(default_factory=dict)  # (label, predicted first): nodes
    num_links: int = 0  # predicted, in all
    previous: tuple[str, list[dict[str, Any]]] | None = None  # the run published before, and its metrics
    base: str = ""  # the run whose frame the vectors are in
    changes: dict[str, int] = field(default_factory=dict)  # since the base: partition.kept.Changes, if incremental


def gather(run: Run, begun: Future[Pictured] | None = None) -> Content:
    """begun: of sample.begin_picture, if the picture was.

    Cost: about ten small queries, one pass over the labels' predictions, and one over the vectors for the picture; a
    few at once, as each is mostly waiting.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return _gathered(run, pool, begun)


def _gathered(run: Run, pool: ThreadPoolExecutor, begun: Future[Pictured] | None) -> Content:
    read = run.tables.read
    labels = _rows(read("label_quality").sort(F.desc("num_examples"), "label").limit(200))
    shown = [row["label"] for row in labels[:MOST_LABELS]]
    sample = pool.submit(_sample, run, shown, begun)  # takes longest
    levels = _rows(read("partition_levels").sort("level"))
    cut, links = pool.submit(_cut_map, run, levels), pool.submit(best_links, run, MOST_LINKS)
    confusion = pool.submit(_confusion, run, shown) if shown else None
    previous = pool.submit(_previous, run)
    reliability = pool.submit(_rows, read("reliability").sort("task", "bin_low"))
    return Content(
        run_id=run.run_id,
        ingested=run.ingested,
        config=json.loads(run.config.to_json()),
        versions=versions(run.spark),
        started=min(record["started_at"] for record in run.records).strftime("%Y-%m-%d %H:%M UTC"),
        levels=levels,
        steps=_costs(run),
        embed=run.details("embed"),
        metrics=_rows(read("metrics")),  # a few hundred
        reliability=reliability.result(),
        label_quality=labels,
        links=links.result(),
        num_links=run.details("predict_links").get("links", 0),
        cut=cut.result(),
        sample=sample.result(),
        confusion=confusion.result() if confusion is not None else {},
        previous=previous.result(),
        base=run.details("refine").get("base", ""),
        changes=run.details("partition").get("changes", {}),
    )


def _rows(rows: Any) -> list[dict[str, Any]]:
    return [row.asDict() for row in rows.collect()]


def _costs(run: Run) -> list[StepCost]:
    records = [(step, run.newest(name)) for name, step in ALL_STEPS.items()]
    return [
        StepCost(
            step.name,
            record["seconds"],
            record["peak_memory_mb"],
            bytes_of_run(run.config.output.root, run.run_id, step.writes),
            run.details(step.name).get(USAGE, {}).get(SHUFFLED_MB),
        )
        for step, record in records
        if record is not None
    ]


def _cut_map(run: Run, levels: list[dict[str, Any]]) -> CutMap | None:
    if not levels or levels[0]["kind"] not in ("cut", "kept") or levels[0]["num_subgraphs"] < 2:
        return None
    stats = run.tables.read("subgraph_stats", level=1).select("subgraph_id", "num_nodes", "num_edges")
    if levels[0]["kind"] == "kept":  # nothing was embedded
        nodes, edges = (
            run.tables.read(name, level=1).groupBy("subgraph_id").agg(F.count("*").alias(count))
            for name, count in (("assignments", "num_nodes"), ("subgraph_edges", "num_edges"))
        )
        stats = nodes.join(edges, on="subgraph_id")
    largest = stats.sort(F.desc("num_nodes"), "subgraph_id").limit(MOST_CIRCLES).collect()
    chosen = [row["subgraph_id"] for row in largest]
    low, high = F.least("src_subgraph", "dst_subgraph"), F.greatest("src_subgraph", "dst_subgraph")
    crossing = run.tables.read("border_edges", level=1).select(low.alias("low"), high.alias("high"))
    crossing = crossing.where(F.col("low").isin(chosen) & F.col("high").isin(chosen))
    between = crossing.groupBy("low", "high").count().collect()  # at most MOST_CIRCLES squared
    return CutMap(
        {row["subgraph_id"]: row["num_nodes"] for row in largest},
        {row["subgraph_id"]: row["num_edges"] for row in largest},
        {(row["low"], row["high"]): row["count"] for row in between},
        levels[0]["num_subgraphs"],
    )


def _sample(run: Run, shown: list[str], begun: Future[Pictured] | None) -> Sample:
    """The picture, coloured by label if labels were learnt. begun: what was made of it before that was known."""
    made = begun.result() if begun is not None else None
    if made is None or made.labelled != bool(shown):
        made = picture(run, labelled=bool(shown))
    return made.grouped(shown)


def _confusion(run: Run, shown: list[str]) -> dict[tuple[str, str], int]:
    """{(label, label predicted first): nodes}, of nodes that were not trained on; a node counts once per label."""

    def named(column: str) -> Any:
        return F.when(F.col(column).isin(shown), F.col(column)).otherwise(F.lit(OTHER))

    predicted = run.tables.read("node_predictions").where("rank = 1 AND fold IS NOT NULL")
    pairs = run.tables.read("labels").join(predicted.select("node_id", F.col("label").alias("predicted")), on="node_id")
    counts = pairs.groupBy(named("label").alias("label"), named("predicted").alias("predicted")).count().collect()
    return {(row["label"], row["predicted"]): row["count"] for row in counts}


def _previous(run: Run) -> tuple[str, list[dict[str, Any]]] | None:
    """The run published before this one, or the newest if this one is not published, and its metrics."""
    published = [row["run_id"] for row in run.tables.published()]
    before = published[published.index(run.run_id) + 1 :] if run.run_id in published else published
    if not before:
        return None
    rows = run.tables.all_runs("metrics").where((F.col("run_id") == before[0]) & (F.col("stratum") == "all"))
    return before[0], _rows(rows)
