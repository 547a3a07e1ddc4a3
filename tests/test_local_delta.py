"""Tables' files and commits without Spark: what several processes at once make of a table, what readers are told."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from graphseam import local_delta
from graphseam.arrays import distinct, is_among, places_of
from graphseam.schemas import comment_of, partition_columns, properties_of
from graphseam.sections import OutputConfig
from graphseam.tables import Tables
from graphseam.task_files import RowFile

COLUMNS = json.dumps(
    {
        "type": "struct",
        "fields": [
            {"name": "run_id", "type": "string", "nullable": False, "metadata": {}},
            {"name": "node_id", "type": "long", "nullable": False, "metadata": {}},
            {"name": "id", "type": "string", "nullable": True, "metadata": {"comment": "the id as it came"}},
        ],
    }
)
AT_ONCE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_local_delta import COLUMNS, data_file
from graphseam import local_delta
table, run_id = Path(sys.argv[1]), sys.argv[2]
assert local_delta.create(table, COLUMNS)
for turn in range(20):
    written = [data_file(table, run_id, range(turn + 1))]
    assert local_delta.commit(table, {"run_id": run_id}, written, replace=True) == turn + 1
assert local_delta.commit(table, {"run_id": run_id}, [data_file(table, run_id, [90])], replace=False) == 1
"""


def data_file(table: Path, run_id: str, ids) -> Path:
    """A file as Spark writes it into the run's partition."""
    folder = table / f"run_id={run_id}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part-{len(list(folder.glob('*.parquet'))):05}.parquet"
    pq.write_table(pa.table({"node_id": pa.array(list(ids), pa.int64()), "id": [f"n{at}" for at in ids]}), path)
    return path


def rows_of(table: Path) -> list[tuple]:
    found = pa.table(DeltaTable(str(table)).to_pyarrow_table()).to_pylist()
    return sorted((row["run_id"], row["node_id"], row["id"]) for row in found)


def test_processes_that_commit_at_once_lose_nothing(tmp_path):
    table, runs = tmp_path / "nodes", ["a", "b", "c"]
    command = [sys.executable, "-c", AT_ONCE, str(table)]
    begun = [
        subprocess.Popen([*command, run, str(Path(__file__).parent)], stderr=subprocess.PIPE, text=True) for run in runs
    ]
    assert [(process.communicate()[1], process.returncode) for process in begun] == [("", 0)] * len(runs)
    assert rows_of(table) == [(run, at, f"n{at}") for run in runs for at in [*range(20), 90]]


def test_without_delta_rs_everything_is_left_to_spark(tmp_path, monkeypatch):
    table = tmp_path / "nodes"
    assert local_delta.create(table, COLUMNS)
    monkeypatch.setitem(sys.modules, "deltalake", None)
    assert local_delta.create(tmp_path / "edges", COLUMNS) is None
    assert local_delta.files_of(table) is None
    assert local_delta.columns_of(table) is None
    written = data_file(table, "a", [1])
    assert local_delta.commit(table, {"run_id": "a"}, [written], replace=True) is None
    assert written.exists()
    assert local_delta.add_rows(table, pa.table({"run_id": ["a"]}), None) is None


@pytest.mark.spark
def test_spark_writes_what_delta_rs_does_not(spark, tmp_path, monkeypatch):
    """Rows of the driver, a timestamp among them, and those that tasks write."""
    monkeypatch.setitem(sys.modules, "deltalake", None)
    tables = Tables(spark, OutputConfig(root=str(tmp_path)), "a")
    begun = datetime(2026, 11, 30, 8, tzinfo=timezone.utc)
    row = dict.fromkeys(tables.schema("run_steps").names, "") | {"seconds": 1.5, "peak_memory_mb": 0.0}
    tables.append_rows("run_steps", [{**row, "started_at": begun}])
    assert [one["started_at"].astimezone(timezone.utc) for one in tables.read("run_steps").collect()] == [begun]
    cells = {"cell": pa.array([3], pa.int32()), "node_id": [7], "margin": pa.array([0.5], pa.float32())}

    def work(_: int):
        yield "node_cells", pa.RecordBatch.from_pydict(cells)

    assert tables.write_in_tasks(["node_cells"], 1, work) == {"node_cells": 1}
    assert [one.asDict() for one in tables.read("node_cells").collect()] == [{"node_id": 7, "cell": 3, "margin": 0.5}]


def test_a_table_is_opened_once_per_commit_whoever_commits(tmp_path, monkeypatch):
    """By this process or another, and after it was removed and made anew."""
    opened = []
    table, made = tmp_path / "nodes", tmp_path / "aside" / "nodes"
    local_delta.create(table, COLUMNS)
    monkeypatch.setattr("deltalake.DeltaTable", lambda path: opened.append(path) or DeltaTable(path))
    assert [local_delta.files_of(table) for _ in range(3)] == [[]] * 3
    assert len(opened) == 1
    first = [data_file(table, "a", [1])]
    local_delta.commit(table, {"run_id": "a"}, first, replace=True)
    assert [local_delta.files_of(table) for _ in range(2)] == [[str(first[0])]] * 2
    assert local_delta.columns_of(table) == ["run_id", "node_id", "id"]
    assert len(opened) == 3  # for the commit, and once after it
    command = [sys.executable, "-c", AT_ONCE, str(table), "b", str(Path(__file__).parent)]
    subprocess.run(command, check=True)
    assert len(local_delta.files_of(table)) == 3
    monkeypatch.undo()
    for place in (made, table):
        shutil.rmtree(place, ignore_errors=True)
    local_delta.create(made, COLUMNS)
    local_delta.commit(made, {"run_id": "c"}, [data_file(made, "c", [5])], replace=True)
    shutil.copytree(made, table)
    assert [Path(path).parent.name for path in local_delta.files_of(table)] == ["run_id=c"]


def test_a_table_is_what_its_sql_file_says_and_its_log_lets_readers_skip_files(tmp_path):
    table = tmp_path / "nodes"
    assert local_delta.create(table, COLUMNS)
    assert local_delta.create(table, COLUMNS)  # again: nothing happens
    opened = DeltaTable(str(table))
    assert opened.version() == 0
    assert (opened.metadata().description, opened.metadata().partition_columns) == (comment_of("nodes"), ["run_id"])
    assert opened.metadata().configuration == properties_of("nodes")
    assert (opened.protocol().min_reader_version, opened.protocol().min_writer_version) == (1, 2)
    empty, full = data_file(table, "r", []), data_file(table, "r", [3, 5])
    assert local_delta.commit(table, {"run_id": "r"}, [empty, full], replace=True) == 2
    assert not empty.exists()  # Spark writes a file for a part without rows
    added = pa.table(DeltaTable(str(table)).get_add_actions(flatten=True)).to_pylist()
    assert [(row["num_records"], row["min.node_id"], row["max.node_id"]) for row in added] == [(2, 3, 5)]
    assert local_delta.files_of(table, "r") == [str(full)]
    assert local_delta.files_of(table, "other") == []
    assert local_delta.commit(table, {"run_id": "r"}, [], replace=True) == 0
    assert rows_of(table) == []
    assert local_delta.delete(table, "run_id = 'r'")


def test_what_delta_rs_cannot_do_is_left_to_spark(tmp_path):
    assert local_delta.files_of(tmp_path) is None  # no table
    assert local_delta.columns_of(tmp_path) is None
    assert local_delta.delete(tmp_path, "run_id = 'r'") is None
    assert not local_delta.can_write("/data/a[1]")
    assert local_delta.can_write("/data/My Graphs/100 % é")


def test_every_table_is_partitioned_by_its_run_first():
    from graphseam.schemas import table_names

    assert {partition_columns(name)[0] for name in table_names()} == {"run_id"}


def test_a_file_of_a_task_has_its_name_once_it_is_whole(tmp_path):
    schema = pa.schema([pa.field("node_id", pa.int64(), nullable=False), ("score", pa.float64())])
    file = RowFile(tmp_path, schema, task=3)
    file.add(pa.RecordBatch.from_pydict({"score": pa.array([0.5, None], pa.float32()), "node_id": [1, 2]}))
    assert local_delta.data_files(tmp_path) == set()
    with pytest.raises(ValueError, match="column node_id has no value in a row, and is NOT NULL"):
        file.add(pa.RecordBatch.from_pydict({"score": [0.5], "node_id": pa.array([None], pa.int64())}))
    path = file.closed()
    file.discard()  # of a whole file there is no draft
    assert local_delta.data_files(tmp_path) == {path} == set(tmp_path.iterdir())
    assert pq.read_table(path).to_pydict() == {"node_id": [1, 2], "score": [0.5, None]}


@given(st.lists(st.integers(-9, 9)), st.lists(st.integers(-9, 9)))
def test_sets_of_numbers_are_numpys(values, others):
    ours = distinct(np.array(values, np.int64))
    np.testing.assert_array_equal(ours, np.unique(np.array(values, np.int64)))
    other = np.array(others, np.int64)
    np.testing.assert_array_equal(is_among(other, ours), np.isin(other, ours))
    for rising in (ours, np.abs(ours[ours < 0])[::-1], ours * 1000):  # some below zero, none, and far apart
        places = {number: place for place, number in enumerate(rising.tolist())}
        assert places_of(rising)(other).tolist() == [places.get(number, -1) for number in other.tolist()]
