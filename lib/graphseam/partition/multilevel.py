"""Multilevel partitioning on the block engine: as many machines as it takes, the cut of one that saw it all.

Cluster, contract, repeat; METIS on what is left in one task; then carry the parts down and refine them level by level.
Source: Meyerhenke, Sanders and Schulz, Parallel graph partitioning for complex networks, IEEE TPDS 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from graphseam.blocks.engine import LocalEngine
from graphseam.blocks.layout import EDGE, ROW_BITS, ROW_MASK, WEIGHTED_EDGE, Block, Ranges, pack_by_block
from graphseam.blocks.packets import Inbox, Packet
from graphseam.graph import Graph
from graphseam.partition import coarsening
from graphseam.partition.budget import balanced_weights, end_limits, max_ends_of_a_node
from graphseam.partition.coarsest import split
from graphseam.partition.metis import scaled, weight_scale

CLUSTER_SUPERSTEPS = 6  # each visits half the nodes
REFINE_SUPERSTEPS = 6  # at most; each moves nodes one way only
STALLED = 0.85  # a level that keeps more of the edges than this is the last
CHUNK = 1 << 20  # edges packed at once
BLOCK_BYTES_AN_EDGE = 500  # of a block, where every edge brings two nodes of its own
SETTLED = 2e-4  # refinement ends when less than this share of the weight moves


@dataclass(frozen=True)
class MultilevelPartitioner:
    """Balances edge ends, as METIS here does. Deterministic in the seed, whatever the layout of the edges.

    block_edges: edges of a block, what one task works on. coarsest_edges: what the last task, METIS', may hold.
    Cost: about 8 supersteps a level of coarsening and 8 of refinement, O(edges) each; a level leaves a tenth to a half.
    """

    imbalance: float = 0.05
    node_cost: int = 0
    block_edges: int = 1_000_000
    coarsest_edges: int = 10_000_000

    def partition(self, graph: Graph, num_subgraphs: int, seed: int) -> np.ndarray:
        """int32[n]: the same supersteps in this process, on a graph in memory."""
        upper = sp.triu(graph.adjacency).tocoo()
        num_blocks = max(1, -(-upper.nnz // self.block_edges))
        counts = np.diff(graph.adjacency.indptr)
        scale = weight_scale(upper.data.min(), upper.data.max()) if upper.nnz else 0.0
        job = Job(Ranges.even(counts, 1, num_blocks), graph.num_nodes, num_subgraphs, seed, scale, 2 * upper.nnz)
        engine = LocalEngine(job.ranges.num_blocks)
        columns = {"src": upper.row.astype(np.int64), "dst": upper.col.astype(np.int64), "weight": upper.data}
        entries = engine.pack(columns, partial(pack_edges, job=job))
        nodes = engine.pack({"node_id": np.arange(graph.num_nodes)}, partial(pack_nodes, job=job))
        parts = np.zeros(graph.num_nodes, np.int32)
        for _, packet in self.cut(engine, job, entries, nodes):
            parts[packet.values[:, 0]] = packet.values[:, 1]
        return parts

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int:
        """Of a block of `num_edges` edges, both directions of each: entries as they come, matrix, labels, halo."""
        return BLOCK_BYTES_AN_EDGE * num_edges // 2 + BLOCK_BYTES_AN_EDGE * min(num_nodes, 2 * num_edges) // 4

    def cut(self, engine: Any, job: Job, entries: Any, nodes: Any) -> Any:
        """Packets `members`, one a block: int64[m, 2], (node id, part) of the nodes with an edge and those in `nodes`.

        entries, nodes: packets of `pack_edges` and `pack_nodes`. Cost: see the class.
        """
        graph, num_entries, total = self._finest(engine, job, entries, nodes)
        limit, num_parts = (1 + self.imbalance) * total / job.num_parts, job.num_parts
        levels: list[tuple[Any, Any]] = []
        while num_entries > 2 * self.coarsest_edges:
            coarser = self._coarsen(
                engine, graph, max(1, int(self.imbalance * total / num_parts)), job.seed + len(levels)
            )
            levels.append((graph, coarser.plans))
            graph, before, num_entries = coarser.graph, num_entries, coarser.num_entries
            if num_entries > STALLED * before:
                break
        keep = min(1.0, 2 * self.coarsest_edges / max(1, num_entries))
        solve = partial(solve_coarsest, num_parts=num_parts, imbalance=self.imbalance, seed=job.seed)
        parts = engine.step(solve, engine.step(partial(gather, keep=keep), static=graph))
        for level, plans in reversed(levels):
            graph = level
            parts = self._refine(engine, graph, plans, parts, num_parts, limit)
        return engine.step(partial(name_members, job=job), engine.only(parts, "parts"), static=graph)

    def _finest(self, engine: Any, job: Job, entries: Any, nodes: Any) -> tuple[Any, int, int]:
        """(blocks of the graph itself, their entries, the weight of all nodes). Hubs cost one superstep more."""
        limits = end_limits(job.num_ends, job.num_parts, self.imbalance)
        finest = partial(build_finest, job=job, limits=limits)
        graph, totals = engine.keep_and_sum(engine.step(finest, entries, nodes), "totals", static=True)
        most = max_ends_of_a_node(limits, totals[2:], job.num_parts, self.imbalance)
        if totals[2] == totals[1] and not self.node_cost:  # no node is above any limit, and ends are what is balanced
            return graph, int(totals[1]), int(totals[1])
        weighed, (_, num_entries, total) = engine.keep_and_sum(
            engine.step(partial(weigh, node_cost=self.node_cost, max_ends=most), static=graph), "totals", static=True
        )
        engine.release(graph)
        return weighed, int(num_entries), int(total)

    def _coarsen(self, engine: Any, graph: Any, max_weight: int, seed: int) -> _Coarser:
        told: tuple[Any, ...] = ()
        for superstep in range(CLUSTER_SUPERSTEPS):
            step = partial(
                coarsening.cluster,
                superstep=superstep,
                last=superstep == CLUSTER_SUPERSTEPS - 1,
                max_weight=max_weight,
                seed=seed,
            )
            told = (engine.step(step, *told, static=graph),)
        plans = engine.keep(engine.step(partial(coarsening.number_clusters, max_weight=max_weight), *told))
        named = engine.step(coarsening.name_clusters, engine.only(plans, "slots", "ids"), static=graph)
        entries = engine.step(coarsening.contract, named, static=graph)
        coarser, (_, num_entries, _) = engine.keep_and_sum(
            engine.step(coarsening.build, entries, engine.only(plans, "coarse_weights")), "totals", static=True
        )
        return _Coarser(coarser, plans, int(num_entries))

    def _refine(self, engine: Any, graph: Any, plans: Any, coarse_parts: Any, num_parts: int, limit: float) -> Any:
        carried = engine.step(coarsening.carry_down, engine.only(plans, "plans"), engine.only(coarse_parts, "parts"))
        take = partial(coarsening.take_parts, num_parts=num_parts)
        parts, measures = engine.keep_and_sum(
            engine.step(take, carried, engine.only(plans, "slots"), static=graph), "measures"
        )
        for superstep in range(REFINE_SUPERSTEPS):
            spare = (int(limit) - measures[:-1]) // engine.num_blocks
            step = partial(
                coarsening.refine, room=np.maximum(0, spare), excess=np.maximum(0, -spare), upwards=superstep % 2 == 0
            )
            refined, measures = engine.keep_and_sum(
                engine.step(step, engine.only(parts, "parts", "halo"), static=graph), "measures"
            )
            engine.release(parts)
            parts = refined
            if superstep and measures[-1] < SETTLED * measures[:-1].sum():
                break
        return parts


@dataclass(frozen=True)
class _Coarser:
    graph: Any
    plans: Any
    num_entries: int


@dataclass(frozen=True)
class Job:
    """What the supersteps are told of the graph. weight_scale: of weights to whole numbers; 0: every edge weighs 1.

    num_nodes: one more than the largest node id. num_ends: twice the edges, as they were counted.
    """

    ranges: Ranges
    num_nodes: int
    num_parts: int
    seed: int
    weight_scale: float
    num_ends: int


def pack_edges(batches: Iterator[dict[str, np.ndarray]], job: Job) -> Iterator[Packet]:
    """Edges (src, dst, weight) as entries of both directions, packed by block."""
    for columns in _chunks(batches):
        ends = [job.ranges.addresses(columns["src"]), job.ranges.addresses(columns["dst"])]
        rows, others = np.concatenate(ends), np.concatenate(ends[::-1])
        entries = np.empty(len(rows), WEIGHTED_EDGE if job.weight_scale else EDGE)
        entries["row"], entries["column"] = rows & ROW_MASK, others
        if job.weight_scale:
            entries["weight"] = np.tile(scaled(columns["weight"], job.weight_scale), 2)
        yield from pack_by_block(rows >> ROW_BITS, entries, "entries")


def pack_nodes(batches: Iterator[dict[str, np.ndarray]], job: Job) -> Iterator[Packet]:
    """Nodes (node_id) that are to be named even without an edge, packed by block."""
    for columns in _chunks(batches):
        rows = job.ranges.addresses(columns["node_id"])
        yield from pack_by_block(rows >> ROW_BITS, (rows & ROW_MASK).astype(np.uint32), "nodes")


def _chunks(batches: Iterator[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """The batches put together to about a million rows each: few large packets instead of many small ones."""
    held: list[dict[str, np.ndarray]] = []
    for batch in batches:
        held.append(batch)
        if sum(len(next(iter(part.values()))) for part in held) >= CHUNK:
            yield {name: np.concatenate([part[name] for part in held]) for name in batch}
            held = []
    if held:
        yield {name: np.concatenate([part[name] for part in held]) for name in held[0]}


def build_finest(block: int, inbox: Inbox, job: Job, limits: np.ndarray) -> Iterator[Packet]:
    """The block of the graph itself, a node weighing its edge ends; which of its rows are to be named; and for the
    driver [rows, entries, ends where each node counts at most limits[0], limits[1], ...]."""
    entries = [values for _, values in inbox.all("entries", WEIGHTED_EDGE if job.weight_scale else EDGE)]
    starts = job.ranges.starts
    stop = starts[block + 1] if block + 1 < len(starts) else job.num_nodes
    graph = Block.build(block, entries, int(stop - starts[block]), None)
    named = graph.node_weights > 0
    named[inbox.joined("nodes", np.uint32)] = True
    yield Packet(block, "named", named)
    yield from graph.packets()
    bounded = [np.minimum(graph.node_weights, limit).sum() for limit in limits]
    yield Packet(block, "totals", np.array([graph.num_rows, len(graph.neighbours), *bounded], np.int64))


def weigh(block: int, inbox: Inbox, node_cost: int, max_ends: int) -> Iterator[Packet]:
    """The same block with the weights that are balanced."""
    graph = Block.of(block, inbox)
    yield Packet(block, "named", inbox.one("named", np.bool_))
    yield from coarsening.built(replace(graph, node_weights=balanced_weights(graph.node_weights, node_cost, max_ends)))


def gather(block: int, inbox: Inbox, keep: float) -> Iterator[Packet]:
    """The block's part of the coarsest graph to block 0, each edge from its smaller end.

    keep: the share of the edges that block 0 can hold; below 1 only the heaviest travel.
    """
    graph = Block.of(block, inbox)
    places = np.concatenate([graph.addresses, graph.halo])
    rows, columns = np.repeat(graph.addresses, np.diff(graph.indptr)), places[graph.neighbours]
    weights = graph.weights if len(graph.weights) else np.ones(len(rows), np.int64)
    once = np.flatnonzero(rows < columns)
    if keep < 1:
        heaviest = np.argsort(-weights[once], kind="stable")[: int(keep * len(once))]
        once = np.sort(once[heaviest])
    yield Packet(0, "edges", np.stack([rows[once], columns[once], weights[once]]))
    yield Packet(0, "node_weights", np.concatenate([[block], graph.node_weights]))


def solve_coarsest(block: int, inbox: Inbox, num_parts: int, imbalance: float, seed: int) -> Iterator[Packet]:
    """In block 0: the whole coarsest graph, cut by METIS; each block gets the parts of its rows."""
    weights = [(int(values[0]), values[1:]) for _, values in inbox.all("node_weights", np.int64)]
    starts = np.zeros(max(index for index, _ in weights) + 2, np.int64)
    for index, values in weights:
        starts[index + 1] = len(values)
    starts = np.cumsum(starts)
    edges = np.concatenate([values.reshape(3, -1) for _, values in inbox.all("edges", np.int64)], axis=1)
    rows, columns = (starts[ends >> ROW_BITS] + (ends & ROW_MASK) for ends in edges[:2])
    half = sp.coo_matrix((edges[2], (rows, columns)), shape=(starts[-1], starts[-1])).tocsr()
    adjacency = sp.csr_matrix(half + half.T)
    adjacency.sort_indices()
    parts = split(adjacency, np.concatenate([values for _, values in weights]), num_parts, imbalance, seed)
    for index, values in weights:
        yield Packet(index, "parts", parts[starts[index] : starts[index] + len(values)])


def name_members(block: int, inbox: Inbox, job: Job) -> Iterator[Packet]:
    """(node id, part) of each row that is to be named; those without an edge are spread by their id.

    In pairs, not in columns: a packet may travel in parts.
    """
    graph = Block.of(block, inbox)
    rows = np.flatnonzero(inbox.one("named", np.bool_))
    node_ids = job.ranges.starts[block] + rows
    parts = np.where(np.diff(graph.indptr)[rows] > 0, inbox.one("parts", np.int32)[rows], node_ids % job.num_parts)
    yield Packet(block, "members", np.stack([node_ids, parts], axis=1))
