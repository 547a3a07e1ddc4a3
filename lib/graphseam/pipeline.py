"""The steps in order, in one session or one job each; what has been done is not done again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pyspark.sql import SparkSession

from graphseam.config import Config, check_run_id, load_config
from graphseam.embedding import embed
from graphseam.embedding.gpus import has_gpus
from graphseam.entry import job_arguments, one_clear_line
from graphseam.errors import ConfigError
from graphseam.evaluate import evaluate
from graphseam.fuse import fuse
from graphseam.gate import gate
from graphseam.graphframes_jvm import require_graphframes
from graphseam.heap import heap_errors_told
from graphseam.ingest import ingest
from graphseam.ingest.sources import check_inputs
from graphseam.partition import partition
from graphseam.predict import predict_links, predict_nodes
from graphseam.predict.similar import predict_similar
from graphseam.progress import StepProgress
from graphseam.publish import publish
from graphseam.refine import refine
from graphseam.runs import GATE, STEPS, Run, is_done, new_run_id, open_run, recorded, require_before, steps_of
from graphseam.session import build_session, size_shuffles
from graphseam.spark_line import require_stage_resources

ACTIONS: dict[str, Callable[[Run], dict[str, Any]]] = {
    "ingest": ingest,
    "partition": partition,
    "embed": embed,
    "fuse": fuse,
    "refine": refine,
    "predict_links": predict_links,
    "predict_nodes": predict_nodes,
    "predict_similar": predict_similar,
    "evaluate": evaluate,
    GATE: gate,
    "publish": publish,
}


def run_step(run: Run, step: str, progress: StepProgress) -> None:
    """One step with its record in run_steps. GraphseamError where a step it reads from is missing or out of date."""
    require_before(run, step)
    size_shuffles(run.spark, run.details("ingest").get("edges", 0))
    way_on = f"the same run id, {run.run_id}, then takes the run up again"
    with progress.step(step) as say, recorded(run, step) as details, heap_errors_told(way_on):
        details.update(ACTIONS[step](run))
        say(details)


def run_pipeline(
    config: Config, run_id: str | None = None, local: bool = False, spark: SparkSession | None = None
) -> Run:
    """All steps in one session; those of the run that are done with the same settings are left as they are.

    spark: the session, with all that `session.REQUIRED` sets; None: the running one or a new one, local or not.
    Returns the published run. Errors: GraphseamError, GateError among them where the run is worse than the one before
    and so not published; nothing of an unpublished run is seen by the views.
    """
    run_id = check_run_id(new_run_id() if run_id is None else run_id)
    check_inputs(config.input)
    steps = steps_of(config)
    progress = StepProgress(total=len(steps))
    progress.start(run_id)
    spark = build_session("graphseam", local) if spark is None else spark
    _check_session(spark, config)
    if local and config.output.catalog and spark.conf.get("spark.sql.catalogImplementation") == "in-memory":
        raise ConfigError(
            "output.catalog needs a metastore, and this local session has none: its tables would be gone "
            "with it; set output.root, or submit jobs/pipeline.py to a cluster that has one"
        )
    run = open_run(spark, config, run_id)
    run_each(run, steps, progress, resume=True)
    return run


def _check_session(spark: SparkSession, config: Config) -> None:
    """ConfigError where a later step would ask for what the session has not: before an hour of work, not after."""
    if config.partition.method == "graphframes_lpa":
        require_graphframes(spark, 'partition.method = "graphframes_lpa"')
    if config.embed.gpu_memory_mb and config.embed.device != "cpu" and has_gpus(spark):
        require_stage_resources()


def run_each(run: Run, steps: Sequence[str], progress: StepProgress, resume: bool) -> None:
    """The steps in order; with `resume` those that are done are left as they are."""
    for step in steps:
        if resume and is_done(run, step):
            progress.skip(step)
        else:
            run_step(run, step, progress)


def submit(*steps: str) -> None:
    """What a job does under spark-submit: read the arguments, run the steps, end with 0 or one clear line and 1."""
    parser = job_arguments("TOML file; see conf/demo.toml")
    parser.add_argument("--run-id", required=not _is_whole(steps), help="the run these tables belong to")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave as it is what is done with the same settings and "
        "input files, as after a lost connection; `pipeline` always does",
    )
    arguments = parser.parse_args()
    with one_clear_line():
        config = load_config(arguments.config, arguments.set)
        if _is_whole(steps):
            from graphseam.summary import print_summary

            print_summary(run_pipeline(config, arguments.run_id))
            return
        check_inputs(config.input)
        run = open_run(build_session(f"graphseam {steps[0]}"), config, check_run_id(arguments.run_id))
        progress = StepProgress(total=len(steps))
        run_each(run, steps, progress, arguments.resume)


def _is_whole(steps: tuple[str, ...]) -> bool:
    return set(steps) == set(STEPS)
