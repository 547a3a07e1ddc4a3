"""What a resumed run repeats: only what depends on a change; and the memory that a task may hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import make_config, run_steps, write_graph
from graphs import ZOO
from graphseam.embedding import embed
from graphseam.errors import MemoryBudgetError, RunError
from graphseam.ingest import ingest
from graphseam.pipeline import run_each
from graphseam.progress import StepProgress
from graphseam.runs import ROWS, USAGE, is_current, open_run, require_before
from graphseam.steps import ALL_STEPS, STEPS

UP_TO_REFINE = ("ingest", "partition", "embed", "fuse", "refine")
QUICK = {"embed": {"dim": 8}, "predict": {"links": {"top_k": 0}, "similar": {"top_k": 0}}}


def test_a_finished_run_is_not_done_again_and_changed_settings_redo_what_hangs_on_them(spark, published, tmp_path):
    same = published.copied("planted", tmp_path, "older")
    assert all(is_current(same, step) for step in STEPS)
    num_records = len(same.records)
    run_each(same, list(STEPS), StepProgress(len(STEPS)), resume=True)
    assert len(same.records) == num_records
    config = replace(same.config, embed=replace(same.config.embed, dim=6))
    with pytest.raises(RunError, match=r"'older' is published, .* give a new --run-id .*\(embed\.dim: \d+ -> 6\)"):
        open_run(spark, config, "older")
    same.tables.drop_run("runs")  # as if it had stopped before it was published
    changed = open_run(spark, config, "older")
    assert len(changed.records) == num_records
    assert {step for step in STEPS if is_current(changed, step)} == {"ingest"}  # the cut depends on the forecast
    with pytest.raises(RunError, match="step 'fuse' of run 'older' cannot start: step 'embed' was run with other"):
        require_before(changed, "fuse")


def test_a_repeated_step_replaces_its_rows(spark, published, tmp_path):
    """Up to refine; test_lease repeats the others, and publish counts their rows."""
    first = published.copied("planted", tmp_path)
    names = {name for step in STEPS.values() for name in step.writes if step.name in UP_TO_REFINE}
    before = {name: first.tables.read(name).count() for name in names}
    second = run_steps(spark, first.config, first.run_id, last="refine")
    assert {name: second.tables.read(name).count() for name in names} == before


AFTER_REFINE = ("refine", "predict_links", "predict_nodes", "predict_similar", "evaluate", "publish")
COMPARED = ("link_predictions", "node_predictions", "similar_nodes", "metrics", "reliability")


def rows_of(run, name):
    return sorted(map(repr, run.tables.read(name).collect()))


def test_steps_that_do_not_come_after_each_other_run_together_with_the_same_results(spark, published, tmp_path):
    """The fixture ran them one after the other. What each used is its own, and the report has its picture."""
    run = published.copied("lastfm", tmp_path, unpublish=True)
    before = {name: rows_of(run, name) for name in COMPARED}
    assert all(before.values())
    run_each(run, AFTER_REFINE, StepProgress(len(AFTER_REFINE)), resume=False)
    assert {name: rows_of(run, name) for name in COMPARED} == before
    links, nodes = (run.newest(step) for step in ("predict_links", "predict_nodes"))
    assert max(links["started_at"], nodes["started_at"]) < min(
        record["started_at"] + timedelta(seconds=record["seconds"]) for record in (links, nodes)
    )
    used = [run.details(step)[USAGE]["task_seconds"] for step in ("predict_links", "predict_nodes")]
    assert min(used) > 0
    assert sum(used) < 2 * (links["seconds"] + nodes["seconds"])
    written = [set(run.details(step)[ROWS]) for step in ("predict_links", "predict_nodes")]
    assert set(STEPS["predict_links"].writes) <= written[0]
    assert not written[0] & set(STEPS["predict_nodes"].writes)
    assert written[1] <= set(STEPS["predict_nodes"].writes)


def fails(run):
    raise RunError("on purpose")


def test_of_steps_that_run_together_one_that_fails_stops_the_run_and_the_other_is_kept(
    spark, published, tmp_path, monkeypatch
):
    run = published.copied("lastfm", tmp_path, unpublish=True)
    broken = replace(ALL_STEPS["predict_links"], function="test_resume:fails")
    monkeypatch.setitem(ALL_STEPS, "predict_links", broken)
    with pytest.raises(RunError, match="on purpose"):
        run_each(run, AFTER_REFINE[1:], StepProgress(5), resume=False)
    assert run.newest("predict_links") is None
    assert run.newest("predict_nodes")["started_at"] == run.records[-1]["started_at"]
    again = open_run(spark, run.config, run.run_id)
    assert not is_current(again, "evaluate")


def test_a_run_id_is_refused_for_other_inputs(spark, tmp_path):
    config = make_config(write_graph(ZOO[1], tmp_path), tmp_path / "tables", **QUICK)
    run_steps(spark, config, "inputs", last="ingest")
    write_graph(ZOO[2], tmp_path)
    with pytest.raises(RunError, match="begun on other input files"):
        open_run(spark, config, "inputs")


def test_a_killed_process_leaves_no_duplicate_rows(spark, tmp_path):
    """Rows that a process wrote before it was killed, with no record of the step, are replaced when it starts again."""
    config = make_config(write_graph(ZOO[4], tmp_path), tmp_path / "tables", **QUICK)
    killed = open_run(spark, config, "killed")
    ingest(killed)  # and no record of it
    run = run_steps(spark, config, "killed", last="ingest")
    assert run.tables.read("nodes").count() == 20
    assert run.tables.read("edges").count() == 91


@pytest.fixture(scope="module")
def long_path(tmp_path_factory):
    """A path of 20,000 nodes: at 2,048 columns more than the smallest budget holds."""
    folder, nodes = tmp_path_factory.mktemp("long"), np.arange(20_000)
    pq.write_table(pa.table({"src": nodes[:-1], "dst": nodes[1:]}), folder / "edges.parquet")
    return {"edges": str(folder / "edges.parquet")}


def test_subgraphs_are_made_small_enough_for_the_memory_of_a_task(spark, tmp_path, long_path):
    config = make_config(
        long_path, tmp_path / "tables", run={"task_memory_mb": 96}, embed={"dim": 512}, refine={"rounds": 0, "hops": 0}
    )
    run = run_steps(spark, config, "split", last="embed")
    assert run.details("partition")["subgraphs"] > 5
    assert run.details("embed")["vectors"] >= 19_000


def test_a_subgraph_over_the_budget_is_refused_by_name(spark, tmp_path, long_path):
    config = make_config(long_path, tmp_path / "tables", embed={"dim": 512}, refine={"rounds": 0, "hops": 0})
    run_steps(spark, config, "named", last="partition")
    tight = make_config(
        long_path, tmp_path / "tables", embed={"dim": 512}, refine={"rounds": 0, "hops": 0}, run={"task_memory_mb": 64}
    )
    with pytest.raises(MemoryBudgetError, match=r"subgraph 0 .*a task may hold 64 .*; lower partition.max_subgraph"):
        embed(open_run(spark, tight, "named"))
