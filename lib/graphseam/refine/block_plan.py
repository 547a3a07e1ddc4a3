"""Which block a node belongs to, by its first-level subgraph or a piece of it; and the memory that a block needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pyspark.sql import functions as F

from graphseam.errors import MemoryBudgetError
from graphseam.refine.iteration import ROUNDS_PER_SPAN
from graphseam.runs import Run

EDGE_BYTES = 90  # per edge of a block: both entries as they come in, sorted, and as rows
STATES = 9  # vectors held at once per row and per halo node, including those mapped from files
WHOLE_EDGE_BYTES = 220  # per edge if one task holds the whole graph
MOST_BLOCKS = 100_000


@dataclass(frozen=True)
class Blocks:
    """subgraphs: int64[s], ascending ids. Subgraph i is cut into pieces of `widths[i]` node ids, from `lowest[i]` on;
    its pieces are in the blocks piece_blocks[starts[i]:starts[i + 1]]. O(subgraphs): sent to every task."""

    num_blocks: int
    subgraphs: np.ndarray
    lowest: np.ndarray
    widths: np.ndarray
    starts: np.ndarray
    piece_blocks: np.ndarray
    largest_bytes: int  # predicted for the task of the largest block

    def of(self, subgraphs: np.ndarray, node_ids: np.ndarray) -> np.ndarray:
        """int32: the block of each node. Nodes of a subgraph are kept together, so halos come mostly from cut edges."""
        at = np.searchsorted(self.subgraphs, subgraphs)
        last = self.starts[at + 1] - self.starts[at] - 1
        piece = np.minimum((node_ids - self.lowest[at]) // self.widths[at], last)
        return self.piece_blocks[self.starts[at] + piece]

    @staticmethod
    def even(sizes: list[Size], num_blocks: int) -> Blocks:
        """About `num_blocks` blocks of even cost. sizes: one per subgraph, ascending."""
        costs = np.array([size.needed_bytes for size in sizes], np.float64)
        goal = max(costs.sum() / num_blocks, 1.0)
        spans = np.array([size.highest - size.lowest + 1 for size in sizes])
        pieces = np.clip(np.round(costs / goal), 1, spans).astype(np.int64)
        piece_costs = np.repeat(costs / pieces, pieces)
        middles = np.cumsum(piece_costs) - piece_costs / 2
        blocks = np.unique((middles / goal).astype(np.int64), return_inverse=True)[1]
        return Blocks(
            num_blocks=int(blocks.max()) + 1,
            subgraphs=np.array([size.subgraph for size in sizes]),
            lowest=np.array([size.lowest for size in sizes]),
            widths=-(-spans // pieces),
            starts=np.concatenate([[0], np.cumsum(pieces)]),
            piece_blocks=blocks.astype(np.int32),
            largest_bytes=int(np.bincount(blocks, piece_costs).max()),
        )


@dataclass(frozen=True)
class Size:
    """A subgraph of the first level: its lowest and highest node id, and the memory its block needs."""

    subgraph: int
    lowest: int
    highest: int
    needed_bytes: int


def whole_bytes(num_nodes: int, num_edges: int, dim: int, rounds: int) -> int:
    """Peak of the one task that refines the whole graph: the edges and all bases."""
    return WHOLE_EDGE_BYTES * num_edges + num_nodes * dim * 4 * (2 * min(rounds, ROUNDS_PER_SPAN) + 2 + STATES)


def block_bytes(num_nodes: int, num_edges: int, num_halo: int, dim: int) -> int:
    """Peak of a task that refines one block."""
    return EDGE_BYTES * num_edges + (num_nodes + num_halo) * dim * 4 * STATES


def plan_blocks(run: Run) -> Blocks | None:
    """As many blocks as a task's budget requires, at least one per core; None if one task takes the whole graph.

    Available once the graph is cut. Cost: if one task is not enough, one aggregation each of the first level's nodes,
    edges and border; one row per subgraph reaches the driver.
    Errors: MemoryBudgetError if refine.num_blocks is too small, or no number of blocks fits.
    """
    settings, ingested, dim = run.config.refine, run.ingested, run.config.embed.dim
    needed = whole_bytes(ingested.nodes, ingested.edges, dim, settings.rounds)
    if (
        settings.rounds == settings.hops == 0
        or settings.num_blocks == 1
        or (not settings.num_blocks and needed >> 20 <= run.task_memory_mb(num_tasks=1))
    ):
        return None
    sizes = _sizes(run, dim)
    allowed = run.task_memory_mb() << 20
    tried = settings.num_blocks or max(2, run.spark.sparkContext.defaultParallelism)
    blocks = Blocks.even(sizes, tried)
    while blocks.largest_bytes > allowed and not settings.num_blocks and tried < min(ingested.nodes, MOST_BLOCKS):
        tried = int(tried * max(1.1, min(2.0, blocks.largest_bytes / allowed))) + 1
        blocks = Blocks.even(sizes, tried)
    if blocks.largest_bytes > allowed:
        way_out = (
            "raise refine.num_blocks, or set it to 0 (automatic)"
            if settings.num_blocks
            else "lower embed.dim, set refine.rounds = 0 and refine.hops = 0, or raise run.task_memory_mb if the "
            "executors have that much"
        )
        raise MemoryBudgetError(
            f"refining {ingested.nodes:,} nodes and {ingested.edges:,} edges at dim {dim} in {blocks.num_blocks:,} "
            f"blocks is predicted to need {blocks.largest_bytes >> 20:,} MB per task, and a task may hold "
            f"{allowed >> 20:,} (run.task_memory_mb); {way_out}"
        )
    return blocks


def _sizes(run: Run, dim: int) -> list[Size]:
    """One per subgraph of the first level; its halo, the nodes at the other ends of its cut edges, to within 5 %."""
    nodes = (
        run.tables.read("assignments", level=1)
        .groupBy("subgraph_id")
        .agg(F.min("node_id"), F.max("node_id"), F.count("*"))
        .collect()
    )
    inside = run.tables.read("subgraph_edges", level=1).groupBy("subgraph_id").count().collect()
    edges = {row[0]: row[1] for row in inside}
    ends = [
        F.struct(F.col(f"{one}_subgraph").alias("subgraph"), F.col(other).alias("node"))
        for one, other in (("src", "dst"), ("dst", "src"))
    ]
    cut = (
        run.tables.read("border_edges", level=1)
        .select(F.explode(F.array(*ends)).alias("end"))
        .groupBy("end.subgraph")
        .agg(F.count("*"), F.approx_count_distinct("end.node"))
        .collect()
    )
    seen = {row[0]: (row[1], row[2]) for row in cut}
    found = []
    for subgraph, lowest, highest, count in sorted(nodes):
        cut_edges, halo = seen.get(subgraph, (0, 0))
        found.append(Size(subgraph, lowest, highest, block_bytes(count, edges.get(subgraph, 0) + cut_edges, halo, dim)))
    return found
