"""The DAGs as Airflow loads them: clean, quick, in order, and the very commands they submit."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from airflow.sdk import Asset, RetryPolicy
from airflow.sdk.exceptions import ParamValidationError

from conftest import DAGS, HOME, REPOSITORY, SETTINGS, module_of

STEPS = ["ingest", "partition", "embed", "fuse", "refine", "predict", "evaluate", "gate", "publish"]
RUN_ID = "scheduled__2026-01-02T00:00:00+00:00"
SCHEDULED = SimpleNamespace(run_id=RUN_ID, logical_date=datetime(2026, 1, 2, tzinfo=timezone.utc), run_after=None)
RUN_NAME = "scheduled__2026-01-02T00-00-00-00-00-4a09e028"
LOAD = """
import json, sys, warnings
warnings.simplefilter("error")
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1], known_pools={"default_pool", "graphseam_pipeline"})
heavy = sorted({"pyspark", "graphseam", "torch", "numpy", "pandas", "delta"} & set(sys.modules))
print(json.dumps({"errors": bag.import_errors, "warnings": [str(w) for w in bag.dag_warnings], "heavy": heavy,
                  "seconds": {stat.file: stat.duration.total_seconds() for stat in bag.dagbag_stats}}))
"""


TOLD = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder=sys.argv[1], known_pools={"default_pool", "graphseam_pipeline"})
print(json.dumps({dag_id: [[task.task_id, task.owner, getattr(task, "_conn_id", None), len(task.outlets),
                            getattr(task, "application", None)] for task in dag.topological_sort()]
                  for dag_id, dag in bag.dags.items()}))
"""


def test_airflow_loads_the_dags_cleanly_quickly_and_without_spark(database):
    done = subprocess.run([sys.executable, "-c", LOAD, str(DAGS)], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["errors"], told["warnings"], told["heavy"]) == ({}, [], [])
    assert set(told["seconds"]) == {"graphseam_pipeline.py", "graphseam_prune.py", "graphseam_links.py"}
    assert max(told["seconds"].values()) < 1, told["seconds"]


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.stem)
def test_a_dag_imports_airflow_and_the_standard_library_only(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        for name in names:
            assert name.split(".")[0] in {"airflow", *sys.stdlib_module_names}, name


def test_the_steps_stand_in_order_each_with_retries_a_timeout_and_the_pool_of_the_root(dags):
    dag = dags["graphseam_pipeline"]
    assert [task.task_id for task in dag.topological_sort()] == ["wait_for_turn", *STEPS]
    for task, following in zip(["wait_for_turn", *STEPS], [*STEPS, None], strict=True):
        assert dag.get_task(task).downstream_task_ids == ({following} if following else set())
    assert (dag.max_active_runs, dag.catchup) == (1, False)
    for step in STEPS:
        task = dag.get_task(step)
        assert (task.retries, task.pool, task.trigger_rule) == (2, "graphseam_pipeline", "all_success")
        assert task.execution_timeout == timedelta(hours=12)
        assert isinstance(task.retry_policy, RetryPolicy)
        assert "When it fails" in task.doc_md
        assert bool(task.outlets) == (step == "publish")
    assert dag.get_task("wait_for_turn").pool == "default_pool"  # who waits must not hold the slot it waits for


def test_who_owns_the_tasks_where_they_run_and_whether_in_one_job_are_settings(database):
    variables = {"ONE_JOB": "true", "OWNER": "fraud-team", "CONNECTION": "spark_of_fraud"}
    environment = {**os.environ, **{f"AIRFLOW_VAR_GRAPHSEAM_PIPELINE_{key}": told for key, told in variables.items()}}
    done = subprocess.run(
        [sys.executable, "-c", TOLD, str(DAGS)], capture_output=True, text=True, check=True, env=environment
    )
    told = json.loads(done.stdout.splitlines()[-1])
    jobs = "{{ var.json.graphseam_pipeline.jobs }}"
    theirs = ["fraud-team", "spark_of_fraud"]
    assert told == {
        "graphseam_pipeline": [
            ["wait_for_turn", "fraud-team", None, 0, None],
            ["pipeline", *theirs, 1, f"{jobs}/pipeline.py"],
        ],
        "graphseam_prune": [["prune", *theirs, 0, f"{jobs}/prune.py"]],
        "graphseam_links": [["export", *theirs, 0, f"{jobs}/export.py"]],
    }


def test_on_kubernetes_it_is_the_connection_that_differs(dags, monkeypatch):
    """As docs/airflow.md describes it; no cluster was there to run it, nor is its client installed here."""
    from airflow.providers.apache.spark.hooks import spark_submit

    monkeypatch.setattr(spark_submit, "kube_client", object(), raising=False)
    connection = {
        "conn_type": "spark",
        "host": "k8s://https://kubernetes.internal",
        "port": 6443,
        "extra": {"deploy-mode": "cluster", "namespace": "spark"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_GRAPHSEAM_SPARK", json.dumps(connection))
    monkeypatch.setenv(
        "AIRFLOW_VAR_GRAPHSEAM_PIPELINE", json.dumps({**SETTINGS, "jobs": "local:///opt/graphseam/jobs"})
    )
    command = rendered(dags["graphseam_pipeline"], "embed")
    assert command[:3] == ["spark-submit", "--master", "k8s://https://kubernetes.internal:6443"]
    assert "spark.kubernetes.namespace=spark" in command
    assert command[command.index("--deploy-mode") + 1] == "cluster"
    assert command[command.index("--config") - 1] == "local:///opt/graphseam/jobs/embed.py"


def test_prune_waits_for_the_pipelines_pool_and_links_for_its_asset(dags):
    assert dags["graphseam_prune"].get_task("prune").pool == "graphseam_pipeline"
    (asset,) = dags["graphseam_pipeline"].get_task("publish").outlets
    assert (
        dags["graphseam_links"].timetable.asset_condition == asset
        or asset in dags["graphseam_links"].timetable.asset_condition.objects
    )


def rendered(dag, task_id: str, conf: dict | None = None, run: SimpleNamespace = SCHEDULED, **more) -> list[str]:
    """The command that the task would submit."""
    from airflow.sdk.execution_time.context import VariableAccessor

    task = dag.get_task(task_id).prepare_for_execution()
    given = dag.params.dump() | (conf or {})
    task.render_template_fields(
        {
            "dag": dag,
            "task": task,
            "params": given,
            "dag_run": run,
            "var": {"json": VariableAccessor(deserialize_json=True)},
            **more,
        }
    )
    return task._get_hook()._build_spark_submit_command(task.application)


@pytest.mark.parametrize("step", STEPS)
def test_each_steps_command_is_this_one(dags, step):
    assert rendered(dags["graphseam_pipeline"], step) == [
        "spark-submit",
        "--master",
        "local[1]",
        "--properties-file",
        str(HOME / "spark.conf"),
        "--name",
        f"graphseam_pipeline-{step}",
        str(REPOSITORY / "jobs" / f"{step}.py"),
        "--config",
        str(HOME / "run.toml"),
        "--run-id",
        RUN_NAME,
        "--resume",
        "--set",
        f"input.edges={HOME}/edges/2026-01-02.csv",
        "--set",
        "gate.max_drop=0.05",
    ]


def test_parameters_go_over_the_variable_and_gpus_to_embedding_only(dags, monkeypatch):
    properties = {"default": "/etc/cpus.conf", "embed": "/etc/gpus.conf"}
    monkeypatch.setenv(
        "AIRFLOW_VAR_GRAPHSEAM_PIPELINE",
        json.dumps({**SETTINGS, "properties": properties, "py_files": "/opt/graphseam.whl", "set": ["run.seed=1"]}),
    )
    conf = {"config": "/etc/other.toml", "set": ["embed.dim=64", "input.edges=s3://a/{date}/"], "max_drop": None}
    for step in STEPS:
        command = rendered(dags["graphseam_pipeline"], step, conf)
        assert command[command.index("--properties-file") + 1] == properties.get(step, properties["default"])
        assert command[command.index("--py-files") + 1] == "/opt/graphseam.whl"
        assert command[command.index("--config") :] == [
            "--config",
            "/etc/other.toml",
            "--run-id",
            RUN_NAME,
            "--resume",
            "--set",
            "run.seed=1",
            "--set",
            "embed.dim=64",
            "--set",
            "input.edges=s3://a/2026-01-02/",
        ]


def test_runs_of_some_weekdays_are_full_ones(dags, monkeypatch):
    """2026-01-02 is a Friday. What somebody asks for by hand comes after, and so counts."""

    def commanded(days: list[str], conf: dict | None = None) -> list[str]:
        settings = {**SETTINGS, "set": ["run.base=auto"], "full_on": days}
        monkeypatch.setenv("AIRFLOW_VAR_GRAPHSEAM_PIPELINE", json.dumps(settings))
        command = rendered(dags["graphseam_pipeline"], "partition", conf)
        return [part for part in command if part.startswith("run.")]

    assert commanded(["friday", "sunday"]) == ["run.base=auto", "run.incremental=false"]
    assert commanded(["sunday"]) == commanded([]) == ["run.base=auto"]
    by_hand = {"set": ["run.incremental=true"]}
    assert commanded(["friday"], by_hand)[-1] == "run.incremental=true"
    with pytest.raises(ValueError, match=r"`full_on`.*'sonntag'.*'sunday'"):
        module_of(dags).full_on(datetime(2026, 1, 2), ["sonntag"])


def test_a_run_that_an_asset_began_has_a_name_and_a_date_too(dags):
    run = SimpleNamespace(
        run_id="asset_triggered__2026-01-05T01:02:03+00:00_aB",
        logical_date=None,
        run_after=datetime(2026, 1, 5, 1, 2, 3, tzinfo=timezone.utc),
    )
    command = rendered(dags["graphseam_pipeline"], "ingest", run=run)
    assert command[command.index("--run-id") + 1].startswith("asset_triggered__2026-01-05T01-02-03-00-00_aB-")
    assert f"input.edges={HOME}/edges/2026-01-05.csv" in command


def test_a_schedule_is_a_time_table_an_asset_or_none(dags):
    schedule = module_of(dags).schedule
    assert (schedule("none"), schedule("30 2 * * *")) == (None, "30 2 * * *")
    assert schedule("s3://lake/follows") == [Asset("s3://lake/follows")]


def test_prunes_and_links_commands_are_these(dags):
    prune = rendered(dags["graphseam_prune"], "prune", {"keep": 3, "dry_run": True})
    assert prune[prune.index(str(REPOSITORY / "jobs" / "prune.py")) :] == [
        str(REPOSITORY / "jobs" / "prune.py"),
        "--config",
        str(HOME / "run.toml"),
        "--dry-run",
        "--set",
        "prune.keep=3",
    ]
    events = [
        SimpleNamespace(timestamp=at, extra={"run_id": name, "pipeline": "graphseam_pipeline"})
        for at, name in ((2, "older"), (3, "the-run"), (1, "oldest"))
    ]
    links = rendered(dags["graphseam_links"], "export", triggering_asset_events={"asset": events})
    assert links[links.index(str(REPOSITORY / "jobs" / "export.py")) :] == [
        str(REPOSITORY / "jobs" / "export.py"),
        "--config",
        str(HOME / "run.toml"),
        "--table",
        "node_labels",
        "--output",
        f"{HOME}/exported",
        "--run-id",
        "the-run",
    ]


@pytest.mark.parametrize("conf", [{"set": ["no section"]}, {"set": "embed.dim=3"}, {"max_drop": 2}, {"config": 7}])
def test_parameters_are_typed(dags, conf):
    ((key, value),) = conf.items()
    with pytest.raises(ParamValidationError):
        dags["graphseam_pipeline"].params.get_param(key).resolve(value)


def test_a_runs_name_is_safe_and_no_two_share_it(dags):
    run_name = module_of(dags).run_name
    ids = [RUN_ID, "manual__2026-01-02T00:00:00.123456+00:00_aB3", "my run", "my-run", "x" * 250, "x" * 249, "::", "é"]
    names = [run_name("a", run_id) for run_id in ids] + [run_name("b", run_id) for run_id in ids]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", name) for name in names)


def test_what_graphseam_itself_tells_is_not_retried_and_all_else_is(dags):
    policy = module_of(dags).RetryUnlessTold()
    told = policy.evaluate(RuntimeError("Cannot execute: spark-submit\n26/01/02 INFO\ngraphseam: no such file"), 1, 3)
    assert (told.action.value, told.reason) == ("fail", "graphseam: no such file")
    lost = policy.evaluate(RuntimeError("Cannot execute: spark-submit --name graphseam_pipeline\nlost executor"), 1, 3)
    assert lost.action.value == "default"
