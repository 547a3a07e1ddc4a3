"""Evaluation pairs of a graph that one task holds: the draws of graphseam.pairs, by numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from graphseam.arrays import distinct, is_among
from graphseam.config import Config
from graphseam.pairs import ATTEMPTS, HARD, POSITIVE, RANK_ATTEMPTS, RANKED_AMONG, RANKING, UNIFORM, told_of
from graphseam.seeds import derive_seed, uniform_of

PAIR_COLUMNS = ("kind", "query", "src", "dst", "min_degree", "degree_product")
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


def draw_whole_pairs(
    edges: WholeEdges, held: np.ndarray, second: np.ndarray | None, config: Config, details: dict[str, Any]
) -> list[pa.Array]:
    """The PAIR_COLUMNS of evaluation_pairs, as pairs.draw_pairs. held: bool[m]. second: bool[n], in a bipartite graph
    the nodes that links are predicted to. details: gets evaluation_pairs."""
    settings, seed = config.evaluate, derive_seed(config.run.seed, "pairs")
    src, dst = _sampled(edges, held, settings.max_pairs, seed)
    if second is not None:
        src, dst = np.where(second[src], dst, src), np.where(second[src], src, dst)
    query = np.arange(len(src))
    parts = [(POSITIVE, query, src, dst)]
    keys = distinct(edges.keys(edges.src, edges.dst))
    pools = {UNIFORM: np.arange(len(edges.numbers)) if second is None else np.flatnonzero(second)}
    pools[HARD] = _ends_in_order(src, dst, both=second is None)
    num_ranked = min(settings.max_ranked, len(src))
    for kind, pool in pools.items():
        for name, count, wanted, among in (
            (kind, len(src), 1, ATTEMPTS),
            (RANKING[kind], num_ranked, RANKED_AMONG, RANK_ATTEMPTS),
        ):
            for rows in _chunks(count, among):
                far = _far_ends(edges, keys, (src[rows], dst[rows]), pool, name, among, seed)
                free = far >= 0
                free &= np.cumsum(free, axis=1) <= wanted
                at, attempt = np.nonzero(free)
                parts.append((name, query[rows][at], src[rows][at], far[at, attempt]))
    details["evaluation_pairs"] = _counted(parts, num_ranked)
    degrees = np.bincount(np.concatenate([edges.src[~held], edges.dst[~held]]), minlength=len(edges.numbers))
    return _columns(parts, edges.numbers, degrees)


def _sampled(edges: WholeEdges, held: np.ndarray, max_pairs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As pairs.sample_edges: the (src, dst) with the smallest draws, in their order, some of them turned."""
    size = np.int64(max(1, len(edges.numbers)))
    src, dst = np.divmod(distinct(edges.keys(edges.src[held], edges.dst[held])), size)
    low, high = edges.numbers[src], edges.numbers[dst]
    first = np.lexsort((high, low, uniform_of(seed, "pair", low, high)))[:max_pairs]
    turned = uniform_of(seed, "turn", low, high)[first] < 0.5
    src, dst = src[first], dst[first]
    return np.where(turned, dst, src), np.where(turned, src, dst)


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


def _counted(parts: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]], num_ranked: int) -> dict[str, int]:
    """As pairs counts them in the table."""
    counts: dict[str, int] = {}
    complete: dict[str, int] = {}
    for kind, query, _, _ in parts:
        if len(query):
            counts[kind] = counts.get(kind, 0) + len(query)
            complete[kind] = complete.get(kind, 0) + int(
                (np.unique(query, return_counts=True)[1] >= RANKED_AMONG).sum()
            )
    return told_of(counts, complete, num_ranked)


def _columns(
    parts: list[tuple[str, np.ndarray, np.ndarray, np.ndarray]], numbers: np.ndarray, degrees: np.ndarray
) -> list[pa.Array]:
    kinds = pa.array(np.repeat([kind for kind, *_ in parts], [len(part[1]) for part in parts]))
    query, src, dst = (np.concatenate([part[place] for part in parts]) for place in (1, 2, 3))
    one, other = degrees[src], degrees[dst]
    columns = (query, numbers[src], numbers[dst], np.minimum(one, other), one.astype(float) * other)
    return [kinds, *map(pa.array, columns)]
