"""Whether this machine's disks have room for what a run is forecast to write, before a step fills them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Sequence

from graphseam.causes import shuffle_folders
from graphseam.costs import read_costs
from graphseam.errors import RunError
from graphseam.files import absolute, is_remote, local_files, local_path, size_told
from graphseam.runs import Run
from graphseam.session import in_one_process
from graphseam.usage import DISK_MB, MB, TABLES_MB, existing

SLACK = 1.4  # times what is forecast: forecasts were up to a third too low (docs/scale.md)
Whole = Callable[[int, int], Collection[str]]  # (nodes, edges) -> steps
BYTES_PER_EDGE = 10  # of an input file, about, if it is neither compressed nor wide
EDGES_PER_NODE = 32  # of a graph that is not read yet: many, so that one which fits is not refused for a guess


def require_room(run: Run, steps: Sequence[str], whole: Whole = lambda nodes, edges: ()) -> None:
    """RunError if the next of these steps, or one after it, is forecast to need more disk than is free.

    whole: tells which steps one task does alone, see whole_steps. Only where the whole run is on this machine:
    executors' disks are not seen from the driver, see `graphseam plan`. run.check_disk = false leaves it out.
    """
    if not (run.config.run.check_disk and steps and in_one_process(run.spark)):
        return
    nodes, edges = _size(run)
    forecast = read_costs().forecast(run.config, nodes, edges, whole(nodes, edges))
    root = run.config.output.root
    scratch = shuffle_folders()[0]
    at_root = local_path(absolute(root)) if root and not is_remote(root) else None
    kept = 0.0  # MB of tables that the steps before this one will have written
    for step in steps:
        told = forecast.get(step, {DISK_MB: 0.0, TABLES_MB: 0.0})
        wanted = {scratch: max(0.0, told[DISK_MB] - told[TABLES_MB])}
        if at_root is not None:
            wanted[at_root] = wanted.get(at_root, 0.0) + kept + told[TABLES_MB]
        for folder, forecast_mb in _by_disk(wanted).items():
            needed = SLACK * forecast_mb
            free = shutil.disk_usage(existing(folder)).free / MB
            if needed > free:
                key = "SPARK_LOCAL_DIRS" if folder == scratch else "output.root"
                raise RunError(
                    f"step {step!r} is forecast to need {size_told(needed * MB)} of the disk that holds {folder}, and "
                    f"{size_told(free * MB)} are free (about {nodes:,} nodes and {edges:,} edges; `graphseam plan` "
                    f"shows each step); free some, put {key} on a larger disk, {_less(step)}or set "
                    "run.check_disk = false to try all the same"
                )
        kept += told[TABLES_MB]


def _by_disk(wanted: dict[str, float]) -> dict[str, float]:
    """{the first folder on each disk: what the folders on it want together}."""
    first: dict[int, str] = {}
    found: dict[str, float] = {}
    for folder, size in wanted.items():
        name = first.setdefault(os.stat(existing(folder)).st_dev, folder)
        found[name] = found.get(name, 0.0) + size
    return found


def _less(step: str) -> str:
    """What lets the step write less."""
    return {
        "predict_links": "lower predict.links.top_k or num_candidates, ",
        "predict_similar": "lower predict.similar.top_k, ",
        "predict_nodes": "lower predict.nodes.top_labels, ",
        "refine": "lower embed.dim, ",
        "embed": "lower embed.dim, ",
    }.get(step, "")


def _size(run: Run) -> tuple[int, int]:
    """(nodes, edges) of the graph; before it is read, a guess from the size of the files, low in nodes."""
    if run.details("ingest"):
        told = run.ingested
        return told.nodes, told.edges + told.holdout_edges
    path = run.config.input.edges
    if is_remote(path):
        return 0, 0
    edges = sum(file.stat().st_size for file in local_files(path, "input.edges")) // BYTES_PER_EDGE
    return edges // EDGES_PER_NODE, edges
