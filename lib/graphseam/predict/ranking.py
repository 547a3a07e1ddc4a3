"""The best links of each node: its candidates scored, calibrated and ranked in one pass, each node's in one place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from graphseam.predict.calibration import ALL, Curves
from graphseam.predict.features import FEATURE_NAMES, pairs_in, parts_by_pairs
from graphseam.predict.leaders import leading_of_each
from graphseam.predict.link_model import LinkModel
from graphseam.session import columns_of

TOLD = ("cosine", "num_paths", "adamic_adar", "resource_allocation", "src_degree", "dst_degree")
RANKED_SCHEMA = (
    "src BIGINT, dst BIGINT, rank INT, score DOUBLE, cosine FLOAT, num_paths BIGINT, adamic_adar FLOAT, "
    "resource_allocation FLOAT, src_degree BIGINT, dst_degree BIGINT"
)


def best_links(lists: DataFrame, model: LinkModel, top_k: int, curves: Curves | None = None) -> DataFrame:
    """Rows of RANKED_SCHEMA: the top_k candidates of each src by score that are no neighbours, ties in order of dst.

    lists: rows of features.LISTS_SCHEMA; what other columns they have is repeated. curves: adds probability, by the
    curve of all, and where there is a column fold, cross_fitted, by the curve of the other half of the nodes. Cost: one
    pass; no shuffle.
    """
    more = [name for name in lists.columns if name not in FEATURE_NAMES]
    schema = RANKED_SCHEMA + "".join(f", {part}" for part in columns_of(lists.select(*more)).split(", ") if part)
    if curves is not None:
        schema += ", probability DOUBLE" + (", cross_fitted DOUBLE" if "fold" in more else "")

    def rank(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in parts_by_pairs(batch):
                yield ranked(pairs_in(part), model, top_k, curves, more)

    return lists.mapInArrow(rank, schema)


def ranked(
    pairs: pa.RecordBatch, model: LinkModel, top_k: int, curves: Curves | None, more: list[str]
) -> pa.RecordBatch:
    """The best of each src in a batch of pairs, those of a src side by side; see `best_links`."""
    scores = model.scores(pairs)
    chosen, rank = leading_of_each(
        pairs["src"].to_numpy(), pairs["dst"].to_numpy(), scores, ~np.asarray(pairs["known"]), top_k
    )
    best, score = pairs.take(pa.array(chosen)), scores[chosen]
    columns = {"src": best["src"], "dst": best["dst"], "rank": pa.array(rank.astype(np.int32)), "score": score}
    columns |= {name: best[name] for name in (*TOLD, *more)}
    if curves is not None:
        columns["probability"] = np.interp(score, *curves[ALL])
        if "fold" in more:
            halves = [np.interp(score, *curves[fold]) for fold in (0, 1)]
            columns["cross_fitted"] = np.where(best["fold"].to_numpy() == 0, *halves)
    return pa.RecordBatch.from_pydict(columns)
