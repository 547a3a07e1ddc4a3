"""The records of the steps and the SQL files of the tables: each fact stands once, and is true."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import asdict, replace

import pytest

from conftest import REPOSITORY
from graphseam.config import config_of
from graphseam.errors import RunError
from graphseam.ingested import Ingested
from graphseam.schemas import (
    columns_ddl,
    export_columns,
    id_columns,
    page_of_tables,
    public_names,
    sort_columns,
    sql_of,
    table_names,
    view_names,
)
from graphseam.steps import (
    ADDED,
    ALL_STEPS,
    GATE,
    STEPS,
    beside,
    description_of,
    step_fingerprint,
    steps_of_job,
    table_of_steps,
)

LIBRARY = REPOSITORY / "lib" / "graphseam"
OUTSIDE_THE_STEPS = {"run_steps", "placed_nodes", "placed_links", "placed_labels"}
EARLIER = {"link_candidates"}  # written by graphseam 0.1, and read no longer
SHARED = {"search_recall"}  # each row names its step, which replaces it alone
WRITERS = re.compile(r"(?:\.(?:write|append|write_rows|append_rows)\(\s*|\byield )\"(\w+)\"")


def config(**sections):
    return config_of({"input": {"edges": "e.csv"}, "output": {"root": "r"}, **sections})


def before(step: str) -> set[str]:
    """The steps that a step comes after, directly or indirectly."""
    found = set(ALL_STEPS[step].after)
    return found.union(*(before(earlier) for earlier in found))


def test_steps_that_run_together_do_not_come_after_each_other():
    steps, found = list(ALL_STEPS), []
    while steps:
        found.append(beside(steps))
        assert found[-1] == steps[: len(found[-1])]
        for step in found[-1]:
            assert not before(step) & set(found[-1])
        del steps[: len(found[-1])]
    assert [some for some in found if len(some) > 1] == [
        ["predict_links", "predict_nodes"],
        ["predict_similar", "evaluate"],
    ]
    assert beside(["refine", "predict_links"]) == ["refine"]


@pytest.mark.parametrize("step", ALL_STEPS)
def test_a_step_can_be_called_and_comes_after_what_it_reads(step):
    record = ALL_STEPS[step]
    assert record.name == step
    assert callable(record.load())
    assert set(record.writes) <= set(table_names())
    there = {table for earlier in before(step) for table in ALL_STEPS[earlier].writes} | {"input", "runs"}
    assert set(record.reads) <= there


def test_every_table_is_written_by_one_step():
    written = [table for record in ALL_STEPS.values() for table in record.writes]
    assert sorted(set(written)) == sorted(set(table_names()) - OUTSIDE_THE_STEPS - EARLIER)
    assert {table for table in written if written.count(table) > 1} == SHARED


@pytest.mark.parametrize("package", ["ingest", "partition", "embedding", "fuse", "refine", "predict", "evaluate"])
def test_a_step_writes_the_tables_that_its_record_names(package):
    files = [*(LIBRARY / package).rglob("*.py"), *([LIBRARY / "pairs.py"] if package == "ingest" else [])]
    named = {name for file in files for name in WRITERS.findall(file.read_text(encoding="utf-8"))}
    found = named & set(table_names())  # other things are yielded by name too
    steps = [record for record in ALL_STEPS.values() if record.function.startswith(f"graphseam.{package}")]
    assert found == {table for record in steps for table in record.writes}


def test_what_a_cut_depends_on_is_in_its_fingerprint():
    """The embedder's forecast and the memory of a task decide how finely the graph is cut."""
    plain = config()
    changed = [
        config(embed={"dim": 64}),
        config(embed={"method": "netmf"}),
        config(embed={"warm_start": "border"}),
        config(run={"task_memory_mb": 512}),
        config(partition={"num_subgraphs": 4}),
    ]
    fingerprints = [step_fingerprint(one, "partition") for one in (plain, *changed)]
    assert len(set(fingerprints)) == len(fingerprints)
    assert {step_fingerprint(one, "ingest") for one in (plain, *changed)} == {step_fingerprint(plain, "ingest")}
    later = config(refine={"hops": 2}, predict={"links": {"top_k": 2}})
    assert step_fingerprint(later, "fuse") == step_fingerprint(plain, "fuse")
    assert step_fingerprint(later, "refine") != step_fingerprint(plain, "refine")


@pytest.mark.parametrize("step", ALL_STEPS)
def test_a_fingerprint_follows_every_setting_of_the_steps_before(step):
    plain = config()
    for earlier in (step, *before(step)):
        for key in ALL_STEPS[earlier].depends_on:
            section, _, rest = key.partition(".")
            name = rest or next(iter(vars(getattr(plain, section))))
            value = getattr(plain, section)
            other = replace(plain)
            moved = object.__new__(type(value))
            vars(moved).update({**vars(value), name: "another"})  # bypasses the checks: any change must show
            object.__setattr__(other, section, moved)
            assert step_fingerprint(other, step) != step_fingerprint(plain, step), key


def test_jobs_and_the_dag_follow_the_records():
    jobs = list(dict.fromkeys(record.job for record in ALL_STEPS.values()))
    files = {file.stem for file in (REPOSITORY / "jobs").glob("*.py")}
    assert files == {*jobs, "pipeline", "place", "export", "prune", "doctor", "calibrate"}
    for job in jobs:
        assert f'submit("{job}")' in (REPOSITORY / "jobs" / f"{job}.py").read_text(encoding="utf-8")
        assert steps_of_job(job)
        assert description_of(job).startswith(f"{job}: ")
    dag = ast.parse((REPOSITORY / "airflow_dags" / "graphseam_pipeline.py").read_text(encoding="utf-8"))
    (steps,) = [
        node.value for node in dag.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STEPS"
    ]
    assert [key.value for key in steps.keys] == jobs
    assert list(STEPS) == [name for name in ALL_STEPS if name != GATE]


def test_the_docs_show_the_records():
    assert table_of_steps() in (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_page_of_tables_is_that_of_the_sql_files():
    page = (REPOSITORY / "docs" / "tables.md").read_text(encoding="utf-8")
    assert page.endswith(page_of_tables()), "put the output of `python -m graphseam.schemas` there"


@pytest.mark.parametrize("name", table_names())
def test_properties_name_columns_that_the_table_has(name):
    columns = columns_ddl(name)
    assert next(iter(columns)) == "run_id"
    assert all("COMMENT '" in ddl and "NOT NULL " not in ddl.split("COMMENT")[0] for ddl in columns.values())
    assert {*sort_columns(name), *id_columns(name), *export_columns(name)} <= set(columns)
    assert set(id_columns(name)) <= set(export_columns(name) or columns)


@pytest.mark.parametrize("name", view_names())
def test_properties_name_columns_that_the_view_has(name):
    words = set(re.findall(r"\w+", sql_of(name)))
    assert {*sort_columns(name), *id_columns(name), *export_columns(name)} <= words
    assert sql_of(name).startswith("-- one row per ")


def test_a_public_table_is_known_by_its_file():
    assert {"embeddings", "nodes", "runs", "link_predictions"} <= set(public_names()) < set(table_names())
    assert id_columns("link_predictions") == ["src", "dst"]
    assert sort_columns("embeddings") == ["node_id"]
    assert sort_columns("metrics") == []
    with pytest.raises(RunError, match=r"there is no table 'embedings'. Did you mean 'embeddings'"):
        sql_of("embedings")


def test_what_ingest_tells_is_read_from_runs_of_any_version():
    now = Ingested(id_type="integer", rows=7, nodes=4, edges=5, duplicate_edges=2, label_rows=3)
    assert Ingested.of(now.details()) == now
    assert "pairs" not in now.details()
    earlier = {"id_type": "string", "rows": 7, "nodes": 4, "edges": 5, "twins": 2, "of a later version": 1}
    assert Ingested.of(earlier).duplicate_edges == 2


FILES = {"output": {"root": "r"}}


def test_a_key_that_was_added_counts_only_where_it_is_set():
    """A run of an earlier version, which did not have the key, can be taken up; one with another value is another."""

    def fingerprint(*overrides: str) -> str:
        return step_fingerprint(config_of({**FILES, "input": {"edges": "e", "time": "t"}}, overrides), "publish")

    for section, keys in ADDED.items():
        for key, default in keys.items():
            assert fingerprint(f"{section}.{key}={json.dumps(default)}") == fingerprint() or key == "time"
    others = ("input.time=u", "input.window=9d", "input.half_life=9d", "input.until=9", "predict.nodes.unlabelled=all")
    assert len({fingerprint(), *map(fingerprint, others)}) == 1 + len(others)
    tree = asdict(config_of({**FILES, "input": {"edges": "e"}}))
    for key in ADDED["input"]:
        assert tree["input"].pop(key) == ADDED["input"][key]
