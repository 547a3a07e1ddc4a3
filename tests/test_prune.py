"""Which runs prune keeps, and that every row of the others is removed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from conftest import publish_row
from graphseam.errors import ConfigError, RunError
from graphseam.lease import held
from graphseam.prune import prune, sort_runs, tell
from graphseam.sections import OutputConfig, PruneConfig
from graphseam.tables import Tables

NOW = datetime.now(timezone.utc)


def add_run(
    spark, root, run_id: str, days_ago: float, published: bool = True, config: dict | None = None, base: str = ""
) -> None:
    """A run that has a step, a vector, and its row in runs if it is published."""
    tables = Tables(spark, OutputConfig(root=str(root)), run_id)
    at = NOW - timedelta(days=days_ago)
    tables.write_rows("embeddings", [{"node_id": 0, "id": "a", "vector": [0.0]}])
    tables.append_rows(
        "run_steps",
        [
            {
                "step": "partition",
                "status": "finished",
                "started_at": at,
                "seconds": 60.0,
                "peak_memory_mb": 1.0,
                "details": json.dumps({"kept_from": base} if base else {}),
                "config_fingerprint": "",
                "input_fingerprint": "",
            }
        ],
    )
    if published:
        publish_row(tables, at, config=json.dumps(config or {}))


@pytest.fixture(scope="module")
def tables(spark, tmp_path_factory):
    """Five published runs: the newest names the third, the third names the fourth; two unpublished ones."""
    root = tmp_path_factory.mktemp("prune") / "tables"
    add_run(spark, root, "five", 50)
    add_run(spark, root, "four", 40)
    add_run(spark, root, "three", 30, config={"embed": {"warm_start": "four"}})
    add_run(spark, root, "two", 20)
    add_run(
        spark, root, "one", 10, config={"predict": {"links": {"model_run": "three"}}, "embed": {"warm_start": "border"}}
    )
    add_run(spark, root, "at-work", 1, published=False)
    add_run(spark, root, "abandoned", 8, published=False)
    return Tables(spark, OutputConfig(root=str(root)))


def runs_in(tables: Tables, name: str) -> set[str]:
    return {row["run_id"] for row in tables.all_runs(name).select("run_id").distinct().collect()}


def test_the_newest_stay_with_the_runs_they_name_and_those_at_work(tables):
    runs = sort_runs(tables, PruneConfig(keep=1))
    assert (runs.kept, runs.needed, runs.unfinished) == (["one"], ["three", "four"], ["at-work"])
    assert (runs.published, runs.abandoned) == (["two", "five"], ["abandoned"])
    assert sort_runs(tables, PruneConfig(keep=9)).removed == ["abandoned"]
    assert sort_runs(tables, PruneConfig(keep=9, unpublished_days=30)).removed == []


def test_a_run_at_work_and_the_base_that_it_updates_stay(spark, tmp_path):
    for days, name in enumerate(("two", "one"), start=20):
        add_run(spark, tmp_path, name, days)
    add_run(spark, tmp_path, "tonight", 1, published=False, base="one")
    add_run(spark, tmp_path, "slow", 9, published=False)
    add_run(spark, tmp_path, "three", 1)
    tables = Tables(spark, OutputConfig(root=str(tmp_path)))
    with held(spark, tables.output, "slow"):
        runs = prune(tables, PruneConfig(keep=1))
    assert (runs.kept, runs.needed, runs.published, runs.abandoned) == (["three"], ["one"], ["two"], [])
    assert runs.unfinished == ["tonight", "slow"]
    assert runs_in(tables, "embeddings") == {"three", "one", "tonight", "slow"}


def test_a_dry_run_only_tells(tables):
    runs = prune(tables, PruneConfig(keep=1), dry_run=True)
    assert "2 published runs would be removed: two, five" in tell(runs, dry_run=True)
    assert len(runs_in(tables, "embeddings")) == 7


def test_removed_runs_have_no_row_left_and_the_others_all_of_theirs(spark, tables, tmp_path):
    shutil.copytree(tables.output.root, tmp_path / "tables")
    tables = Tables(spark, OutputConfig(root=str(tmp_path / "tables")))
    before = {row["run_id"]: row["vector"] for row in tables.all_runs("embeddings").collect()}
    copies = Path(tables.output.root, "_graphframe")
    for run_id in before:
        (copies / run_id / "edges").mkdir(parents=True)
        reports = Path(tables.output.root, "reports")
        reports.mkdir(exist_ok=True)
        (reports / f"{run_id}.html").write_text("")
    removed = prune(tables, PruneConfig(keep=1))
    assert "1 abandoned runs removed: abandoned" in tell(removed, dry_run=False)
    stay = {"one", "three", "four", "at-work"}
    assert runs_in(tables, "embeddings") == runs_in(tables, "run_steps") == stay
    assert runs_in(tables, "runs") == stay - {"at-work"}
    assert {copy.name for copy in copies.iterdir()} == stay & set(before)
    assert {page.stem for page in reports.iterdir()} == stay & set(before)
    assert {row["run_id"]: row["vector"] for row in tables.all_runs("embeddings").collect()} == {
        run: vector for run, vector in before.items() if run in stay
    }
    assert prune(tables, PruneConfig(keep=1)).removed == []


def test_a_prune_that_was_stopped_finds_the_rest_the_next_time(spark, tmp_path):
    root = tmp_path / "tables"
    add_run(spark, root, "newer", 1)
    add_run(spark, root, "older", 30)
    tables = Tables(spark, OutputConfig(root=str(root)))
    tables.drop_runs("runs", ["older"])  # unfinished
    assert sort_runs(tables, PruneConfig(keep=1)).abandoned == ["older"]


def test_a_root_without_a_published_run_is_left_alone(spark, tmp_path):
    with pytest.raises(RunError, match="no run is published under"):
        prune(Tables(spark, OutputConfig(root=str(tmp_path / "tables"))), PruneConfig())


@pytest.mark.parametrize(("key", "value"), [("keep", 0), ("unpublished_days", 0.5), ("vacuum_hours", 1)])
def test_what_could_lose_something_is_refused(key, value):
    with pytest.raises(ConfigError, match=f"prune.{key} is {value}; give"):
        replace(PruneConfig(), **{key: value})
