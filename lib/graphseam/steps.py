"""The steps of a run, one record each; order, fingerprints, progress, jobs and the table in the docs derive from them.

A step's function is given by its dotted name, so this module imports no step, and the steps never import each other
to find out what comes before or after them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from graphseam.config import Config

Details = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """function: "module:name" of its implementation, (Run) -> details. job: the file in jobs/ that runs it.

    reads, writes: tables, or input. depends_on: sections and keys of the configuration that its result depends on,
    besides those of the steps it comes `after`. tells: builds the end of its progress line from the details.
    """

    name: str
    function: str
    job: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    depends_on: tuple[str, ...]
    after: tuple[str, ...]
    tells: Callable[[Details], str]

    def load(self) -> Callable[[Any], Details]:
        """Import the function and return it."""
        module, _, name = self.function.partition(":")
        function: Callable[[Any], Details] = getattr(import_module(module), name)
        return function


def _rejected(details: Details) -> str:
    rejected = sum(details.get("rejected", {}).values())
    return f"{details['nodes']:,} nodes, {details['edges']:,} edges, {rejected:,} rows rejected"


def _cut(details: Details) -> str:
    """The subgraphs; in an incremental run also what has changed since the base, or why the graph was cut anew."""
    told = f"{details['subgraphs']:,} subgraphs"
    if "kept_from" not in details:
        why = f"; cut anew: {details['cut_anew']}" if "cut_anew" in details else ""
        return f"{told} in {details['levels']} levels, {details['left_over_edges']:,} edges left over{why}"
    counts = details["changes"]
    edges = " ".join(f"{sign}{counts[f'{kind}_edges']:,}" for sign, kind in (("+", "new"), ("-", "removed")))
    nodes = f"+{counts['new_nodes']:,} -{counts['vanished_nodes']:,}"
    other = f", {counts['reweighted_edges']:,} reweighted" if counts["reweighted_edges"] else ""
    return f"{told} kept from {details['kept_from']}; edges {edges}{other}; nodes {nodes}"


def _unless_kept(text: str) -> Callable[[Details], str]:
    def tell(details: Details) -> str:
        kept = details.get("kept_from")
        return f"nothing to do, as the vectors of {kept} are updated" if kept else text.format_map(details)

    return tell


def _refined(details: Details) -> str:
    if "fit" in details:
        return f"{details['vectors']:,} vectors, those of {details['base']} updated with a fit of {details['fit']:.2f}"
    weight = details.get("window_weight")
    view = f", window view of weight {weight:.2f}" if weight else ""
    base = f", in the frame of {details['base']}" if details.get("base") else ""
    return f"{details['vectors']:,} vectors, blocks: {details['blocks']:,}{view}{base}"


def _learnt(details: Details) -> str:
    """How many labels were predicted, and the classes for which none could be, the first few by name."""
    told = f"{details['predictions']:,} labels"
    for status, names in details.get("such_as", {}).items():
        if names:
            counts = details["labels"]
            more = ", ..." if len(names) < counts[status] else ""
            told += f"; {counts[status]:,} of {sum(counts.values()):,} classes {status}: {', '.join(names)}{more}"
    return told


VECTORS, GATE, LAST = "refine", "gate", "publish"  # the step that writes the vectors, the check, the last step
MAY_BE_BESIDE = ("predict_links", "predict_nodes", "predict_similar", "evaluate")
_RECORDS = (
    Step(
        name="ingest",
        function="graphseam.ingest:ingest",
        job="ingest",
        reads=("input",),
        writes=("nodes", "edges", "holdout_edges", "labels", "candidate_pairs", "evaluation_pairs", "rejected_rows"),
        depends_on=(
            "input",
            "run.seed",
            "evaluate.holdout",
            "evaluate.held_out",
            "evaluate.max_pairs",
            "evaluate.max_ranked",
        ),
        after=(),
        tells=_rejected,
    ),
    Step(
        name="partition",
        function="graphseam.partition:partition",
        job="partition",
        reads=("nodes", "edges"),
        writes=("assignments", "subgraph_edges", "border_edges", "partition_levels", "edge_changes"),
        # the embedder's memory forecast and the memory limit per task decide how finely the graph is cut
        depends_on=("partition", "embed", "run.task_memory_mb", "run.incremental"),
        after=("ingest",),
        tells=_cut,
    ),
    Step(
        name="embed",
        function="graphseam.embedding:embed",
        job="embed",
        reads=("subgraph_edges", "assignments"),
        writes=("subgraph_embeddings", "subgraph_stats"),
        depends_on=("embed",),
        after=("partition",),
        tells=_unless_kept("{vectors:,} vectors in {subgraphs:,} subgraphs"),
    ),
    Step(
        name="fuse",
        function="graphseam.fuse:fuse",
        job="fuse",
        reads=("subgraph_embeddings", "assignments"),
        writes=("fused_embeddings", "alignments"),
        depends_on=("fuse",),
        after=("embed",),
        tells=_unless_kept("{nodes:,} nodes in one frame"),
    ),
    Step(
        name=VECTORS,
        function="graphseam.refine:refine",
        job="refine",
        reads=(
            "edges",
            "subgraph_edges",
            "border_edges",
            "edge_changes",
            "assignments",
            "nodes",
            "fused_embeddings",
            "runs",
        ),
        writes=("embeddings", "drift"),
        depends_on=("refine", "run.base", "run.incremental"),
        after=("fuse",),
        tells=_refined,
    ),
    Step(
        name="predict_links",
        function="graphseam.predict.links:predict_links",
        job="predict",
        reads=("embeddings", "edges", "holdout_edges", "nodes", "assignments", "candidate_pairs", "evaluation_pairs"),
        writes=(
            "link_predictions",
            "candidate_lists",
            "link_models",
            "link_calibration",
            "pair_scores",
            "search_recall",
            "search_cells",
            "node_cells",
            "nearest_nodes",
        ),
        depends_on=("predict.links", "predict.similar", "predict.recall"),  # it finds the similar nodes on the way
        after=("refine",),
        tells="{links:,} links".format_map,
    ),
    Step(
        name="predict_nodes",
        function="graphseam.predict.nodes:predict_nodes",
        job="predict",
        reads=("embeddings", "labels", "nodes"),
        writes=("node_predictions", "label_models", "label_quality"),
        depends_on=("predict.nodes",),
        after=("refine",),
        tells=_learnt,
    ),
    Step(
        name="predict_similar",
        function="graphseam.predict.similar:predict_similar",
        job="predict",
        reads=("nearest_nodes", "embeddings", "nodes"),
        writes=("similar_nodes", "search_recall"),
        depends_on=("predict.similar", "predict.recall"),
        after=("predict_links",),  # whose search finds them on the way, where it can
        tells="{similar:,} similar nodes".format_map,
    ),
    Step(
        name="evaluate",
        function="graphseam.evaluate:evaluate",
        job="evaluate",
        reads=(
            "embeddings",
            "drift",
            "evaluation_pairs",
            "pair_scores",
            "link_predictions",
            "node_predictions",
            "labels",
        ),
        writes=("metrics", "reliability"),
        depends_on=("evaluate",),
        after=("predict_links", "predict_nodes"),
        tells=lambda details: f"{len(details.get('metrics', {}))} numbers",
    ),
    Step(
        name=GATE,  # a check: part of a run only if configured, and no result depends on it
        function="graphseam.gate:gate",
        job="gate",
        reads=("metrics", "runs"),
        writes=("gate_checks",),
        depends_on=("gate",),
        after=("evaluate",),
        tells="{told}".format_map,
    ),
    Step(
        name=LAST,
        function="graphseam.publish:publish",
        job="publish",
        reads=("embeddings",),
        writes=("runs",),
        depends_on=(),
        after=("evaluate", "predict_similar"),
        tells="{vectors:,} vectors published".format_map,
    ),
)
ALL_STEPS: dict[str, Step] = {step.name: step for step in _RECORDS}
STEPS: dict[str, Step] = {name: step for name, step in ALL_STEPS.items() if name != GATE}  # those of every run


def steps_of(config: Config) -> list[str]:
    """The steps of a full run in order; includes the gate, before publish, only if it can stop a run."""
    return list(ALL_STEPS if config.gate.max_drop < 1 else STEPS)


def beside(steps: Sequence[str]) -> list[str]:
    """The first of these steps, and those right after it that may run beside it: they come after neither of them."""
    found = [steps[0]]
    for step in steps[1:]:
        if not {step, steps[0]} <= set(MAY_BE_BESIDE) or set(ALL_STEPS[step].after) & set(found):
            break
        found.append(step)
    return found


def steps_of_job(job: str) -> tuple[str, ...]:
    """The steps that jobs/<job>.py runs."""
    return tuple(name for name, step in ALL_STEPS.items() if step.job == job)


def description_of(job: str) -> str:
    """One line about a job: the tables it reads and those it writes."""
    steps = [ALL_STEPS[name] for name in steps_of_job(job)]
    writes = list(dict.fromkeys(table for step in steps for table in step.writes))
    reads = dict.fromkeys(table for step in steps for table in step.reads if table not in writes)
    return f"{job}: {', '.join(reads)} -> {', '.join(writes)}."


# Keys that earlier versions did not have, with what they did: left out while they say so, so that a run begun by an
# earlier version can be taken up.
ADDED: dict[str, dict[str, object]] = {
    "input": {"time": "", "until": "", "window": "", "half_life": "", "encoding": "utf-8", "multiline": False},
    "predict.nodes": {"unlabelled": "auto"},
    "run": {"incremental": False},
}


def step_fingerprint(config: Config, step: str) -> str:
    """Hash of all settings that the step's result depends on: its own and those of the steps before it."""
    tree = _without_added(dataclasses.asdict(config))
    sections: set[str] = set()
    pending = [step]
    while pending:
        record = ALL_STEPS[pending.pop()]
        sections.update(record.depends_on)
        pending.extend(record.after)
    if config.run.incremental and "run.incremental" in sections:
        sections.add("run.base")
    chosen = {}
    for key in sorted(sections):
        value: Any = tree
        for part in key.split("."):
            value = value.get(part, {})
        if value != {}:
            chosen[key] = value
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]


def _without_added(tree: dict[str, Any]) -> dict[str, Any]:
    for section, keys in ADDED.items():
        holder = tree
        for part in section.split("."):
            holder = holder[part]
        for name, default in keys.items() if isinstance(holder, dict) else ():
            if holder[name] == default:
                del holder[name]
    return tree


def table_of_steps() -> str:
    """The steps as a Markdown table, as shown in docs/architecture.md and printed by `python -m graphseam.steps`."""
    rows = ["| step | job | reads | writes | its result depends on | after |", "|---|---|---|---|---|---|"]
    for step in ALL_STEPS.values():
        cells = (
            [step.name],
            [f"jobs/{step.job}.py"],
            step.reads,
            step.writes,
            [f"`{key}`" for key in step.depends_on],
            step.after,
        )
        rows.append(f"| {' | '.join(', '.join(cell) or '-' for cell in cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table_of_steps())
