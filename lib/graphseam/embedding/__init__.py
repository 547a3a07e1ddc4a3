"""embed: subgraph_edges -> subgraph_embeddings, subgraph_stats."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.base_run import kept_base
from graphseam.embedding.executor import Embedder, Stage, embed_subgraphs
from graphseam.embedding.memory import Limit, check_memory, gpu_bytes, gpu_limit, task_limit
from graphseam.errors import RunError
from graphseam.gathered import gathered
from graphseam.gpus import gpu_shares, has_gpus, task_profile
from graphseam.methods import EMBEDDERS
from graphseam.runs import Run
from graphseam.sections import BORDER, NO_START, EmbedConfig
from graphseam.session import MANY_TASKS, cores_of_a_task


def build_embedder(settings: EmbedConfig) -> Embedder:
    """The embedder of `embed.method`, with the section's settings that it accepts and its own options."""
    kind = EMBEDDERS[settings.method].load()
    wanted = {option.name for option in dataclasses.fields(kind)}
    given = dataclasses.asdict(settings)
    embedder: Embedder = kind(**{name: given[name] for name in wanted & set(given)}, **settings.own_options)
    return embedder


def embed(run: Run) -> dict[str, Any]:
    """Embed every subgraph that has an edge, each independently, in parallel.

    With embed.warm_start = "border" the deepest subgraph is embedded first, and the others start from its vectors.
    Errors: MemoryBudgetError before any work starts, EmbeddingError during it; both name the subgraph. RunError if the
    run to start from has no embeddings of this width. An incremental run embeds nothing.
    """
    base = kept_base(run)
    if base is not None:
        for table in ("subgraph_embeddings", "subgraph_stats"):
            run.tables.drop_run(table)
        return {"subgraphs": 0, "vectors": 0, "kept_from": base}
    settings, embedder = run.config.embed, build_embedder(run.config.embed)
    sizes = subgraph_sizes(run)
    check_memory(settings.method, sizes, _limits(run, len(sizes)))
    starts = _starts(run)
    run.tables.drop_run("subgraph_embeddings")
    run.tables.drop_run("subgraph_stats")
    records: list[dict[str, Any]] = []
    vectors = 0
    for start, chosen in _batches(run, sizes, starts):
        needed_mb = {at: gpu_bytes(embedder, *chosen[at]) / 2**20 for at in chosen}
        for share in gpu_shares(needed_mb, _gpu_memory_mb(run), settings.gpu_share):
            stage = _stage(run, embedder, {at: chosen[at] for at in share.subgraphs}, share.gpus, start is not None)
            vectors += _embed_stage(run, stage, start)
            records += stage.gathered.value.values()
    run.tables.write_rows("subgraph_stats", [{"method": settings.method, **record} for record in records])
    return {"subgraphs": len(sizes), "vectors": vectors, **_peaks(records)}


def subgraph_sizes(run: Run) -> dict[int, tuple[int, int]]:
    """{subgraph: (nodes, edges)} of the subgraphs with an edge; one row per subgraph reaches the driver."""
    edges = run.tables.read("subgraph_edges").groupBy("subgraph_id").agg(F.count("*").alias("count")).collect()
    nodes = run.tables.read("assignments").groupBy("subgraph_id").agg(F.count("*").alias("count")).collect()
    nodes_of = {row["subgraph_id"]: row["count"] for row in nodes}
    return {row["subgraph_id"]: (nodes_of[row["subgraph_id"]], row["count"]) for row in edges}


def forecast_of_a_subgraph(run: Run) -> Callable[[int, int], int]:
    """bytes_of(nodes, edges), to compare with a task's memory.

    If a GPU's memory is known and is the tighter bound, the GPU's forecast is used, scaled by the ratio of the task's
    memory to the GPU's: a subgraph that would fill the GPU then fills the task too.
    """
    limits, task_mb = _limits(run), run.task_memory_mb()
    return lambda nodes, edges: max(
        math.ceil(limit.forecast(nodes, edges) * task_mb / limit.most_mb) for limit in limits
    )


def _limits(run: Run, num_tasks: int = MANY_TASKS) -> list[Limit]:
    """The limits on a subgraph: the memory of its task, and that of the GPU if it is known."""
    embedder, gpu_memory_mb = build_embedder(run.config.embed), _gpu_memory_mb(run)
    limits = [task_limit(embedder, run.task_memory_mb(num_tasks), run.config.embed.warm_start != NO_START)]
    return [*limits, gpu_limit(embedder, gpu_memory_mb)] if gpu_memory_mb else limits


def _gpu_memory_mb(run: Run) -> int:
    """Memory in MB of the GPU that embedding runs on; 0 if it runs on none, or its memory is not known."""
    on_gpus = run.config.embed.device != "cpu" and has_gpus(run.spark)
    return run.config.embed.gpu_memory_mb if on_gpus else 0


def _batches(
    run: Run, sizes: dict[int, tuple[int, int]], starts: DataFrame | None
) -> Iterator[tuple[DataFrame | None, dict[int, tuple[int, int]]]]:
    """(vectors to start from, sizes): all at once, or the deepest first and then the others, from its vectors."""
    others = sizes
    if sizes and run.config.embed.warm_start == BORDER:
        deepest = max(sizes)  # ids grow with the levels
        yield None, {deepest: sizes[deepest]}
        others = {at: size for at, size in sizes.items() if at != deepest}
        starts = _vectors_of(run, deepest)
    if others:
        yield starts, others


def _stage(run: Run, embedder: Embedder, sizes: dict[int, tuple[int, int]], gpus: float, started: bool) -> Stage:
    return Stage(
        embedder,
        run.config.run.seed,
        sizes,
        cores_of_a_task(run.spark, len(sizes)),
        run.tables.schema("subgraph_embeddings"),
        run.tables.arrow_schema("subgraph_embeddings"),
        directed=run.config.input.directed,
        started=started,
        on_cpu=run.config.embed.device == "cpu",
        profile=task_profile(run.spark, gpus),
        gathered=gathered(run.spark),
    )


def _embed_stage(run: Run, stage: Stage, start: DataFrame | None) -> int:
    """Append the stage's vectors to those of the stages before it."""
    edges = run.tables.read("subgraph_edges")
    if start is not None:
        start = (
            run.tables.read("assignments")
            .join(start, on="node_id", how="inner")
            .select("subgraph_id", "node_id", "vector")
        )
    return run.tables.append("subgraph_embeddings", embed_subgraphs(edges, stage, start))


def _starts(run: Run) -> DataFrame | None:
    """(node_id, vector) of the run that embed.warm_start names; None if it names no run."""
    settings = run.config.embed
    if settings.warm_start in (NO_START, BORDER):
        return None
    found = run.tables.all_runs("embeddings").where(F.col("run_id") == F.lit(settings.warm_start))
    widths = {row["width"] for row in found.select(F.size("vector").alias("width")).distinct().collect()}
    if widths != {settings.dim}:
        came = f"its vectors have {sorted(widths)} dimensions" if widths else "it has no embeddings under this root"
        raise RunError(
            f"embed.warm_start names the run {settings.warm_start!r}, and {came}; give a published run of "
            f'dim {settings.dim}, "border", or "" to start from random vectors'
        )
    return found.select("node_id", "vector")


def _vectors_of(run: Run, subgraph: int) -> DataFrame:
    """(node_id, vector) of the deepest subgraph: the others start from it, so their vectors end up near its frame."""
    return run.tables.read("subgraph_embeddings").where(F.col("subgraph_id") == subgraph).select("node_id", "vector")


def _peaks(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What the summary reports about memory and about the time of one subgraph."""
    if not records:
        return {}
    return {
        "threads": records[0]["threads"],
        "devices": sorted({record["device"] for record in records}),
        "predicted_mb": round(max(record["predicted_mb"] for record in records), 1),
        "peak_mb": round(max(record["peak_mb"] for record in records), 1),
        "worker_mb": round(max(record["worker_mb"] for record in records), 1),
        "longest_s": round(max(record["seconds"] for record in records), 2),
    }
