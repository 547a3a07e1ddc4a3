"""The link model: a logistic regression on the features of a pair, stored as rows that anyone can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Row

from graphseam.arrow import slices
from graphseam.predict.features import PAIRS_AT_ONCE, Design
from graphseam.predict.leaders import quadratic
from graphseam.session import columns_of
from graphseam.spark_line import map_groups
from graphseam.task import limit_threads

MODEL_SCHEMA = "model STRING, term STRING, coefficient DOUBLE, mean DOUBLE, scale DOUBLE"
ARROW_MODEL = pa.schema(
    [
        ("model", pa.string()),
        ("term", pa.string()),
        ("coefficient", pa.float64()),
        ("mean", pa.float64()),
        ("scale", pa.float64()),
    ]
)
MIN_EXAMPLES = 20  # of edges and of other pairs; with fewer, no model is fitted
REGULARISATION = 0.1  # scikit-learn's C


@dataclass(frozen=True)
class LinkModel:
    """log-odds = intercept + z · linear + (products of two z) · products, where z = (features - mean) / scale."""

    design: Design
    intercept: float
    mean: np.ndarray
    scale: np.ndarray
    linear: np.ndarray
    products: np.ndarray  # the upper triangle, row by row; empty if the design has none

    def scores(self, pairs: pa.RecordBatch | pa.Table) -> np.ndarray:
        """float64[n]: log-odds for rows of features.FEATURES_SCHEMA."""
        standard = (self.design.matrix(pairs) - self.mean) / self.scale
        return np.asarray(quadratic(standard, self.intercept, self.linear, self.products))

    def rows(self) -> list[dict[str, object]]:
        """Rows of MODEL_SCHEMA, without the model's name."""
        names = self.design.names
        none = {"mean": None, "scale": None}
        rows: list[dict[str, object]] = [{"term": "intercept", "coefficient": self.intercept, **none}]
        rows += [
            {
                "term": name,
                "coefficient": float(self.linear[at]),
                "mean": float(self.mean[at]),
                "scale": float(self.scale[at]),
            }
            for at, name in enumerate(names)
        ]
        return rows + [
            {"term": f"{names[i]} * {names[j]}", "coefficient": float(value), **none}
            for (i, j), value in zip(_places(len(names)), self.products, strict=False)
        ]

    @staticmethod
    def of(rows: list[dict[str, object]], design: Design) -> LinkModel:
        """The model that `rows` describe. KeyError if it was fitted on other features."""
        by_term = {str(row["term"]): row for row in rows}
        names = design.names

        def column(key: str, terms: list[str]) -> np.ndarray:
            return np.array([by_term[term][key] for term in terms], dtype=np.float64)

        products = [f"{names[i]} * {names[j]}" for i, j in _places(len(names))] if design.products else []
        return LinkModel(
            design,
            float(by_term["intercept"]["coefficient"]),  # type: ignore[arg-type]
            column("mean", list(names)),
            column("scale", list(names)),
            column("coefficient", list(names)),
            column("coefficient", products),
        )


def _places(count: int) -> list[tuple[int, int]]:
    return list(combinations_with_replacement(range(count), 2))


def _products(standard: np.ndarray) -> np.ndarray:
    left, right = np.triu_indices(standard.shape[1])
    return standard[:, left] * standard[:, right]


def fit_link_models(examples: DataFrame, designs: dict[str, Design]) -> dict[str, list[dict[str, object]]]:
    """{model: rows of MODEL_SCHEMA} of logistic regressions, one task each; omits models with too few examples.

    designs: {model: its design}. examples: rows of features.FEATURES_SCHEMA with model, truth BOOLEAN and weight
    DOUBLE; the caller bounds their number. Features and products are standardised; the penalty is scikit-learn's L2.
    At most 37 rows per model.
    """
    return models_by_name(map_groups(examples, "model", _fit(designs), MODEL_SCHEMA).collect())  # a row per term


def models_by_name(rows: list[Row]) -> dict[str, list[dict[str, object]]]:
    """{model: its rows} from rows of MODEL_SCHEMA."""
    found: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        found.setdefault(row["model"], []).append({key: value for key, value in row.asDict().items() if key != "model"})
    return found


def _fit(designs: dict[str, Design]) -> Callable[[pa.Table], pa.Table]:
    def fit(examples: pa.Table) -> pa.Table:
        name = examples["model"][0].as_py()
        return fit_one(name, designs[name], examples)

    return fit


def fit_one(name: str, design: Design, examples: pa.Table) -> pa.Table:
    """Rows of MODEL_SCHEMA of one model, none if it has too few examples; see `fit_link_models`."""
    from sklearn.linear_model import LogisticRegression

    limit_threads(1)  # a worker that has had other tasks would sum with as many threads as they did
    examples = examples.sort_by(
        [("src", "ascending"), ("dst", "ascending"), ("truth", "ascending"), ("weight", "ascending")]
    )
    truth = examples["truth"].to_numpy()
    rows: list[dict[str, object]] = []
    if min(truth.sum(), (~truth).sum()) >= MIN_EXAMPLES:
        features = design.matrix(examples)
        mean, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        standard = (features - mean) / scale
        terms = np.hstack([standard, _products(standard)]) if design.products else standard
        centre, width = terms.mean(axis=0), np.maximum(terms.std(axis=0), 1e-9)
        width = np.where(width > 1e-8, width, 1.0)
        weight = examples["weight"].to_numpy()
        model = LogisticRegression(C=REGULARISATION, solver="newton-cholesky")  # few features, many rows
        model.fit((terms - centre) / width, truth, sample_weight=weight / weight.mean())
        values = model.coef_[0] / width
        count = len(design.names)
        rows = LinkModel(
            design, float(model.intercept_[0] - values @ centre), mean, scale, values[:count], values[count:]
        ).rows()
    return pa.Table.from_pylist([{"model": name, **row} for row in rows], schema=ARROW_MODEL)


def with_score(pairs: DataFrame, model: LinkModel, name: str = "score") -> DataFrame:
    """Add the model's log-odds to `pairs` (rows of FEATURES_SCHEMA) as a column called `name`. No shuffle."""

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in slices(batch.num_rows, 1, PAIRS_AT_ONCE):
                some = batch.slice(part.start, part.stop - part.start)
                yield some.append_column(name, pa.array(model.scores(some)))

    return pairs.mapInArrow(score, f"{columns_of(pairs)}, {name} DOUBLE")
