"""place: edges of nodes that arrived after a run, the run's embeddings -> placed_nodes, placed_links, placed_labels."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from graphseam.checkpoints import lineage_cut
from graphseam.columns import EDGE, ENDS
from graphseam.config import Config, config_of
from graphseam.edges import end_nodes
from graphseam.errors import ConfigError, InputError
from graphseam.ingest.graph import connect, merge, number_ids
from graphseam.ingest.reading import count_rows, read_rows, with_reason
from graphseam.lease import held
from graphseam.place.predictions import placed_labels, placed_links
from graphseam.place.vectors import arcs_of, vectors_by_rounds
from graphseam.runs import Run
from graphseam.sections import RUN_ID, PlaceConfig
from graphseam.session import persisted, size_shuffles
from graphseam.sources import inputs
from graphseam.tables import Tables

BROADCAST_IDS = 100_000  # up to this many ids of a batch are broadcast (about 5 MB) instead of shuffling the vectors
PLACED, UNREACHABLE = "placed", "unreachable"
FIRST_VIEW_OF_0_1 = 0.875  # share of the columns


def batch_name(edges: str) -> str:
    """The default name of a batch: its file's name, without the characters that a run id may not contain."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", PurePosixPath(edges).name).lstrip("_.-")[:128] or "edges"


def check_batch(name: str) -> str:
    """Return the name; ConfigError unless it is safe in a predicate and a path."""
    if not RUN_ID.fullmatch(name):
        raise ConfigError(f"--batch is {name!r}; give 1 to 128 letters, digits, '_', '.' or '-'")
    return name


def place(spark: SparkSession, config: Config, run_id: str | None = None, batch: str | None = None) -> dict[str, Any]:
    """Give new nodes vectors derived from their neighbours, and predict their links and labels.

    config: input.edges are the new edges, output has the run's tables, place says what to do. run_id: a published run,
    by default the newest. A node of the run that had no edges there is placed like a new one; edges between two nodes
    that have vectors are counted and ignored. A batch of the same name is replaced; batches are independent of each
    other. Returns what the command reports: rows, rejected, loops, duplicate_edges, edges, nodes by status.
    Cost: one pass over the run's embeddings (two if links are predicted); all else is linear in the new edges.
    The batches of a run are placed one after another, since each numbers its nodes after those of the earlier ones.
    Errors: InputError if no row is usable, RunError for an unknown run and while another process places into it.
    """
    batch = check_batch(batch_name(config.input.edges) if batch is None else batch)
    run, id_type = _published(spark, config, run_id)
    with held(spark, config.output, run.run_id, "place"):
        return _place_batch(run, id_type, config, batch)


def _place_batch(run: Run, id_type: str, config: Config, batch: str) -> dict[str, Any]:
    spark, weighted = run.spark, config.input.weighted
    with persisted(_checked_rows(spark, config, id_type)) as rows:
        details = {"run_id": run.run_id, "batch": batch, **_count_rows(run, rows, batch)}
        size_shuffles(spark, details["rows"])
        as_text = {end: F.col(end).cast("string") for end in ENDS}
        usable = rows.where("reason IS NULL").withColumns(as_text).select(*EDGE)
        with (
            lineage_cut(_nodes_of(run, usable), run.checkpoint_dir()) as nodes,
            lineage_cut(
                merge(connect(usable, nodes.select("node_id", "id")), False, weighted), run.checkpoint_dir()
            ) as edges,
        ):
            num_edges = edges.count()
            details |= _place_ends(run, batch, nodes, edges, config.place)
    details["duplicate_edges"] = details.pop("usable") - details["loops"] - num_edges
    details["edges"] = num_edges - details["edges_between_known_nodes"]
    return details


def _checked_rows(spark: SparkSession, config: Config, id_type: str) -> DataFrame:
    (_, path, columns), *_ = inputs(replace(config.input, time="", until="", window="", half_life=""))  # all are new
    rows = read_rows(spark, "edges", path, columns, config.input)
    return with_reason(rows, ["src", "dst"], "weight" if config.input.weight else None, id_type)


def _place_ends(run: Run, batch: str, nodes: DataFrame, edges: DataFrame, settings: PlaceConfig) -> dict[str, Any]:
    """Place and predict for the nodes without a vector. nodes: (node_id, id, vector). edges: (src, dst, weight)."""
    dim, widths = run.config.embed.dim, _view_widths(run)
    opened, known = nodes.where("vector IS NULL").select("node_id", "id"), nodes.where("vector IS NOT NULL")
    with lineage_cut(arcs_of(edges, opened), run.checkpoint_dir()) as arcs:
        with vectors_by_rounds(arcs, known, widths, settings.max_hops, run.checkpoint_dir()) as found:
            written = write_batch(run, "placed_nodes", _placed_rows(opened, arcs, found, dim), batch)
        details = {
            "nodes": written,
            "share_of_run": written / max(1, run.ingested.nodes),
            **_count_statuses(run, batch),
            **_predict(run, batch, arcs, settings.top_links),
        }
    ends = {end: known.select(F.col("node_id").alias(end)) for end in ("src", "dst")}
    between = edges.join(ends["src"], on="src", how="left_semi").join(ends["dst"], on="dst", how="left_semi")
    return {**details, "edges_between_known_nodes": between.count()}


def _published(spark: SparkSession, config: Config, run_id: str | None) -> tuple[Run, str]:
    """(the run, with the configuration and step records it was published with; its id_type)."""
    tables = Tables(spark, config.output)
    run_id, id_type = tables.published_run(run_id)
    tables = Tables(spark, config.output, run_id)
    published = tables.read("runs").head()
    assert published is not None  # published_run found it
    settings = replace(config_of(json.loads(published["config"])), output=config.output)
    records = [
        row.asDict() for row in tables.read("run_steps").sort("started_at").collect()
    ]  # one per step and attempt
    return Run(spark, settings, run_id, tables, records), id_type


def _view_widths(run: Run) -> list[int]:
    """How many columns each view has in the vectors of the published run."""
    published = run.tables.read("runs").head()
    if published is not None and published["view_widths"]:
        return list(published["view_widths"])
    dim = run.config.embed.dim  # a run of 0.1.0, which had these two views if it was refined
    refined = run.config.refine.rounds > 0 or run.config.refine.hops > 0
    first = round(FIRST_VIEW_OF_0_1 * dim)
    return [width for width in (first, dim - first) if width] if refined else [dim]


def _count_rows(run: Run, rows: DataFrame, batch: str) -> dict[str, Any]:
    """Count the rows, and store the unusable ones in rejected_rows under the batch's name."""
    counts = count_rows(rows)
    rejected = rows.where("reason IS NOT NULL")
    source = f"batch {batch}"
    run.tables.write(
        "rejected_rows",
        rejected.select(F.lit(source).alias("source"), "reason", "file", "content"),
        part=f"source = '{source}'",
    )
    reasons = {row["reason"]: row["count"] for row in sorted(rejected.groupBy("reason").count().collect())}  # by reason
    if not counts.usable:
        worst = max(reasons, key=reasons.__getitem__, default="no row at all")
        raise InputError(
            f"no row of the new edges can be used ({counts.rows:,} read; most often: {worst}); see the table "
            f"{run.tables.location('rejected_rows')}"
        )
    return {"rows": counts.rows, "usable": counts.usable, "rejected": reasons, "loops": counts.loops}


def _nodes_of(run: Run, rows: DataFrame) -> DataFrame:
    """(node_id, id, vector): one row per distinct id in the rows; vector is null for nodes to be placed.

    A few ids are broadcast to the vectors, many are joined by a shuffle. New ids are numbered in sort order, after
    those of the run and of its earlier batches; an id that an earlier batch has numbered keeps its number.
    """
    ids = end_nodes(rows, "id").distinct()
    embeddings = run.tables.read("embeddings").select("node_id", "id", "vector")
    few = ids.limit(BROADCAST_IDS + 1).count() <= BROADCAST_IDS
    known = embeddings.join(F.broadcast(ids) if few else ids, on="id", how="inner").withColumn(
        "vector", F.when(F.exists("vector", lambda number: number != 0), F.col("vector"))
    )
    earlier = run.tables.read("placed_nodes").groupBy("id").agg(F.min("node_id").alias("node_id"))
    highest = run.tables.read("nodes").select("node_id").union(earlier.select("node_id")).agg(F.max("node_id")).head()
    new = ids.join(known.select("id"), on="id", how="left_anti")
    numbered = number_ids(new, earlier, highest[0] + 1 if highest is not None and highest[0] is not None else 0)
    return known.select("node_id", "id", "vector").union(
        numbered.select("node_id", "id", F.lit(None).cast("array<float>"))
    )


def _placed_rows(opened: DataFrame, arcs: DataFrame, found: DataFrame, dim: int) -> DataFrame:
    """Rows of placed_nodes without batch: every new node, with zeros if it is unreachable from any vector."""
    counts = arcs.groupBy("node_id").agg(F.count("*").alias("num_neighbours"))
    zeros = F.array_repeat(F.lit(0.0).cast("float"), dim)
    return (
        opened.join(counts, on="node_id", how="left")
        .join(found, on="node_id", how="left")
        .select(
            "node_id",
            "id",
            "hops",
            F.coalesce("vector", zeros).alias("vector"),
            F.coalesce("num_neighbours", F.lit(0)).alias("num_neighbours"),
            F.when(F.col("hops").isNull(), UNREACHABLE).otherwise(PLACED).alias("status"),
        )
    )


def _count_statuses(run: Run, batch: str) -> dict[str, int]:
    counts = {row["status"]: row["count"] for row in _placed(run, batch).groupBy("status").count().collect()}  # two
    return {PLACED: counts.get(PLACED, 0), UNREACHABLE: counts.get(UNREACHABLE, 0)}


def _predict(run: Run, batch: str, arcs: DataFrame, top_links: int) -> dict[str, Any]:
    """Predict links and labels of the placed nodes, replacing the batch's old ones; count them, name missing models."""
    placed = _placed(run, batch).where(F.col("status") == PLACED).select("node_id", "id", "vector")
    counts = {}
    with placed_links(run, placed, arcs, top_links) as links:
        found = {"links": links, "labels": placed_labels(run, placed)}
        for name, rows in found.items():
            rows = run.tables.read(f"placed_{name}").drop("batch").limit(0) if rows is None else rows
            counts[name] = write_batch(run, f"placed_{name}", rows, batch)
    asked = found if top_links else {"labels": found["labels"]}
    return {**counts, "no_model_of": [name for name, rows in asked.items() if rows is None]}


def _placed(run: Run, batch: str) -> DataFrame:
    return run.tables.read("placed_nodes").where(F.col("batch") == batch)


def write_batch(run: Run, name: str, rows: DataFrame, batch: str) -> int:
    """Replace the batch's rows of a table; returns how many there are now."""
    return run.tables.write(name, rows.withColumn("batch", F.lit(batch)), part=f"batch = '{batch}'")
