"""gate: metrics -> gate_checks; a run that is worse than the one published before it is not published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import functions as F

from graphseam.errors import GateError
from graphseam.runs import Run

OWN_SCORERS = ("cosine", "link_model", "logistic_regression")  # the others are baselines, unrelated to the run
NUM_TOLD = 5
Measure = tuple[str, str, str, str]  # task, metric, variant, scorer


@dataclass(frozen=True)
class Check:
    """One measure of two runs; higher is better."""

    measure: Measure
    value: float | None  # None: the run lacks it, and the previous one has it
    previous_value: float
    max_drop: float

    @property
    def fall(self) -> float | None:
        """Share of the previous value that was lost, below 0 if it rose."""
        if self.value is None:
            return None
        return (self.previous_value - self.value) / self.previous_value if self.previous_value > 0 else 0.0

    @property
    def passed(self) -> bool:
        return self.fall is not None and self.fall <= self.max_drop

    def __str__(self) -> str:
        _, metric, variant, scorer = self.measure
        name = metric + (f" ({', '.join(part for part in (variant, scorer) if part)})" if variant or scorer else "")
        if self.fall is None or self.value is None:
            return f"{name} is not there and was {_number(self.previous_value)}"
        return f"{name} fell by {self.fall:.1%} from {_number(self.previous_value)} to {_number(self.value)}"


def compare(new: dict[Measure, float], previous: dict[Measure, float], max_drop: float) -> list[Check]:
    """A check for each measure of the previous run: those now missing first, then by size of the drop, largest first.

    A measure that only the new run has is no reason to stop it, and gets no check.
    """
    checks = [Check(measure, new.get(measure), value, max_drop) for measure, value in previous.items()]
    return sorted(checks, key=lambda check: (check.fall is not None, -(check.fall or 0.0), check.measure))


def gate(run: Run) -> dict[str, Any]:
    """Compare the run's measures with those of the newest published run, and write gate_checks.

    Errors: GateError if a measure fell by more than gate.max_drop of its value, or is missing. The first run of a root
    passes, since there is nothing to compare it with; so does a run if neither of the two measured anything.
    """
    settings = run.config.gate
    previous_run = _newest_published(run)
    if previous_run is None:
        run.tables.drop_run("gate_checks")
        return {"told": "no run is published yet, so there is none to compare with", "compared": 0}
    ingested = run.ingested
    new = _measures(run, run.run_id, {"nodes": ingested.nodes, "edges": ingested.edges})
    checks = compare(
        new,
        _measures(
            run, previous_run["run_id"], {"nodes": previous_run["num_nodes"], "edges": previous_run["num_edges"]}
        ),
        settings.max_drop,
    )
    run.tables.write_rows(
        "gate_checks",
        [
            {
                "previous_run_id": previous_run["run_id"],
                **dict(zip(("task", "metric", "variant", "scorer"), check.measure, strict=True)),
                "value": check.value,
                "previous_value": check.previous_value,
                "fall": check.fall,
                "max_drop": check.max_drop,
                "passed": check.passed,
            }
            for check in checks
        ],
    )
    failed = [check for check in checks if not check.passed]
    if failed:
        more = f", and {len(failed) - NUM_TOLD} more (see gate_checks)" if len(failed) > NUM_TOLD else ""
        raise GateError(
            f"run {run.run_id!r} is not published, being worse than run {previous_run['run_id']!r}: "
            f"{'; '.join(map(str, failed[:NUM_TOLD]))}{more}; gate.max_drop allows "
            f"{settings.max_drop:.1%}. Where that is right all the same, jobs/publish.py publishes it"
        )
    worst = f"; the worst, {checks[0]}" if checks and (checks[0].fall or 0) > 0 else ""
    return {
        "told": f"{len(checks)} measures as good as in run {previous_run['run_id']}{worst}",
        "compared": len(checks),
        "previous_run_id": previous_run["run_id"],
    }


def _newest_published(run: Run) -> Any:
    """The row of `runs` to compare with: the newest published run, or the one before this run if it is published."""
    published = run.tables.published("num_nodes", "num_edges")
    places = [row["run_id"] for row in published]
    older = published[places.index(run.run_id) + 1 :] if run.run_id in places else published
    return older[0] if older else None


def _measures(run: Run, run_id: str, counts: dict[str, int]) -> dict[Measure, float]:
    """The configured measures of a run: of the whole graph, by its own scorers, and its counts."""
    names = run.config.gate.names
    rows = (
        run.tables.all_runs("metrics")
        .where(F.col("run_id") == run_id)
        .where("stratum = 'all'")
        .where(F.col("metric").isin(*names) & F.col("scorer").isin(*OWN_SCORERS))
        .collect()
    )  # some tens of rows
    found: dict[Measure, float] = {
        (row["task"], row["metric"], row["variant"], row["scorer"]): row["value"] for row in rows
    }
    return found | {("graph", name, "", ""): float(count) for name, count in counts.items() if name in names}


def _number(value: float) -> str:
    return f"{value:,.0f}" if value > 1 else f"{value:.4f}"
