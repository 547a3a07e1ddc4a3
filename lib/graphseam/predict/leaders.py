"""The inner loops of every search and ranking, compiled by numba: largest scores of a row, exact scores of pairs.

A score of a matrix product depends in its last bits on the rows beside it, so it only decides which pairs are scored
again by `cosine_of`, whose order of summation is fixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphseam.compiled import compiled, compiled_fast

EXCLUDED = -2.0  # below any cosine
TELLABLE = 1 << 20  # cosines closer than 1e-6 are ties: rounding of products differs between groups
TELLING = 2.0 / TELLABLE
AT_ONCE = 16  # scores compared before any of them is looked at: few rows of many have one that enters
SETS, FEW = 2, 8  # sets of columns per score wanted; for fewer scores their maxima tell less than they cost


@compiled_fast
def largest_of(values: Any) -> Any:
    """The largest of AT_ONCE numbers."""
    found = values[0]
    for at in range(1, AT_ONCE):
        found = max(found, values[at])
    return found


@compiled_fast
def raise_to(maxima: Any, values: Any) -> None:
    """Each of `maxima` to the number at its place in `values`, if that is larger."""
    for at in range(len(maxima)):
        maxima[at] = max(maxima[at], values[at])


@compiled
def of_rank(values: Any, rank: int) -> Any:
    """The rank-th largest number, by Hoare's quickselect; `values` is left in another order."""
    low, high, wanted = 0, len(values) - 1, rank - 1
    while low < high:
        pivot, i, j = values[(low + high) >> 1], low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            break
    return values[wanted]


@compiled
def leading(scores: Any, floor: Any, count: int) -> tuple[Any, Any]:
    """(values float32[n, count], columns int64[n, count]) of the largest scores above each row's floor, best first.

    scores: float32[n, columns]; floor: float32[n]. Of equal scores the first columns count. Filled up with EXCLUDED.
    Cost: one or two passes, and an insertion into a short sorted list for each score that is among the largest so far.
    These are few, as many columns are divided into sets first: the count-th largest of the sets' maxima is a bound.
    """
    rows, columns = scores.shape
    values = np.full((rows, count), np.float32(EXCLUDED))
    places = np.zeros((rows, count), np.int64)
    whole = columns - columns % AT_ONCE
    sets = -(-SETS * count // AT_ONCE) * AT_ONCE
    divided = count >= FEW and columns >= 2 * sets
    maxima = np.empty(sets if divided else 0, np.float32)
    for row in range(rows):
        least, line = floor[row], scores[row]
        if divided:
            maxima[:] = line[:sets]
            for start in range(sets, columns - sets + 1, sets):
                raise_to(maxima, line[start : start + sets])
            least = max(least, np.nextafter(of_rank(maxima, count), np.float32(2 * EXCLUDED)))
        for start in range(0, columns, AT_ONCE):
            if start < whole and not largest_of(line[start : start + AT_ONCE]) > least:
                continue
            for column in range(start, min(start + AT_ONCE, columns)):
                score = line[column]
                if score > least:
                    at = count - 1
                    while at > 0 and values[row, at - 1] < score:
                        values[row, at], places[row, at] = values[row, at - 1], places[row, at - 1]
                        at -= 1
                    values[row, at], places[row, at] = score, column
                    least = max(least, values[row, count - 1])
    return values, places


def leading_of_all(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """As `leading`, of all scores that are not EXCLUDED."""
    values, columns = leading(scores, np.full(len(scores), EXCLUDED, np.float32), count)
    return values, columns


@compiled
def with_ties(scores: Any, edge: Any, width: int) -> tuple[Any, Any]:
    """(values, columns) of each row's scores above its edge, then of those equal to it in order of the column.

    scores: float32[n, columns], edge: float32[n]; fewer than `width` scores are above it. Filled up with EXCLUDED.
    """
    places = np.zeros((len(scores), width), np.int64)
    values = np.full((len(scores), width), np.float32(EXCLUDED))
    for row in range(len(scores)):
        size = 0
        for tied in (False, True):
            for column in range(scores.shape[1]):
                above = scores[row, column] - edge[row]
                if size < width and (abs(above) <= TELLING if tied else above > TELLING):
                    places[row, size], values[row, size] = column, scores[row, column]
                    size += 1
    return values, places


@compiled
def cosine_of(own: Any, other: Any) -> Any:
    """The product of two float32[dim], always as the sum of the same eight partial sums."""
    dim = len(own)
    whole = dim - dim % 8
    a = b = c = d = e = f = g = h = np.float32(0)
    for i in range(0, whole, 8):  # eight sums side by side, which fit a vector register
        a += own[i] * other[i]
        b += own[i + 1] * other[i + 1]
        c += own[i + 2] * other[i + 2]
        d += own[i + 3] * other[i + 3]
        e += own[i + 4] * other[i + 4]
        f += own[i + 5] * other[i + 5]
        g += own[i + 6] * other[i + 6]
        h += own[i + 7] * other[i + 7]
    for i in range(whole, dim):
        a += own[i] * other[i]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@compiled
def _exact_product(own: Any, other: Any) -> Any:
    """The product of two float32[dim] in double precision, always as the sum of the same eight partial sums."""
    dim = len(own)
    whole = dim - dim % 8
    a = b = c = d = e = f = g = h = 0.0
    for i in range(0, whole, 8):
        a += np.float64(own[i]) * np.float64(other[i])
        b += np.float64(own[i + 1]) * np.float64(other[i + 1])
        c += np.float64(own[i + 2]) * np.float64(other[i + 2])
        d += np.float64(own[i + 3]) * np.float64(other[i + 3])
        e += np.float64(own[i + 4]) * np.float64(other[i + 4])
        f += np.float64(own[i + 5]) * np.float64(other[i + 5])
        g += np.float64(own[i + 6]) * np.float64(other[i + 6])
        h += np.float64(own[i + 7]) * np.float64(other[i + 7])
    for i in range(whole, dim):
        a += np.float64(own[i]) * np.float64(other[i])
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@compiled
def nearest_exactly(unit: Any, others: Any, places: Any, count: int) -> tuple[Any, Any]:
    """(places int64[n, count], products float64[n, count]): of each row's candidates those of the largest product in
    double precision, best first, of equal ones the lower place.

    unit: float32[n, dim]; others: float32[m, dim]; places: int64[n, k >= count] of the candidates in others.
    """
    rows, candidates = places.shape
    found = np.full((rows, count), -1)
    products = np.full((rows, count), -np.inf)
    for row in range(rows):
        for at in range(candidates):
            place = places[row, at]
            product = _exact_product(unit[row], others[place])
            last = count - 1
            if product < products[row, last] or (product == products[row, last] and place > found[row, last]):
                continue
            while last > 0 and (
                products[row, last - 1] < product
                or (products[row, last - 1] == product and found[row, last - 1] > place)
            ):
                products[row, last], found[row, last] = products[row, last - 1], found[row, last - 1]
                last -= 1
            products[row, last], found[row, last] = product, place
    return found, products


@compiled
def nearest_of_groups(scores: Any, at: Any, chosen: Any, members: Any, sizes: Any, count: int) -> Any:
    """int64[n, count]: the members with the largest scores of each row's groups, best first; 0 where there are fewer.

    scores: float32[parts, most]; at, chosen: int64[n, groups], the part of scores that belongs to each group of a row,
    and which group it is; members: int64[all groups, most], sizes: how many each group has.
    """
    rows, groups = chosen.shape
    found, values = np.zeros((rows, count), np.int64), np.empty(count, np.float32)
    for row in range(rows):
        values[:] = np.float32(EXCLUDED)
        for one in range(groups):
            group, part = chosen[row, one], at[row, one]
            for column in range(sizes[group]):
                score = scores[part, column]
                if score > values[count - 1]:
                    place = count - 1
                    while place > 0 and values[place - 1] < score:
                        values[place], found[row, place] = values[place - 1], found[row, place - 1]
                        place -= 1
                    values[place], found[row, place] = score, members[group, column]
    return found


@compiled
def leading_of_each(src: Any, dst: Any, scores: Any, allowed: Any, top_k: int) -> tuple[Any, Any]:
    """(positions, ranks from 1) of the top_k allowed pairs of each src by score, ties in order of dst.

    src: int64[n], those of one node side by side; dst: int64[n]; scores: float64[n]; allowed: bool[n].
    """
    found, ranks = np.empty(len(src), np.int64), np.empty(len(src), np.int64)
    total = start = 0
    for at in range(len(src)):
        if at and src[at] != src[at - 1]:
            start = total
        if not allowed[at]:
            continue
        place = total
        while place > start:
            other = found[place - 1]
            if scores[other] > scores[at] or (scores[other] == scores[at] and dst[other] < dst[at]):
                break
            place -= 1
        if place - start >= top_k:
            continue
        total = min(total + 1, start + top_k)
        for moved in range(total - 1, place, -1):
            found[moved] = found[moved - 1]
        found[place] = at
        ranks[total - 1] = total - start
    return found[:total], ranks[:total]


@compiled
def value_of_rank(ends: Any, values: Any, rank: int) -> Any:
    """float32[n]: the rank-th largest of each row's values, values[ends[i] : ends[i + 1]]; EXCLUDED if it has fewer."""
    found = np.full(len(ends) - 1, np.float32(EXCLUDED))
    best = np.empty(rank, np.float32)
    for row in range(len(found)):
        if ends[row + 1] - ends[row] < rank:
            continue
        best[:] = np.float32(EXCLUDED)
        for at in range(ends[row], ends[row + 1]):
            value = values[at]
            place = rank - 1
            if value <= best[place]:
                continue
            while place > 0 and best[place - 1] < value:
                best[place] = best[place - 1]
                place -= 1
            best[place] = value
        found[row] = best[rank - 1]
    return found


@compiled
def quadratic(features: Any, constant: float, linear: Any, products: Any) -> Any:
    """float64[n]: constant + z · linear + the sum of z[i] z[j] times the upper triangle of products, row by row.

    features: float64[n, k]; linear: [k]; products: [k (k + 1) / 2], or empty.
    """
    rows, width = features.shape
    found = np.empty(rows)
    for row in range(rows):
        total, place = constant, 0
        for i in range(width):
            total += features[row, i] * linear[i]
            for j in range(i, width if len(products) else i):
                total += features[row, i] * features[row, j] * products[place]
                place += 1
        found[row] = total
    return found
