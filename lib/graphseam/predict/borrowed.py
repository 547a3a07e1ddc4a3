"""Link models and calibration that come from another run, and those that a run has kept."""

from __future__ import annotations

from pyspark.sql import Row
from pyspark.sql import functions as F

from graphseam.errors import RunError
from graphseam.predict.calibration import ALL, Curves, curves_of
from graphseam.predict.features import CANDIDATES, ONE_KIND, TWO_KINDS, Design
from graphseam.predict.link_model import LinkModel
from graphseam.predict.link_search import LinkSearch
from graphseam.runs import Run

Borrowed = tuple[dict[str, LinkModel], Curves, str]  # {name: model}, curves, what they were fitted on


def borrowed_models(what: LinkSearch, designs: dict[str, Design]) -> Borrowed | None:
    """Those of predict.links.model_run, or of the base where answers are taken over from it; None to fit new ones."""
    return _named(what.run, designs) if what.run.config.predict.links.model_run else _of_base(what, designs)


def _named(run: Run, designs: dict[str, Design]) -> Borrowed:
    """The models of predict.links.model_run; RunError if it has none that fit."""
    wanted = run.config.predict.links.model_run
    whose = F.col("run_id") == wanted
    terms = run.tables.all_runs("link_models").where(whose).collect()  # at most 74 rows
    curves = curves_of(run.tables.all_runs("link_calibration").where(whose).collect())
    if not terms or ALL not in curves:
        raise RunError(
            f"predict.links.model_run is {wanted!r}, and that run has no link model under "
            f"{run.tables.location('link_models')}; name a run that predicted links, or leave the key out"
        )
    try:
        models = _models_of(terms, designs)
    except KeyError as error:
        raise RunError(
            f"the link model of run {wanted!r} lacks the term {error}: one of the two graphs is bipartite, "
            "the other is not; name another run"
        ) from None
    return models, dict.fromkeys((0, 1, ALL), curves[ALL]), f"run {wanted}"


def _of_base(what: LinkSearch, designs: dict[str, Design]) -> Borrowed | None:
    """The models and curves of the base, where answers are taken over from it: its vectors are in the same frame.

    Nodes are in the same halves in both runs, so probabilities stay those of a curve fitted on other nodes.
    """
    if what.carried is None or what.carried.base.config.holds_out != what.run.config.holds_out:
        return None
    base = what.carried.base
    terms = base.tables.read("link_models").collect()  # at most 74 rows
    curves = curves_of(base.tables.read("link_calibration").collect())  # at most 600 rows
    if not terms or set(curves) != {0, 1, ALL}:
        return None
    return _models_of(terms, designs), curves, f"run {base.run_id}"


def kept_model(run: Run) -> tuple[LinkModel, Curves] | None:
    """(the model that ranks, the curve fitted on all nodes) as stored by the run; None if it has no link model."""
    rows = run.tables.read("link_models").collect()  # at most 74
    curves = curves_of(run.tables.read("link_calibration").collect())
    if not rows or ALL not in curves:
        return None
    models = _models_of(rows, TWO_KINDS if run.ingested.bipartite else ONE_KIND)
    return pick(models, CANDIDATES), {ALL: curves[ALL]}


def _models_of(rows: list[Row], designs: dict[str, Design]) -> dict[str, LinkModel]:
    """{name: model} from rows of link_models. KeyError if a model was fitted on other features."""
    return {
        name: LinkModel.of([row.asDict() for row in rows if row["model"] == name], designs[name])
        for name in sorted({row["model"] for row in rows})
    }


def pick(models: dict[str, LinkModel], name: str) -> LinkModel:
    """The model of that name; the other one if there was too little data to fit it."""
    return models.get(name) or next(iter(models.values()))
