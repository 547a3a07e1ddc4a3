"""One process at a time works on a run, and what is published is what its steps wrote."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from conftest import make_config, run_steps, write_graph
from graphs import ZOO
from graphseam import lease as leases
from graphseam.errors import RunError
from graphseam.lease import LockedFile, RewrittenFile
from graphseam.pipeline import run_pipeline, run_step
from graphseam.progress import StepProgress
from graphseam.publish import publish, rows_there
from graphseam.schemas import table_names

HOLD = """
import sys, time
from pathlib import Path
from graphseam.lease import LockedFile
LockedFile(Path(sys.argv[1]), "r").take()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def elsewhere(tmp_path):
    """Another process that works on run r of the root tmp_path/tables."""
    path = tmp_path / "tables" / leases.FOLDER / "r"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process, path
    process.kill()
    process.wait()


def test_a_run_at_work_elsewhere_is_refused_with_who_and_a_killed_process_gives_it_back(elsewhere):
    process, path = elsewhere
    with pytest.raises(RunError, match=rf"process {process.pid} on .* since 20.* works on run 'r'; wait until"):
        LockedFile(path, "r").take()
    LockedFile(path.with_name("another"), "another").take()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    mine = LockedFile(path, "r")
    mine.take()
    assert json.loads(path.read_text())["pid"] == os.getpid()
    mine.give_back()
    assert not path.exists()
    mine.take()  # as often as one likes
    mine.give_back()


def test_the_pipeline_writes_nothing_into_a_run_at_work_elsewhere(spark, tmp_path, elsewhere):
    config = make_config(write_graph(ZOO[1], tmp_path), tmp_path / "tables")
    with pytest.raises(RunError, match=rf"process {elsewhere[0].pid} on .* works on run 'r'"):
        run_pipeline(config, "r", spark=spark)
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == [leases.FOLDER]


def test_a_rewritten_file_tells_a_process_at_work_from_one_that_is_gone(spark, tmp_path):
    """As where no file can be locked: an object store, HDFS."""

    def lease() -> RewrittenFile:
        # a busy machine may hold a beat up for seconds
        return RewrittenFile(spark, f"file://{tmp_path}/leases/r", "r", beat_s=0.2, stale_s=5.0)

    mine = lease()
    mine.take()
    with pytest.raises(RunError, match=rf"process {os.getpid()} on .* works on run 'r'"):
        lease().take()
    mine.require()
    mine._ended.set()  # as if killed: the file stays, and nothing rewrites it
    mine._thread.join()
    begun, other = time.monotonic(), lease()
    other.take()
    assert time.monotonic() - begun >= 5.0
    with pytest.raises(RunError, match="works on run 'r'"):
        mine.require()  # it comes back to life, and finds that the run is another's
    mine.give_back()  # which leaves the other's alone
    other.require()
    other.give_back()
    assert not (tmp_path / "leases" / "r").exists()
    other = lease()
    other.take()
    other.give_back()


@pytest.mark.parametrize("half_written", ["", "half"])
def test_a_file_that_is_just_being_rewritten_is_read_again(spark, tmp_path, half_written):
    """Empty, or not as its checksum says: what another process may see of a local file between two writes."""
    path = tmp_path / "r"
    lease = RewrittenFile(spark, f"file://{path}", "r", beat_s=1.0, stale_s=5.0)
    lease._write()
    whole = path.read_text()
    path.write_text(half_written)
    later = threading.Timer(0.4, path.write_text, [whole])
    later.start()
    lease.require()
    later.join()


def test_rows_that_something_else_removed_keep_a_run_from_being_published(spark, published, tmp_path):
    run = published.copied("planted", tmp_path, unpublish=True)
    wrote = {
        name: rows for step in run.records for name, rows in run.details(step["step"]).get("rows_written", {}).items()
    }
    assert {"nodes", "edges", "embeddings", "link_predictions", "similar_nodes", "metrics"} <= set(wrote)
    there = {name: run.tables.read(name).count() for name in table_names()}
    assert rows_there(run.tables, table_names()) == there
    spark.sql(f"DELETE FROM {run.tables.identifier('link_predictions')} WHERE run_id = 'newer' AND rank = 1")
    left = there["link_predictions"] - run.tables.read("link_predictions").count()
    assert left > 0
    told = (
        rf"link_predictions holds {there['link_predictions'] - left:,} rows of run 'newer', and predict_links wrote "
        rf"{there['link_predictions']:,}: .* not published; run jobs/predict.py again"
    )
    with pytest.raises(RunError, match=told):
        publish(run)
    assert run.tables.read("runs").count() == 0
    for step in ("predict_links", "predict_similar", "evaluate", "publish"):
        run_step(run, step, StepProgress(total=4))
    assert run.tables.read("runs").count() == 1


def test_a_table_with_more_files_than_spark_lists_at_once_is_read_through_its_log(spark, tmp_path, monkeypatch):
    """Straight from files or by Delta's own reader: the same rows, whatever the root is called."""
    root = tmp_path / "a [b]{c,d} 100% é*"
    config = make_config(write_graph(ZOO[1], tmp_path), root, predict={"links": {"top_k": 0}, "similar": {"top_k": 0}})
    run = run_steps(spark, config, "odd", last="partition")

    def all_rows() -> dict[str, list[str]]:
        return {name: sorted(map(str, run.tables.read(name).collect())) for name in names}

    # of both kinds of partitions, several commits, the driver's rows and none; the others are of these kinds
    names = ("nodes", "edges", "assignments", "subgraph_edges", "partition_levels", "run_steps", "runs", "embeddings")
    straight = all_rows()
    assert straight["edges"]
    assert [row for name in ("assignments", "partition_levels") for row in straight[name] if "level=1" in row]
    level = run.tables.read("assignments", 1).count()
    assert not re.search("Delta|delta", run.tables.read("edges")._jdf.queryExecution().toString())
    stats = run.tables.read("partition_levels", 2)  # of a table that is not partitioned by level
    assert stats.count() == 0
    monkeypatch.setattr("graphseam.local_delta.files_of", lambda *_: None)
    assert all_rows() == straight
    assert run.tables.read("assignments", 1).count() == level > 0
