"""From the scores of the labels to probabilities: two numbers for all labels, fitted where the truth was not learnt."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax

NUM_BINS = 15  # of the calibration error, as in Guo et al.
UNCHANGED = (1.0, 0.0)


def probabilities(scores: np.ndarray, multi_label: bool) -> np.ndarray:
    """float64[n, c] in [0, 1] of calibrated scores, in their order within a row.

    Several labels per node: the logistic function of each. One label per node: the same divided by their sum over the
    labels (in logarithms, so that a row of very low scores still adds up to 1).
    """
    return expit(scores) if multi_label else np.exp(_log_share(scores))


def _log_share(scores: np.ndarray) -> np.ndarray:
    return log_softmax(log_expit(scores), axis=1)


def fit_pair(scores: np.ndarray, truth: np.ndarray, multi_label: bool) -> tuple[float, float]:
    """(slope, shift) that make slope · score + shift as likely as can be; slope > 0, so no order changes.

    scores: float64[n, c] of nodes the classifier has not seen; truth: bool[n, c]. With several labels per node, give
    those of each node that people will see: a pair fitted on all of them follows the many that are far from likely.
    Two numbers for all labels together: a pair per label would follow the noise of rare ones. A weak pull towards
    (1, 0), worth about one example, keeps a handful of nodes from deciding.
    Source: Platt, Probabilistic outputs for support vector machines, 1999; Guo et al., ICML 2017, arXiv:1706.04599.
    """

    def cost(pair: np.ndarray) -> float:
        moved = np.exp(pair[0]) * scores + pair[1]
        likelihood = (
            np.where(truth, log_expit(moved), log_expit(-moved)).sum()
            if multi_label
            else _log_share(moved)[truth].sum()
        )
        return 0.5 * float(pair @ pair) - float(likelihood)

    if scores.size == 0:
        return UNCHANGED
    found = minimize(cost, np.zeros(2), method="L-BFGS-B", bounds=[(-5.0, 5.0), (-20.0, 20.0)]).x
    return float(np.exp(found[0])), float(found[1])


def calibration_error(probability: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error: how far a probability is from the rate at which it comes true.

    Mean over 15 bins of equal width, weighted by what lies in them, of |mean probability - share that is true|. Both
    arrays of one shape. Source: Guo et al., On calibration of modern neural networks, ICML 2017, arXiv:1706.04599.
    """
    place = np.minimum((probability.ravel() * NUM_BINS).astype(int), NUM_BINS - 1)
    gaps = np.bincount(place, probability.ravel(), NUM_BINS) - np.bincount(place, truth.ravel(), NUM_BINS)
    return float(np.abs(gaps).sum() / max(1, probability.size))
