"""refine: edges, nodes, fused_embeddings -> embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from graphseam.errors import MemoryBudgetError
from graphseam.seeds import derive_seed
from graphseam.session import cores_of_a_task

if TYPE_CHECKING:
    from graphseam.refine.spectral import SpectralRefiner
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

        refiner = _refiner(run)
        threads = cores_of_a_task(run.spark, num_tasks=1)
        vectors = refine_in_one_block(run.tables.read("edges"), nodes, fused, refiner, dim,
                                      derive_seed(run.config.run.seed, "refine"), threads)
    num_vectors = run.tables.write("embeddings", vectors.join(nodes, on="node_id", how="inner"))
    return {"vectors": num_vectors, "threads": threads}


def _refiner(run: Run) -> SpectralRefiner:
    """The refiner with its settings, once its forecast fits the memory of one task."""
    from graphseam.refine.spectral import SpectralRefiner

    settings = run.config.refine
    refiner = SpectralRefiner(rounds=settings.rounds, hops=settings.hops)
    num_nodes, num_edges = run.details("ingest")["nodes"], run.details("ingest")["edges"]
    needed_mb = refiner.predict_bytes(num_nodes, num_edges, run.config.embed.dim) >> 20
    if needed_mb > run.config.run.task_memory_mb:
        raise MemoryBudgetError(
            f"refining {num_nodes:,} nodes and {num_edges:,} edges at dim {run.config.embed.dim} is predicted to need "
            f"{needed_mb:,} MB in one task, and run.task_memory_mb is {run.config.run.task_memory_mb:,}; lower "
            "refine.rounds or embed.dim, set refine.rounds = 0 and refine.hops = 0, or raise run.task_memory_mb if "
            "the executors have that much")
    return refiner
