"""Quality metrics of an embedding; scikit-learn computes the areas under curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from graphseam.pairs import HARD, POSITIVE, RANKED_AMONG, RANKING, UNIFORM
from graphseam.session import in_one_task

METRIC_SCHEMA = (
    "task STRING, metric STRING, variant STRING, scorer STRING, stratum STRING, value DOUBLE, support BIGINT"
)
ARROW_METRICS = pa.schema(
    [
        ("task", pa.string()),
        ("metric", pa.string()),
        ("variant", pa.string()),
        ("scorer", pa.string()),
        ("stratum", pa.string()),
        ("value", pa.float64()),
        ("support", pa.int64()),
    ]
)
WHOLE = "all"
STRATA = {
    "degree 0": (0, 0),
    "degree 1 to 2": (1, 2),
    "degree 3 to 7": (3, 7),
    "degree 8 to 31": (8, 31),
    "degree 32 or more": (32, np.inf),
}  # fixed, so that runs can be compared; both bounds are inclusive
OF = f"of_{RANKED_AMONG + 1}"  # the positive and its negatives
HITS, OGB_HITS = (1, 10, 50, 100), (50, 100)


@dataclass(frozen=True)
class Scored:
    """One scorer's scores of the positives and of one kind of negatives; queries are row numbers of the positives."""

    positives: np.ndarray  # float64[n]
    negatives: np.ndarray  # float64[m], one per positive
    negative_queries: np.ndarray
    ranked: np.ndarray  # bool[n]: whether the positive is ranked
    ranked_negatives: np.ndarray  # float64[r], the negatives that positives are ranked among
    ranked_negative_queries: np.ndarray

    def of(self, chosen: np.ndarray) -> Scored:
        """The same for some of the positives (bool[n]) and the negatives that belong to them."""
        own, owned = chosen[self.negative_queries], chosen[self.ranked_negative_queries]
        place = np.cumsum(chosen) - 1
        return Scored(
            self.positives[chosen],
            self.negatives[own],
            place[self.negative_queries[own]],
            self.ranked[chosen],
            self.ranked_negatives[owned],
            place[self.ranked_negative_queries[owned]],
        )


def link_metrics(scored: DataFrame, scorers: Sequence[str], max_ranked: int) -> DataFrame:
    """Rows of METRIC_SCHEMA: how well each score separates held-out edges from each kind of negatives.

    scored: EVALUATION_PAIRS with a DOUBLE column for each of `scorers`; a higher score means a likelier edge. Against
    all negatives of a kind, one per positive: auc, ap, ogb_hits@k. For the queries below `max_ranked`, each against
    its own 100 negatives: mrr_of_101, hits@k_of_101. AUC and MRR also by the smaller degree of the positive's two ends.
    Memory: one task holds all pairs, 3 · evaluate.max_pairs and 200 · max_ranked rows of about 100 bytes: 50 MB by
    default. Source: Hu et al., Open Graph Benchmark, 2020, for ogb_hits; ties count half a rank in the others.
    """
    columns = ("kind", "query", "src", "dst", "min_degree", *scorers)

    def measure(pairs: pa.Table) -> pa.Table:
        return metrics_of_pairs(pairs, scorers, max_ranked)

    return in_one_task(scored.select(*columns), measure, METRIC_SCHEMA)


def metrics_of_pairs(pairs: pa.Table, scorers: Sequence[str], max_ranked: int) -> pa.Table:
    """Rows of METRIC_SCHEMA; see `link_metrics`. The order of the pairs does not matter."""

    def of_kind(kind: str) -> pa.Table:
        return pairs.filter(pc.equal(pairs["kind"], kind)).sort_by("query")

    positives = of_kind(POSITIVE)
    numbers, degrees = positives["query"].to_numpy(), positives["min_degree"].to_numpy()
    rows: list[tuple[object, ...]] = []
    for variant in (UNIFORM, HARD):
        negatives, ranked_negatives = of_kind(variant), of_kind(RANKING[variant])
        if not positives.num_rows or not negatives.num_rows:
            continue  # a complete graph has no negatives
        for scorer in scorers:
            scored = Scored(
                positives[scorer].to_numpy(),
                negatives[scorer].to_numpy(),
                np.searchsorted(numbers, negatives["query"].to_numpy()),
                numbers < max_ranked,
                ranked_negatives[scorer].to_numpy(),
                np.searchsorted(numbers, ranked_negatives["query"].to_numpy()),
            )
            measures = [
                (metric, WHOLE, value, support)
                for metric, value, support in (*_area_metrics(scored), *_pool_metrics(scored), *_rank_metrics(scored))
            ]
            for stratum, (low, high) in STRATA.items():
                part = scored.of((degrees >= low) & (degrees <= high))
                measures += [
                    (metric, stratum, value, support)
                    for metric, value, support in (*_area_metrics(part), *_rank_metrics(part))
                    if metric in ("auc", f"mrr_{OF}")
                ]
            rows += [
                ("link_prediction", metric, variant, scorer, stratum, float(value), int(support))
                for metric, stratum, value, support in measures
            ]
    columns = zip(*rows, strict=True) if rows else [()] * len(ARROW_METRICS)
    return pa.table(
        [pa.array(list(column), field.type) for column, field in zip(columns, ARROW_METRICS, strict=True)],
        schema=ARROW_METRICS,
    )


def _area_metrics(scored: Scored) -> Iterator[tuple[str, float, int]]:
    """(metric, value, number of positives) of the areas under the ROC and precision-recall curves."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    num_positives, num_negatives = len(scored.positives), len(scored.negatives)
    if num_positives and num_negatives:
        truth = np.repeat([True, False], [num_positives, num_negatives])
        scores = np.concatenate([scored.positives, scored.negatives])
        yield "auc", roc_auc_score(truth, scores), num_positives
        yield "ap", average_precision_score(truth, scores), num_positives


def _pool_metrics(scored: Scored) -> Iterator[tuple[str, float, int]]:
    """Share of the positives above the k-th best of all negatives; omitted if there are fewer than k negatives."""
    for k in OGB_HITS:
        if len(scored.negatives) >= k:
            limit = np.partition(scored.negatives, -k)[-k]
            yield f"ogb_hits@{k}", np.mean(scored.positives > limit), len(scored.positives)


def _rank_metrics(scored: Scored) -> Iterator[tuple[str, float, int]]:
    """Mean reciprocal rank and share of ranks up to k, ranking each ranked positive among its own negatives."""
    num_ranked = int(scored.ranked.sum())
    if not num_ranked:
        return
    own = scored.positives[scored.ranked_negative_queries]
    beaten = (scored.ranked_negatives > own) + 0.5 * (scored.ranked_negatives == own)
    ranks = (1 + np.bincount(scored.ranked_negative_queries, weights=beaten, minlength=len(scored.ranked)))[
        scored.ranked
    ]
    yield f"mrr_{OF}", np.mean(1 / ranks), num_ranked
    for k in HITS:
        yield f"hits@{k}_{OF}", np.mean(ranks <= k), num_ranked
