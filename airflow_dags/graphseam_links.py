"""An example of a DAG that waits for published predictions: when the pipeline publishes, it exports the run's links.

Copy it and put your own work in place of the export: load the files into a service, warm a cache, send a report.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Asset, Param

DAG_ID = Path(__file__).stem
PIPELINE = os.environ.get(f"AIRFLOW_VAR_{DAG_ID.upper()}_PIPELINE", "graphseam_pipeline")
CONNECTION = os.environ.get(f"AIRFLOW_VAR_{PIPELINE.upper()}_CONNECTION", "graphseam_spark")
OWNER = os.environ.get(f"AIRFLOW_VAR_{PIPELINE.upper()}_OWNER", "airflow")
TABLES = ["top_links", "link_predictions", "node_labels", "node_predictions", "similar_nodes", "embeddings"]


def arguments(params: dict[str, Any], var: Any, events: Any) -> list[str]:
    """The run that the asset's event names, so that a later one cannot get in between; by hand, the newest."""
    settings = var["json"].get(PIPELINE)
    mine = var["json"].get(DAG_ID, {})
    table, output = params["table"] or mine.get("table", "top_links"), params["output"] or mine.get("output", "")
    if not output:
        raise ValueError(
            f"graphseam: there is no directory to write to; set `output` in the variable {DAG_ID!r} or as a parameter"
        )
    # There are several, in no order, if runs were published while this DAG was paused
    told = sorted(
        (event for found in (events or {}).values() for event in found if "run_id" in event.extra),
        key=lambda event: event.timestamp,
    )
    overrides = [override for override in settings.get("set", []) if not override.startswith("input.")]
    given = ["--config", settings["config"], "--table", table, "--output", output]
    return [
        *given,
        *(["--run-id", told[-1].extra["run_id"]] if told else []),
        *[part for override in overrides for part in ("--set", override)],
    ]


with DAG(
    dag_id=DAG_ID,
    doc_md=__doc__,
    schedule=[Asset(f"{PIPELINE}_published")],
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
    max_active_runs=1,
    render_template_as_native_obj=True,
    user_defined_macros={"arguments": arguments},
    tags=["graphseam"],
    default_args={"owner": OWNER},
    params={
        "table": Param(
            None,
            enum=[None, *TABLES],
            title="Table",
            description="A public table or view; empty: `table` of the variable, or top_links.",
        ),
        "output": Param(
            None,
            type=["null", "string"],
            title="Output",
            description="Directory for the Parquet files; empty: `output` of the variable.",
        ),
    },
):
    SparkSubmitOperator(
        task_id="export",
        name=DAG_ID,
        conn_id=CONNECTION,
        application=f"{{{{ var.json.{PIPELINE}.jobs }}}}/export.py",
        application_args="{{ arguments(params, var, triggering_asset_events) }}",
        properties_file=f"{{{{ var.json.{PIPELINE}.get('properties', {{}}).get('default', '') }}}}",
        py_files=f"{{{{ var.json.{PIPELINE}.get('py_files', '') }}}}",
        retries=2,
        execution_timeout=timedelta(hours=2),
        doc_md="Writes the rows of the run that was just published as Parquet files. The directory's contents are "
        "replaced, so that the task may be repeated.",
    )
