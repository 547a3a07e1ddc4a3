"""A run as one HTML page that can be forwarded: no other file, no network, readable in the dark and on a phone."""

from __future__ import annotations

import json
from concurrent.futures import Future
from datetime import timezone
from pathlib import Path

from pyspark.sql import SparkSession

from graphseam import folders
from graphseam.config import config_of
from graphseam.errors import InputError
from graphseam.files import absolute, is_remote, local_path
from graphseam.report.sample import Pictured
from graphseam.runs import Run
from graphseam.sections import OutputConfig
from graphseam.tables import Tables

FOLDER = "reports"  # under output.root, beside the tables


def write_report(run: Run, output: str | None = None, begun: Future[Pictured] | None = None) -> str:
    """Write the page of a run whose steps are done, and return where it is.

    output: a file; None means <output.root>/reports/<run_id>.html. begun: the picture of the vectors, if that was begun
    by `sample.begin_picture`. Cost: `content.gather`, and about 3 s on the driver, which holds a row per subgraph and
    1,500 vectors. Errors: InputError if the file cannot be written, or if the tables are in a catalog and no file is
    given.
    """
    from graphseam.report.content import gather  # scikit-learn and networkx: not before they are needed
    from graphseam.report.page import page_of

    place = output or report_path(run.config.output, run.run_id)
    if not place:
        raise InputError("the tables are in a catalog, which has no folder for a report; give a file by --output")
    _write(run.spark, place, page_of(gather(run, begun)))
    return place


def report_path(output: OutputConfig, run_id: str) -> str:
    """Where a run's page is written; empty if its tables are in a catalog."""
    return f"{output.root.rstrip('/')}/{FOLDER}/{run_id}.html" if output.root else ""


def published_run(tables: Tables, run_id: str | None) -> Run:
    """A published run as its tables tell it, for reading only. None means the newest; RunError if there is none."""
    chosen, _ = tables.published_run(run_id)
    mine = Tables(tables.spark, tables.output, chosen, read_only=True)
    row = mine.read("runs").select("config").head()
    assert row is not None  # it is published
    tree = json.loads(row["config"])
    config = config_of({**tree, "output": {"root": tables.output.root, "catalog": tables.output.catalog}})
    steps = mine.read("run_steps").sort("started_at").collect()  # one row per step and attempt
    records = [{**step.asDict(), "started_at": step["started_at"].astimezone(timezone.utc)} for step in steps]
    return Run(tables.spark, config, chosen, mine, records)


def _write(spark: SparkSession, place: str, text: str) -> None:
    if is_remote(place):
        folders.write_text(spark, place, text)
        return
    file = Path(local_path(absolute(place)))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"the report cannot be written to {str(file)!r}: {error.strerror}; give a file by --output"
        ) from None
