"""Pairs of a graph that one task holds: the draws of graphseam.pairs, by numpy, with the same results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from graphseam.arrays import distinct, is_among
from graphseam.pairs import ATTEMPTS, HARD, RANK_ATTEMPTS, RANKED_AMONG, RANKING, UNIFORM
from graphseam.seeds import uniform_of

DRAWS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class WholeEdges:
    """Edges between positions of nodes, src and dst int64[m]; numbers: int64[n], rising, of the nodes."""

    numbers: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    weight: np.ndarray

    @staticmethod
    def of(numbers: np.ndarray, keys: np.ndarray, weight: np.ndarray) -> WholeEdges:
        """keys: src · n + dst of each edge."""
        src, dst = np.divmod(keys, max(1, len(numbers)))
        return WholeEdges(numbers, src, dst, weight)

    def rows(self, chosen: np.ndarray) -> pa.Table:
        """Rows of edges."""
        src, dst = (self.numbers[ends[chosen]] for ends in (self.src, self.dst))
        return pa.table({"src": src, "dst": dst, "weight": self.weight[chosen]})

    def keys(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """A number per pair of positions, the same for both of its directions."""
        return np.minimum(one, other) * np.int64(len(self.numbers)) + np.maximum(one, other)


def sampled(edges: WholeEdges, held: np.ndarray, max_pairs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As pairs.sample_edges: the (src, dst) with the smallest draws, in their order, some of them turned."""
    size = np.int64(max(1, len(edges.numbers)))
    src, dst = np.divmod(distinct(edges.keys(edges.src[held], edges.dst[held])), size)
    low, high = edges.numbers[src], edges.numbers[dst]
    first = np.lexsort((high, low, uniform_of(seed, "pair", low, high)))[:max_pairs]
    turned = uniform_of(seed, "turn", low, high)[first] < 0.5
    src, dst = src[first], dst[first]
    return np.where(turned, dst, src), np.where(turned, src, dst)


def faced(src: np.ndarray, dst: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As pairs.facing: each pair with its end of the second kind as dst. second: bool[n]."""
    return np.where(second[src], dst, src), np.where(second[src], src, dst)


def negatives(
    edges: WholeEdges, src: np.ndarray, dst: np.ndarray, second: np.ndarray | None, max_ranked: int, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """(kind, query, src, far end) as pairs.draw_negatives, some at a time. src, dst: of the positives, by query.

    second: in a bipartite graph, the nodes that links are predicted to.
    """
    keys, query = distinct(edges.keys(edges.src, edges.dst)), np.arange(len(src))
    pools = {UNIFORM: np.arange(len(edges.numbers)) if second is None else np.flatnonzero(second)}
    pools[HARD] = _ends_in_order(src, dst, both=second is None)
    for kind, pool in pools.items():
        for name, count, wanted, among in (
            (kind, len(src), 1, ATTEMPTS),
            (RANKING[kind], min(max_ranked, len(src)), RANKED_AMONG, RANK_ATTEMPTS),
        ):
            for rows in _chunks(count, among):
                far = _far_ends(edges, keys, (src[rows], dst[rows]), pool, name, among, seed)
                free = far >= 0
                free &= np.cumsum(free, axis=1) <= wanted
                at, attempt = np.nonzero(free)
                yield name, query[rows][at], src[rows][at], far[at, attempt]


def _ends_in_order(src: np.ndarray, dst: np.ndarray, both: bool) -> np.ndarray:
    """The ends of positives that hard negatives are drawn from, as pairs.numbered has them."""
    ends = np.concatenate([src, dst]) if both else dst
    ones, others = (np.tile(column, 2) if both else column for column in (src, dst))
    return ends[np.lexsort((others, ones, ends))]


def _chunks(count: int, among: int) -> Iterator[slice]:
    step = max(1, DRAWS_AT_ONCE // among)
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _far_ends(
    edges: WholeEdges,
    keys: np.ndarray,
    positives: tuple[np.ndarray, np.ndarray],
    pool: np.ndarray,
    kind: str,
    among: int,
    seed: int,
) -> np.ndarray:
    """int64[k, among]: what each attempt draws from the pool for the positives; -1 for a loop or an edge."""
    src, dst = (np.repeat(ends, among) for ends in positives)
    attempt = np.tile(np.arange(among, dtype=np.int32), len(positives[0]))
    drawn = uniform_of(seed, kind, edges.numbers[src], edges.numbers[dst], attempt)
    if not len(pool):
        return np.full((len(positives[0]), among), -1)
    far = pool[np.floor(drawn * len(pool)).astype(np.int64)]
    taken = (far == src) | is_among(edges.keys(src, far), keys)
    return np.where(taken, -1, far).reshape(-1, among)
