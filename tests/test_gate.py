"""The gate: what is compared, what stops a run, and that a stopped run is invisible."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import make_config, publish_row, write_graph
from graphs import ZOO
from graphseam.errors import ConfigError, GateError
from graphseam.gate import compare, gate
from graphseam.runs import Run
from graphseam.sections import GateConfig
from graphseam.steps import STEPS, steps_of
from graphseam.tables import Tables

INGESTED = '{"id_type": "integer", "rows": 20, "nodes": 10, "edges": 20}'  # what ingest reported

MEASURES = st.dictionaries(st.tuples(*[st.sampled_from(["auc", "x"])] * 4), st.floats(0, 1), max_size=8)


@given(new=MEASURES, previous=MEASURES, max_drop=st.floats(0, 1))
def test_a_check_passes_exactly_when_the_measure_is_there_and_fell_by_no_more_than_allowed(new, previous, max_drop):
    checks = {check.measure: check for check in compare(new, previous, max_drop)}
    assert set(checks) == set(previous)
    for measure, check in checks.items():
        if measure not in new:
            assert not check.passed
        elif new[measure] >= previous[measure]:
            assert check.passed
        else:
            assert check.passed == ((previous[measure] - new[measure]) / previous[measure] <= max_drop)


@given(new=MEASURES, previous=MEASURES)
def test_what_is_gone_comes_first_and_then_the_deepest_falls(new, previous):
    falls = [check.fall for check in compare(new, previous, 0.1)]
    told = [fall for fall in falls if fall is not None]
    assert falls == [None] * (len(falls) - len(told)) + sorted(told, reverse=True)


def measured(spark, root, run_id: str, values: dict[str, float], published: int | None = None, **sections) -> Run:
    """A run with only what the gate reads: metrics, and its row in runs if it is published."""
    config = make_config({"edges": "unused"}, root, gate={"max_drop": 0.05, **sections})
    run = Run(spark, config, run_id, Tables(spark, config.output, run_id))
    run.tables.write_rows(
        "metrics",
        [
            {
                "task": "link_prediction",
                "metric": name.split("/")[0],
                "variant": "uniform",
                "scorer": name.split("/")[1],
                "stratum": "all",
                "value": value,
                "support": 10,
            }
            for name, value in values.items()
        ],
    )
    run.records.append({"step": "ingest", "status": "finished", "details": INGESTED})
    if published is not None:
        at = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(days=published)
        publish_row(run.tables, at)
    return run


@pytest.fixture(scope="module")
def root(spark, tmp_path_factory):
    """Two published runs: `old` is better than `new`, the one that is compared with."""
    folder = tmp_path_factory.mktemp("gate") / "tables"
    measured(spark, folder, "old", {"auc/cosine": 0.99, "auc/degree_product": 0.9}, published=1)
    measured(spark, folder, "new", {"auc/cosine": 0.90, "auc/degree_product": 0.9}, published=2)
    return folder


def test_the_first_run_of_a_root_passes(spark, tmp_path):
    told = gate(measured(spark, tmp_path / "tables", "first", {"auc/cosine": 0.5}))
    assert told == {"told": "no run is published yet, so there is none to compare with", "compared": 0}


def test_a_run_is_compared_with_the_newest_published_by_its_own_scorers(spark, root):
    run = measured(spark, root, "as-good", {"auc/cosine": 0.89, "auc/degree_product": 0.1})
    told = gate(run)
    assert (told["previous_run_id"], told["compared"]) == ("new", 3)  # auc, nodes, edges
    assert "the worst, auc (uniform, cosine) fell by 1.1% from 0.9000 to 0.8900" in told["told"]
    checks = run.tables.read("gate_checks").collect()
    assert {(row["metric"], row["passed"]) for row in checks} == {("auc", True), ("nodes", True), ("edges", True)}


@pytest.mark.parametrize(
    ("run_id", "values", "message"),
    [
        (
            "worse",
            {"auc/cosine": 0.80},
            r"auc \(uniform, cosine\) fell by 11.1% from 0.9000 to 0.8000; gate.max_drop al",
        ),
        ("gone", {"ap/cosine": 0.99}, r"auc \(uniform, cosine\) is not there and was 0.9000; gate.max_drop"),
    ],
)
def test_a_worse_run_is_refused_with_what_fell_and_the_way_out(spark, root, run_id, values, message):
    run = measured(spark, root, run_id, values)
    with pytest.raises(GateError, match=f"run '{run_id}' is not published, being worse than run 'new': {message}"):
        gate(run)
    assert run.tables.read("gate_checks").where("NOT passed").count() == 1


def test_only_the_chosen_measures_count(spark, root):
    run = measured(spark, root, "chosen", {"auc/cosine": 0.1}, measures="nodes, edges")
    assert gate(run)["compared"] == 2


def test_a_published_run_is_compared_with_the_one_before_it(spark, root):
    config = make_config({"edges": "unused"}, root, gate={"max_drop": 0.05})
    again = Run(
        spark,
        config,
        "new",
        Tables(spark, config.output, "new"),
        [{"step": "ingest", "status": "finished", "details": INGESTED}],
    )
    with pytest.raises(GateError, match="worse than run 'old'"):
        gate(again)


def test_the_gate_is_a_step_only_where_it_can_stop_a_run(tmp_path):
    section = write_graph(ZOO[1], tmp_path)
    assert steps_of(make_config(section, tmp_path)) == list(STEPS)
    assert steps_of(make_config(section, tmp_path, gate={"max_drop": 0.1}))[-2:] == ["gate", "publish"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"max_drop": 1.5}, "gate.max_drop is 1.5; give a share"),
        ({"measures": " , "}, "gate.measures is ' , '; give one measure"),
        ({"measures": "auc, ece"}, "gate.measures is 'ece', which is not known"),
    ],
)
def test_what_cannot_be_compared_is_refused(keys, message):
    with pytest.raises(ConfigError, match=message):
        GateConfig(**keys)
