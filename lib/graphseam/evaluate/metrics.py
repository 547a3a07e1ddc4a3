"""Numbers that tell how good an embedding is; scikit-learn computes them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from graphseam.evaluate.pairs import HARD, POSITIVE, UNIFORM
from graphseam.session import in_one_task

METRIC_SCHEMA = "task STRING, metric STRING, variant STRING, scorer STRING, value DOUBLE, support BIGINT"


def link_metrics(scored: DataFrame) -> DataFrame:
    """AUC and average precision against each kind of negatives, for the cosine and for the degree product.

    scored: (kind, src, dst, degree_product, score), at most 3 · evaluate.max_pairs rows: one task holds them.
    """
    return in_one_task(scored, _link_metrics, METRIC_SCHEMA)


def _link_metrics(scored: pa.Table) -> pa.Table:
    from sklearn.metrics import average_precision_score, roc_auc_score

    kinds = np.asarray(scored["kind"].to_pylist(), dtype=object)
    rows: list[tuple[object, ...]] = []
    for variant in (UNIFORM, HARD):
        chosen = (kinds == POSITIVE) | (kinds == variant)
        truth = kinds[chosen] == POSITIVE
        if truth.all() or not truth.any():
            continue  # a complete graph has no negatives
        for scorer, column in (("cosine", "score"), ("degree_product", "degree_product")):
            scores = scored[column].to_numpy()[chosen]
            measures: tuple[tuple[str, Callable[..., float]], ...] = \
                (("auc", roc_auc_score), ("ap", average_precision_score))
            rows += [("link_prediction", name, variant, scorer, float(measure(truth, scores)), int(truth.sum()))
                     for name, measure in measures]
    names = ("task", "metric", "variant", "scorer", "value", "support")
    columns = [[row[at] for row in rows] for at in range(len(names))]
    kinds_of = [pa.string()] * 4 + [pa.float64(), pa.int64()]
    return pa.table({name: pa.array(column, kind)
                     for name, column, kind in zip(names, columns, kinds_of, strict=True)})
