"""The steps in order, in one session or one job each; finished steps are not repeated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from pyspark.sql import SparkSession

from graphseam.causes import true_cause
from graphseam.config import Config, check_run_id, load_config
from graphseam.entry import job_arguments, one_clear_line
from graphseam.errors import ConfigError, GateError
from graphseam.gpus import has_gpus
from graphseam.graphframes_jvm import require_graphframes
from graphseam.heap import heap_errors_told
from graphseam.lease import held
from graphseam.preflight import require_executors
from graphseam.progress import StepProgress
from graphseam.report import write_report
from graphseam.report.sample import Pictured, begin_picture
from graphseam.room import require_room
from graphseam.runs import Run, is_done, new_run_id, open_run, recorded, require_before
from graphseam.session import COMPILE_FROM_ROWS, build_session, size_shuffles
from graphseam.sources import check_inputs
from graphseam.spark_line import for_a_thread, require_stage_resources
from graphseam.steps import ALL_STEPS, LAST, VECTORS, beside, description_of, steps_of, steps_of_job
from graphseam.summary import print_summary
from graphseam.whole_steps import TaskMemory, steps_in_one_task

WHOLE = "pipeline: all steps in one session, from input files to the published run; without --run-id a new run is made."


def run_step(run: Run, step: str, progress: StepProgress, label: str = "") -> None:
    """Run one step and record it in run_steps. GraphseamError if a step it reads from is missing or out of date.

    label: of a step that is run beside others, in a thread of its own.
    """
    group = f"{run.run_id} {step} {time.monotonic_ns()}" if label else ""
    if group:
        run.spark.sparkContext.setLocalProperty("spark.jobGroup.id", group)
    require_before(run, step)
    if run.lease is not None:
        run.lease.require()
    size_shuffles(run.spark, run.ingested.edges if run.details("ingest") else 0)
    way_on = f"the same run id, {run.run_id}, then takes the run up again"
    with progress.step(step, label) as say, recorded(run, step, group) as details, heap_errors_told(way_on):
        details.update(ALL_STEPS[step].load()(run))
        say(details)


def run_pipeline(
    config: Config, run_id: str | None = None, local: bool = False, spark: SparkSession | None = None
) -> Run:
    """All steps in one session; steps of the run that are done with the same settings are skipped.

    spark: the session, with all settings of `session.REQUIRED`; None: the running one or a new one, local or not.
    Returns the published run. Errors: GraphseamError; GateError if the run is worse than the previous one and is
    therefore not published; the views show nothing of an unpublished run.
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
    require_executors(spark, config, progress)
    with held(spark, config.output, run_id) as lease:
        run = open_run(spark, config, run_id, lease)
        run_each(run, steps, progress, resume=True)
    return run


def _check_session(spark: SparkSession, config: Config) -> None:
    """ConfigError if a later step would need something that the session lacks: before an hour of work, not after."""
    if config.partition.method == "graphframes_lpa":
        require_graphframes(spark, 'partition.method = "graphframes_lpa"')
    if config.embed.gpu_memory_mb and config.embed.device != "cpu" and has_gpus(spark):
        require_stage_resources()


def run_each(run: Run, steps: Sequence[str], progress: StepProgress, resume: bool) -> None:
    """Run the steps in order; with `resume`, skip those that are done. After the last one, write the run's report.

    The steps of a small graph mostly wait for Spark to plan. There, those that do not come after each other run
    together, and the report's picture is begun as soon as there are vectors.
    """
    whole, place = partial(steps_in_one_task, run.config, memory=TaskMemory.of(run)), 0
    pictured: Future[Pictured] | None = None
    while place < len(steps):
        small = bool(run.details("ingest")) and run.ingested.edges < COMPILE_FROM_ROWS
        some = beside(steps[place:]) if small else [steps[place]]
        wanted = [step for step in some if not (resume and is_done(run, step))]
        for step in some:
            if step not in wanted:
                progress.skip(step)
        if wanted:
            require_room(run, steps[place:], whole)
            if small and has_report(run) and (steps[place - 1], steps[-1]) == (VECTORS, LAST):
                pictured = begin_picture(run)
            try:
                _run_beside(run, wanted, progress)
            except GateError:
                report_on(run, progress, pictured)  # a refused run is one that people want to look at
                raise
            if LAST in wanted:
                report_on(run, progress, pictured)
        place += len(some)


def _run_beside(run: Run, steps: Sequence[str], progress: StepProgress) -> None:
    """Run steps that do not come after each other; of several that fail, the first one's error is raised."""
    if len(steps) == 1:
        run_step(run, steps[0], progress)
        return
    with progress.beside(steps) as labels, ThreadPoolExecutor(len(steps)) as pool:
        ends = [
            pool.submit(for_a_thread(run.spark, run_step), run, step, progress, label)
            for step, label in zip(steps, labels, strict=True)
        ]
    for end in ends:
        end.result()


def has_report(run: Run) -> bool:
    """Whether the run's last step is followed by a page: if wished, and where a root has a folder for it."""
    return bool(run.config.output.report and run.config.output.root)


def report_on(run: Run, progress: StepProgress, pictured: Future[Pictured] | None) -> None:
    """Write the run's report, if it is to have one. The run is done by then: a report that fails does not fail it."""
    if not has_report(run):
        return
    try:
        with progress.doing("report") as say:
            say(write_report(run, begun=pictured))
    except Exception as error:
        progress.warn(f"the report could not be written ({true_cause(error)}); `graphseam report` tries again")


def submit(job: str) -> None:
    """What jobs/<job>.py does under spark-submit: parse the arguments, run its steps, exit with 0, or one line and 1.

    job: as in steps.Step, or "pipeline" for all steps.
    """
    steps = steps_of_job(job)
    description = description_of(job) if steps else WHOLE
    parser = job_arguments(description, "TOML file; see conf/demo.toml")
    parser.add_argument("--run-id", required=bool(steps), help="the run these tables belong to")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="leave as it is what is done with the same settings and "
        "input files, as after a lost connection; `pipeline` always does",
    )
    arguments = parser.parse_args()
    with one_clear_line():
        config = load_config(arguments.config, arguments.set)
        if not steps:
            print_summary(run_pipeline(config, arguments.run_id))
            return
        check_inputs(config.input)
        spark, run_id = build_session(f"graphseam {steps[0]}"), check_run_id(arguments.run_id)
        progress = StepProgress(total=len(steps))
        require_executors(spark, config, progress)
        with held(spark, config.output, run_id) as lease:
            run = open_run(spark, config, run_id, lease)
            run_each(run, steps, progress, arguments.resume)
