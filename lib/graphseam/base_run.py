"""The published run that a run begins from, its base: which one it is, and whether its vectors can be updated."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import Row

from graphseam.config import Config, config_of
from graphseam.errors import ConfigError, RunError, nearest
from graphseam.runs import Run
from graphseam.tables import Tables

AUTO = "auto"
SAME, EDGES, NEW = "none", "edges", "new"  # what has changed at a node, in `drift`
SETTINGS = ("embed", "fuse", "refine")  # sections on which vectors depend


@dataclass(frozen=True)
class Base:
    """A published run. view_widths, window_weight: of its vectors, as in `runs`. tables: its rows."""

    run_id: str
    config: Config
    view_widths: list[int]
    window_weight: float
    tables: Tables

    def details(self, step: str) -> dict[str, Any]:
        """What its step reported last; empty if that is not known."""
        done = self.tables.read("run_steps").where(f"step = '{step}' AND status = 'finished'").sort("started_at")
        rows = done.select("details").collect()  # one per attempt
        return json.loads(rows[-1]["details"]) if rows else {}


def base_of(run: Run, widths: list[int]) -> str | None:
    """The run that run.base names; with "auto" the newest published one whose vectors have the same views.

    None if there is none, or none is asked for. RunError for a run that is not published or has other views. Driver:
    one row per published run.
    """
    wanted = run.config.run.base
    if not wanted:
        return None
    published = {row["run_id"]: row["view_widths"] for row in _published(run, "view_widths")}
    if wanted == AUTO:
        return next((run_id for run_id, views in published.items() if views == widths), None)
    if published[wanted] != widths:
        raise RunError(
            f"run.base is {wanted!r}, whose vectors join views of {published[wanted]} columns, and those of this run "
            f'{widths}; give a run of the same embed.dim and [refine], or "auto" for the newest that fits'
        )
    return wanted


def base_to_update(run: Run) -> Base | str:
    """The run whose vectors an incremental run updates, or why there is none.

    With "auto" the newest published one with the same [embed], [fuse], [refine], run.seed and directions.
    RunError for a run that is not published. Driver: one row per published run.
    """
    if run.config.refine.rounds == run.config.refine.hops == 0:
        return "refine.rounds and refine.hops are 0: vectors of subgraphs cannot be updated"
    wanted = run.config.run.base
    published = _published(run, "config", "view_widths", "window_weight")
    some = [row for row in published if wanted in (AUTO, row["run_id"])]
    for row in some:
        if _same_settings(run, row["config"]) and row["view_widths"]:
            return _base(run, row)
    if not published:
        return f"no run with {run.ingested.id_type} ids is published yet"
    whose = f"run {wanted}" if wanted != AUTO else "no published run"
    return f"{whose} has {'other' if wanted != AUTO else 'these'} settings in [embed], [fuse], [refine] or run.seed"


def kept_base(run: Run) -> str | None:
    """The base whose partition this run has kept, and whose vectors it therefore updates; None for a full run."""
    found: str | None = run.details("partition").get("kept_from")
    return found


def base_named(run: Run, run_id: str) -> Base:
    """That published run. RunError if it is gone."""
    for row in run.tables.published("config", "view_widths", "window_weight"):
        if row["run_id"] == run_id:
            return _base(run, row)
    raise RunError(
        f"run {run.run_id!r} has kept the partition of {run_id!r}, which is no longer published; "
        "run it again from jobs/partition.py on"
    )


def _base(run: Run, row: Row) -> Base:
    tables = Tables(run.spark, run.config.output, row["run_id"])
    config = config_of(json.loads(row["config"]))
    return Base(row["run_id"], config, list(row["view_widths"]), row["window_weight"] or 0.0, tables)


def _published(run: Run, *columns: str) -> list[Row]:
    """The published runs that run.base may mean, newest first: those with ids of the same type, as only these share the
    numbers of nodes. RunError if it names another."""
    wanted, id_type = run.config.run.base, run.ingested.id_type
    published = [row for row in run.tables.published("id_type", *columns) if row["run_id"] != run.run_id]
    types = {row["run_id"]: row["id_type"] for row in published}
    if wanted != AUTO and wanted not in types:
        raise RunError(f"run.base is {wanted!r}, and no such run is published.{nearest(wanted, types)}")
    if wanted != AUTO and types[wanted] != id_type:
        raise RunError(
            f"run.base is {wanted!r}, whose ids are of type {types[wanted]}, and those of this input {id_type}; set "
            "input.id_type to read them alike, or give another run"
        )
    return [row for row in published if row["id_type"] == id_type]


def _same_settings(run: Run, told: str) -> bool:
    try:
        its = config_of(json.loads(told))
    except ConfigError:  # of another version
        return False
    mine = run.config
    alike = all(asdict(getattr(its, name)) == asdict(getattr(mine, name)) for name in SETTINGS)
    return alike and its.run.seed == mine.run.seed and its.input.directed == mine.input.directed
