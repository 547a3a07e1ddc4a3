"""The step predict_links: candidates, two link models, calibrated probabilities, and the best links per node."""

from __future__ import annotations

from functools import partial
from typing import Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from graphseam.edges import low_and_high, with_id_of
from graphseam.methods import SEARCHES
from graphseam.pairs import draw_negatives, facing, pairs_of, pools_of, sample_edges
from graphseam.predict.borrowed import borrowed_models, pick
from graphseam.predict.calibration import Curves, fit_curves
from graphseam.predict.candidates import known_features, write_candidates
from graphseam.predict.features import CANDIDATES, ONE_KIND, PAIRS, TWO_KINDS, Design, as_pairs
from graphseam.predict.kept_cells import write_cells
from graphseam.predict.link_model import LinkModel, fit_link_models, with_score
from graphseam.predict.link_search import LinkSearch, link_search, shares_search
from graphseam.predict.ranking import best_links
from graphseam.predict.search import write_recall
from graphseam.predict.whole_graph import WholeGraph
from graphseam.predict.whole_lists import Ranking
from graphseam.predict.whole_models import Calibration, Lesson, calibrate_whole, describe_whole, fit_whole
from graphseam.runs import Run
from graphseam.seeds import derive_seed, uniform
from graphseam.session import persisted
from graphseam.steps import ALL_STEPS

LEARNT_PAIRS = 20_000  # edges that the model of pairs trains on, with as many pairs of each other kind
CALIBRATED = 200_000  # predictions that the curves are fitted on, about
HELD_OUT, EMBEDDED = "held-out edges", "embedded edges"  # what probabilities rest on
WHOLE_TASKS = 2  # per core, that describe pairs in a graph which each of them can hold
SENT_TO_ALL = 1_000_000  # held-out edges, at most, that each task gets to find them among its predictions: 16 MB


def predict_links(run: Run) -> dict[str, Any]:
    """Predict the top_k likeliest missing links of every node, each with a probability.

    Two logistic regressions learn from embedded edges: one tells edges from drawn pairs (evaluation uses it to score
    pairs), the other tells neighbours from non-neighbours among the candidates of some nodes (it ranks). A probability
    is the share of predictions with about the same score that are held-out edges; what that is worth is measured with
    curves of which each is fitted on one half of the nodes and used on the other. If nothing is held out, it is the
    share of embedded edges among candidates, which is optimistic, or comes from predict.links.model_run.
    """
    for name in (*ALL_STEPS["predict_links"].writes, "link_candidates"):  # the latter of a run begun by graphseam 0.1
        both = name == "search_recall" and not shares_search(run)  # has rows of two steps
        run.tables.drop_run(name, part="(step IS NULL OR step = 'predict_links')" if both else "")
    links = run.config.predict.links
    if links.top_k == 0:
        return {"links": 0}
    with link_search(
        run, run.config.predict.similar.top_k if shares_search(run) else 0, whole=True, carry=True
    ) as what:
        designs = TWO_KINDS if what.three else ONE_KIND
        borrowed = borrowed_models(what, designs)
        ranking = None
        if borrowed and what.whole is not None:
            ranking = _ranking(run, what.whole, pick(borrowed[0], CANDIDATES), borrowed[1])
        written = write_candidates(what, borrowed is None, ranking)
        models = _models(what, designs, borrowed[0] if borrowed else None)
        details = {"candidates": "+".join(what.methods), "bipartite": what.three, **_recall(what)}
        if what.of_all:
            details["similar_too"] = True
        if not models:  # too few edges to learn from, so all candidates look alike
            return {"links": 0, **details, "models": "too few edges to learn from"}
        ranker = pick(models, CANDIDATES)
        curves, basis = borrowed[1:] if borrowed else _calibrate(what, ranker)
        _keep(run, models, curves)
        count = written["link_predictions"] if ranking else _write_predictions(what, ranker, curves)
    return {"links": count, **details, "calibrated_on": basis, "models": sorted(models)}


def _models(what: LinkSearch, designs: dict[str, Design], given: dict[str, LinkModel] | None) -> dict[str, LinkModel]:
    """{name: model}, given or fitted on embedded edges; if edges are held out, the model of pairs writes pair_scores.

    If either candidates or drawn pairs have too few examples, there is only the other model; if both do, none.
    """
    run, measured = what.run, what.run.config.holds_out
    whole = _in_files(what)
    if whole is not None:
        return _models_in_whole(what, *whole, designs, given)
    known = run.tables.read("evaluation_pairs").select("src", "dst")
    if given is not None:
        if measured:
            run.tables.write("pair_scores", with_score(known_features(what, known), pick(given, PAIRS), "link_model"))
        return given
    with (
        persisted(_learnt_edges(what)) as positives,
        persisted(_drawn_pairs(what, positives)) as drawn,
        persisted(known_features(what, known.union(drawn.select("src", "dst")))) as features,
    ):
        told = ~F.col("truth") | (F.least("src_degree", "dst_degree") > 1)  # else removing the edge leaves nothing
        examples = (
            features.join(drawn, on=["src", "dst"], how="inner")
            .where(told)
            .withColumn("model", F.lit(PAIRS))
            .withColumn("weight", F.when(F.col("truth"), 2.0).otherwise(1.0))
            .unionByName(_candidate_examples(run, what.three).withColumn("model", F.lit(CANDIDATES)))
        )
        fitted = fit_link_models(examples, designs)
        models = {name: LinkModel.of(rows, designs[name]) for name, rows in sorted(fitted.items())}
        if models and measured:
            run.tables.write("pair_scores", with_score(features, pick(models, PAIRS), "link_model"))
    return models


def _in_files(what: LinkSearch) -> tuple[WholeGraph, list[str]] | None:
    """(the graph, the files of its candidate_lists) where tasks hold the one and read the others; else None."""
    files = what.run.tables.every_file("candidate_lists") if what.whole is not None else None
    return None if what.whole is None or files is None else (what.whole, files)


def _models_in_whole(
    what: LinkSearch,
    whole: WholeGraph,
    files: list[str],
    designs: dict[str, Design],
    given: dict[str, LinkModel] | None,
) -> dict[str, LinkModel]:
    """`_models` where one task can hold the graph: its pairs are drawn and described from the arrays."""
    run, spark = what.run, what.run.spark
    learnt = LEARNT_PAIRS if given is None else 0
    num_tasks = WHOLE_TASKS * spark.sparkContext.defaultParallelism
    seed = derive_seed(run.config.run.seed, "link model")
    lesson = Lesson(whole, what.path_search(0), (learnt, seed), files, what.three, num_tasks)
    if given is None:
        fitted = fit_whole(spark, lesson, designs)
        models = {name: LinkModel.of(rows, designs[name]) for name, rows in sorted(fitted.items())}
    else:
        models = given
        if run.config.holds_out:
            describe_whole(spark, lesson)
    if models and run.config.holds_out:
        run.tables.write_in_tasks(["pair_scores"], num_tasks, partial(lesson.scores, pick(models, PAIRS)))
    return models


def _candidate_examples(run: Run, by_source: bool) -> DataFrame:
    """The candidates of the training nodes as examples; by_source: weights each node equally, as for users."""
    rows = as_pairs(run.tables.read("candidate_lists").where("learning")).withColumn("truth", F.col("known"))
    if not by_source:
        return rows.withColumn("weight", F.lit(1.0))
    edges_of = F.count_if(F.col("known")).over(Window.partitionBy("src"))
    return rows.withColumn("weight", 1 / F.greatest(edges_of, F.lit(1)).cast("double"))


def _learnt_edges(what: LinkSearch) -> DataFrame:
    """(query, src, dst): the embedded edges that the model of pairs trains on."""
    run, seed = what.run, derive_seed(what.run.config.run.seed, "link model")
    sample = sample_edges(pairs_of(run.tables.read("edges"), run.config.input.directed), LEARNT_PAIRS, seed)
    return facing(sample, run.tables.read("nodes")) if what.three else sample


def _drawn_pairs(what: LinkSearch, positives: DataFrame) -> DataFrame:
    """(truth, src, dst): the edges, and for each of them a uniform and a degree-matched pair that is not an edge."""
    run, seed = what.run, derive_seed(what.run.config.run.seed, "link model")
    pools = pools_of(positives, positives.count(), run.tables.read("nodes"), what.three)
    negatives = draw_negatives(positives, pools, run.tables.read("edges"), 0, seed)
    return (
        positives.select(F.lit(True).alias("truth"), "src", "dst")
        .union(negatives.select(F.lit(False).alias("truth"), "src", "dst"))
        .distinct()
    )


def _recall(what: LinkSearch) -> dict[str, Any]:
    """What the search for nearest vectors reports; nothing if only paths were searched."""
    if not set(what.methods) & set(SEARCHES):
        return {}
    write_cells(what.run, what.plan)
    return write_recall(what.run, "predict_links", what.search, what.plan)


def _write_predictions(what: LinkSearch, model: LinkModel, curves: Curves) -> int:
    """Write link_predictions; returns how many rows there are."""
    run, whole = what.run, _in_files(what)
    if whole is None:
        return run.tables.write("link_predictions", _predicted(run, model, curves))
    graph, files = whole
    work = partial(_ranking(run, graph, model, curves).from_files, files)
    return run.tables.write_in_tasks(["link_predictions"], len(files), work)["link_predictions"]


def _ranking(run: Run, whole: WholeGraph, model: LinkModel, curves: Curves) -> Ranking:
    """How tasks that hold the graph make predictions."""
    seed, top_k = derive_seed(run.config.run.seed, "curves"), run.config.predict.links.top_k
    return Ranking(whole, model, curves, top_k, seed)


def _predicted(run: Run, model: LinkModel, curves: Curves) -> DataFrame:
    """Rows of link_predictions: the top_k non-neighbours of each node by score.

    Cost: candidates are read once; of the predictions one shuffle, to get the original ids of dst unless they follow
    from the numbers, and one more where so many edges are held out that they cannot be sent to every task.
    """
    nodes, shift = run.tables.read("nodes"), run.ingested.id_shift
    lists = run.tables.read("candidate_lists").where("NOT learning").withColumn("fold", _half(run))
    named = with_id_of(lists, "src", "src_id", nodes, shift)
    best = best_links(named, model, run.config.predict.links.top_k, curves)
    found = with_id_of(_with_held_out(run, best), "dst", "dst_id", nodes, shift)
    numbers = found.withColumnsRenamed({"src": "src_node_id", "dst": "dst_node_id"})
    return numbers.withColumnsRenamed({"src_id": "src", "dst_id": "dst"})  # apart: Spark 3.5 renames one by one


def _half(run: Run, purpose: str = "curves") -> Column:
    """0 or 1: the half of the nodes that src is in, whose predictions the other half's curve is measured on."""
    return F.when(uniform(derive_seed(run.config.run.seed, purpose), "src") < 0.5, 0).otherwise(1).cast("int")


def _with_held_out(run: Run, links: DataFrame) -> DataFrame:
    """Links (src, dst, …) with held_out: whether the pair is one of the held-out edges."""
    low, high = low_and_high()
    held = run.tables.read("holdout_edges").select(low.alias("low"), high.alias("high"), F.lit(True).alias("held"))
    held = held.distinct()  # a directed edge may be held out both ways
    if run.ingested.holdout_edges <= SENT_TO_ALL:
        held = F.broadcast(held)
    joined = links.withColumns({"low": low, "high": high}).join(held, on=["low", "high"], how="left")
    return joined.withColumn("held_out", F.coalesce("held", F.lit(False))).drop("low", "high", "held")


def _calibrate(what: LinkSearch, model: LinkModel) -> tuple[Curves, str]:
    """(curves, what they were fitted on): the predictions of so many nodes that there are about CALIBRATED of them."""
    run, top_k = what.run, what.run.config.predict.links.top_k
    share = CALIBRATED / max(1, run.ingested.nodes * top_k)
    whole = _in_files(what)
    if whole is not None:
        of_held, seed = run.config.holds_out, run.config.run.seed
        halves = derive_seed(seed, "curves" if of_held else "calibrated")
        drawn = (derive_seed(seed, "calibrated"), share if of_held else 1.0)
        on = Calibration(*whole, model, top_k, halves, drawn, learning=not of_held)
        return calibrate_whole(run.spark, on), HELD_OUT if of_held else EMBEDDED
    lists = run.tables.read("candidate_lists")
    if run.config.holds_out:
        some = lists.where(~F.col("learning")).withColumn("fold", _half(run))
        if share < 1:
            some = some.where(uniform(derive_seed(run.config.run.seed, "calibrated"), "src") < share)
        rows = _with_held_out(run, best_links(some, model, top_k)).withColumnRenamed("held_out", "truth")
        return fit_curves(rows.select("src", "dst", "fold", "score", "truth")), HELD_OUT
    fold = _half(run, "calibrated")
    rows = with_score(as_pairs(lists.where("learning")), model).withColumns({"fold": fold, "truth": F.col("known")})
    return fit_curves(rows.select("src", "dst", "fold", "score", "truth")), EMBEDDED


def _keep(run: Run, models: dict[str, LinkModel], curves: Curves) -> None:
    run.tables.write_rows(
        "link_models", [{"model": name, **row} for name, model in sorted(models.items()) for row in model.rows()]
    )
    run.tables.write_rows(
        "link_calibration",
        [
            {"fold": fold, "score": float(score), "probability": float(probability)}
            for fold, points in curves.items()
            for score, probability in zip(*points, strict=True)
        ],
    )
