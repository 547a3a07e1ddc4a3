"""Random walks over a graph in memory: first-order (DeepWalk) and second-order (node2vec), weighted, directed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from graphseam.compiled import compiled
from graphseam.embedding.sampling import draw, row_alias_tables, uniform


class WalkGraph(NamedTuple):
    """What a step reads: CSR with sorted columns, and the alias tables of its rows (empty if all weights are equal).

    Tables cost 8 bytes per entry. return_bias: 1 / p; far_bias: 1 / q, of node2vec; both 1 for a first-order walk.
    """

    indptr: np.ndarray  # int64[n + 1]
    indices: np.ndarray  # int32[m]
    chance: np.ndarray  # float32[m] or [0]
    other: np.ndarray  # int32[m] or [0]
    return_bias: float
    far_bias: float

    @staticmethod
    def of(arcs: sp.csr_matrix, p: float, q: float) -> WalkGraph:
        indptr = arcs.indptr.astype(np.int64)
        even = arcs.nnz == 0 or bool((arcs.data == arcs.data[0]).all())
        chance, other = (
            (np.empty(0, np.float32), np.empty(0, np.int32))
            if even
            else row_alias_tables(indptr, arcs.data.astype(np.float64))
        )
        return WalkGraph(indptr, arcs.indices.astype(np.int32, copy=False), chance, other, 1.0 / p, 1.0 / q)


@compiled
def walk_from(graph: Any, start: int, walk: Any, state: Any) -> int:
    """Fill `walk` (int32[length]) with a walk that begins at `start`; returns its length.

    It ends early at a node without outgoing arcs. A second-order step is drawn by rejection sampling: a first-order
    step is accepted with probability bias / largest bias, so a step costs a few draws and one binary search per draw
    in the previous node's row. Sources: Perozzi et al., DeepWalk, KDD 2014; Grover and Leskovec, node2vec, KDD 2016;
    Yang et al., KnightKing, SOSP 2019 (the rejection).
    """
    walk[0] = start
    first_order = graph.return_bias == 1.0 and graph.far_bias == 1.0
    largest = max(1.0, graph.return_bias, graph.far_bias)
    before, here = -1, start
    for at in range(1, len(walk)):
        first, last = graph.indptr[here], graph.indptr[here + 1]
        if first == last:
            return at
        while True:
            if len(graph.chance):
                place = draw(graph.chance[first:last], graph.other[first:last], state)
            else:
                place = int(uniform(state) * (last - first))
            there = graph.indices[first + place]
            if first_order or before < 0 or uniform(state) * largest < _bias(graph, before, there):
                break
        walk[at] = there
        before, here = here, there
    return len(walk)


@compiled
def _bias(graph: Any, before: int, there: int) -> float:
    """node2vec's bias of a step to `there` after a step from `before`: back, to a neighbour of `before`, or away."""
    if there == before:
        return graph.return_bias
    row = graph.indices[graph.indptr[before] : graph.indptr[before + 1]]
    place = np.searchsorted(row, there)
    return 1.0 if place < len(row) and row[place] == there else graph.far_bias


@compiled
def walks_from(graph: Any, starts: Any, length: int, state: Any) -> Any:
    """int32[starts, length]: one walk per start, padded with -1."""
    walks = np.full((len(starts), length), -1, np.int32)
    for row in range(len(starts)):
        reached = walk_from(graph, starts[row], walks[row], state)
        walks[row, reached:] = -1
    return walks
