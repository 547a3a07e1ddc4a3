"""embed: subgraph_edges -> subgraph_embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from graphseam.embed.executor import check_memory, embed_subgraphs
from graphseam.embed.prone import ProneEmbedder
from graphseam.session import cores_of_a_task

if TYPE_CHECKING:
    from graphseam.runs import Run

EMBEDDERS: dict[str, Any] = {
    "prone": ProneEmbedder,
}


def embed(run: Run) -> dict[str, Any]:
    """Embed every subgraph that has an edge, each on its own, in parallel.

    Errors: MemoryBudgetError before the work starts, EmbeddingError in it; both name the subgraph.
    """
    settings = run.config.embed
    embedder = EMBEDDERS[settings.method](dim=settings.dim)
    edges = run.tables.read("subgraph_edges")
    counts = edges.groupBy("subgraph_id").count().collect()  # one row a subgraph
    nodes = {row["subgraph_id"]: row["count"] for row in
             run.tables.read("assignments").groupBy("subgraph_id").agg(F.count("*").alias("count")).collect()}
    sizes = {row["subgraph_id"]: (nodes[row["subgraph_id"]], row["count"]) for row in counts}
    check_memory(embedder, settings.method, sizes, run.task_memory_mb(len(sizes)))
    num_edges = {subgraph: size[1] for subgraph, size in sizes.items()}
    threads = cores_of_a_task(run.spark, len(sizes))
    run.tables.drop_run("subgraph_embeddings")
    vectors = 0
    if sizes:
        vectors = run.tables.write("subgraph_embeddings", embed_subgraphs(
            edges, embedder, run.config.run.seed, num_edges, threads, run.tables.schema("subgraph_embeddings"),
            run.tables.arrow_schema("subgraph_embeddings")))
    return {"subgraphs": len(sizes), "vectors": vectors, "threads": threads}
