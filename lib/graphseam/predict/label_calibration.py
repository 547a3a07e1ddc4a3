"""From label scores to probabilities: two numbers for all labels, fitted on nodes the classifier has not seen."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax

NUM_BINS = 15  # for the calibration error, as in Guo et al.
UNCHANGED = (1.0, 0.0)


def probabilities(scores: np.ndarray, multi_label: bool) -> np.ndarray:
    """float64[n, c] in [0, 1] for calibrated scores; keeps the order of scores within a row.

    With several labels per node: the logistic function of each score. With one label per node: these values divided by
    their sum over the labels (computed in logarithms, so that a row of very low scores still adds up to 1).
    """
    return expit(scores) if multi_label else np.exp(_log_share(scores))


def _log_share(scores: np.ndarray) -> np.ndarray:
    return log_softmax(log_expit(scores), axis=1)


def fit_pair(scores: np.ndarray, truth: np.ndarray, multi_label: bool) -> tuple[float, float]:
    """The maximum-likelihood (slope, shift) of slope · score + shift; slope > 0, so the order of scores is kept.

    scores: float64[n, c] of nodes the classifier has not seen; truth: bool[n, c]. With several labels per node, pass
    only those that users will see for each node: a pair fitted on all labels is dominated by the many unlikely ones.
    All labels share the two numbers, because a pair per label would fit the noise of rare labels. A weak prior centred
    on (1, 0), worth about one example, keeps a handful of nodes from deciding the result.
    Source: Platt, Probabilistic outputs for support vector machines, 1999; Guo et al., ICML 2017, arXiv:1706.04599.
    """

    def cost(pair: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = np.exp(pair[0]) * scores
        moved = scaled + pair[1]
        if multi_label:
            likelihood = np.where(truth, log_expit(moved), log_expit(-moved)).sum()
            slope = truth - expit(moved)
        else:
            shares = _log_share(moved)
            likelihood = shares[truth].sum()
            # of the labels that a node has, each counts: a node's shares add up to one for each
            slope = (truth - truth.sum(axis=1, keepdims=True) * np.exp(shares)) * expit(-moved)
        ascent = np.array([(slope * scaled).sum(), slope.sum()])
        return 0.5 * float(pair @ pair) - float(likelihood), pair - ascent

    if scores.size == 0:
        return UNCHANGED
    found = minimize(cost, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-5.0, 5.0), (-20.0, 20.0)]).x
    return float(np.exp(found[0])), float(found[1])


def calibration_error(probability: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error: how far probabilities are from the rate at which they come true.

    The mean over 15 bins of equal width of |mean probability - share that is true|, weighted by bin size. Both arrays
    have the same shape. Source: Guo et al., On calibration of modern neural networks, ICML 2017, arXiv:1706.04599.
    """
    place = np.minimum((probability.ravel() * NUM_BINS).astype(int), NUM_BINS - 1)
    gaps = np.bincount(place, probability.ravel(), NUM_BINS) - np.bincount(place, truth.ravel(), NUM_BINS)
    return float(np.abs(gaps).sum() / max(1, probability.size))
