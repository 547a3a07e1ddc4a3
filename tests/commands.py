"""Runs of the installed command, as processes of their own, and the rows that they leave."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deltalake import DeltaTable

from conftest import LASTFM
from graphseam.schemas import table_names

COMMAND = Path(sys.executable).with_name("graphseam")
CLOCK = {"seconds", "started_at", "peak_mb", "worker_mb", "gpu_peak_mb", "host", "process"}  # of subgraph_stats
OF_A_RUN = {"runs", "run_steps", "run_comparison"}  # tell when and by whom


def configured(folder: Path, edges: Path = LASTFM / "edges.parquet", more: str = "") -> Path:
    """A configuration of every kind of result, with its own root."""
    folder.mkdir(exist_ok=True)
    (folder / "run.toml").write_text(f"""
[input]
edges = "{edges}"
labels = "{LASTFM / "labels.parquet"}"
[output]
root = "{folder / "tables"}"
report = false
[partition]
num_subgraphs = 6
[embed]
dim = 16
[evaluate]
holdout = 0.2
[predict.links]
top_k = 3
[predict.similar]
top_k = 3
{more}""")
    return folder / "run.toml"


def started(config: Path, run_id: str, **environment: str) -> subprocess.Popen[str]:
    """The run, begun; what it prints goes into one pipe."""
    command = [str(COMMAND), "run", str(config), "--run-id", run_id]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def rows_of(config: Path, run_id: str) -> dict[str, list[str]]:
    """{table: its rows, in order}, without what tells one run, or one hour, from another."""
    found, root = {}, config.parent / "tables"
    for name in sorted(set(table_names()) - OF_A_RUN):
        if (root / name).is_dir():
            table = DeltaTable(str(root / name)).to_pyarrow_table(filters=[("run_id", "=", run_id)])
            kept = table.drop_columns([column for column in table.column_names if column in CLOCK | {"run_id"}])
            found[name] = sorted(map(repr, kept.to_pylist()))
    return found


def published(config: Path) -> list[str]:
    return DeltaTable(str(config.parent / "tables" / "runs")).to_pyarrow_table()["run_id"].to_pylist()
