"""Weighted sampling in constant time, and its random generator; compiled, with the same results on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphseam.compiled import compiled, mix, unit_interval

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@compiled
def alias_table(weights: Any) -> Any:
    """(chance float32[n], other int32[n]) to draw i with probability weights[i] / sum: pick an index at random, keep it
    with probability chance[i], else take other[i]. Cost: O(n). Source: Vose, A linear algorithm for generating random
    numbers with a given distribution, 1991."""
    count = len(weights)
    chance, other = np.ones(count, np.float32), np.arange(count).astype(np.int32)
    scaled = weights * (count / weights.sum())
    small, large = np.empty(count, np.int64), np.empty(count, np.int64)
    num_small = num_large = 0
    for at in range(count):
        if scaled[at] < 1.0:
            small[num_small] = at
            num_small += 1
        else:
            large[num_large] = at
            num_large += 1
    while num_small > 0 and num_large > 0:
        num_small -= 1
        low, high = small[num_small], large[num_large - 1]
        chance[low], other[low] = scaled[low], high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            num_large -= 1
            small[num_small] = high
            num_small += 1
    return chance, other


@compiled
def row_alias_tables(indptr: Any, weights: Any) -> Any:
    """An alias table per row of a CSR matrix, in its layout; `other` is relative to the row's first entry."""
    chance, other = np.empty(len(weights), np.float32), np.empty(len(weights), np.int32)
    for row in range(len(indptr) - 1):
        first, last = indptr[row], indptr[row + 1]
        if last > first:
            chance[first:last], other[first:last] = alias_table(weights[first:last])
    return chance, other


@compiled
def uniform(state: Any) -> Any:
    """The next number in [0, 1) of the generator whose state is uint64[1] (splitmix64)."""
    state[0] += GOLDEN
    return unit_interval(mix(state[0]))


@compiled
def draw(chance: Any, other: Any, state: Any) -> Any:
    """An index drawn from an alias table with one random number: the integer part is the index, the rest the chance."""
    scaled = uniform(state) * len(chance)
    place = int(scaled)
    return place if scaled - place < chance[place] else other[place]


def generator(seed: int) -> np.ndarray:
    """uint64[1]: the state of a new generator seeded with `seed`."""
    return np.array([seed & ((1 << 64) - 1)], np.uint64)
