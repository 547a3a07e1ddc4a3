"""A run: one configuration over one input, its steps, what each has done, and what can be resumed."""

from __future__ import annotations

import hashlib
import json
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pyspark.sql import SparkSession

from graphseam.causes import shuffle_folders
from graphseam.config import Config
from graphseam.errors import RunError
from graphseam.files import absolute, is_remote, local_files, local_path
from graphseam.ingested import Ingested
from graphseam.lease import Lease
from graphseam.measure import peak_memory
from graphseam.session import MANY_TASKS, in_one_process, memory_of_a_task
from graphseam.sources import inputs
from graphseam.steps import ALL_STEPS, GATE, step_fingerprint
from graphseam.tables import Tables
from graphseam.usage import DISK_MB, MB, TABLES_MB, Totals, bytes_of_run, room_used, totals, totals_of_group
from graphseam.version import __version__

ROWS, USAGE = "rows_written", "usage"  # among a step's details: {table: rows}, {what it used: how much}
MOST_TOLD = 5  # settings that differ, in a message
_NOTING = threading.Lock()


@dataclass(frozen=True)
class Run:
    """What a step gets: the session, the configuration, and this run's tables."""

    spark: SparkSession
    config: Config
    run_id: str
    tables: Tables
    records: list[dict[str, Any]] = field(default_factory=list)  # this run's rows of run_steps, oldest first
    lease: Lease | None = None  # if this process works on the run, and does not only look at it

    def task_memory_mb(self, num_tasks: int = MANY_TASKS) -> int:
        """MB that each of `num_tasks` tasks of a stage may use; by default for as many tasks as run at once."""
        return memory_of_a_task(self.spark, self.config.run.task_memory_mb, num_tasks)

    @property
    def tasks_read_files(self) -> bool:
        """Whether tasks may read and write the tables' files themselves: in a local session, over a local root, unless
        run.in_one_task is off."""
        return self.tables.written_here and self.config.run.in_one_task

    def checkpoint_dir(self) -> str | None:
        """Where supersteps are stored so that they outlive an executor; None if the session is one process.

        `spark.checkpoint.dir` if the cluster sets it, else a folder of the run under output.root.
        """
        if in_one_process(self.spark):
            return None
        configured = self.spark.sparkContext.getConf().get("spark.checkpoint.dir")
        if configured or self.config.output.root:
            return f"{configured or self.config.output.root.rstrip('/') + '/_checkpoints'}/{self.run_id}"
        return None

    def newest(self, step: str) -> dict[str, Any] | None:
        """The newest record of the step, if the step finished."""
        last = next((record for record in reversed(self.records) if record["step"] == step), None)
        return last if last is not None and last["status"] == "finished" else None

    def details(self, step: str) -> dict[str, Any]:
        """What the step reported; empty if it has not been run."""
        record = self.newest(step)
        return json.loads(record["details"]) if record else {}

    @property
    def ingested(self) -> Ingested:
        """What ingest found. RunError if it has not been run."""
        details = self.details("ingest")
        if not details:
            raise RunError(f"run {self.run_id!r} has not been ingested yet; run jobs/ingest.py first")
        return Ingested.of(details)


def new_run_id() -> str:
    return datetime.now(timezone.utc).strftime("run-%Y%m%d-%H%M%S-%f")[:-3]


def open_run(spark: SparkSession, config: Config, run_id: str, lease: Lease | None = None) -> Run:
    """The run with its records so far. RunError if the id was started on other input files."""
    run = Run(spark, config, run_id, Tables(spark, config.output, run_id), lease=lease)
    begun = run.tables.read("run_steps").sort("started_at").collect()  # one row per step and attempt
    # Spark returns timestamps as local time without a zone
    run.records.extend({**row.asDict(), "started_at": row["started_at"].astimezone(timezone.utc)} for row in begun)
    if not run.records:
        _note(run, "ingest", "started", datetime.now(timezone.utc))  # a killed process must not look like a new run
        run.tables.is_new_run = True
    ingested = run.newest("ingest")
    if ingested and ingested["input_fingerprint"] != input_fingerprint(config):
        raise RunError(
            f"run {run_id!r} was begun on other input files, or they have changed since; "
            "give a new --run-id, or put the files back"
        )
    if not run.tables.is_new_run:
        _require_unpublished_or_same(run)
    return run


def _require_unpublished_or_same(run: Run) -> None:
    """RunError if the run is published with other settings: its readers must not see it change."""
    published = run.tables.read("runs").select("config", "config_fingerprint").head()
    if published is None or published["config_fingerprint"] == step_fingerprint(run.config, "publish"):
        return
    old, new = json.loads(published["config"]), json.loads(run.config.to_json())
    changed = _differences({**old, "output": {}}, {**new, "output": {}})  # where the tables are changes no result
    told = ", ".join(changed[:MOST_TOLD]) + (", ..." if len(changed) > MOST_TOLD else "")
    raise RunError(
        f"run {run.run_id!r} is published, and its readers must not see it change; give a new --run-id for other "
        f"settings ({told or 'those of another version of graphseam'})"
    )


def _differences(old: dict[str, Any], new: dict[str, Any], above: str = "") -> list[str]:
    """ "key: old -> new" of each setting that differs; a key that only one of them has is of another version."""
    told = []
    for key in sorted(set(old) & set(new)):
        if isinstance(old[key], dict) and isinstance(new[key], dict):
            told += _differences(old[key], new[key], f"{above}{key}.")
        elif old[key] != new[key]:
            told.append(f"{above}{key}: {old[key]} -> {new[key]}")
    return told


def input_fingerprint(config: Config) -> str:
    """Hash of the names, sizes and times of the local input files; of the addresses alone where they are remote."""
    found: list[object] = []
    for name, path, _ in inputs(config.input):
        if is_remote(path):
            found.append((name, path))
        else:
            found += [
                (name, file.name, file.stat().st_size, file.stat().st_mtime_ns)
                for file in local_files(path, f"input.{name}")
            ]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


def is_current(run: Run, step: str) -> bool:
    """Whether the step's result can be used as it stands: finished, same settings, and newer than what it reads."""
    record = run.newest(step)
    if record is None or record["config_fingerprint"] != step_fingerprint(run.config, step):
        return False
    before = ALL_STEPS[step].after
    return all(is_current(run, earlier) and _started(run, earlier) <= record["started_at"] for earlier in before)


def is_done(run: Run, step: str) -> bool:
    """Whether the step can be skipped. The gate repeats until the run is published: others may have been by then."""
    return is_current(run, step) and (step != GATE or is_current(run, "publish"))


def _started(run: Run, step: str) -> datetime:
    record = run.newest(step)
    assert record is not None  # is_current was checked first
    return record["started_at"]


def require_before(run: Run, step: str) -> None:
    """RunError unless the steps that `step` reads from are done with this configuration."""
    for earlier in ALL_STEPS[step].after:
        if not is_current(run, earlier):
            why = (
                "has not been run"
                if run.newest(earlier) is None
                else "was run with other settings or before a step it reads from was repeated"
            )
            raise RunError(
                f"step {step!r} of run {run.run_id!r} cannot start: step {earlier!r} {why}; "
                f"run jobs/{ALL_STEPS[earlier].job}.py with the same --config, --set and --run-id first"
            )


@contextmanager
def recorded(run: Run, step: str, group: str = "") -> Iterator[dict[str, Any]]:
    """Time the block, record its memory, and append a row to run_steps whether it succeeds or not.

    Yields the dictionary for the details the step reports. group: that of the step's Spark jobs, if another step runs
    beside it; its memory and its disk are then those of both.
    """
    details: dict[str, Any] = {}
    started, clock = datetime.now(timezone.utc), time.monotonic()
    run.tables.forget_rows_written()
    before, disk = Totals() if group else totals(run.spark), _disk_watch(run)
    with peak_memory(beside=disk) as peak:
        try:
            yield details
        except BaseException as error:
            with suppress(Exception):  # what stopped the step may stop this too, and is what must be reported
                details["error"] = str(error).splitlines()[0][:500] if str(error) else type(error).__name__
                _note(run, step, "failed", started, time.monotonic() - clock, peak[0], details)
            raise
        details[ROWS] = run.tables.rows_written()
        used = totals_of_group(run.spark, group) if group else totals(run.spark)
        details[USAGE] = used.since(before) | _room(run, step, peak[1] if disk else None)
        _note(run, step, "finished", started, time.monotonic() - clock, peak[0], details)


def _disk_watch(run: Run) -> Callable[[], float] | None:
    """How much of this machine's disks is filled from now on, where the whole run is on this machine."""
    root = run.config.output.root
    here = [local_path(absolute(root))] if root and not is_remote(root) else []
    return room_used([*shuffle_folders(), *here]) if in_one_process(run.spark) else None


def _room(run: Run, step: str, disk_mb: float | None) -> dict[str, float]:
    tables = bytes_of_run(run.config.output.root, run.run_id, ALL_STEPS[step].writes)
    found = {DISK_MB: disk_mb, TABLES_MB: None if tables is None else tables / MB}
    return {name: round(value, 1) for name, value in found.items() if value is not None}


def _note(
    run: Run,
    step: str,
    status: str,
    started: datetime,
    seconds: float = 0.0,
    peak_mb: float = 0.0,
    details: dict[str, Any] | None = None,
) -> None:
    """Append a row to run_steps and to the run's own records."""
    record = {
        "run_id": run.run_id,
        "step": step,
        "status": status,
        "started_at": started,
        "seconds": seconds,
        "peak_memory_mb": peak_mb,
        "details": json.dumps(details or {}),
        "config_fingerprint": step_fingerprint(run.config, step),
        "input_fingerprint": input_fingerprint(run.config),
    }
    run.records.append(record)
    with _NOTING:  # one commit after the other, where steps run beside each other
        run.tables.append_rows("run_steps", [record])


def versions(spark: SparkSession) -> dict[str, str]:
    """The versions of graphseam and of everything that a result can depend on."""
    found, _ = versions_of(("delta-spark", "torch", "numpy", "scipy", "pymetis", "scikit-learn", "pyarrow"))
    return {"graphseam": __version__, "python": platform.python_version(), "spark": spark.version, **found}


def versions_of(packages: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """({package: version}, those that are not installed)."""
    found: dict[str, str] = {}
    missing = []
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            missing.append(name)
    return found, missing
