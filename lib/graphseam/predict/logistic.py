"""One logistic regression per label, all solved at once: the standard classifier for node vectors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import minimize

from graphseam.compiled import compiled

BLOCK_ELEMENTS = 1 << 22  # scores [nodes, labels] solved for at once: 32 MB per array, about four arrays
SHARE_ELEMENTS = 1 << 16  # of them, that stay in a core's cache
FACTORS = 256  # numbers from 1 to 2 that are multiplied before their logarithm is taken
GRADIENT_TOLERANCE = 1e-5  # of the scaled problem, whose curvature is about 1: the error of scores is about as large


def fit_one_vs_rest(
    vectors: np.ndarray, target: np.ndarray, class_weight: str = "none", threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """(intercepts [c], coefficients [c, dim]) of an L2 logistic regression per label, against all other nodes.

    vectors: float[n, dim]; target: bool[n, c], each column with at least one True. The objective is liblinear's,
    1/2 |w|² + the sum of logistic losses (C = 1), in which the intercept is penalised like any other coefficient: the
    classifier of DeepWalk's protocol. class_weight "balanced": an example weighs n / 2 divided by the number of
    examples in its class, with or without the label. A column without a False also gets a finite intercept.
    Cost: O(n · c · dim) per iteration, some tens of iterations. Memory: 16 · n · dim bytes plus 200 MB. The result does
    not depend on threads.
    Source: Perozzi, DeepWalk, KDD 2014, arXiv:1403.6652; Fan, LIBLINEAR, JMLR 9, 2008.
    """
    extended = np.column_stack([vectors.astype(np.float64, copy=False), np.ones(len(vectors))])
    spread, axes = np.linalg.eigh(extended.T @ extended)
    rotated = extended @ axes  # a rotation leaves the penalty unchanged and makes the columns orthogonal
    step = max(1, BLOCK_ELEMENTS // max(1, len(vectors)))
    found = [
        _solve(rotated, spread.clip(0), axes[-1], target[:, start : start + step], class_weight == "balanced", threads)
        for start in range(0, target.shape[1], step)
    ]
    weights = axes @ np.hstack(found) if found else np.zeros((extended.shape[1], 0))
    return weights[-1], np.ascontiguousarray(weights[:-1].T)


def _solve(
    rotated: np.ndarray, spread: np.ndarray, constant: np.ndarray, target: np.ndarray, balanced: bool, threads: int
) -> np.ndarray:
    """float64[dim + 1, c]: the minimum in rotated coordinates, by L-BFGS scaled by the curvature at the start.

    spread: eigenvalues of the Gram matrix, the curvature along each column; constant: the intercept's coordinates.
    """
    num_nodes, num_labels = target.shape
    num_with = target.sum(axis=0)
    rate = (num_with.clip(0.5, num_nodes - 0.5) / num_nodes) if not balanced else np.full(num_labels, 0.5)
    scale = 1 / np.sqrt(1 + np.outer(spread, rate * (1 - rate)))
    truth = np.ascontiguousarray(target)
    weight_of = np.ones((2, num_labels))  # of an example without the label, with it
    if balanced:
        weight_of = num_nodes / 2 / np.stack([num_nodes - num_with, num_with]).clip(1)
    rows = max(1, SHARE_ELEMENTS // max(1, num_labels))
    shares = [slice(start, start + rows) for start in range(0, num_nodes, rows)]

    def of_share(share: slice, weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = rotated[share] @ weights
        small = np.abs(scores)
        np.exp(np.negative(small, out=small), out=small)
        losses = _losses(scores, small, truth[share], weight_of)
        return float(losses), rotated[share].T @ scores

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(scale.shape) * scale
        losses, slope = 0.5 * float((weights * weights).sum()), weights.copy()
        for loss, part in pool.map(partial(of_share, weights=weights), shares):  # in their order
            losses += loss
            slope += part
        return losses, (slope * scale).ravel()

    start = np.outer(constant, np.log(rate / (1 - rate))) / scale
    with ThreadPoolExecutor(max(1, threads)) as pool:
        found = minimize(
            objective,
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"gtol": GRADIENT_TOLERANCE, "ftol": 0.0, "maxiter": 1000, "maxfun": 2000, "maxcor": 20},
        )
    return found.x.reshape(scale.shape) * scale


@compiled
def _losses(scores: Any, small: Any, truth: Any, weight_of: Any) -> Any:
    """The sum of the weighted logistic losses of some nodes, whose scores are replaced by their derivatives.

    scores: float64[n, c]; small: exp(-|scores|); truth: bool[n, c]; weight_of: float64[2, c], of an example without a
    label, and with it. A loss is max(score, 0) + log(1 + small) - score if the label is there; the numbers 1 + small of
    examples of one weight are multiplied, as that costs less than their logarithms.
    """
    nodes, labels = scores.shape
    product, counted = np.ones((2, labels)), 0
    total = 0.0
    for node in range(nodes):
        for label in range(labels):
            score, tiny, known = scores[node, label], small[node, label], np.int64(truth[node, label])
            weight = weight_of[known, label]
            product[known, label] *= 1.0 + tiny
            total += weight * (max(score, 0.0) - known * score)
            share = 1.0 / (1.0 + tiny)
            scores[node, label] = weight * ((share if score > 0 else 1.0 - share) - known)
        counted += 1
        if counted == FACTORS or node == nodes - 1:
            total += (weight_of * np.log(product)).sum()
            product[:], counted = 1.0, 0
    return total
