"""A root written by an earlier version is read, run into and placed into; missing columns are added."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable
from pyspark.errors import PySparkException

from conftest import REPOSITORY, make_config, run_steps
from graphseam.config import config_of
from graphseam.export import export_table
from graphseam.place import place
from graphseam.report import published_run, write_report
from graphseam.runs import Run
from graphseam.schemas import columns_ddl, table_names
from graphseam.sections import OutputConfig
from graphseam.tables import Tables
from graphseam.views import register_views

WIDTHS_OF_0_1_0 = [7, 1]  # two views of 8 columns


def unpack(folder: Path) -> None:
    """The root of 0.1.0 and its inputs."""
    with tarfile.open(REPOSITORY / "tests" / "data" / "root_0_1_0" / "root.tar.gz") as tar:
        tar.extractall(folder, filter="data")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("old")
    unpack(found)
    return found


@pytest.fixture(scope="module")
def root(folder) -> Path:
    return folder / "root_0_1_0"


def columns_on_disk(root: Path, table: str) -> list[str]:
    return [field.name for field in DeltaTable(str(root / table)).schema().fields]


@pytest.fixture(scope="module")
def renewed(spark, folder, root):
    """A new run in the old root, with other views than the default."""
    assert "view_widths" not in columns_on_disk(root, "runs")
    inputs = {name: str(folder / "inputs" / f"{name}.csv") for name in ("edges", "labels")}
    config = make_config(
        inputs,
        root,
        embed={"dim": 8},
        partition={"num_subgraphs": 2},
        refine={"rounds": 0, "hops": 0},
        predict={"links": {"top_k": 0}, "similar": {"top_k": 0}},
    )
    return run_steps(spark, config, "new")


def test_an_old_run_is_read_and_exported_and_reading_changes_nothing(spark, root, tmp_path):
    """The reader may lack write permission; missing columns are NULL."""
    before = {name: columns_on_disk(root, name) for name in ("runs", "embeddings", "run_steps")}
    tables = Tables(spark, OutputConfig(root=str(root)), "old")
    assert tables.published_run(None)[0] in ("old", "new")
    assert export_table(tables, "embeddings", str(tmp_path / "x.parquet"), "old")[0] == 36
    register_views(tables)
    assert spark.sql("SELECT count(*) FROM runs WHERE run_id = 'old' AND view_widths IS NULL").head()[0] == 1
    assert {name: columns_on_disk(root, name) for name in before} == before


def test_an_old_run_has_a_report(spark, root, tmp_path):
    tables = Tables(spark, OutputConfig(root=str(root)), read_only=True)
    page = Path(write_report(published_run(tables, "old"), str(tmp_path / "old.html"))).read_text(encoding="utf-8")
    assert "36" in page
    assert "Where the time, the memory and the disk went" in page


def test_what_ingest_told_then_is_understood(spark, root):
    tables = Tables(spark, OutputConfig(root=str(root)), "old")
    records = [row.asDict() for row in tables.read("run_steps").sort("started_at").collect()]
    assert any(row["step"] == "ingest" and "twins" in row["details"] for row in records)
    config = config_of({"input": {"edges": "edges.csv"}, "output": {"root": str(root)}})
    found = Run(spark, config, "old", tables, records).ingested
    assert (found.nodes, found.edges + found.holdout_edges, found.duplicate_edges) == (36, found.rows, 0)


def test_a_new_run_adds_the_columns_that_the_old_tables_lack(renewed, root):
    for name in table_names():
        if (root / name / "run_id=new").is_dir():  # a table that the run did not write is left as it is
            assert set(columns_ddl(name)) <= set(columns_on_disk(root, name)), name
    rows = {row["run_id"]: row for row in DeltaTable(str(root / "runs")).to_pyarrow_table().to_pylist()}
    assert rows["old"]["view_widths"] is None
    assert rows["new"]["view_widths"] == [8]  # not refined: one view
    comments = {field.name: field.metadata for field in DeltaTable(str(root / "runs")).schema().fields}
    assert "view" in comments["view_widths"]["comment"]


@pytest.mark.parametrize("statement", ["right", "wrong"])
def test_whoever_comes_second_with_a_column_goes_on(spark, tmp_path, monkeypatch, statement):
    """Two jobs may find the same column missing; other errors of the statement are not hidden."""
    unpack(tmp_path)
    old, plain = tmp_path / "root_0_1_0", spark.sql

    def raced(text, *arguments, **named):
        if text.startswith("ALTER TABLE"):
            if statement == "wrong":
                return plain(text.replace("ARRAY<INT>", "ARRAY<NONSENSE>"))
            plain(text)  # the other job was quicker
        return plain(text, *arguments, **named)

    monkeypatch.setattr(spark, "sql", raced)
    tables = Tables(spark, OutputConfig(root=str(old)), "any")
    if statement == "wrong":
        with pytest.raises(PySparkException):
            tables.ensure("runs")
    else:
        tables.ensure("runs")
        assert "view_widths" in columns_on_disk(old, "runs")


def mean_by_views(vectors: np.ndarray, widths: list[int]) -> np.ndarray:
    """By numpy: each view has the mean direction and mean length."""
    found = []
    for view in np.split(vectors, np.cumsum(widths)[:-1], axis=1):
        mean = view.mean(axis=0)
        found.append(mean / np.linalg.norm(mean) * np.linalg.norm(view, axis=1).mean())
    return np.concatenate(found)


@pytest.mark.parametrize(
    ("run_id", "recorded", "widths"),
    [("old", None, WIDTHS_OF_0_1_0), ("new", None, [8]), ("new", [3, 5], [3, 5]), ("old", [4, 4], [4, 4])],
)
def test_new_nodes_are_placed_by_the_widths_of_the_run(spark, folder, root, renewed, run_id, recorded, widths):
    """The widths it was published with, whatever a new run would have; 0.1.0 recorded none and had only one kind."""
    if recorded is not None:
        numbers = ", ".join(map(str, recorded))
        spark.sql(f"UPDATE delta.`{root}/runs` SET view_widths = array({numbers}) WHERE run_id = '{run_id}'")
    (folder / "arriving.csv").write_text("src,dst\n" + "".join(f"1000,{known}\n" for known in range(6)))
    arriving = {"input": {"edges": str(folder / "arriving.csv")}, "output": {"root": str(root)}}
    place(spark, config_of(arriving, ["place.top_links=0"]), run_id, "batch")
    mine = [("run_id", "=", run_id)]
    known = {
        row["id"]: row["vector"]
        for row in DeltaTable(str(root / "embeddings")).to_pyarrow_table(filters=mine).to_pylist()
    }
    (row,) = DeltaTable(str(root / "placed_nodes")).to_pyarrow_table(filters=mine).to_pylist()
    near = np.array([known[str(at)] for at in range(6)])
    np.testing.assert_allclose(row["vector"], mean_by_views(near, widths), atol=1e-6)
