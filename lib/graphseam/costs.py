"""What each step costs per edge and per node: fitted to measured runs, used for plans and before a step starts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from graphseam.config import Config
from graphseam.errors import InputError
from graphseam.steps import GATE, steps_of
from graphseam.usage import DISK_MB, SHUFFLED_MB, TABLES_MB

CORE_SECONDS = "core_seconds"  # seconds of the step times the session's cores, idle ones included
WAITED = "waited"  # of a forecast: those of its core-seconds that more cores do not share
LEARNING = "predict_nodes: learning"  # a part of the step, which takes at most predict.nodes.max_train_nodes
MEASURES = (CORE_SECONDS, SHUFFLED_MB, DISK_MB, TABLES_MB)
KEPT = Path(__file__).with_name("costs.json")  # measured by the authors; `graphseam plan --calibrate` measures others
DETERMINED = 3  # graphs, at least, that tell what is fixed from what grows with nodes and with edges
LEAST = {CORE_SECONDS: 2.0, SHUFFLED_MB: 2.0, DISK_MB: 10.0, TABLES_MB: 1.0}  # smaller figures are noise to a fit


@dataclass(frozen=True)
class Cost:
    """fixed: of any graph; per_edge, per_node: what is added. In the measure's unit."""

    fixed: float
    per_edge: float
    per_node: float

    def of(self, nodes: int, edges: int, width: float = 1.0) -> float:
        """For a graph. width: dim by the dim it was measured with; what is per node is mostly vectors."""
        return self.fixed + self.per_edge * edges + self.per_node * nodes * width


@dataclass(frozen=True)
class Costs:
    """of: {step: {measure: Cost}}. dim: of the vectors. cores: of the session. measured: where and on what. whole: as
    `of`, where one task does a step alone, as in whole_steps; steps that are not in it cost what `of` says."""

    of: dict[str, dict[str, Cost]]
    dim: int
    cores: int
    measured: str
    whole: dict[str, dict[str, Cost]] = field(default_factory=dict)

    def step(self, step: str, whole: Collection[str]) -> dict[str, Cost]:
        """What the step costs. whole: the steps that one task does alone."""
        return self.whole[step] if step in whole and step in self.whole else self.of[step]

    def forecast(
        self, config: Config, nodes: int, edges: int, whole: Collection[str] = ()
    ) -> dict[str, dict[str, float]]:
        """{step: {measure: value}} of the steps that the configuration asks for, in order, with WAITED. whole: as in
        `step`. All nodes are taken to have labels."""
        width, found = config.embed.dim / self.dim, {}
        for step in (step for step in steps_of(config) if step in self.of and asked_for(config, step)):
            costs = self.step(step, whole)
            found[step] = {measure: cost.of(nodes, edges, width) for measure, cost in costs.items()}
            found[step][WAITED] = costs[CORE_SECONDS].fixed
        if "predict_nodes" in found and LEARNING in self.of:  # from a sample, by a task per model
            for measure, cost in self.step(LEARNING, whole).items():
                value = cost.of(min(nodes, config.predict.nodes.max_train_nodes), 0, width)
                found["predict_nodes"][measure] += value
                found["predict_nodes"][WAITED] += value if measure == CORE_SECONDS else 0.0
        return found

    def seconds_of(self, forecast: dict[str, float], cores: int) -> float:
        """Seconds of a step on so many cores, which share what grows with the graph and wait for the rest."""
        return forecast[WAITED] / self.cores + (forecast[CORE_SECONDS] - forecast[WAITED]) / cores

    def to_json(self) -> str:
        told = {"measured": self.measured, "dim": self.dim, "cores": self.cores, "steps": _told(self.of)}
        return json.dumps(told | ({"whole": _told(self.whole)} if self.whole else {}), indent=1)


def _told(of: dict[str, dict[str, Cost]]) -> dict[str, dict[str, list[float]]]:
    return {
        step: {measure: [cost.fixed, cost.per_edge, cost.per_node] for measure, cost in measures.items()}
        for step, measures in of.items()
    }


def _costs_told(steps: dict[str, dict[str, list[float]]]) -> dict[str, dict[str, Cost]]:
    return {
        step: {measure: Cost(*map(float, numbers)) for measure, numbers in measures.items()}
        for step, measures in steps.items()
    }


def asked_for(config: Config, step: str) -> bool:
    """Whether the step has something to do beside a few statements."""
    predict = config.predict
    return {
        "predict_links": predict.links.top_k > 0,
        "predict_similar": predict.similar.top_k > 0,
        "predict_nodes": bool(config.input.labels),
        "evaluate": config.holds_out or bool(config.input.labels),
        GATE: False,
    }.get(step, True)


def read_costs(path: str | None = None) -> Costs:
    """Those kept in a file, or those that graphseam brings along. InputError if the file is none of ours."""
    try:
        told = json.loads((Path(path) if path else KEPT).read_text(encoding="utf-8"))
        steps, whole = _costs_told(told["steps"]), _costs_told(told.get("whole", {}))
        return Costs(steps, int(told["dim"]), int(told["cores"]), str(told["measured"]), whole)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path!r} does not hold costs ({type(error).__name__}: {error}); give a file that "
            "`graphseam plan --calibrate` has written"
        ) from None


def fit(rows: Iterable[dict[str, Any]], dim: int, measured: str) -> Costs:
    """Costs from measured runs: a row per run and step with nodes, edges, cores, seconds and the measures in MB, and
    with `whole`, whether one task did the step alone.

    Coefficients are not negative, and relative errors count: a small graph weighs as much as a large one. Three
    graphs are the least that determine them; with fewer, what is fixed is taken for 0.
    """
    by_kind: tuple[dict[str, list[dict[str, Any]]], ...] = ({}, {})
    cores = 1
    for row in rows:
        by_kind[bool(row.get("whole"))].setdefault(row["step"], []).append(row)
        cores = max(cores, int(row["cores"]))
    parts, whole = ({step: _fitted(runs) for step, runs in kind.items()} for kind in by_kind)
    return Costs(parts, dim, cores, measured, whole)


def _fitted(runs: list[dict[str, Any]]) -> dict[str, Cost]:
    from scipy.optimize import nnls

    fixed = float(len(runs) >= DETERMINED)
    size = np.array([[fixed, float(run["edges"]), float(run["nodes"])] for run in runs])
    scale, found = np.maximum(size.max(axis=0), 1.0), {}
    for measure in MEASURES:
        values = np.array([_value(run, measure) for run in runs])
        weight = 1 / np.maximum(values, LEAST[measure])
        numbers, _ = nnls(size / scale * weight[:, None], values * weight)
        found[measure] = Cost(*(numbers / scale).tolist())
    return found


def _value(run: dict[str, Any], measure: str) -> float:
    if measure == CORE_SECONDS:
        return float(run["seconds"]) * int(run["cores"])
    return float(run.get(measure) or 0)
