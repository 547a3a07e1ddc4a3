"""refine: edges, nodes, fused_embeddings -> embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from graphseam.errors import MemoryBudgetError
from graphseam.seeds import derive_seed
from graphseam.session import cores_of_a_task

if TYPE_CHECKING:
    from graphseam.runs import Run


def refine(run: Run) -> dict[str, Any]:
    """A few rounds over all edges, those that were cut included; then one vector a node, with its original id.

    With rounds = hops = 0 the fused vectors are taken as they are, zeros where no subgraph held the node.
    Errors: MemoryBudgetError before the work starts, where the graph does not fit the one task that refines it.
    """
    settings, dim = run.config.refine, run.config.embed.dim
    nodes, fused = run.tables.read("nodes"), run.tables.read("fused_embeddings").select("node_id", "vector")
    if settings.rounds == settings.hops == 0:
        zeros = F.array_repeat(F.lit(0.0).cast("float"), dim)
        vectors = nodes.select("node_id").join(fused, on="node_id", how="left") \
            .withColumn("vector", F.coalesce("vector", zeros))
        threads = 0
    else:
        from graphseam.refine.block import refine_in_one_block
        from graphseam.refine.spectral import SpectralRefiner

        check_refinement(run)
        refiner = SpectralRefiner(rounds=settings.rounds, hops=settings.hops)
        threads = cores_of_a_task(run.spark, num_tasks=1)
        vectors = refine_in_one_block(run.tables.read("edges"), nodes, fused, refiner, dim,
                                      derive_seed(run.config.run.seed, "refine"), threads)
    num_vectors = run.tables.write("embeddings", vectors.join(nodes, on="node_id", how="inner"))
    return {"vectors": num_vectors, "threads": threads}


def check_refinement(run: Run) -> None:
    """MemoryBudgetError where the one task that refines is predicted not to hold the graph; asked before any work."""
    settings, dim = run.config.refine, run.config.embed.dim
    if settings.rounds == settings.hops == 0:
        return
    num_nodes, num_edges = run.details("ingest")["nodes"], run.details("ingest")["edges"]
    needed_mb = predict_bytes(settings.rounds, num_nodes, num_edges, dim) >> 20
    allowed_mb = run.task_memory_mb(num_tasks=1)
    if needed_mb > allowed_mb:
        raise MemoryBudgetError(
            f"refining {num_nodes:,} nodes and {num_edges:,} edges at dim {dim} is predicted to need {needed_mb:,} MB "
            f"in one task, and it may hold {allowed_mb:,} (run.task_memory_mb); lower refine.rounds or embed.dim, set "
            "refine.rounds = 0 and refine.hops = 0, or raise run.task_memory_mb if the executors have that much")


def predict_bytes(rounds: int, num_nodes: int, num_edges: int, dim: int) -> int:
    """Peak of the task that refines: the edges as rows and as matrix, the bases with their images, blocks of work."""
    return 120 * num_edges + num_nodes * dim * 4 * (2 * (2 * rounds + 1) + 4)
