"""One logistic regression per label, all solved at once: the standard classifier for node vectors."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

BLOCK_ELEMENTS = 1 << 22  # scores [nodes, labels] solved for at once: 32 MB per array, about six arrays
GRADIENT_TOLERANCE = 1e-5  # of the scaled problem, whose curvature is about 1: the error of scores is about as large


def fit_one_vs_rest(
    vectors: np.ndarray, target: np.ndarray, class_weight: str = "none"
) -> tuple[np.ndarray, np.ndarray]:
    """(intercepts [c], coefficients [c, dim]) of an L2 logistic regression per label, against all other nodes.

    vectors: float[n, dim]; target: bool[n, c], each column with at least one True. The objective is liblinear's,
    1/2 |w|² + the sum of logistic losses (C = 1), in which the intercept is penalised like any other coefficient: the
    classifier of DeepWalk's protocol. class_weight "balanced": an example weighs n / 2 divided by the number of
    examples in its class, with or without the label. A column without a False also gets a finite intercept.
    Cost: O(n · c · dim) per iteration, some tens of iterations. Memory: 16 · n · dim bytes plus 200 MB.
    Source: Perozzi, DeepWalk, KDD 2014, arXiv:1403.6652; Fan, LIBLINEAR, JMLR 9, 2008.
    """
    extended = np.column_stack([vectors.astype(np.float64, copy=False), np.ones(len(vectors))])
    spread, axes = np.linalg.eigh(extended.T @ extended)
    rotated = extended @ axes  # a rotation leaves the penalty unchanged and makes the columns orthogonal
    step = max(1, BLOCK_ELEMENTS // max(1, len(vectors)))
    found = [
        _solve(rotated, spread.clip(0), axes[-1], target[:, start : start + step], class_weight == "balanced")
        for start in range(0, target.shape[1], step)
    ]
    weights = axes @ np.hstack(found) if found else np.zeros((extended.shape[1], 0))
    return weights[-1], np.ascontiguousarray(weights[:-1].T)


def _solve(
    rotated: np.ndarray, spread: np.ndarray, constant: np.ndarray, target: np.ndarray, balanced: bool
) -> np.ndarray:
    """float64[dim + 1, c]: the minimum in rotated coordinates, by L-BFGS scaled by the curvature at the start.

    spread: eigenvalues of the Gram matrix, the curvature along each column; constant: the intercept's coordinates.
    """
    num_nodes, num_labels = target.shape
    num_with = target.sum(axis=0)
    rate = (num_with.clip(0.5, num_nodes - 0.5) / num_nodes) if not balanced else np.full(num_labels, 0.5)
    scale = 1 / np.sqrt(1 + np.outer(spread, rate * (1 - rate)))
    truth = target.astype(np.float64)
    example: np.ndarray | float = 1.0
    if balanced:
        example = num_nodes / 2 / np.where(target, num_with, num_nodes - num_with).clip(1)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(scale.shape) * scale
        scores = rotated @ weights
        losses = np.logaddexp(0, scores) - truth * scores
        slope = weights + rotated.T @ (example * (expit(scores) - truth))
        return 0.5 * float((weights * weights).sum()) + float((example * losses).sum()), (slope * scale).ravel()

    start = np.outer(constant, np.log(rate / (1 - rate))) / scale
    found = minimize(
        objective,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": GRADIENT_TOLERANCE, "ftol": 0.0, "maxiter": 1000, "maxfun": 2000, "maxcor": 20},
    )
    return found.x.reshape(scale.shape) * scale
