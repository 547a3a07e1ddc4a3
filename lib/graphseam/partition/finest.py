"""The first and the last supersteps of the multilevel partitioner: the graph's rows to blocks, the coarsest graph to
METIS, and the parts back to node ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from graphseam.blocks.layout import EDGE, ROW_BITS, ROW_MASK, WEIGHTED_EDGE, Block, Ranges, pack_by_block
from graphseam.blocks.packets import Inbox, Packet
from graphseam.partition import coarsening
from graphseam.partition.budget import balanced_weights
from graphseam.partition.coarsest import split
from graphseam.partition.metis import scaled

CHUNK = 1 << 20  # edges packed at once


@dataclass(frozen=True)
class Job:
    """What the supersteps know about the graph. weight_scale: from weights to integers; 0: every edge has weight 1.

    num_nodes: one more than the largest node id. num_ends: twice the number of edges, as counted.
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
    """Nodes (node_id) that are in the result even without an edge, packed by block."""
    for columns in _chunks(batches):
        rows = job.ranges.addresses(columns["node_id"])
        yield from pack_by_block(rows >> ROW_BITS, (rows & ROW_MASK).astype(np.uint32), "nodes")


def _chunks(batches: Iterator[dict[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """The batches merged to about a million rows each: few large packets instead of many small ones."""
    held: list[dict[str, np.ndarray]] = []
    for batch in batches:
        held.append(batch)
        if sum(len(next(iter(part.values()))) for part in held) >= CHUNK:
            yield {name: np.concatenate([part[name] for part in held]) for name in batch}
            held = []
    if held:
        yield {name: np.concatenate([part[name] for part in held]) for name in held[0]}


def build_finest(block: int, inbox: Inbox, job: Job, limits: np.ndarray) -> Iterator[Packet]:
    """The block of the input graph, nodes weighted by edge ends; which of its rows are in the result; and, for the
    driver, [rows, entries, edge ends if each node counts at most limits[0], limits[1], ...]."""
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
    """The same block with the node weights to balance."""
    graph = Block.of(block, inbox)
    yield Packet(block, "named", inbox.one("named", np.bool_))
    yield from coarsening.built(replace(graph, node_weights=balanced_weights(graph.node_weights, node_cost, max_ends)))


def gather(block: int, inbox: Inbox, keep: float) -> Iterator[Packet]:
    """The block's part of the coarsest graph, to block 0, each edge once, from its smaller end.

    keep: the share of the edges that block 0 can hold; below 1 only the heaviest are sent.
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
    """In block 0: cut the whole coarsest graph by METIS, and send each block the parts of its rows."""
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
    """(node id, part) of each row in the result; nodes without an edge are spread by their id.

    In pairs, not in columns: a packet may be sent in parts.
    """
    graph = Block.of(block, inbox)
    rows = np.flatnonzero(inbox.one("named", np.bool_))
    node_ids = job.ranges.starts[block] + rows
    parts = np.where(np.diff(graph.indptr)[rows] > 0, inbox.one("parts", np.int32)[rows], node_ids % job.num_parts)
    yield Packet(block, "members", np.stack([node_ids, parts], axis=1))
