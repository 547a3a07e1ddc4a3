"""Counts and weights of paths of two or three edges from a node: the loops of predict.paths, compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphseam.compiled import compiled


@compiled
def weights_of(degree: Any) -> Any:
    """(1 / log(degree), 1 / degree) of a node between two others, which has at least two edges."""
    return 1.0 / np.log(max(degree, 2)), 1.0 / max(degree, 1)


@compiled
def spread_two(known: Any, indptr: Any, indices: Any, degrees: Any, sums: Any, touched: Any) -> Any:
    """Paths known -> v: add (count, Adamic-Adar, resource allocation) to sums[v]; returns how many v were touched."""
    count = 0
    for w in known:
        log_weight, weight = weights_of(degrees[w])
        for at in range(indptr[w], indptr[w + 1]):
            v = indices[at]
            if sums[v, 0] == 0:
                touched[count] = v
                count += 1
            sums[v, 0] += 1
            sums[v, 1] += log_weight
            sums[v, 2] += weight
    return count


@compiled
def spread_three(
    known: Any, indptr: Any, indices: Any, degrees: Any, middle: Any, between: Any, sums: Any, touched: Any
) -> Any:
    """Paths known -> v -> i. `middle` holds the sums of the first two steps and is reset to zero; see spread_two."""
    count = spread_two(known, indptr, indices, degrees, middle, between)
    found = 0
    for place in range(count):
        v = between[place]
        log_weight, weight = weights_of(degrees[v])
        for at in range(indptr[v], indptr[v + 1]):
            i = indices[at]
            if sums[i, 0] == 0:
                touched[found] = i
                found += 1
            sums[i, 0] += middle[v, 0]
            sums[i, 1] += middle[v, 1] * log_weight
            sums[i, 2] += middle[v, 2] * weight
        middle[v, :] = 0
    return found


@compiled
def through_the_edge(query: Any, other: Any, known: Any, indptr: Any, indices: Any, degrees: Any, out: Any) -> None:
    """Sums of the 3-step paths query -> other that use the edge between the two; a model must not learn from those.

    These are query -> other -> v -> other for each neighbour v of other, and query -> j -> query -> other for each j of
    `known`; the path query -> other -> query -> other is in both sets and counts once. No path goes through a node
    whose list is left out.
    """
    log_other, weight_other = weights_of(degrees[other])
    log_query, weight_query = weights_of(degrees[query])
    out[:] = 0
    for at in range(indptr[other], indptr[other + 1]):
        v = indices[at]
        if indptr[v] < indptr[v + 1]:
            log_weight, weight = weights_of(degrees[v])
            out[0] += 1
            out[1] += log_other * log_weight
            out[2] += weight_other * weight
    if indptr[query] == indptr[query + 1]:
        return
    for j in known:
        if j != other and indptr[j] < indptr[j + 1]:
            log_weight, weight = weights_of(degrees[j])
            out[0] += 1
            out[1] += log_weight * log_query
            out[2] += weight * weight_query


@compiled
def leaders(nodes: Any, values: Any, wanted: Any) -> Any:
    """The `wanted` nodes with the largest values, and those tied with the last; best first, ties in order of node."""
    if len(nodes) > wanted:
        place = len(nodes) - wanted
        nodes = nodes[values[nodes] >= np.partition(values[nodes], place)[place]]
    order = np.sort(nodes)
    return order[np.argsort(-values[order], kind="mergesort")]


def workspace(num_nodes: int, three: bool) -> tuple[np.ndarray, ...]:
    """The working arrays of find_paths: sums, touched nodes and marks; three steps need sums and nodes twice."""
    second = num_nodes if three else 0
    return (
        np.zeros((num_nodes, 3)),
        np.zeros((second, 3)),
        np.empty(num_nodes, np.int64),
        np.empty(second, np.int64),
        np.full(num_nodes, -1, np.int64),
        np.full(num_nodes, -1, np.int64),
    )


@compiled
def find_paths(
    queries: Any,
    known_ptr: Any,
    known_of: Any,
    wanted_ptr: Any,
    wanted_of: Any,
    learning: Any,
    indptr: Any,
    indices: Any,
    degrees: Any,
    top: int,
    first: int,
    space: Any,
) -> Any:
    """For each query, its wanted nodes, then the `top` non-neighbours with the largest sums (Adamic-Adar for two steps,
    resource allocation for three), ties in order of node; a query for learning gets twice as many, neighbours included.

    queries: int64[q], positions of nodes; known_of and wanted_of: positions, delimited by known_ptr and wanted_ptr;
    indptr, indices: neighbour lists of the intermediate nodes; degrees: float64[n] of all nodes. space: from
    `workspace`; first: the number of queries it has been used for before.
    Returns (query, node, known, sums float64[., 3]), one row per pair.
    """
    sums, middle, touched, between, is_known, is_given = space
    three = len(middle) > 0
    most = len(wanted_of) + 2 * top * len(queries)
    rows, nodes = np.empty(most, np.int64), np.empty(most, np.int64)
    flags, values = np.empty(most, np.bool_), np.empty((most, 3))
    own = np.zeros(3)
    key = 2 if three else 1
    size = 0
    for q in range(len(queries)):
        known, mark = known_of[known_ptr[q] : known_ptr[q + 1]], first + q
        is_known[known] = mark
        if three:
            count = spread_three(known, indptr, indices, degrees, middle, between, sums, touched)
            for place in range(count):
                v = touched[place]
                if is_known[v] == mark:
                    through_the_edge(queries[q], v, known, indptr, indices, degrees, own)
                    sums[v, :] = np.maximum(sums[v, :] - own, 0)
        else:
            count = spread_two(known, indptr, indices, degrees, sums, touched)
        for at in range(wanted_ptr[q], wanted_ptr[q + 1]):
            v = wanted_of[at]
            is_given[v] = mark
            rows[size], nodes[size], flags[size] = q, v, is_known[v] == mark
            values[size, :] = sums[v, :]
            size += 1
        taken, allowed = 0, 2 * top if learning[q] else top
        best = leaders(touched[:count], sums[:, key], allowed + len(known) + 1) if top > 0 else touched[:0]
        for v in best:
            neighbour = is_known[v] == mark
            if taken == allowed or v == queries[q] or sums[v, key] <= 0 or (neighbour and not learning[q]):
                continue
            taken += 1
            if is_given[v] == mark:
                continue
            rows[size], nodes[size], flags[size] = q, v, neighbour
            values[size, :] = sums[v, :]
            size += 1
        for place in range(count):
            sums[touched[place], :] = 0
    return rows[:size], nodes[:size], flags[:size], values[:size]
