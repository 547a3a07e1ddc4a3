"""refine: subgraph_edges, border_edges, nodes, fused_embeddings -> embeddings."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.base_run import base_named, base_of, kept_base
from graphseam.refine.base import base_vectors, into_frame, start_vectors
from graphseam.refine.block import Whole, refine_in_one_block
from graphseam.refine.block_plan import Blocks, plan_refinement
from graphseam.refine.distributed import refined_by_blocks
from graphseam.refine.incremental import update_vectors
from graphseam.refine.spectral import SpectralRefiner
from graphseam.runs import Run
from graphseam.seeds import derive_seed
from graphseam.session import cores_of_a_task


def refine(run: Run) -> dict[str, Any]:
    """A few rounds over all edges, including the cut ones; then one vector per node, with its original id.

    The graph is held in as many blocks as a task's memory requires; the vectors do not depend on their number. With
    rounds = hops = 0 the fused vectors are used unchanged, zeros for nodes that no subgraph held. Returns the details
    for the log, among them view_widths: the columns of each view in a vector, which `place` needs, and window_weight.
    With run.base it starts from that run's vectors, and the result is rotated into their frame (refine.base). A run
    that has kept its base's partition updates the base's vectors instead (refine.update), if they allow it.
    Errors: MemoryBudgetError if no number of blocks fits; `partition` has checked this already, so that it fails early.
    """
    settings, dim = run.config.refine, run.config.embed.dim
    run.tables.drop_run("drift")
    kept = kept_base(run)
    updated = update_vectors(run, kept) if kept is not None else None
    if updated is not None:
        return updated
    if settings.rounds == settings.hops == 0:
        nodes, fused = run.tables.read("nodes"), run.tables.read("fused_embeddings").select("node_id", "vector")
        zeros = F.array_repeat(F.lit(0.0).cast("float"), dim)
        vectors = nodes.join(fused, on="node_id", how="left").withColumn("vector", F.coalesce("vector", zeros))
        details = {"vectors": run.tables.write("embeddings", vectors), "blocks": 0}
        base = base_of(run, [dim])
        if base is not None:
            details |= into_frame(run, base, [dim])
        return {**details, "window_weight": 0.0, "view_widths": [dim]}
    plan = plan_refinement(run)
    refiner = _refiner(run, plan.window_weight)
    widths = [dim] if plan.window_weight else [width for width in refiner.widths(dim) if width]
    base = base_of(run, widths) if kept is None else kept if base_named(run, kept).view_widths == widths else None
    start = start_vectors(run, base) if kept is None else base_vectors(run, kept)
    details = _in_one_task(run, refiner, start) if plan.blocks is None else _in_blocks(run, refiner, plan.blocks, start)
    if base is not None:
        details |= into_frame(run, base, widths)
    return {**details, "window_weight": round(plan.window_weight, 4), "view_widths": widths}


def _in_one_task(run: Run, refiner: SpectralRefiner, start: DataFrame) -> dict[str, Any]:
    threads, dim = cores_of_a_task(run.spark, num_tasks=1), run.config.embed.dim
    seed = derive_seed(run.config.run.seed, "refine")
    whole = Whole(refiner, dim, seed, threads, run.tables.schema("embeddings"))
    vectors = refine_in_one_block(run.tables.read("edges"), run.tables.read("nodes"), start, whole)
    return {"vectors": run.tables.write("embeddings", vectors), "blocks": 1, "threads": threads}


def _in_blocks(run: Run, refiner: SpectralRefiner, blocks: Blocks, start: DataFrame) -> dict[str, Any]:
    details: dict[str, Any] = {}
    seed = derive_seed(run.config.run.seed, "refine")
    with refined_by_blocks(run, refiner, blocks, start, seed, details) as vectors:
        num_vectors = run.tables.write("embeddings", vectors)
    return {"vectors": num_vectors, **details}


def _refiner(run: Run, window_weight: float) -> SpectralRefiner:
    settings = run.config.refine
    return SpectralRefiner(
        iteration=settings.method,
        rounds=settings.rounds,
        tolerance=settings.tolerance,
        filter=settings.filter,
        hops=settings.hops,
        window_weight=window_weight,
    )
