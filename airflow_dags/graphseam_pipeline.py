"""From raw edges to published embeddings and predictions, one spark-submit per step, or one for all.

Copy this one file into the DAGs folder; its name names the DAG, its pool, its variable and its asset. Nothing in it has
to be edited: docs/airflow.md describes the connection, the pool and the variable it needs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Asset, BaseSensorOperator, Connection, Param, RetryDecision, RetryPolicy, Variable
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

DAG_ID = Path(__file__).stem


def while_parsing(key: str, default: str) -> str:
    """A variable that Airflow needs when it parses this file, from the environment: the database is not queried."""
    return os.environ.get(f"AIRFLOW_VAR_{DAG_ID.upper()}_{key}", default)


CONNECTION, ALERTS = while_parsing("CONNECTION", "graphseam_spark"), "graphseam_alerts"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PUBLISHED = Asset(f"{DAG_ID}_published")

# step: the documentation of its task in the user interface
STEPS = {
    "ingest": "Reads the input, leaves loops out, merges duplicate edges, numbers the nodes, sets held-out edges "
    "aside. Rows that cannot be used are kept in `rejected_rows` with the reason.",
    "partition": "Cuts the graph into subgraphs, level by level. `graphseam partition-report` shows how well it cuts.",
    "embed": "Embeds the subgraphs in parallel, one per task, on GPUs where the step's Spark properties provide them. "
    "Memory is forecast before the work starts; an error names the subgraph and the setting to change.",
    "fuse": "Rotates the subgraphs' vectors into one frame.",
    "refine": "Refines the vectors over all edges, including those that were cut.",
    "predict": "Predicts links, labels and similar nodes. A retry keeps those of the three that are done.",
    "evaluate": "Measures how well held-out edges and labels are predicted.",
    "gate": "Compares the run with the newest published one, and **stops it if a measure dropped by more than "
    "`max_drop`**; `gate_checks` has every comparison. If the drop is justified (the data changed), mark this task "
    "as success: `publish` then goes on. Otherwise leave it: readers still see the previous run.",
    "publish": "Adds the run's one row to `runs`, after which the views show it, and updates the asset "
    f"`{PUBLISHED.name}` for the DAGs that wait for it.",
}
ONE_JOB = {
    "pipeline": "All steps in one job, for a graph so small that nine starts of Spark would take longer. It stops at "
    "the gate as the steps do; if the drop is justified, trigger a run with a larger `max_drop`."
}
TASKS = ONE_JOB if while_parsing("ONE_JOB", "false").lower() == "true" else STEPS
ON_FAILURE = """

**When it fails**: the log's last line that begins with `graphseam:` says what was found, what was expected and how to
fix it. Such an error is not retried, since it would occur again. Anything else (a lost executor, a full queue) is
retried, and the retry continues after the step's last finished part. After a fix *Clear* this task: the run continues
from here."""


def schedule(wanted: str) -> Any:
    """The schedule as DAG() takes it: of a cron line or preset, an asset's address (anything with ://), or "none"."""
    return None if wanted == "none" else [Asset(wanted)] if "://" in wanted else wanted


def run_name(dag_id: str, run_id: str) -> str:
    """The graphseam run of a DAG run: its id in characters allowed in a run id, and a hash to keep names distinct."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", run_id).strip("-._")[:100]
    return f"{safe or 'run'}-{hashlib.sha256(f'{dag_id}/{run_id}'.encode()).hexdigest()[:8]}"


def full_on(day: datetime, weekdays: list[str]) -> list[str]:
    """The override that makes the run of a day a full one, if `full_on` of the variable has its weekday."""
    unknown = sorted(set(weekdays) - set(WEEKDAYS))
    if unknown:
        raise ValueError(f"graphseam: `full_on` of the variable {DAG_ID!r} has {unknown}; give days such as 'sunday'")
    return ["run.incremental=false"] if WEEKDAYS[day.weekday()] in weekdays else []


def arguments(dag_run: Any, params: dict[str, Any], var: Any) -> list[str]:
    """The arguments of every job of a run. `{date}` in an override stands for the date of the run."""
    settings = var["json"].get(DAG_ID)
    day = dag_run.logical_date or dag_run.run_after
    date = day.strftime("%Y-%m-%d")
    overrides = [*settings.get("set", []), *full_on(day, settings.get("full_on", [])), *(params["set"] or [])]
    if params["max_drop"] is not None:
        overrides.append(f"gate.max_drop={params['max_drop']}")
    run = run_name(DAG_ID, dag_run.run_id)
    given = ["--config", params["config"] or settings["config"], "--run-id", run, "--resume"]
    return given + [part for override in overrides for part in ("--set", override.replace("{date}", date))]


def properties(step: str, var: Any) -> str:
    """The step's own file of Spark properties, including its resources, or else the one for all steps."""
    files = var["json"].get(DAG_ID).get("properties", {})
    return files.get(step, files.get("default", ""))


def complain(text: str) -> str:
    """graphseam's own message in the output of spark-submit, or an empty string."""
    found = re.findall(r"^graphseam: .+$", text, re.MULTILINE)
    return found[-1] if found else ""


class RetryUnlessTold(RetryPolicy):
    """No retry if graphseam itself reports what is wrong: the same input and settings would fail again."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        told = complain(str(exception))
        return RetryDecision.fail(told) if told else RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        return {}


def alert(context: Any) -> None:
    """After the last try: one message to the webhook of the connection graphseam_alerts, if there is one."""
    ti, error = context["ti"], str(context.get("exception") or "").strip()
    told = complain(error) or next(iter(error.splitlines()[-1:]), "the worker gave no reason")
    text = f"{DAG_ID}: {ti.task_id} of {run_name(DAG_ID, ti.run_id)} failed. {told[:1000]} {ti.log_url}"
    try:
        address = Connection.get(ALERTS).host
    except AirflowNotFoundException:
        return
    body = json.dumps({"text": text}).encode()
    try:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=30).close()
    except (OSError, ValueError) as failure:
        logging.getLogger(__name__).warning("the alert could not be sent to connection %s: %s", ALERTS, failure)


class WaitForTurn(BaseSensorOperator):
    """Checks the variable and the connection, then waits until the run of the previous date has ended and no step of
    another run is at work, so that the runs of a backfill are published in the order of their dates.
    """

    def poke(self, context: Any) -> bool:
        settings = Variable.get(DAG_ID, default={}, deserialize_json=True)
        if missing := {"jobs", "config"} - set(settings):
            raise AirflowFailException(
                f"graphseam: the variable {DAG_ID!r} lacks {' and '.join(sorted(missing))}, or "
                'is not JSON; it should be like {"jobs": "/opt/graphseam/jobs", "config": '
                '"/etc/nightly.toml"}'
            )
        try:
            Connection.get(CONNECTION)
        except AirflowNotFoundException:
            raise AirflowFailException(
                f"graphseam: there is no connection {CONNECTION!r}; add one of type Spark whose "
                "host is the master, such as yarn or local[4]"
            ) from None
        before = context["ti"].get_previous_dagrun()
        at_work = context["ti"].get_ti_count(
            dag_id=DAG_ID,
            task_ids=list(TASKS),
            states=["scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule"],
        )
        return at_work == 0 and (before is None or before.state != "running")


def announce(context: Any, result: Any = None) -> None:
    """Pass the name of the published run to the DAGs that wait for the asset."""
    run = context["dag_run"]
    context["outlet_events"][PUBLISHED].extra = {"run_id": run_name(DAG_ID, run.run_id), "pipeline": DAG_ID}


def submit(step: str, **more: Any) -> SparkSubmitOperator:
    """The job of a step; what differs between runs is in templates."""
    return SparkSubmitOperator(
        task_id=step,
        name=f"{DAG_ID}-{step}",
        conn_id=CONNECTION,
        application=f"{{{{ var.json.{DAG_ID}.jobs }}}}/{step}.py",
        application_args="{{ arguments(dag_run, params, var) }}",
        properties_file=f"{{{{ properties('{step}', var) }}}}",
        py_files=f"{{{{ var.json.{DAG_ID}.get('py_files', '') }}}}",
        doc_md=TASKS[step] + ON_FAILURE,
        **more,
    )


with DAG(
    dag_id=DAG_ID,
    doc_md=__doc__,
    schedule=schedule(while_parsing("SCHEDULE", "@daily")),
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,  # holds for all runs but backfills, which wait_for_turn keeps in order
    render_template_as_native_obj=True,  # `arguments` returns a list
    user_defined_macros={"arguments": arguments, "properties": properties},
    tags=["graphseam"],
    default_args={
        "owner": while_parsing("OWNER", "airflow"),
        "pool": DAG_ID,  # has one slot: no two jobs write into one root at once
        "retries": int(while_parsing("RETRIES", "2")),
        "retry_policy": RetryUnlessTold(),
        "on_failure_callback": alert,
        "execution_timeout": timedelta(hours=float(while_parsing("STEP_HOURS", "12"))),
    },
    params={
        "config": Param(
            None,
            type=["null", "string"],
            title="Configuration",
            description="TOML file; empty: `config` of the variable.",
        ),
        "set": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "pattern": r"^[a-z_]+(\.[a-z0-9_]+)+=.*$"},
            title="Overrides",
            description="section.key=value, for example embed.dim=64; {date} is the run's date.",
        ),
        "max_drop": Param(
            0.05,
            type=["null", "number"],
            minimum=0,
            maximum=1,
            title="Allowed drop",
            description="The relative drop that a measure may have since the last published run; 1: any drop, "
            "empty: `gate.max_drop` of the configuration.",
        ),
    },
):
    last: Any = WaitForTurn(
        task_id="wait_for_turn",
        poke_interval=30,
        timeout=7 * 24 * 3600,
        mode="reschedule",
        pool="default_pool",
        doc_md=WaitForTurn.__doc__,
    )
    for name in TASKS:
        publishes = name in ("publish", *ONE_JOB)
        following = submit(name, outlets=[PUBLISHED], post_execute=announce) if publishes else submit(name)
        last >> following
        last = following
