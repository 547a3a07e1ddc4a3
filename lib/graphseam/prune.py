"""prune: remove old runs from every table, and the files that no table needs any longer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from pyspark.sql import functions as F

from graphseam import folders
from graphseam.config import load_config
from graphseam.entry import job_arguments, one_clear_line
from graphseam.errors import RunError
from graphseam.files import absolute
from graphseam.lease import held
from graphseam.report import report_path
from graphseam.schemas import table_names
from graphseam.sections import BORDER, PruneConfig
from graphseam.session import build_session, size_shuffles
from graphseam.tables import GRAPHFRAME_INPUTS, Tables

# Readers no longer see a run once it has left `runs`; `run_steps` goes last, so that the prune after an interrupted one
# finds the remaining runs.
FIRST, LAST = "runs", "run_steps"
AT_ONCE = 4
LISTING_TASKS = "spark.sql.sources.parallelPartitionDiscovery.parallelism"


@dataclass(frozen=True)
class Runs:
    """The runs of a root by what happens to them, newest first."""

    kept: list[str]  # published, the newest
    needed: list[str]  # older, kept because a kept run refers to them
    unfinished: list[str]  # not published, with a step recent enough to be running still
    published: list[str]  # to be removed
    abandoned: list[str]  # to be removed: never published

    @property
    def removed(self) -> list[str]:
        return [*self.published, *self.abandoned]


def prune(tables: Tables, settings: PruneConfig, dry_run: bool = False) -> Runs:
    """Remove the runs that `prune.keep` and `prune.unpublished_days` do not keep; returns which went and which stayed.

    The newest published runs are kept, and so are the runs they refer to, in embed.warm_start, run.base or
    predict.links.model_run, and the base of an unfinished run. A run that another process works on stays. All rows of
    a removed run go, including its batches of new nodes and its rejected rows, and the copy of its graph made by
    `graphseam.embed`, and its report; exported files stay.
    Then VACUUM deletes the files that no version younger than prune.vacuum_hours needs. dry_run: nothing is changed.
    Errors: RunError if no run is published: then nothing distinguishes abandoned runs from work in progress.
    Cost: one commit per table that had rows of a removed run, no row is read; VACUUM lists every file of the root.
    """
    runs = sort_runs(tables, settings)
    if dry_run:
        return runs
    with ExitStack() as leases:
        runs = _without_those_at_work(tables, runs, leases)
        _remove(tables, runs, settings)
    return runs


def _without_those_at_work(tables: Tables, runs: Runs, leases: ExitStack) -> Runs:
    """The runs, of those to be removed only such as no other process works on: their leases are held from now on."""
    busy = []
    for run_id in runs.removed:
        try:
            for work in ("", "place"):
                leases.enter_context(held(tables.spark, tables.output, run_id, work))
        except RunError:
            busy.append(run_id)
    gone = {kind: [name for name in getattr(runs, kind) if name not in busy] for kind in ("published", "abandoned")}
    return replace(runs, unfinished=[*runs.unfinished, *busy], **gone)


def _remove(tables: Tables, runs: Runs, settings: PruneConfig) -> None:
    there = [name for name in table_names() if tables.exists(name)]
    for run_id in runs.removed if tables.output.root else []:
        folders.remove(tables.spark, f"{absolute(tables.output.root)}/{GRAPHFRAME_INPUTS}/{run_id}")
        folders.remove(tables.spark, absolute(report_path(tables.output, run_id)))
    for name in sorted(there, key=lambda name: (name == LAST, name != FIRST)) if runs.removed else []:
        tables.drop_runs(name, runs.removed)
    size_shuffles(tables.spark, 0)  # at most one row per file is shuffled, and one commit per table
    # Delta lists a table's files in as many tasks as this says; the default is 10,000, whatever the table's size
    tables.spark.conf.set(LISTING_TASKS, str(4 * tables.spark.sparkContext.defaultParallelism))
    statements = [f"VACUUM {tables.identifier(name)} RETAIN {settings.vacuum_hours} HOURS" for name in there]
    with ThreadPoolExecutor(AT_ONCE) as pool:  # each is a sequence of small jobs, which leave most cores idle
        list(pool.map(tables.spark.sql, statements))


def sort_runs(tables: Tables, settings: PruneConfig) -> Runs:
    """Decide what happens to each run; one row per run reaches the driver."""
    published = tables.published("config")
    if not published:
        raise RunError(
            f"no run is published under {tables.output.root or tables.output.catalog!r} yet, so there is "
            "nothing to prune"
        )
    names = [row["run_id"] for row in published]
    named = {row["run_id"]: set(_named_runs(json.loads(row["config"]))) for row in published}
    begun = _begun(tables, names, settings.unpublished_days)
    needed = {*names[: settings.keep], *(base for _, old, base in begun if base and not old)}
    while more := set().union(*(named[name] for name in needed if name in named)) - needed:
        needed |= more
    return Runs(
        kept=names[: settings.keep],
        needed=[name for name in names[settings.keep :] if name in needed],
        unfinished=[name for name, old, _ in begun if not old or name in needed],
        published=[name for name in names[settings.keep :] if name not in needed],
        abandoned=[name for name, old, _ in begun if old and name not in needed],
    )


def _begun(tables: Tables, published: list[str], days: float) -> list[tuple[str, bool, str | None]]:
    """(run id, whether its last step is older than that, the base it updates) of each unpublished run, newest first."""
    ends = (
        tables.all_runs("run_steps")
        .where(~F.col("run_id").isin(published))
        .groupBy("run_id")
        .agg(
            F.max(F.expr("started_at + make_dt_interval(0, 0, 0, seconds)")).alias("ended_at"),
            F.max(F.when(F.col("step") == "partition", F.get_json_object("details", "$.kept_from"))).alias("base"),
        )
        .sort(F.desc("ended_at"), "run_id")
        .collect()
    )
    oldest = datetime.now(timezone.utc) - timedelta(days=days)
    return [(row["run_id"], row["ended_at"].astimezone(timezone.utc) < oldest, row["base"]) for row in ends]


def _named_runs(config: dict[str, Any]) -> Iterable[str]:
    """The earlier runs that a run's configuration refers to; one of another version may lack the keys."""
    found = (
        config.get("embed", {}).get("warm_start", ""),
        config.get("run", {}).get("base", ""),
        config.get("predict", {}).get("links", {}).get("model_run", ""),
    )
    return (name for name in found if name and name != BORDER)


def tell(runs: Runs, dry_run: bool) -> list[str]:
    """What a user is shown: a line for each kind of run, and none for an empty kind."""
    lines = [
        (f"{len(names):,} {kind}: {', '.join(names)}", names)
        for kind, names in (
            ("published runs kept", runs.kept),
            ("older runs kept, as others refer to them", runs.needed),
            ("unpublished runs kept, which may still be at work", runs.unfinished),
            ("published runs " + ("would be removed" if dry_run else "removed"), runs.published),
            ("abandoned runs " + ("would be removed" if dry_run else "removed"), runs.abandoned),
        )
    ]
    return [line for line, names in lines if names]


def submit_prune() -> None:
    """The job under spark-submit: parse the arguments, prune, exit with 0, or with one clear line and 1."""
    parser = job_arguments("prune: remove old runs.", "TOML file of the runs: its [output], and [prune]")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be removed, and change nothing")
    arguments = parser.parse_args()
    with one_clear_line():
        config = load_config(arguments.config, arguments.set)
        tables = Tables(build_session("graphseam prune"), config.output)
        print("\n".join(tell(prune(tables, config.prune, arguments.dry_run), arguments.dry_run)))
