"""From a cosine to a probability: one logistic function, fitted on pairs whose truth is known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from graphseam.evaluate.pairs import POSITIVE
from graphseam.session import in_one_task

CALIBRATION_SCHEMA = "intercept DOUBLE, slope DOUBLE, support BIGINT"


def fit_calibration(scored: DataFrame) -> tuple[float, float, int]:
    """(intercept, slope, pairs) of Platt's logistic function of the cosine, fitted in one task.

    scored: (kind, score). Edges and other pairs weigh the same in all, whatever their numbers: 0.5 means a pair as
    often found among edges as among drawn pairs that are none. Without pairs of both kinds every probability is 0.5.
    Source: Platt, Probabilistic outputs for support vector machines, 1999.
    """
    row = in_one_task(scored.select("kind", "src", "dst", "score"), _fit, CALIBRATION_SCHEMA).head()
    return (row["intercept"], row["slope"], row["support"]) if row is not None else (0.0, 0.0, 0)


def _fit(scored: pa.Table) -> pa.Table:
    from sklearn.linear_model import LogisticRegression

    scored = scored.sort_by([("src", "ascending"), ("dst", "ascending"), ("kind", "ascending")])
    truth = np.array([kind == POSITIVE for kind in scored["kind"].to_pylist()])
    intercept = slope = 0.0
    if truth.any() and not truth.all():
        model = LogisticRegression(class_weight="balanced", C=1e3).fit(scored["score"].to_numpy()[:, None], truth)
        intercept, slope = float(model.intercept_[0]), max(0.0, float(model.coef_[0, 0]))
    return pa.table({"intercept": [intercept], "slope": [slope], "support": pa.array([len(truth)], pa.int64())})


def probability(score: Column, intercept: float, slope: float) -> Column:
    return 1 / (1 + F.exp(-(F.lit(intercept) + F.lit(slope) * score.cast("double"))))
