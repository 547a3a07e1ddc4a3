"""Which block a node belongs to, and a block as arrays: rows of its own nodes over its own nodes and its halo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from graphseam.arrays import distinct
from graphseam.blocks.packets import Inbox, Packet

ROW_BITS = 32  # a node's address: (block << 32) | row in the block
ROW_MASK = (1 << ROW_BITS) - 1
EDGE = np.dtype([("row", "<u4"), ("column", "<i8")])  # packed: 12 bytes per entry, 20 with a weight
WEIGHTED_EDGE = np.dtype([("row", "<u4"), ("column", "<i8"), ("weight", "<i8")])


@dataclass(frozen=True)
class Ranges:
    """Nodes to blocks by ranges of their ids, which preserves the locality of the ids.

    starts: int64[num_blocks], ascending; block b holds the ids from starts[b] up to, not including, the next start.
    """

    starts: np.ndarray

    @property
    def num_blocks(self) -> int:
        return len(self.starts)

    def addresses(self, node_ids: np.ndarray) -> np.ndarray:
        """int64: (block << 32) | (id - start of the block)."""
        blocks = np.searchsorted(self.starts, node_ids, side="right") - 1
        return (blocks.astype(np.int64) << ROW_BITS) | (node_ids - self.starts[blocks])

    @staticmethod
    def even(bucket_counts: np.ndarray, bucket_width: int, num_blocks: int) -> Ranges:
        """Blocks with about the same number of entries, given the entries per bucket of `bucket_width` ids."""
        ends = np.cumsum(bucket_counts) if len(bucket_counts) else np.zeros(1, np.int64)
        wanted = np.arange(1, num_blocks) * (ends[-1] / num_blocks)
        cuts = np.unique(np.concatenate([[0], np.searchsorted(ends, wanted) + 1]))
        return Ranges(cuts[cuts < max(1, len(bucket_counts))].astype(np.int64) * bucket_width)


@dataclass(frozen=True)
class Block:
    """The rows of one block.

    indptr: int64[m + 1]; neighbours: int32, below m a row of this block, else m + a position in `halo`; weights: int64,
    or empty if every entry has weight 1. node_weights: int64[m]. halo: int64 addresses, ascending. peers: the blocks
    that own the halo; peer i owns halo[halo_starts[i]:halo_starts[i + 1]] and is sent the rows
    send_rows[send_starts[i]:send_starts[i + 1]]. The graph is symmetric, so each block knows what its peers need
    without being asked.
    """

    index: int
    indptr: np.ndarray
    neighbours: np.ndarray
    weights: np.ndarray
    node_weights: np.ndarray
    halo: np.ndarray
    peers: np.ndarray
    halo_starts: np.ndarray
    send_rows: np.ndarray
    send_starts: np.ndarray

    @property
    def num_rows(self) -> int:
        return len(self.indptr) - 1

    @property
    def addresses(self) -> np.ndarray:
        return (np.int64(self.index) << ROW_BITS) | np.arange(self.num_rows, dtype=np.int64)

    @staticmethod
    def build(index: int, entries: list[np.ndarray], num_rows: int, node_weights: np.ndarray | None) -> Block:
        """From packed entries in any order; the weights of duplicate edges are summed.

        node_weights: None for the number of neighbours.
        """
        rows = np.concatenate([part["row"] for part in entries]) if entries else np.zeros(0, np.uint32)
        columns = np.concatenate([part["column"] for part in entries]) if entries else np.zeros(0, np.int64)
        weighted = bool(entries) and "weight" in (entries[0].dtype.names or ())
        data = np.concatenate([part["weight"] for part in entries]) if weighted else np.ones(len(rows), np.int64)
        owner = (columns >> ROW_BITS).astype(np.int32)
        own = owner == index
        halo = distinct(columns[~own])
        local = np.empty(len(columns), np.int64)
        local[own] = columns[own] & ROW_MASK
        local[~own] = num_rows + np.searchsorted(halo, columns[~own])
        matrix = sp.coo_matrix((data, (rows.astype(np.int64), local)), shape=(num_rows, num_rows + len(halo))).tocsr()
        matrix.sort_indices()
        if not weighted:  # an edge given in both directions is one edge
            matrix.data[:] = 1
        peers, first = np.unique(halo >> ROW_BITS, return_index=True)
        peer_of_halo = np.searchsorted(peers, halo >> ROW_BITS)
        send_rows, send_starts = rows_to_send(matrix, num_rows, peer_of_halo, len(peers))
        return Block(
            index=index,
            indptr=matrix.indptr.astype(np.int64),
            neighbours=matrix.indices.astype(np.int32),
            weights=matrix.data if weighted else np.zeros(0, np.int64),
            node_weights=np.diff(matrix.indptr).astype(np.int64) if node_weights is None else node_weights,
            halo=halo,
            peers=peers.astype(np.int64),
            halo_starts=np.append(first, len(halo)).astype(np.int64),
            send_rows=send_rows,
            send_starts=send_starts,
        )

    def packets(self) -> Iterator[Packet]:
        """The block as packets to itself, in the form that `Block.of` reads."""
        for name, dtype in _FIELDS:
            yield Packet(self.index, "block." + name, getattr(self, name).astype(dtype, copy=False))

    @staticmethod
    def of(index: int, inbox: Inbox) -> Block:
        return Block(index=index, **{name: inbox.one("block." + name, dtype) for name, dtype in _FIELDS})

    def send_halo(self, name: str, values: np.ndarray) -> Iterator[Packet]:
        """The `values` of rows in other blocks' halos, to those blocks. values: [m], or [m, width] for vectors."""
        for place, peer in enumerate(self.peers.tolist()):
            rows = self.send_rows[self.send_starts[place] : self.send_starts[place + 1]]
            yield Packet(peer, name, values[rows])


_FIELDS = (
    ("indptr", np.int64),
    ("neighbours", np.int32),
    ("weights", np.int64),
    ("node_weights", np.int64),
    ("halo", np.int64),
    ("peers", np.int64),
    ("halo_starts", np.int64),
    ("send_rows", np.int32),
    ("send_starts", np.int64),
)


def rows_to_send(
    matrix: sp.csr_matrix, num_rows: int, peer_of_halo: np.ndarray, num_peers: int
) -> tuple[np.ndarray, np.ndarray]:
    """For each peer, the rows with a neighbour there, ascending: the same order as in the peer's halo.

    matrix: [num_rows, num_rows + halo]. peer_of_halo: int64, an index into the list of peers.
    """
    if not num_peers:
        return np.zeros(0, np.int32), np.zeros(1, np.int64)
    outside = matrix[:, num_rows:].tocoo()
    width = np.int64(max(1, num_rows))
    pairs = distinct(peer_of_halo[outside.col] * width + outside.row)
    starts = np.searchsorted(pairs // width, np.arange(num_peers + 1))
    return (pairs % width).astype(np.int32), starts.astype(np.int64)


def rows_by_block(blocks: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(block, positions of its rows, ascending) for each block that occurs. blocks: the block of every row."""
    order = np.argsort(blocks, kind="stable")
    found, first = np.unique(blocks[order], return_index=True)
    ends = np.append(first, len(order))
    for block, start, stop in zip(found.tolist(), ends[:-1], ends[1:], strict=True):
        yield block, order[start:stop]


def pack_by_block(blocks: np.ndarray, records: np.ndarray, name: str) -> Iterator[Packet]:
    """`records` split by block, one packet per block."""
    for block, rows in rows_by_block(blocks):
        yield Packet(block, name, records[rows])
