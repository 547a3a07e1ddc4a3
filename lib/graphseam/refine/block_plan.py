"""What refinement will do with a run: with a window view or not, in how many blocks, and the memory that a block needs.

A node's block is that of its first-level subgraph, or of a piece of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pyspark.sql import functions as F

from graphseam.edges import end_nodes
from graphseam.errors import MemoryBudgetError
from graphseam.refine import window
from graphseam.refine.iteration import ROUNDS_PER_SPAN
from graphseam.runs import Run
from graphseam.session import can_map, in_one_process

EDGE_BYTES = 90  # per edge of a block: both entries as they come in, sorted, and as rows
STATES = 9  # vectors held at once per row and per halo node, including those mapped from files
HALO_BYTES = 60  # per halo node whose vector a block reads from the array of all: its scales, degrees, id and block
MOST_GAPS = 1.5  # the highest node number, times the number of nodes, for an array by node number
WHOLE_EDGE_BYTES = 220  # per edge if one task holds the whole graph
UPDATE_STATES = 8  # vectors held at once per row if one task updates them
WALK_BYTES = 130  # per walk: its pair as it comes in from both ends, sorted, and as rows
STEPS_OF_A_WALK = (window.STEPS + 1) / 2  # on average
MOST_EXCHANGE = 4.0  # vectors of halo nodes per node in a product with the window matrix: beyond, there is no such view
MOST_BLOCKS = 100_000


@dataclass(frozen=True)
class Plan:
    """blocks: None if one task takes the whole graph. window_weight: of the window view, 0 for none."""

    blocks: Blocks | None
    window_weight: float


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
    in_common: int = 0  # as in Rows.send_vectors

    def of(self, subgraphs: np.ndarray, node_ids: np.ndarray) -> np.ndarray:
        """int32: the block of each node. Nodes of a subgraph are kept together, so halos come mostly from cut edges.

        A node that is not among those the blocks were made for, as it was in an earlier run only, gets one of them.
        """
        at = np.minimum(np.searchsorted(self.subgraphs, subgraphs), len(self.subgraphs) - 1)
        last = self.starts[at + 1] - self.starts[at] - 1
        piece = np.clip((node_ids - self.lowest[at]) // self.widths[at], 0, last)
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


ONE_BLOCK = Blocks(1, np.zeros(1, int), np.zeros(1, int), np.ones(1, int), np.arange(2), np.zeros(1, np.int32), 0)


@dataclass(frozen=True)
class Size:
    """A subgraph of the first level: its lowest and highest node id, the memory its block needs, and the halo nodes of
    its part of the window matrix."""

    subgraph: int
    lowest: int
    highest: int
    needed_bytes: int
    window_halo: float = 0.0


def whole_bytes(num_nodes: int, num_edges: int, dim: int, rounds: int, num_walks: float = 0) -> int:
    """Peak of the one task that refines the whole graph: the edges, the walks and all bases."""
    states = 2 * min(rounds, ROUNDS_PER_SPAN) + 2 + STATES
    return WHOLE_EDGE_BYTES * num_edges + int(WALK_BYTES * num_walks) + num_nodes * dim * 4 * states


def block_bytes(num_nodes: int, num_edges: int, num_halo: float, dim: int, num_walks: float, in_common: bool) -> int:
    """Peak of a task that refines one block. in_common: whether the halo's vectors are in an array of all blocks."""
    row = dim * 4 * STATES
    halo = num_halo * (HALO_BYTES if in_common else row)
    return EDGE_BYTES * num_edges + int(WALK_BYTES * num_walks + num_nodes * row + halo)


def update_bytes(num_nodes: int, num_edges: int, dim: int) -> int:
    """Peak of the one task that updates the vectors of all nodes."""
    return 2 * WHOLE_EDGE_BYTES * num_edges + num_nodes * dim * 4 * UPDATE_STATES


def plan_refinement(run: Run) -> Plan:
    """As many blocks as a task's budget requires, at least one per core; one task if it can take the whole graph.

    On one machine that can hold the vectors of all nodes in its cache of files, blocks share an array of them instead
    of sending each other the rows that they need: many times all rows, where the graph cuts badly.
    A window view that refine.window_weight leaves to the graph is left out if the blocks would exchange too much for
    it, or cannot hold it. Available once the graph is cut. Cost: if one task is not enough, one aggregation each of the
    first level's nodes, edges and border; one row per subgraph reaches the driver.
    Errors: MemoryBudgetError if refine.num_blocks is too small, or no number of blocks fits.
    """
    settings, ingested, dim = run.config.refine, run.ingested, run.config.embed.dim
    if settings.rounds == settings.hops == 0:
        return Plan(None, 0.0)
    weight, walks = _window(run)
    needed = whole_bytes(ingested.nodes, ingested.edges, dim, settings.rounds, walks)
    if settings.num_blocks == 1 or (not settings.num_blocks and needed >> 20 <= run.task_memory_mb(num_tasks=1)):
        return Plan(None, weight)
    parts = _parts(run)
    in_common = _in_common(run, parts)
    if weight:
        wished, sizes = settings.window_weight > 0, _sizes(run, parts, walks, in_common)
        try:
            if wished or sum(size.window_halo for size in sizes) <= MOST_EXCHANGE * ingested.nodes:
                return Plan(_blocks(run, sizes, in_common), weight)
        except MemoryBudgetError:
            if wished:
                raise
    return Plan(_blocks(run, _sizes(run, parts, 0.0, in_common), in_common), 0.0)


def plan_update(run: Run) -> Blocks:
    """The blocks in which an incremental run updates vectors: as `plan_refinement`, but always blocks, no walks.

    Errors: MemoryBudgetError as there.
    """
    return _blocks(run, _sizes(run, _parts(run), 0.0))


def _window(run: Run) -> tuple[float, float]:
    """(the weight of the window view, the walks it samples); a count of the nodes with an edge if they aren't known."""
    settings, ingested = run.config.refine, run.ingested
    if settings.window_weight == 0 or not ingested.edges:
        return 0.0, 0.0
    nodes = ingested.nodes - ingested.nodes_held_out
    if run.config.input.nodes or ingested.loops:  # there may be nodes without an edge
        nodes = end_nodes(run.tables.read("edges")).distinct().count()
    edges = ingested.edges
    weight = settings.window_weight if settings.window_weight > 0 else window.weight_of(nodes, 2 * edges / nodes)
    return weight, window.walks_wanted(nodes, edges) if weight else 0.0


def _in_common(run: Run, parts: list[Part]) -> int:
    """Rows of an array of all nodes' vectors, by node number, if this machine can map one; else 0."""
    size = max((part.highest for part in parts), default=-1) + 1
    fits = size <= MOST_GAPS * run.ingested.nodes and can_map(size, run.config.embed.dim)
    return size if in_one_process(run.spark) and fits else 0


def _blocks(run: Run, sizes: list[Size], in_common: int = 0) -> Blocks:
    settings, ingested, dim = run.config.refine, run.ingested, run.config.embed.dim
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
    return replace(blocks, in_common=in_common)


@dataclass(frozen=True)
class Part:
    """A subgraph of the first level: its lowest and highest node id, its nodes, the edges inside and cut, and its halo,
    the nodes at the other ends of its cut edges, to within 5 %."""

    subgraph: int
    lowest: int
    highest: int
    nodes: int
    edges: int
    cut_edges: int
    halo: int


def _parts(run: Run) -> list[Part]:
    """One per subgraph of the first level, ascending."""
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
    return [
        Part(subgraph, lowest, highest, count, edges.get(subgraph, 0), *seen.get(subgraph, (0, 0)))
        for subgraph, lowest, highest, count in sorted(nodes)
    ]


def _sizes(run: Run, parts: list[Part], walks: float, in_common: int = 0) -> list[Size]:
    """One per part, with that number of walks in the whole graph.

    A walk leaves its subgraph at each step with the share of the subgraph's edge ends that are cut, and then joins a
    node to one of another block.
    """
    found, dim = [], run.config.embed.dim
    for part in parts:
        leaving = part.cut_edges / max(1, 2 * part.edges + part.cut_edges)
        own_walks = walks * (part.edges + part.cut_edges / 2) / max(1, run.ingested.edges)
        reached = min(run.ingested.nodes - part.nodes, 2 * own_walks * min(1.0, STEPS_OF_A_WALK * leaving))
        edges, halo = part.edges + part.cut_edges, max(part.halo, reached)
        needed = block_bytes(part.nodes, edges, halo, dim, own_walks, in_common > 0)
        found.append(Size(part.subgraph, part.lowest, part.highest, needed, reached))
    return found
