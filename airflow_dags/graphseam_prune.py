"""Once a week: remove runs that the configuration's [prune] section does not keep, and files that no table needs.

It reads the variable, connection, owner and pool of the pipeline it cleans up after, which the environment names.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Param

DAG_ID = Path(__file__).stem
PIPELINE = os.environ.get(f"AIRFLOW_VAR_{DAG_ID.upper()}_PIPELINE", "graphseam_pipeline")
CONNECTION = os.environ.get(f"AIRFLOW_VAR_{PIPELINE.upper()}_CONNECTION", "graphseam_spark")
OWNER = os.environ.get(f"AIRFLOW_VAR_{PIPELINE.upper()}_OWNER", "airflow")


def arguments(params: dict[str, Any], var: Any) -> list[str]:
    """The pipeline's configuration and overrides, without those of its input, which would need a date."""
    settings = var["json"].get(PIPELINE)
    overrides = [override for override in settings.get("set", []) if not override.startswith("input.")]
    if params["keep"] is not None:
        overrides.append(f"prune.keep={params['keep']}")
    # The input is not read; the configuration only has to name one
    given = ["--config", settings["config"], *(["--dry-run"] if params["dry_run"] else [])]
    return given + [part for override in overrides for part in ("--set", override)]


with DAG(
    dag_id=DAG_ID,
    doc_md=__doc__,
    schedule=None if (when := os.environ.get(f"AIRFLOW_VAR_{DAG_ID.upper()}_SCHEDULE", "@weekly")) == "none" else when,
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    render_template_as_native_obj=True,
    user_defined_macros={"arguments": arguments},
    tags=["graphseam"],
    default_args={"owner": OWNER},
    params={
        "keep": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Runs kept",
            description="Published runs to keep; empty: prune.keep of the configuration.",
        ),
        "dry_run": Param(False, type="boolean", title="Dry run", description="Only report what would be removed."),
    },
):
    SparkSubmitOperator(
        task_id="prune",
        name=DAG_ID,
        conn_id=CONNECTION,
        application=f"{{{{ var.json.{PIPELINE}.jobs }}}}/prune.py",
        application_args="{{ arguments(params, var) }}",
        properties_file=f"{{{{ var.json.{PIPELINE}.get('properties', {{}}).get('default', '') }}}}",
        py_files=f"{{{{ var.json.{PIPELINE}.get('py_files', '') }}}}",
        pool=PIPELINE,  # waits for the pipeline's running step, and keeps the next from starting
        retries=2,
        execution_timeout=timedelta(hours=12),
        doc_md="Removes old runs from every table in one commit each, then deletes files older than a week that no "
        "version needs. The log names every run that was removed and every run that was kept. The task may be "
        "cleared and repeated at any time.",
    )
