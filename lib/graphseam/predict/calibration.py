"""From a score to a probability: the share of candidates with about that score that turned out to be edges."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Row

from graphseam.session import in_one_task

CURVE_SCHEMA = "fold INT, score DOUBLE, probability DOUBLE"
ALL = 2  # the curve fitted on both halves, which tells probabilities; those of the halves show what it is worth
MOST_BINS = 200
CANDIDATES_PER_BIN = 50  # candidates, at least
Curves = dict[int, tuple[np.ndarray, np.ndarray]]


def fit_curves(scored: DataFrame) -> Curves:
    """{fold: (scores, probabilities)}: a curve for each half, fitted on the other half, and one fitted on both.

    scored: (src, dst, fold INT, score DOUBLE, truth BOOLEAN); the caller bounds the number of rows. Scores are put into
    at most 200 bins with equally many candidates; the share of edges in each bin, never quite 0 or 1 and made monotone
    by isotonic regression, is interpolated linearly. At most 600 rows reach the driver.
    Source: Zadrozny and Elkan, KDD 2002.
    """
    return curves_of(in_one_task(scored, fitted_curves, CURVE_SCHEMA).collect())


def curves_of(rows: list[Row]) -> Curves:
    """The curves from rows of CURVE_SCHEMA."""
    rows = sorted(rows, key=lambda row: (row["fold"], row["score"]))
    folds = sorted({row["fold"] for row in rows})
    return {
        fold: (
            np.array([row["score"] for row in rows if row["fold"] == fold]),
            np.array([row["probability"] for row in rows if row["fold"] == fold]),
        )
        for fold in folds
    }


def fitted_curves(scored: pa.Table) -> pa.Table:
    """Rows of CURVE_SCHEMA; see `fit_curves`."""
    scored = scored.sort_by([("score", "ascending"), ("src", "ascending"), ("dst", "ascending")])
    fold, score, truth = (scored[name].to_numpy() for name in ("fold", "score", "truth"))
    parts = []
    for wanted, chosen in ((0, fold == 1), (1, fold == 0), (ALL, fold >= 0)):
        if not chosen.any():
            chosen = fold >= 0
        scores, shares = curve(score[chosen], truth[chosen])
        parts.append(
            pa.table({"fold": pa.array(np.full(len(scores), wanted, np.int32)), "score": scores, "probability": shares})
        )
    return pa.concat_tables(parts)


def curve(score: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(scores, probabilities): the points of a monotone curve. score: float64[n], sorted; truth: bool[n]."""
    from sklearn.isotonic import IsotonicRegression

    num_bins = max(1, min(MOST_BINS, len(score) // CANDIDATES_PER_BIN))
    bins = [part for part in np.array_split(np.arange(len(score)), num_bins) if len(part)]
    if not bins:
        return np.zeros(1), np.zeros(1)
    means = np.array([score[part].mean() for part in bins])
    sizes = np.array([len(part) for part in bins], dtype=np.float64)
    hits = np.array([truth[part].sum() for part in bins], dtype=np.float64)
    overall = (hits.sum() + 0.5) / (sizes.sum() + 1)
    shares = (hits + overall) / (sizes + 1)  # plus one average candidate: no bin is certain
    return means, IsotonicRegression(y_min=0, y_max=1).fit(np.arange(len(means)), shares, sample_weight=sizes).predict(
        np.arange(len(means))
    )
