"""Published runs that test files share: each root is made once for all pytest processes, on first use.

`published("planted")` is the newest run of that root, to be read and never changed. `published.copied("planted",
tmp_path)` is the same run in a copy of the root, for a test that changes it. A new root is one more entry of ROOTS.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from conftest import LASTFM, make_config, run_steps, write_graph
from graphs import AWKWARD, PLANTED

Sections = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Root:
    """write: puts the inputs into a folder and returns the [input] section. runs: the other sections by run id, the
    newest run last. finish: what else is done with the newest run once it is published."""

    write: Callable[[Path], dict[str, object]]
    runs: dict[str, Sections]
    finish: Callable[[Any, Path], None] | None = None


def part_of_lastfm(folder: Path) -> dict[str, object]:
    pq.write_table(pq.read_table(LASTFM / "edges.parquet").slice(0, 600), folder / "edges.parquet")
    return {"edges": str(folder / "edges.parquet"), "labels": str(LASTFM / "labels.parquet")}


def compared_and_joined(run, folder: Path) -> None:
    """The optional parts too: the gate, and a node placed after the run."""
    from graphseam.config import config_of
    from graphseam.gate import gate
    from graphseam.place import place

    gate(run)
    known = run.tables.read("nodes").sort("node_id").limit(2).collect()
    (folder / "arrived.csv").write_text("".join(f"1000000,{row['id']}\n" for row in known))
    arrived = {"input": {"edges": str(folder / "arrived.csv")}, "output": {"root": run.config.output.root}}
    place(run.spark, config_of(arrived))


MEASURED: Sections = {
    "embed": {"dim": 8},
    "evaluate": {"holdout": 0.1},
    "predict": {"links": {"top_k": 3}},
    "partition": {"num_subgraphs": 2},
}
SMALL: Sections = {"embed": {"dim": 16}, "partition": {"num_subgraphs": 4}}
ROOTS = {
    "lastfm": Root(  # labels, edges held out; the newer run fills every table but rejected_rows
        part_of_lastfm,
        {
            "first": {**MEASURED, "run": {"seed": 1}, "predict": {"links": {"top_k": 0}, "similar": {"top_k": 0}}},
            "second": {**MEASURED, "run": {"seed": 2, "base": "auto"}},
        },
        compared_and_joined,
    ),
    "planted": Root(  # no labels; edges held out in the newer run only
        lambda folder: write_graph(PLANTED, folder),
        {
            "older": {**SMALL, "run": {"seed": 1}, "predict": {"links": {"top_k": 2}, "similar": {"top_k": 0}}},
            "newer": {
                **SMALL,
                "run": {"seed": 2},
                "predict": {"links": {"top_k": 3}, "similar": {"top_k": 4}},
                "evaluate": {"holdout": 0.1},
            },
        },
    ),
    "awkward": Root(
        lambda folder: write_graph(AWKWARD, folder),
        {"awkward": {**SMALL, "predict": {"links": {"top_k": 2}, "similar": {"top_k": 0}}}},
    ),
}


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process at a time; a process that dies lets the next one in."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Published:
    """The roots made in this pytest session, under `folder`, which its processes share."""

    def __init__(self, spark, folder: Path) -> None:
        self.spark, self.folder = spark, folder
        folder.mkdir(exist_ok=True)

    def __call__(self, name: str, run_id: str | None = None):
        """The newest run of the root, or the one named: to be read and never changed."""
        return self._open(name, self._made(name) / "tables", run_id)

    def copied(self, name: str, folder: Path, run_id: str | None = None, unpublish: bool = False):
        """The newest run of the root, or the one named, in a copy: folder/tables is its output.root.

        unpublish: for a test that goes on with other settings, as if the run had stopped before it was published.
        """
        shutil.copytree(self._made(name) / "tables", folder / "tables")
        run = self._open(name, folder / "tables", run_id)
        if unpublish:
            run.tables.drop_run("runs")
        return run

    def _made(self, name: str) -> Path:
        """The folder of the root's inputs and tables, made on first use."""
        place, root = self.folder / name, ROOTS[name]
        done = place / "input.json"
        with alone(self.folder / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(place, ignore_errors=True)  # left by a process that died
                place.mkdir()
                section = root.write(place)
                for run_id, sections in root.runs.items():
                    run = run_steps(self.spark, make_config(section, place / "tables", **sections), run_id)
                if root.finish:
                    root.finish(run, place)
                fill_up(run.tables)
                done.write_text(json.dumps(section))
        return place

    def _open(self, name: str, tables: Path, run_id: str | None):
        from graphseam.runs import open_run

        run_id = run_id or list(ROOTS[name].runs)[-1]
        section = json.loads((self.folder / name / "input.json").read_text())
        return open_run(self.spark, make_config(section, tables, **ROOTS[name].runs[run_id]), run_id)


def fill_up(tables) -> None:
    """Create the tables that no step has filled, so that reading them changes nothing."""
    from graphseam.schemas import table_names

    for name in table_names():
        tables.ensure(name)
