"""publish: one last row in `runs`; until it is there, no view shows the run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timezone
from functools import reduce
from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.errors import RunError
from graphseam.runs import ROWS, Run, input_fingerprint, versions
from graphseam.steps import ALL_STEPS, LAST, step_fingerprint
from graphseam.tables import Tables
from graphseam.views import create_catalog_views


def publish(run: Run) -> dict[str, Any]:
    """Check that the run is complete, and publish it in one commit.

    Errors: RunError if a node has no vector or more than one, if a table holds more or fewer rows of the run than the
    steps wrote, or if another process has taken over the run.
    """
    ingested = run.ingested
    require_what_was_written(run)
    vectors = run.tables.read("embeddings")
    num_vectors, num_nodes = vectors.count(), vectors.select("node_id").distinct().count()
    if not num_vectors == num_nodes == ingested.nodes:
        raise RunError(
            f"run {run.run_id!r} has {num_vectors:,} vectors of {num_nodes:,} nodes for "
            f"{ingested.nodes:,} nodes; run jobs/refine.py again"
        )
    if run.lease is not None:
        run.lease.require()
    refined = run.details("refine")
    durations = {record["step"]: round(record["seconds"], 3) for record in run.records}
    run.tables.write_rows(
        "runs",
        [
            {
                "status": "published",
                "published_at": datetime.now(timezone.utc),
                "seed": run.config.run.seed,
                "config": run.config.to_json(),
                "config_fingerprint": step_fingerprint(run.config, "publish"),
                "input_fingerprint": input_fingerprint(run.config),
                "id_type": ingested.id_type,
                "num_nodes": ingested.nodes,
                "num_edges": ingested.edges,
                "dim": run.config.embed.dim,
                "view_widths": refined.get("view_widths"),
                "window_weight": refined.get("window_weight"),
                "durations": json.dumps(durations),
                "versions": json.dumps(versions(run.spark)),
            }
        ],
    )
    create_catalog_views(run.tables)
    return {"vectors": num_vectors}


def require_what_was_written(run: Run) -> None:
    """RunError unless each table holds as many of the run's rows as the steps say they wrote: before it is published.

    A step of an earlier version told nothing, and is not asked.
    """
    wanted: dict[str, dict[str, int]] = {}
    for step in ALL_STEPS:
        if step == LAST:  # an earlier attempt's, and it is about to write its row anew
            continue
        for name, rows in run.details(step).get(ROWS, {}).items():
            wanted.setdefault(name, {})[step] = rows
    there = rows_there(run.tables, wanted)
    for name, by_step in wanted.items():
        if there[name] != sum(by_step.values()):
            steps = " and ".join(by_step)
            jobs = " and ".join(dict.fromkeys(f"jobs/{ALL_STEPS[step].job}.py" for step in by_step))
            raise RunError(
                f"{run.tables.location(name)} holds {there[name]:,} rows of run {run.run_id!r}, and {steps} wrote "
                f"{sum(by_step.values()):,}: something else has changed them. The run is not published; run {jobs} "
                "again with the same --run-id"
            )


def rows_there(tables: Tables, names: Iterable[str]) -> dict[str, int]:
    """{table: its rows of the run}; from the files' footers in a local session, else by one query."""
    found: dict[str, int] = {}
    asked: list[DataFrame] = []
    for name in names:
        if not tables.exists(name):  # a step had nothing to write into it
            found[name] = 0
            continue
        files = tables.files(name)
        if files is None:
            asked.append(tables.read(name).agg(F.lit(name).alias("name"), F.count(F.lit(1)).alias("rows")))
        else:
            found[name] = sum(pq.read_metadata(file).num_rows for file in files)
    rows = reduce(DataFrame.unionAll, asked).collect() if asked else []
    return {**found, **{row["name"]: row["rows"] for row in rows}}
