"""Sets of numbers as sorted arrays.

By sorting: since 2.3 numpy's `unique`, and `isin` with it, hash the numbers, which took 30 to 60 times as long as to
sort them (2 million int64: 1.3 to 2.2 s where sorting takes 0.04).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

MOST_GAPS = 4  # the highest number, times how many there are, for a table of positions by number


def distinct(values: np.ndarray) -> np.ndarray:
    """The different numbers of a one-dimensional array, rising; as `numpy.unique`."""
    ordered = np.sort(values)
    return ordered[np.r_[True, ordered[1:] != ordered[:-1]]] if len(ordered) else ordered


def is_among(values: np.ndarray, rising: np.ndarray) -> np.ndarray:
    """bool[n]: whether each value is one of `rising`, a sorted array; as `numpy.isin`."""
    if not len(rising):
        return np.zeros(len(values), bool)
    return np.asarray(rising[np.minimum(np.searchsorted(rising, values), len(rising) - 1)] == values)


def places_of(ids: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives the positions of numbers among the rising ids, -1 of those that are not among them.

    Cost: O(ids), once; where ids have many gaps, which a run's numbers of nodes do not, they are searched.
    """
    highest = int(ids[-1]) if len(ids) else -1
    if highest > MOST_GAPS * len(ids) or (ids < 0).any():

        def searched(numbers: np.ndarray) -> np.ndarray:
            found = np.minimum(np.searchsorted(ids, numbers), len(ids) - 1)
            return np.where(ids[found] == numbers, found, -1)

        return searched
    table = np.full(highest + 2, -1)  # the last is of all numbers beyond
    table[ids] = np.arange(len(ids))
    beyond = np.uint64(highest + 1)  # as are numbers below 0, taken for unsigned ones
    return lambda numbers: table[np.minimum(numbers.astype(np.uint64), beyond)]
