"""A block of the graph for refinement: its nodes' rows over its own nodes and its halo, and what its peers need."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from graphseam.arrays import distinct
from graphseam.blocks.layout import rows_to_send
from graphseam.blocks.store import COMMON, Store

ADJACENCY = "rows"
IN_ORDER = np.zeros(0, np.int64)


class Halo(NamedTuple):
    """Vectors of a block's halo: row at[i] of `vectors` is that of its node i, or row i where `at` is empty."""

    vectors: np.ndarray
    at: np.ndarray = IN_ORDER


@dataclass(frozen=True)
class Rows:
    """The rows of one block's nodes.

    node_ids: int64[m], ascending. indptr: int64[m + 1]; neighbours: int32, below m a row of this block, else m + a
    position in the halo; weights: float32, or empty if all are 1. degrees: float64[m], weighted. peers: int64, the
    blocks that own the halo, ascending; the halo is ordered by (peer, node id), as halo_ids are. peers[i] is sent the
    rows send_rows[send_starts[i]:send_starts[i + 1]], in the order of that peer's halo. matrix: the name they are kept
    by.
    """

    node_ids: np.ndarray
    indptr: np.ndarray
    neighbours: np.ndarray
    weights: np.ndarray
    degrees: np.ndarray
    halo_ids: np.ndarray
    peers: np.ndarray
    send_rows: np.ndarray
    send_starts: np.ndarray
    matrix: str = ADJACENCY

    @property
    def num_rows(self) -> int:
        return len(self.node_ids)

    @property
    def num_halo(self) -> int:
        return len(self.halo_ids)

    @staticmethod
    def build(
        block: int, node_ids: np.ndarray, src: np.ndarray, dst: np.ndarray, dst_block: np.ndarray, weight: np.ndarray
    ) -> Rows:
        """From the entries whose src is in the block, in any order; entries of the same pair are summed."""
        node_ids = distinct(node_ids)
        num_rows, own = len(node_ids), dst_block == block
        halo_blocks, halo_ids, places = _distinct_pairs(dst_block[~own], dst[~own])
        columns = np.empty(len(src), np.int64)
        columns[own] = find_rows(node_ids, dst[own])
        columns[~own] = num_rows + places
        matrix = _summed(find_rows(node_ids, src), columns, weight, (num_rows, num_rows + len(halo_ids)))
        data = matrix.data.astype(np.float32)
        weights = np.zeros(0, np.float32) if (data == 1).all() else data
        degrees = np.asarray(matrix.sum(axis=1), np.float64).reshape(-1)
        return Rows.of(matrix, node_ids, (halo_blocks, halo_ids), weights, degrees)

    @staticmethod
    def of(
        entries: sp.csr_matrix,
        node_ids: np.ndarray,
        halo: tuple[np.ndarray, np.ndarray],
        weights: np.ndarray,
        degrees: np.ndarray,
        matrix: str = ADJACENCY,
    ) -> Rows:
        """From sorted entries over own nodes and halo, whose values are not read. halo: (block, id) of each node."""
        halo_blocks, halo_ids = halo
        peers, peer_of_halo = np.unique(halo_blocks, return_inverse=True)
        send_rows, send_starts = rows_to_send(entries, len(node_ids), peer_of_halo, len(peers))
        return Rows(
            node_ids=node_ids,
            indptr=entries.indptr.astype(np.int64),
            neighbours=entries.indices.astype(np.int32),
            weights=weights,
            degrees=degrees,
            halo_ids=halo_ids,
            peers=peers,
            send_rows=send_rows,
            send_starts=send_starts,
            matrix=matrix,
        )

    def keep(self, block: int, store: Store) -> None:
        for name in ARRAYS:
            store.put(block, f"{self.matrix}.{name}", getattr(self, name))

    @staticmethod
    def kept(block: int, store: Store, matrix: str = ADJACENCY) -> Rows:
        return Rows(**{name: store.get(block, f"{matrix}.{name}") for name in ARRAYS}, matrix=matrix)

    def only(self, chosen: np.ndarray) -> Rows:
        """These rows, of which those that are not chosen, bool[m], have no neighbours."""
        if chosen.all():
            return self
        lengths = np.where(chosen, np.diff(self.indptr), 0)
        kept = np.repeat(chosen, np.diff(self.indptr))
        weights = self.weights[kept] if len(self.weights) else self.weights
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return replace(self, indptr=indptr, neighbours=self.neighbours[kept], weights=weights)

    def send(self, block: int, store: Store, name: str, values: np.ndarray) -> None:
        """Store the rows in other blocks' halos where those blocks read them. values: [m], or [m, width]."""
        store.put(block, f"sent.{name}", values[self.send_rows])

    def receive(self, block: int, store: Store, name: str) -> np.ndarray:
        """The halo's rows of the arrays that peers sent under that name, in halo order."""
        parts = []
        for peer in self.peers.tolist():
            peers, starts = store.get(peer, f"{self.matrix}.peers"), store.get(peer, f"{self.matrix}.send_starts")
            at = int(np.searchsorted(peers, block))
            parts.append(store.get(peer, f"sent.{name}", int(starts[at]), int(starts[at + 1])))
        return np.concatenate(parts) if parts else store.get(block, f"sent.{name}", 0, 0)

    def send_vectors(self, block: int, store: Store, name: str, vectors: np.ndarray, in_common: int) -> None:
        """As `send`, of vectors. in_common: nodes of the graph, whose vectors lie in one array by node id that all
        blocks fill and map; 0: blocks send each other the rows that they need."""
        if in_common:
            store.fill(f"sent.{name}", in_common, self.node_ids, vectors)
        else:
            self.send(block, store, name, vectors)

    def receive_vectors(self, block: int, store: Store, name: str, in_common: int) -> Halo:
        """The halo's rows of the vectors sent under that name."""
        if in_common:
            return Halo(store.get(COMMON, f"sent.{name}"), self.halo_ids)
        return Halo(self.receive(block, store, name))


def _summed(rows: np.ndarray, columns: np.ndarray, weight: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    """The matrix of these entries with sorted indices, entries of the same pair summed."""
    keys = rows * np.int64(shape[1]) + columns
    order = np.argsort(keys)
    if (np.diff(keys[order]) == 0).any():
        order = np.lexsort((weight, columns, rows))  # a sum's last bit must not depend on the order of the input
        matrix = sp.coo_matrix((weight[order], (rows[order], columns[order])), shape=shape).tocsr()
        matrix.sort_indices()
        return matrix
    indptr = np.r_[0, np.cumsum(np.bincount(rows, minlength=shape[0]))]
    return sp.csr_matrix((weight[order], columns[order], indptr), shape=shape)


ARRAYS = tuple(field.name for field in fields(Rows) if field.name != "matrix")


def find_rows(node_ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int64: where each of the ids stands among the ascending node ids. Most blocks hold ids without a gap."""
    if len(node_ids) and node_ids[-1] - node_ids[0] + 1 == len(node_ids):
        return wanted - node_ids[0]
    return np.searchsorted(node_ids, wanted)


def _distinct_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct pairs in order, as two arrays, and the position of each input pair among them."""
    order = np.lexsort((second, first))
    first, second = first[order].astype(np.int64), second[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = (np.diff(first) != 0) | (np.diff(second) != 0)
    places = np.empty(len(order), np.int64)
    places[order] = np.cumsum(is_new) - 1
    return first[is_new], second[is_new], places
