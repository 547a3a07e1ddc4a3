"""What a run would take: costs fitted to measured runs, the plan as it is printed, and room on this machine's disk."""

from __future__ import annotations

import json
import re

import pytest

from conftest import make_config
from graphseam.calibrate import calibrate, settings_for, sizes_of
from graphseam.config import config_of
from graphseam.costs import CORE_SECONDS, LEARNING, MEASURES, Costs, fit, read_costs
from graphseam.errors import ConfigError, InputError, RunError
from graphseam.pipeline import run_step
from graphseam.planned import disk_of, duration
from graphseam.progress import StepProgress
from graphseam.room import require_room
from graphseam.runs import USAGE
from graphseam.steps import STEPS
from graphseam.usage import DISK_MB, SHUFFLED_MB, TABLES_MB, TASK_SECONDS, existing
from graphseam.whole_steps import TaskMemory, steps_in_one_task

TREE = {"input": {"edges": "edges.csv", "labels": "labels.csv"}, "output": {"root": "tables"}}


def a_config(**sections):
    return config_of({**TREE, **sections})


def measured(nodes: int, edges: int, step: str = "refine", cores: int = 2) -> dict:
    """What a step of known costs would have taken: 6 core-seconds, 20 µs an edge, 50 µs a node, bytes likewise."""
    return {
        "step": step,
        "nodes": nodes,
        "edges": edges,
        "cores": cores,
        "seconds": (6 + 20e-6 * edges + 50e-6 * nodes) / cores,
        SHUFFLED_MB: 10e-6 * edges + 500e-6 * nodes,
        DISK_MB: 12 + 900e-6 * nodes,
        TABLES_MB: 512e-6 * nodes,
    }


SIZES = [(10_000, 100_000), (50_000, 400_000), (60_000, 1_000_000), (300_000, 2_000_000)]


def test_costs_are_those_that_the_runs_were_made_of():
    costs = fit([measured(*size) for size in SIZES], 128, "nowhere")
    core_seconds = costs.of["refine"][CORE_SECONDS]
    assert core_seconds.fixed == pytest.approx(6, rel=1e-3)
    assert core_seconds.per_edge == pytest.approx(20e-6, rel=1e-3)
    assert core_seconds.per_node == pytest.approx(50e-6, rel=1e-3)
    forecast = costs.forecast(a_config(), 10**8, 10**9)["refine"]
    for measure, value in measured(10**8, 10**9).items():
        if measure in MEASURES:
            assert forecast[measure] == pytest.approx(value, rel=1e-3)
    assert costs.seconds_of(forecast, 128) == pytest.approx(3 + (20e3 + 5e3) / 128, rel=1e-3)
    twice = costs.forecast(a_config(embed={"dim": 256}), 10**8, 10**9)["refine"]
    assert twice[TABLES_MB] == pytest.approx(2 * forecast[TABLES_MB], rel=1e-3)


def test_a_step_that_one_task_does_alone_has_costs_of_its_own():
    rows = [{**measured(*size), "whole": whole} for size in SIZES for whole in (False, True)]
    rows = [{**row, "seconds": row["seconds"] / 4} if row["whole"] else row for row in rows]
    costs = fit(rows, 128, "here")
    parts, alone = (costs.forecast(a_config(), 10**6, 10**7, whole)["refine"] for whole in ((), {"refine"}))
    assert alone[CORE_SECONDS] == pytest.approx(parts[CORE_SECONDS] / 4, rel=1e-3)
    assert costs.seconds_of(alone, 2) == pytest.approx(alone[CORE_SECONDS] / 2, rel=1e-3)
    assert costs.forecast(a_config(), 10**6, 10**7, {"ingest"})["refine"] == parts


def test_learning_labels_stops_growing_and_is_not_shared_by_more_cores():
    rows = [measured(*size, "predict_nodes") for size in SIZES]
    rows += [{**measured(nodes, 0, LEARNING), "shuffled_mb": 0} for nodes, _ in SIZES]
    costs = fit(rows, 128, "here")
    small, large, larger = (
        costs.forecast(a_config(), nodes, 0)["predict_nodes"] for nodes in (200_000, 10**7, 2 * 10**7)
    )
    learning = 6 + 50e-6 * 200_000  # max_train_nodes
    assert small[CORE_SECONDS] == pytest.approx(6 + 50e-6 * 200_000 + learning, rel=1e-3)
    assert larger[CORE_SECONDS] - large[CORE_SECONDS] == pytest.approx(50e-6 * 10**7, rel=1e-3)
    assert costs.seconds_of(large, 1000) == pytest.approx((6 + learning) / 2 + 50e-6 * 10**7 / 1000, rel=1e-2)


def test_one_task_does_alone_what_its_memory_allows():
    here, elsewhere = TaskMemory(4000, 8000, here=True), TaskMemory(4000, 8000, here=False)
    small, large = (100_000, 500_000), (10**8, 10**9)
    assert steps_in_one_task(a_config(), *small, here) == {
        "ingest",
        "partition",
        "refine",
        "predict_links",
        "predict_similar",
    }
    assert steps_in_one_task(a_config(), *small, elsewhere) == {"partition", "refine"}
    assert not steps_in_one_task(a_config(), *large, here)
    off = a_config(run={"in_one_task": False}, partition={"coarsest_edges": 1000}, refine={"num_blocks": 4})
    assert not steps_in_one_task(off, *small, here)
    assert not TaskMemory.planned(0, executors=2, cores=4).here


def test_costs_survive_their_file_and_other_files_are_refused(tmp_path):
    rows = [{**measured(*size, step), "whole": whole} for size in SIZES for step in STEPS for whole in (False, True)]
    costs = fit(rows, 64, "here")
    assert set(costs.whole) == set(STEPS)
    path = tmp_path / "costs.json"
    path.write_text(costs.to_json())
    assert read_costs(str(path)) == costs
    for text in ("", "{}", "[]", '{"dim": 1, "cores": 1, "measured": "", "steps": {"refine": {"seconds": [1]}}}'):
        path.write_text(text)
        with pytest.raises(InputError, match="does not hold costs"):
            read_costs(str(path))
    with pytest.raises(InputError, match="does not hold costs"):
        read_costs(str(tmp_path / "none.json"))


def test_only_steps_that_have_something_to_do_are_planned():
    costs = fit([measured(*size, step) for size in SIZES for step in STEPS], 128, "here")
    assert list(costs.forecast(a_config(), 1000, 2000)) == list(STEPS)
    off = a_config(
        input={"edges": "edges.csv"}, predict={"links": {"top_k": 0}, "similar": {"top_k": 0}}, evaluate={"holdout": 0}
    )
    assert set(costs.forecast(off, 1000, 2000)) == {"ingest", "partition", "embed", "fuse", "refine", "publish"}


def test_the_disk_of_a_run_is_that_of_its_worst_moment():
    told = {"one": {DISK_MB: 50.0, TABLES_MB: 10.0}, "two": {DISK_MB: 30.0, TABLES_MB: 30.0}}
    assert disk_of(told) == 50
    assert disk_of(told | {"three": {DISK_MB: 20.0, TABLES_MB: 0.0}}) == 60
    assert [duration(seconds) for seconds in (3.2, 600, 36_000)] == ["3 s", "10 min", "10.0 h"]


def test_the_costs_brought_along_know_every_step():
    costs = read_costs()
    assert set(costs.of) == set(costs.whole) == {*STEPS, LEARNING}
    for measures in (*costs.of.values(), *costs.whole.values()):
        assert set(measures) == set(MEASURES)
        assert all(min(cost.fixed, cost.per_edge, cost.per_node) >= 0 for cost in measures.values())
    whole = costs.forecast(a_config(), 10**7, 10**8)
    assert all(told[CORE_SECONDS] > 0 for told in whole.values())
    assert whole["embed"][TABLES_MB] > 10**7 * 4 * 128 / 2**20  # float32 vectors can hardly be compressed


def test_calibration_keeps_the_settings_that_cost_and_replaces_those_of_small_graphs():
    tree = settings_for(a_config(embed={"dim": 32}, predict={"links": {"top_k": 3}, "similar": {"method": "exact"}}))
    assert (tree["embed"]["dim"], tree["predict"]["links"]["top_k"]) == (32, 3)
    assert tree["predict"]["links"]["candidates"] == "cells+two_hop"
    assert tree["predict"]["similar"]["method"] == "exact"  # as was asked for
    assert settings_for(a_config(evaluate={"holdout": 0.3}))["evaluate"]["holdout"] == 0.3
    assert "labels" not in settings_for(config_of({**TREE, "input": {"edges": "e.csv"}}))["input"]


@pytest.mark.parametrize("text", ["", "a", "10", "1000,x"])
def test_sizes_that_are_none_are_refused(text):
    with pytest.raises(ConfigError, match="numbers of edges apart by commas"):
        sizes_of(text)


def test_a_folder_that_is_not_there_yet_is_on_the_disk_above_it(tmp_path):
    assert existing(str(tmp_path / "a" / "b")) == str(tmp_path.resolve())


@pytest.mark.spark
def test_a_step_is_refused_where_the_disk_has_no_room_for_it(published, monkeypatch):
    """Also by a step before it; not where the check is switched off."""
    run = published("planted")
    steps = list(STEPS)
    require_room(run, steps)
    monkeypatch.setattr("graphseam.room.read_costs", lambda: vast("refine"))
    told = (
        r"step 'refine' is forecast to need [\d,.]+ GB of the disk that holds .*, and .* are free .*check_disk = false"
    )
    for first in ("ingest", "refine"):
        with pytest.raises(RunError, match=told):
            require_room(run, steps[steps.index(first) :])
    require_room(run, steps[steps.index("refine") + 1 :])
    require_room(run_with(run, check_disk=False), steps)


def vast(step: str) -> Costs:
    """Costs of which one step's are beyond any disk."""
    rows = [measured(*size, name) for size in SIZES for name in STEPS]
    return fit([{**row, DISK_MB: 1e12} if row["step"] == step else row for row in rows], 128, "here")


def run_with(run, **keys):
    from dataclasses import replace

    return replace(run, config=replace(run.config, run=replace(run.config.run, **keys)))


@pytest.mark.spark
def test_a_step_tells_what_it_used(published, tmp_path):
    run = published.copied("planted", tmp_path, unpublish=True)
    run_step(run, "fuse", StepProgress(total=1))
    usage = run.details("fuse")[USAGE]
    assert set(usage) == {TASK_SECONDS, SHUFFLED_MB, DISK_MB, TABLES_MB}
    assert 0 < usage[TASK_SECONDS] < 600
    assert usage[TABLES_MB] >= 0


@pytest.mark.spark
@pytest.mark.thorough
def test_costs_measured_here_plan_a_run(spark, tmp_path):
    """Of graphs so small that everything is fixed; the folder they were in is gone."""
    config = make_config({"edges": "none.csv", "labels": "made"}, tmp_path / "tables", embed={"dim": 16})
    costs = calibrate(spark, config, [2_000, 6_000])
    assert set(costs.of) == set(costs.whole) == {*STEPS, LEARNING}
    assert json.loads(costs.to_json())["dim"] == 16
    assert re.search(
        r"2,000, 6,000 edges \(community with 8 per node, .*rmat with 16 per node\) on local", costs.measured
    )
    assert not (tmp_path / "tables" / "_calibration").exists()
    assert sum(told[CORE_SECONDS] for told in costs.forecast(config, 1000, 5000).values()) > 5
    with pytest.raises(ConfigError, match="two sizes"):
        calibrate(spark, config, [2_000, 2_000])
