"""A real local Airflow and real spark-submit: a backfill with a killed job, the run after it, the gate.

It all happens once (minutes), and the tests read what is left of it: every step is a JVM. The pipeline in one job
publishes a run first, undisturbed; a backfill repeats it, disturbed; the scheduled run of today waits for it, and finds
no file. Last, a run with fewer edges is stopped at its gate.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise

import pytest

from conftest import HOME, REPOSITORY, airflow, module_of

pytestmark = pytest.mark.timeout(5000)

DATE = "2026-01-01"
UNDISTURBED = "undisturbed"
PYTHON = REPOSITORY / ".venv" / "bin" / "python"  # graphseam's environment: Spark, and a reader of Delta tables
TONIGHT = "scheduled__%"  # the run of today's date, which unpausing begins and which has no file
FIRST_PART, BACKFILLED = "[1/3] predict_links", "run_type = 'backfill'"
# Rows of a run, without what tells one run from another: its name, and the clock
READ = """
import json, os, sys
from deltalake import DeltaTable
root, names = sys.argv[1], sys.argv[2:]
runs = DeltaTable(root + "/runs").to_pyarrow_table().sort_by("published_at").to_pylist()
def rows(name, run):
    table = DeltaTable(f"{root}/{name}").to_pyarrow_table(filters=[("run_id", "=", run)]).drop_columns(["run_id"])
    return sorted(map(repr, table.to_pylist()))
tables = {name: {run: rows(name, run) for run in names[names.index("--") + 1:]} for name in names[:names.index("--")]}
print(json.dumps({"published": [run["run_id"] for run in runs], "tables": tables}))
sys.stdout.flush()
os._exit(0)  # a process in fifteen was aborted while it closed: Arrow's threads were still there
"""
COMPARED = ("nodes", "edges", "assignments", "embeddings", "node_predictions", "label_quality", "metrics")


def communities(num_nodes: int, kept: float, seed: int = 5) -> list[tuple[int, int]]:
    """A planted partition of five communities: `kept` of its edges."""
    rng = random.Random(seed)
    edges = [(a, b) for a in range(num_nodes) for b in range(a) if rng.random() < (0.2 if a % 5 == b % 5 else 0.01)]
    return rng.sample(edges, int(kept * len(edges)))


def publish_undisturbed() -> None:
    """Publish a run by the pipeline in one job, and keep an archive of the classes it loads for the jobs after it.

    Loading classes is most of what a job on a small graph does; the jobs then take half the time. Their properties are
    those of conf/spark-local.conf, with the archive.
    """
    lines = (REPOSITORY / "conf" / "spark-local.conf").read_text().splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.startswith("spark.driver.extraJavaOptions")]
    options, archive = lines[place], HOME / "classes.jsa"
    lines[place] = f"{options} -XX:ArchiveClassesAtExit={archive}"
    (HOME / "spark.conf").write_text("\n".join(lines))
    done = submit("pipeline", "--run-id", UNDISTURBED)
    assert done.returncode == 0, done.stderr[-2000:]
    assert archive.exists()
    lines[place] = f"{options} -XX:SharedArchiveFile={archive}"
    (HOME / "spark.conf").write_text("\n".join(lines))


def submit(job: str, *arguments: str) -> subprocess.CompletedProcess:
    """One of our jobs beside Airflow, with the settings that Airflow's have."""
    command = [
        "spark-submit",
        "--master",
        "local[1]",
        "--properties-file",
        f"{HOME}/spark.conf",
        f"{REPOSITORY}/jobs/{job}.py",
        "--config",
        f"{HOME}/run.toml",
        *arguments,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def graphs(database):
    """The input of one date, the same graph with a tenth of its edges missing, and a published run."""
    for name in ("edges", "exported"):
        (HOME / name).mkdir()
    for name, kept in ((DATE, 1.0), ("fewer", 0.9)):
        lines = ["src,dst", *(f"{a},{b}" for a, b in communities(200, kept))]
        (HOME / "edges" / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (HOME / "labels.csv").write_text("node,label\n" + "".join(f"{node},c{node % 5}\n" for node in range(200)))
    (HOME / "run.toml").write_text(f"""
[input]
edges = "{HOME}/edges/{DATE}.csv"
labels = "{HOME}/labels.csv"
[output]
root = "{HOME}/tables"
[embed]
dim = 8
[refine]
rounds = 1
hops = 1
[predict]
links.top_k = 0
similar.top_k = 0
""")
    publish_undisturbed()


def states(query: str) -> list[tuple]:
    """Rows of Airflow's own database, read beside it."""
    with sqlite3.connect(f"file:{HOME}/airflow.db?mode=ro", uri=True, timeout=30) as database:
        return database.execute(query).fetchall()


def log_of(dag_id: str, run_id: str, task_id: str, attempt: int | None = None) -> str:
    """What a task logged, in all its tries where none is named: a busy machine can add one of Airflow's own making."""
    folder = HOME / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
    return "".join(path.read_text() for path in sorted(folder.glob(f"attempt={attempt or '*'}.log")))


def wait_until(holds, what: str, seconds: int = 3600):
    """Poll until `holds()` is true; a task that failed for good ends the wait with its log."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        failed = states(
            "select dag_id, run_id, task_id, try_number from task_instance where state = 'failed' and "
            f"run_id not like '{TONIGHT}'"
        )
        assert not failed, f"{failed}: {log_of(*failed[0])[-3000:]}"
        assert time.monotonic() < end, f"{what} did not come: {states('select task_id, state from task_instance')}"
        time.sleep(0.5)
    return found


def kill_job(job: str) -> None:
    """SIGKILL the JVM of the job and its driver, as a lost worker would."""
    pattern = f"jobs/{job}.py --config {HOME}"
    listed = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=True)
    for pid in map(int, listed.stdout.split()):
        os.kill(pid, signal.SIGKILL)


@dataclass
class Told:
    """What is left once Airflow has stopped."""

    run: str  # of the DAG
    name: str  # of graphseam's run
    published: list[str]  # in the order of their publication
    tables: dict[str, dict[str, list[str]]]  # rows, by table and run
    answers: dict[
        str, int
    ]  # HTTP statuses of requests for a token: without a password, with a wrong one, the right one


def read_tables(*runs: str) -> dict:
    done = subprocess.run(
        [str(PYTHON), "-c", READ, f"{HOME}/tables", *COMPARED, "--", *runs], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def backfilled(graphs, dags):
    """A backfill of one date; its predict is killed once it has done the first of its three parts."""
    run_name = module_of(dags).run_name
    # Before the scheduler works: SQLite refuses a command that reads and then writes while another process writes
    airflow("dags", "reserialize")
    airflow("backfill", "create", "--dag-id", "graphseam_pipeline", "--from-date", DATE, "--to-date", DATE)
    ((run,),) = states(f"select run_id from dag_run where {BACKFILLED}")
    airflow("dags", "unpause", "graphseam_pipeline")
    log = (HOME / "standalone.log").open("w")
    server = subprocess.Popen(["airflow", "standalone"], stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: FIRST_PART in log_of("graphseam_pipeline", run, "predict", 1), "predict's first part")
        kill_job("predict")
        answers = asked_for_tokens()
        wait_until(
            lambda: states(
                f"select 1 from task_instance where run_id = '{run}' and task_id = 'gate' and state = 'running'"
            ),
            "the gate",
        )
        airflow("dags", "unpause", "graphseam_links")  # earlier it would have exported twice
        wait_until(
            lambda: states("select 1 from dag_run where dag_id = 'graphseam_links' and state = 'success'"),
            "the DAG that the asset starts",
        )
        wait_until(
            lambda: states(f"select 1 from dag_run where run_id like '{TONIGHT}' and state = 'failed'"),
            "the end of tonight's run",
        )
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        time.sleep(3)
        os.killpg(server.pid, signal.SIGKILL)
        log.close()
    name = run_name("graphseam_pipeline", run)
    return Told(run, name, **read_tables(UNDISTURBED, name), answers=answers)


def asked_for_tokens() -> dict[str, int]:
    """What Airflow answers to who wants to be let in."""
    address = f"http://127.0.0.1:{os.environ['AIRFLOW__API__PORT']}/auth/token"
    right = json.loads((HOME / "passwords.json").read_text())["admin"]
    sent = {"none": None, "wrong": {"username": "admin", "password": "admin"}}
    sent["right"] = {"username": "admin", "password": right}
    answers = {}
    for kind, body in sent.items():
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
        try:
            answers[kind] = urllib.request.urlopen(request, timeout=60).status
        except urllib.error.HTTPError as refused:
            answers[kind] = refused.code
    return answers


def test_whoever_has_no_password_is_not_let_in(backfilled):
    """A DAG runs code as its user, and the port is open to every account of the machine."""
    assert backfilled.answers == {"none": 403, "wrong": 401, "right": 201}
    assert HOME.stat().st_mode & 0o077 == 0


def test_a_backfill_reads_its_date_and_publishes(backfilled):
    assert DATE in backfilled.run
    assert backfilled.published == [UNDISTURBED, backfilled.name]
    assert states(f"select count(*) from dag_run where {BACKFILLED} and state = 'success'") == [(1,)]


def test_no_two_jobs_ran_at_once_and_the_later_run_waited_for_the_earlier(backfilled):
    """Both runs were there from the start."""
    spans = states(
        "select start_date, end_date, run_id from task_instance where pool = 'graphseam_pipeline' and "
        "state in ('success', 'failed') order by 1"
    )
    assert [run == backfilled.run for *_, run in spans] == [True] * 9 + [False]
    assert all(end <= start for (_, end, _), (start, _, _) in pairwise(spans))


def test_the_gate_passed_and_told_what_it_compared(backfilled):
    told = log_of("graphseam_pipeline", backfilled.run, "gate")
    assert f"measures as good as in run {UNDISTURBED}" in told


def test_a_killed_job_was_retried_and_kept_what_it_had_done(backfilled):
    ((tries, state),) = states(
        f"select try_number, state from task_instance where task_id = 'predict' and run_id = '{backfilled.run}'"
    )
    assert tries >= 2
    assert state == "success"
    retried = log_of("graphseam_pipeline", backfilled.run, "predict", 2)
    assert "[1/3] predict_links done before" in retried
    assert "[2/3] predict_nodes" in retried
    assert "predict_nodes done before" not in retried


def test_a_night_without_its_file_says_so_once_and_is_not_retried(backfilled):
    ((run, tries),) = states(
        f"select run_id, try_number from task_instance where run_id like '{TONIGHT}' and task_id = 'ingest'"
    )
    assert tries == 1
    log = log_of("graphseam_pipeline", run, "ingest")
    assert "graphseam: there is no file or directory" in log
    assert "Retry policy decision" in log


def test_the_asset_handed_on_which_run_to_read_and_the_views_are_on_it(backfilled):
    """node_labels is a view of the newest run: it has rows of the backfilled run only if that is the newest."""
    (run,) = [row[0] for row in states("select run_id from dag_run where dag_id = 'graphseam_links'")]
    told = log_of("graphseam_links", run, "export")
    assert f"--run-id {backfilled.name}" in told
    assert f"200 rows of node_labels written to {HOME}/exported" in told
    assert list((HOME / "exported").glob("part-*.parquet"))


@pytest.fixture
def webhook(monkeypatch):
    """What alerts reach the connection graphseam_alerts: a server on this machine keeps them."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    told: list[str] = []

    class Keeper(BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Keeper)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(
        "AIRFLOW_CONN_GRAPHSEAM_ALERTS",
        json.dumps({"conn_type": "http", "host": f"http://127.0.0.1:{server.server_port}/hook"}),
    )
    yield told
    server.shutdown()


@dataclass
class Stopped:
    """A run with a tenth of the edges missing."""

    date: datetime
    edges: str  # the override that chooses the graph
    name: str  # of graphseam's run
    told: str  # what the job printed


@pytest.fixture(scope="module")
def stopped(backfilled, dags):
    """The whole pipeline in one job, which ends at its gate."""
    date = datetime(2026, 2, 1, tzinfo=timezone.utc)
    name = module_of(dags).run_name("graphseam_pipeline", f"manual__{date.isoformat()}")
    edges = f"input.edges={HOME}/edges/fewer.csv"
    done = submit("pipeline", "--run-id", name, "--set", edges, "--set", "gate.max_drop=0.05")
    assert done.returncode == 1, done.stderr[-2000:]
    return Stopped(date, edges, name, done.stdout + done.stderr)


@pytest.mark.parametrize("table", COMPARED)
def test_nine_jobs_one_of_them_killed_write_what_one_undisturbed_job_does(backfilled, table):
    undisturbed = backfilled.tables[table][UNDISTURBED]
    assert len(undisturbed) > 0
    assert backfilled.tables[table][backfilled.name] == undisturbed


def test_a_worse_run_is_stopped_before_it_is_published(backfilled, stopped, dags, webhook):
    """The pipeline in one job stops at its gate, and so does the DAG that goes on from there."""
    from airflow.utils.state import DagRunState

    assert "edges fell by" in stopped.told
    dag = dags["graphseam_pipeline"]
    steps = "|".join(["wait_for_turn", *list(module_of(dags).STEPS)[:-2]])
    run = dag.test(
        run_after=stopped.date, logical_date=stopped.date, run_conf={"set": [stopped.edges]}, mark_success_pattern=steps
    )
    assert run.state == DagRunState.FAILED
    found = {ti.task_id: (ti.state, ti.try_number) for ti in run.get_task_instances()}
    assert found["gate"] == ("failed", 1)  # it would say the same again
    assert found["publish"][0] == "upstream_failed"
    (alert,) = webhook
    assert f"gate of {stopped.name} failed. graphseam: run '{stopped.name}' is not published" in alert
    assert "edges fell by" in alert
    assert read_tables()["published"] == backfilled.published


def test_prune_says_what_it_would_remove(backfilled, dags, capfd):
    run = dags["graphseam_prune"].test(
        logical_date=datetime(2026, 2, 2, tzinfo=timezone.utc), run_conf={"keep": 1, "dry_run": True}
    )
    assert run.state == "success"
    told = capfd.readouterr()
    assert f"1 published runs would be removed: {UNDISTURBED}" in told.out + told.err
