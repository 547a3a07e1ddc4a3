"""publish: one last row in `runs`; until it is there, no view shows the run."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from graphseam.errors import RunError
from graphseam.runs import Run, input_fingerprint, versions
from graphseam.steps import step_fingerprint


def publish(run: Run) -> dict[str, Any]:
    """Check that the run is complete, and publish it in one commit.

    Errors: RunError if a node has no vector or more than one.
    """
    ingested = run.ingested
    vectors = run.tables.read("embeddings")
    num_vectors, num_nodes = vectors.count(), vectors.select("node_id").distinct().count()
    if not num_vectors == num_nodes == ingested.nodes:
        raise RunError(
            f"run {run.run_id!r} has {num_vectors:,} vectors of {num_nodes:,} nodes for "
            f"{ingested.nodes:,} nodes; run jobs/refine.py again"
        )
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
    run.tables.create_catalog_views()
    return {"vectors": num_vectors}
