"""A run: one configuration over one input, its steps, what each has done, and what may be taken up again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from pyspark.sql import SparkSession

from graphseam import __version__
from graphseam.config import Config
from graphseam.errors import RunError
from graphseam.ingest.sources import inputs, is_remote, local_files, local_path
from graphseam.session import MANY_TASKS, in_one_process, memory_of_a_task
from graphseam.tables import Tables

NEW_HIGH = 1.01  # how far above the highest so far memory has to rise to be measured closely

# The steps in order; each lists what its result hangs on, over what the steps it follows hang on.
STEPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # step: (sections of the configuration, steps it reads from)
    "ingest": (
        ("input", "run.seed", "evaluate.holdout", "evaluate.held_out", "evaluate.max_pairs", "evaluate.max_ranked"),
        (),
    ),
    "partition": (("partition",), ("ingest",)),
    "embed": (("embed",), ("partition",)),
    "fuse": (("fuse",), ("embed",)),
    "refine": (("refine",), ("fuse",)),
    "predict_links": (("predict.links",), ("refine",)),
    "predict_nodes": (("predict.nodes",), ("refine",)),
    "predict_similar": (("predict.similar",), ("refine",)),
    "evaluate": (("evaluate",), ("predict_links", "predict_nodes")),
    "publish": ((), ("evaluate", "predict_similar")),
}
# A check between evaluate and publish: part of a run where it is configured, and no result hangs on it.
GATE = "gate"
ALL_STEPS = {**STEPS, GATE: ((GATE,), ("evaluate",))}


@dataclass(frozen=True)
class Run:
    """What a step is given: the session, the configuration, and this run's tables."""

    spark: SparkSession
    config: Config
    run_id: str
    tables: Tables
    records: list[dict[str, Any]] = field(default_factory=list)  # this run's rows of run_steps, oldest first

    def task_memory_mb(self, num_tasks: int = MANY_TASKS) -> int:
        """MB that each of `num_tasks` tasks of a stage may hold; by default of as many as run at once."""
        return memory_of_a_task(self.spark, self.config.run.task_memory_mb, num_tasks)

    def checkpoint_dir(self) -> str | None:
        """Where supersteps are kept so that they outlive an executor; None where the session is one process.

        `spark.checkpoint.dir` where the cluster sets it, else a folder of the run under output.root.
        """
        if in_one_process(self.spark):
            return None
        configured = self.spark.sparkContext.getConf().get("spark.checkpoint.dir")
        if configured or self.config.output.root:
            return f"{configured or self.config.output.root.rstrip('/') + '/_checkpoints'}/{self.run_id}"
        return None

    def newest(self, step: str) -> dict[str, Any] | None:
        """The newest record of the step, if it ended well."""
        last = next((record for record in reversed(self.records) if record["step"] == step), None)
        return last if last is not None and last["status"] == "finished" else None

    def details(self, step: str) -> dict[str, Any]:
        """What the step reported; empty where it has not been run."""
        record = self.newest(step)
        return json.loads(record["details"]) if record else {}


def new_run_id() -> str:
    return datetime.now(timezone.utc).strftime("run-%Y%m%d-%H%M%S-%f")[:-3]


def open_run(spark: SparkSession, config: Config, run_id: str) -> Run:
    """The run with what it has done so far. RunError where the id was begun on other input files."""
    run = Run(spark, config, run_id, Tables(spark, config.output, run_id))
    begun = run.tables.read("run_steps").sort("started_at").collect()  # one row a step and attempt
    # Spark hands timestamps out as local time without a zone
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
    return run


def steps_of(config: Config) -> list[str]:
    """The steps of a whole run in order: all that make it, with the gate before publish where it can stop a run."""
    made = list(STEPS)
    return [*made[:-1], GATE, made[-1]] if config.gate.max_drop < 1 else made


def step_fingerprint(config: Config, step: str) -> str:
    """Hash of every setting the step's result hangs on, its own and those of the steps before it."""
    tree = dataclasses.asdict(config)
    sections: set[str] = set()
    pending = [step]
    while pending:
        keys, before = ALL_STEPS[pending.pop()]
        sections.update(keys)
        pending.extend(before)
    chosen = {}
    for key in sorted(sections):
        value: Any = tree
        for part in key.split("."):
            value = value[part]
        chosen[key] = value
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]


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
    """Whether the step's result can be used as it stands: finished, same settings, newer than what it reads."""
    record = run.newest(step)
    if record is None or record["config_fingerprint"] != step_fingerprint(run.config, step):
        return False
    _, before = ALL_STEPS[step]
    return all(is_current(run, earlier) and _started(run, earlier) <= record["started_at"] for earlier in before)


def is_done(run: Run, step: str) -> bool:
    """Whether the step needs no repeating. The gate is asked again until the run is published: others may have been."""
    return is_current(run, step) and (step != GATE or is_current(run, "publish"))


def _started(run: Run, step: str) -> datetime:
    record = run.newest(step)
    assert record is not None  # is_current was asked first
    return record["started_at"]


def require_before(run: Run, step: str) -> None:
    """RunError unless the steps that `step` reads from are done with this configuration."""
    for earlier in ALL_STEPS[step][1]:
        if not is_current(run, earlier):
            why = (
                "has not been run"
                if run.newest(earlier) is None
                else "was run with other settings or before a step it reads from was repeated"
            )
            job = earlier.split("_")[0]
            raise RunError(
                f"step {step!r} of run {run.run_id!r} cannot start: step {earlier!r} {why}; "
                f"run jobs/{job}.py with the same --config, --set and --run-id first"
            )


@contextmanager
def recorded(run: Run, step: str) -> Iterator[dict[str, Any]]:
    """Time the block, note its memory, and append a row to run_steps whether it ends well or not.

    Yields the dictionary for the details the step reports.
    """
    details: dict[str, Any] = {}
    started, clock = datetime.now(timezone.utc), time.monotonic()
    with peak_memory() as peak:
        try:
            yield details
        except BaseException as error:
            with suppress(Exception):  # what stopped the step may stop this too, and is what must be told
                details["error"] = str(error).splitlines()[0][:500] if str(error) else type(error).__name__
                _note(run, step, "failed", started, time.monotonic() - clock, peak[0], details)
            raise
        _note(run, step, "finished", started, time.monotonic() - clock, peak[0], details)


def _note(
    run: Run,
    step: str,
    status: str,
    started: datetime,
    seconds: float = 0.0,
    peak_mb: float = 0.0,
    details: dict[str, Any] | None = None,
) -> None:
    """Append a row to run_steps, and to what the run remembers of itself."""
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
    run.tables.append_rows("run_steps", [record])


@contextmanager
def peak_memory(interval_s: float = 0.5) -> Iterator[list[float]]:
    """Watch the resident memory of this process and its children (JVM, Python workers); yields [peak in MB].

    On a cluster that is the driver's side only. Pages that processes share are divided among them where the system
    tells (Linux), else counted once each. That division walks every page, a tenth of a second for a JVM, so it is
    asked for only when the processes hold more in all than ever before.
    """
    peak, highest, done = [0.0], [0], threading.Event()

    def total(size: Callable[[psutil.Process], int]) -> int:
        held = 0
        for process in (me, *me.children(recursive=True)):
            with suppress(psutil.Error):  # it ended between being listed and being asked
                held += size(process)
        return held

    def look() -> None:
        resident = total(lambda process: process.memory_info().rss)
        if resident > NEW_HIGH * highest[0]:
            highest[0] = resident
            shared_out = total(
                lambda process: getattr(process.memory_full_info(), "pss", 0) or process.memory_info().rss
            )
            peak[0] = max(peak[0], shared_out / 2**20)

    def watch() -> None:
        while not done.wait(interval_s):
            look()

    me = psutil.Process()
    watcher = threading.Thread(target=watch, daemon=True)
    look()
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def versions(spark: SparkSession) -> dict[str, str]:
    """graphseam and everything a result can hang on."""
    found = {"graphseam": __version__, "python": platform.python_version(), "spark": spark.version}
    for package in ("delta-spark", "torch", "numpy", "scipy", "pymetis", "scikit-learn", "usearch", "pyarrow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def has_table(root: str, name: str = "runs") -> bool:
    """Whether a directory holds that table; true for an address that only Spark can look at."""
    return is_remote(root) or Path(local_path(root), name, "_delta_log").is_dir()
