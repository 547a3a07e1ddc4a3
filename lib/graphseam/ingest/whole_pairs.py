"""Evaluation pairs of a graph that one task holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from graphseam.config import Config
from graphseam.pairs import POSITIVE, RANKED_AMONG, told_of
from graphseam.seeds import derive_seed
from graphseam.whole_pairs import WholeEdges, faced, negatives, sampled

PAIR_COLUMNS = ("kind", "query", "src", "dst", "min_degree", "degree_product")


def draw_whole_pairs(
    edges: WholeEdges, held: np.ndarray, second: np.ndarray | None, config: Config, details: dict[str, Any]
) -> list[pa.Array]:
    """The PAIR_COLUMNS of evaluation_pairs, as pairs.draw_pairs. held: bool[m]. second: bool[n], in a bipartite graph
    the nodes that links are predicted to. details: gets evaluation_pairs."""
    settings, seed = config.evaluate, derive_seed(config.run.seed, "pairs")
    src, dst = sampled(edges, held, settings.max_pairs, seed)
    if second is not None:
        src, dst = faced(src, dst, second)
    parts = [(POSITIVE, np.arange(len(src)), src, dst), *negatives(edges, src, dst, second, settings.max_ranked, seed)]
    num_ranked = min(settings.max_ranked, len(src))
    details["evaluation_pairs"] = _counted(parts, num_ranked)
    degrees = np.bincount(np.concatenate([edges.src[~held], edges.dst[~held]]), minlength=len(edges.numbers))
    return _columns(parts, edges.numbers, degrees)


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
