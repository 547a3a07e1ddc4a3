"""fuse: subgraph_embeddings -> fused_embeddings, alignments."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from statistics import fmean
from typing import Any

from pyspark.sql import DataFrame

from graphseam.base_run import kept_base
from graphseam.checkpoints import lineage_cut
from graphseam.fuse.concat import concat_levels
from graphseam.fuse.procrustes import Placing, place_level
from graphseam.gathered import gathered
from graphseam.methods import FUSIONS
from graphseam.runs import Run
from graphseam.task_files import Mapped


def fuse(run: Run) -> dict[str, Any]:
    """Combine the subgraphs' vectors into one table, one vector per node; in an incremental run there are none."""
    base = kept_base(run)
    if base is not None:
        for table in ("fused_embeddings", "alignments"):
            run.tables.drop_run(table)
        return {"nodes": 0, "kept_from": base}
    levels = [row["level"] for row in run.tables.read("subgraph_embeddings").select("level").distinct().collect()]
    details: dict[str, Any] = FUSIONS[run.config.fuse.method](run, sorted(levels))
    return details


def fuse_by_procrustes(run: Run, levels: list[int]) -> dict[str, Any]:
    """From the deepest level upwards: its largest subgraph is the frame, and all others are rotated into it.

    Each level's frame is kept until the next one is built from it, and its lineage is cut: a plan built on plans would
    double at every level. The first level's frame is written straight to the table.
    Cost: that of place_level, for each level. Disk: the vectors of two levels, not counting the first.
    """
    records, schema = gathered(run.spark), run.tables.schema("fused_embeddings")
    with ExitStack() as kept:
        frame: DataFrame | None = None
        for level in reversed([at for at in levels if at > 1]):
            with kept.pop_all():  # release the previous frame once this one is there
                placed = _placed(run, frame, Placing(level, schema, records)).frame()
                frame = kept.enter_context(lineage_cut(placed, run.checkpoint_dir()))
        num_nodes = run.tables.write("fused_embeddings", _placed(run, frame, Placing(1, schema, records)))
    alignments = [records.value[subgraph] for subgraph in sorted(records.value)]
    _name_frame(alignments)
    run.tables.write_rows("alignments", alignments)
    return {"nodes": num_nodes, **_told(alignments)}


def _placed(run: Run, frame: DataFrame | None, placing: Placing) -> Mapped:
    """FUSED rows of one level and all levels below it."""
    vectors = run.tables.read("subgraph_embeddings", level=placing.level)
    return place_level(vectors, frame, _homes(run, placing.level), placing)


def _homes(run: Run, level: int) -> DataFrame:
    """(node_id, subgraph_id) of every node of a level; refinement finds a node's block by that of the first level."""
    return run.tables.read("assignments", level=level).select("node_id", "subgraph_id")


def _name_frame(alignments: list[dict[str, Any]]) -> None:
    """Mark the deepest level's largest subgraph as the frame itself, not as one that could not be aligned."""
    if alignments:
        deepest = max(row["level"] for row in alignments)
        frame = max(
            (row for row in alignments if row["level"] == deepest), key=lambda row: (row["nodes"], -row["subgraph_id"])
        )
        frame["status"] = "frame"


def _told(alignments: list[dict[str, Any]]) -> dict[str, Any]:
    """What the summary reports: subgraphs by alignment status, and how well the aligned ones fit."""
    errors = [row["fit_error"] for row in alignments if row["status"] == "aligned"]
    return {
        "alignments": dict(sorted(Counter(row["status"] for row in alignments).items())),
        "mean_fit_error": fmean(errors) if errors else 0.0,
    }


def fuse_by_concat(run: Run, levels: list[int]) -> dict[str, Any]:
    """The paper's method, kept as the baseline."""
    run.tables.drop_run("alignments")
    vectors = run.tables.read("subgraph_embeddings")
    if levels:
        vectors = concat_levels(vectors, levels, run.config.embed.dim)
    homed = vectors.select("node_id", "degree", "vector").join(_homes(run, 1), on="node_id")
    return {"nodes": run.tables.write("fused_embeddings", homed)}
