"""Supersteps of the multilevel partitioner: cluster, number the clusters, contract, and carry the parts back down.

Each function is a step of blocks.engine: (block, inbox) -> packets. An address is (block << 32) | row; a cluster has
the address of its first node until its owner numbers it. All weights are integers, so sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from graphseam.blocks.layout import ROW_BITS, ROW_MASK, WEIGHTED_EDGE, Block, pack_by_block
from graphseam.blocks.packets import Inbox, Packet
from graphseam.compiled import mix
from graphseam.partition.sweeps import NO_LABEL, cluster_sweep, label_weights, refine_sweep

Packets = Iterator[Packet]


def cluster(block: int, inbox: Inbox, superstep: int, last: bool, max_weight: int, seed: int) -> Packets:
    """One superstep of size-constrained label propagation over half of the nodes, selected by hash.

    A cluster may grow to `max_weight` in each block, as no block sees the whole cluster: `number_clusters` splits those
    that are too heavy in total. In the last superstep the clusters are claimed from their owners instead of being sent
    to peers.
    """
    graph = Block.of(block, inbox)
    own = inbox.one("labels", np.int64) if "labels" in inbox else graph.addresses
    halo = inbox.joined("halo", np.int64) if "labels" in inbox else graph.halo
    known, places = np.unique(np.concatenate([own, halo]), return_inverse=True)
    labels = places.astype(np.int32)
    weights = label_weights(labels[: graph.num_rows], graph.node_weights, len(known))
    refused = np.full(graph.num_rows, NO_LABEL, np.int32)
    order = np.argsort(np.diff(graph.indptr), kind="stable")
    drawn = _hashes(graph.addresses, seed + superstep // 2)[order] & np.uint64(1)
    cluster_sweep(
        graph.indptr,
        graph.neighbours,
        graph.weights,
        graph.node_weights,
        labels,
        weights,
        _hashes(known, seed),
        order[drawn == superstep % 2],
        max_weight,
        refused,
    )
    if last:
        _join_refused(graph, labels, weights, known, refused, max_weight)
        yield from _claims(block, known, labels[: graph.num_rows], graph.node_weights)
        return
    own = known[labels[: graph.num_rows]]
    yield Packet(block, "labels", own)
    yield from graph.send_halo("halo", own)


def _hashes(numbers: np.ndarray, seed: int) -> np.ndarray:
    hashes: np.ndarray = mix(numbers.astype(np.uint64) ^ mix(np.uint64(seed % (1 << 64))))
    return hashes


def _join_refused(
    graph: Block, labels: np.ndarray, weights: np.ndarray, known: np.ndarray, refused: np.ndarray, max_weight: int
) -> None:
    """Nodes that stayed alone because the same cluster was full are clustered together, like the leaves of a star.

    Source: two-hop matching of LaSalle et al., Improving graph partitioning for modern graphs, IA3 2015.
    """
    rows = np.flatnonzero((refused != NO_LABEL) & (known[labels[: graph.num_rows]] == graph.addresses))
    rows = rows[weights[labels[rows]] == graph.node_weights[rows]]
    rows = rows[np.argsort(refused[rows], kind="stable")]
    if not len(rows):
        return
    group = refused[rows]
    first = np.flatnonzero(np.diff(group, prepend=NO_LABEL - 1))
    size = np.diff(first, append=len(rows))
    before = np.cumsum(graph.node_weights[rows]) - graph.node_weights[rows]
    share = (before - np.repeat(before[first], size)) // max(1, max_weight // 2)  # half: the last node may overshoot
    heads = np.flatnonzero(np.diff(group, prepend=NO_LABEL - 1) | np.diff(share, prepend=-1))
    labels[rows] = np.repeat(labels[rows[heads]], np.diff(heads, append=len(rows)))


def _claims(block: int, known: np.ndarray, labels: np.ndarray, node_weights: np.ndarray) -> Packets:
    """The block's clusters and their weights in it, to their owners; to the block itself, the cluster of each row."""
    used, slots = np.unique(labels, return_inverse=True)
    yield Packet(block, "slots", slots.astype(np.int32))
    clusters = known[used]  # ascending, so the owners' answers, concatenated, are in the same order
    claims = np.stack([clusters, label_weights(slots, node_weights, len(used))], axis=1)
    yield from pack_by_block(clusters >> ROW_BITS, claims, "claims")


def number_clusters(block: int, inbox: Inbox, max_weight: int) -> Packets:
    """As owner: give each claimed cluster a row of the coarser graph, or one row per block if it is over `max_weight`.

    Sends the ids back in the order of the claims, and keeps for the way down which block claimed what (`plans`).
    """
    if "slots" in inbox:
        yield Packet(block, "slots", inbox.one("slots", np.int32))
    claims = [(source, values.reshape(-1, 2)) for source, values in inbox.all("claims", np.int64)]
    if not claims:
        yield Packet(block, "coarse_weights", np.zeros(0, np.int64))
        return
    clusters = np.concatenate([values[:, 0] for _, values in claims])
    weights = np.concatenate([values[:, 1] for _, values in claims])
    source = np.repeat([source for source, _ in claims], [len(values) for _, values in claims])
    _, cluster_of = np.unique(clusters, return_inverse=True)
    totals = label_weights(cluster_of, weights, cluster_of.max() + 1)
    piece = cluster_of * np.int64(source.max() + 2) + np.where(totals[cluster_of] > max_weight, source + 1, 0)
    _, row = np.unique(piece, return_inverse=True)
    yield Packet(block, "coarse_weights", label_weights(row, weights, row.max() + 1))
    start = 0
    for asker, values in claims:
        rows = row[start : start + len(values)].astype(np.int64)
        start += len(values)
        yield Packet(asker, "ids", (np.int64(block) << ROW_BITS) | rows)
        yield Packet(block, "plans", np.concatenate([[asker], rows]))


def name_clusters(block: int, inbox: Inbox) -> Packets:
    """The new id of each row's cluster, to the block itself and to the blocks with that row in their halo."""
    graph = Block.of(block, inbox)
    clusters = inbox.joined("ids", np.int64)[inbox.one("slots", np.int32)]
    yield Packet(block, "clusters", clusters)
    yield from graph.send_halo("halo", clusters)


def contract(block: int, inbox: Inbox) -> Packets:
    """The entries between clusters, summed within the block, to the blocks that own their rows."""
    graph = Block.of(block, inbox)
    clusters = inbox.one("clusters", np.int64)
    known, places = np.unique(np.concatenate([clusters, inbox.joined("halo", np.int64)]), return_inverse=True)
    rows = np.repeat(places[: graph.num_rows], np.diff(graph.indptr))
    columns = places[graph.neighbours]
    between = rows != columns
    data = graph.weights[between] if len(graph.weights) else np.ones(int(between.sum()), np.int64)
    summed = sp.coo_matrix((data, (rows[between], columns[between])), shape=(len(known), len(known))).tocsr().tocoo()
    entries = np.empty(summed.nnz, WEIGHTED_EDGE)
    entries["row"], entries["column"], entries["weight"] = known[summed.row] & ROW_MASK, known[summed.col], summed.data
    yield from pack_by_block(known[summed.row] >> ROW_BITS, entries, "entries")


def build(block: int, inbox: Inbox) -> Packets:
    """The block of the coarser graph, from the entries of all blocks."""
    entries = [values for _, values in inbox.all("entries", WEIGHTED_EDGE)]
    weights = inbox.joined("coarse_weights", np.int64)
    yield from built(Block.build(block, entries, len(weights), weights))


def built(graph: Block) -> Packets:
    """The block's own packets, and its [rows, entries, total node weight] for the driver."""
    yield from graph.packets()
    numbers = [graph.num_rows, len(graph.neighbours), int(graph.node_weights.sum())]
    yield Packet(graph.index, "totals", np.array(numbers, np.int64))


def carry_down(block: int, inbox: Inbox) -> Packets:
    """As owner: send each block the parts of the clusters it claimed."""
    parts = inbox.one("parts", np.int32) if "parts" in inbox else np.zeros(0, np.int32)
    for _, plan in inbox.all("plans", np.int64):
        yield Packet(int(plan[0]), "cluster_parts", parts[plan[1:]])


def take_parts(block: int, inbox: Inbox, num_parts: int) -> Packets:
    """Each row takes the part of its cluster, and the block sends the parts to its peers."""
    graph = Block.of(block, inbox)
    parts = inbox.joined("cluster_parts", np.int32)[inbox.one("slots", np.int32)]
    yield from _sent(graph, parts, num_parts, moved=0)


def refine(block: int, inbox: Inbox, room: np.ndarray, excess: np.ndarray, upwards: bool) -> Packets:
    """One refinement superstep; room and excess: this block's share of what each part may gain and must lose."""
    graph = Block.of(block, inbox)
    parts = np.concatenate([inbox.one("parts", np.int32), inbox.joined("halo", np.int32)])
    moved = refine_sweep(
        graph.indptr,
        graph.neighbours,
        graph.weights,
        graph.node_weights,
        parts,
        room.copy(),
        excess.copy(),
        np.argsort(np.diff(graph.indptr), kind="stable"),
        upwards,
    )
    yield from _sent(graph, parts[: graph.num_rows], len(room), moved)


def _sent(graph: Block, parts: np.ndarray, num_parts: int, moved: int) -> Packets:
    """The parts, to the block and its peers; for the driver, each part's weight in the block and the rows moved."""
    yield Packet(graph.index, "parts", parts)
    yield from graph.send_halo("halo", parts)
    yield Packet(graph.index, "measures", np.append(label_weights(parts, graph.node_weights, num_parts), moved))
