"""Processes killed at any moment, and two at once: what is published is what an undisturbed run publishes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands import configured, published, rows_of, started
from conftest import LASTFM

pytestmark = [pytest.mark.slow, pytest.mark.thorough, pytest.mark.timeout(7200)]

KILLS, STARTS = {"full": 20, "incremental": 6}, 10
FIRST_S = 4.0  # before that a process has hardly begun


@dataclass(frozen=True)
class Kind:
    """A kind of run: what it begins from, and what it ends in where nothing disturbs it."""

    name: str
    edges: Path
    more: str
    before: Path | None  # a root with a published run
    rows: dict[str, list[str]]
    seconds: float

    def prepared(self, folder: Path) -> Path:
        """The configuration of such a run, in a root of its own."""
        config = configured(folder, self.edges, self.more)
        if self.before is not None:
            shutil.copytree(self.before, folder / "tables")
        return config


def finished(config: Path, run_id: str) -> float:
    """Seconds of a run that nothing disturbs."""
    begun, process = time.monotonic(), started(config, run_id)
    told, _ = process.communicate()
    assert process.returncode == 0, told[-3000:]
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    config = configured(tmp_path_factory.mktemp("full"))
    seconds = finished(config, "r")
    return Kind("full", LASTFM / "edges.parquet", "", None, rows_of(config, "r"), seconds)


@pytest.fixture(scope="module")
def incremental(full, tmp_path_factory):
    """An update of a run by a graph that lacks some of its edges, and has some more."""
    folder = tmp_path_factory.mktemp("incremental")
    finished(configured(folder), "base")
    shutil.copytree(folder / "tables", folder / "before")
    edges = pq.read_table(LASTFM / "edges.parquet")
    ends = edges.slice(0, 40)
    new = pa.table({"src": ends["src"], "dst": pa.array(ends["dst"].to_pylist()[::-1], edges["dst"].type)})
    pq.write_table(pa.concat_tables([edges.slice(60).select(["src", "dst"]), new]), folder / "next.parquet")
    kind = Kind(
        "incremental", folder / "next.parquet", '[run]\nbase = "auto"\nincremental = true\n', folder / "before", {}, 0.0
    )
    config = configured(folder, kind.edges, kind.more)
    seconds = finished(config, "r")
    assert rows_of(config, "r")["edge_changes"], "the base was not updated"
    return replace(kind, rows=rows_of(config, "r"), seconds=seconds)


@pytest.mark.parametrize("name", KILLS)
def test_kills_at_random_moments_leave_no_trace(request, name, tmp_path):
    """Driver, JVM and workers are killed together; each start goes on where the last one was."""
    kind: Kind = request.getfixturevalue(name)
    draw, kills, number = random.Random(7), 0, 0
    while kills < KILLS[name]:
        number += 1
        config = kind.prepared(tmp_path / str(number))
        while True:
            process = started(config, "r")
            limit = draw.uniform(FIRST_S, kind.seconds / 2) if kills < KILLS[name] else None
            try:
                told, _ = process.communicate(timeout=limit)
                assert process.returncode == 0, told[-3000:]
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                kills += 1
        found = rows_of(config, "r")
        assert set(found) == set(kind.rows)
        for table, rows in kind.rows.items():
            assert found[table] == rows, table
        assert published(config).count("r") == 1
        assert not (config.parent / "tables" / "_leases").exists()


def test_of_two_processes_with_one_run_id_one_publishes_and_the_other_says_who_works(full, tmp_path):
    """Ten starts, apart by anything from nothing to half a run."""
    for number in range(STARTS):
        config = full.prepared(tmp_path / str(number))
        one = started(config, "r")
        time.sleep(number / STARTS * full.seconds / 2)
        other = started(config, "r")
        told = {process: process.communicate()[0] for process in (one, other)}
        codes = sorted(process.returncode for process in (one, other))
        assert codes == [0, 1], told
        (refused,) = [text for process, text in told.items() if process.returncode]
        (line,) = [line for line in refused.splitlines() if line.startswith("graphseam:")]
        assert "works on run 'r'" in line
        assert published(config) == ["r"]
        assert rows_of(config, "r") == full.rows
