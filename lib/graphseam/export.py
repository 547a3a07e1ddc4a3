"""One run's rows of a table as one file, or a directory of files, for tools that do not read Delta."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from graphseam.config import check_run_id, load_config
from graphseam.entry import job_arguments, one_clear_line
from graphseam.errors import ConfigError, RunError, nearest
from graphseam.schemas import export_columns, id_columns, public_names, sort_columns, view_names
from graphseam.session import build_session
from graphseam.tables import Tables
from graphseam.views import register_views


def check_output(output: str) -> None:
    """ConfigError if the file cannot be written; checked before Spark starts."""
    if Path(output).suffix not in (".parquet", ".csv"):
        raise ConfigError(f"--output is {output!r}; give a file that ends in .parquet or .csv")
    if Path(output).is_dir():
        raise ConfigError(f"--output is {output!r}, which is a directory; give a file")
    if not Path(output).resolve().parent.is_dir():
        raise ConfigError(f"--output is {output!r}, and there is no directory {str(Path(output).resolve().parent)!r}")


def check_table(name: str) -> None:
    """RunError unless `name` is a public table or a view."""
    known = (*public_names(), *view_names())
    if name not in known:
        raise RunError(f"there is no public table {name!r}.{nearest(name, known)}")


def export_table(
    tables: Tables, name: str, output: str, run_id: str | None = None, keep_names: bool = False
) -> tuple[int, list[str]]:
    """Write the rows, sorted by node; returns (how many, the columns of the file).

    Integer ids are written as int64, others as text. A node's own id is named `node`, as evaluation tools expect, or
    with keep_names `id`, as in the table. Errors: RunError for an unknown table or run. Cost: one task sorts and
    writes, spilling to disk what it cannot hold.
    """
    found, id_type = _rows_of_run(tables, name, run_id)
    found = found.repartition(1)
    if sort_columns(name):
        found = found.sortWithinPartitions(*sort_columns(name))
    rows = _public(found, name, id_type, keep_names)
    return _write(rows, Path(output)), rows.columns


def export_directory(
    tables: Tables, name: str, output: str, run_id: str | None = None, keep_names: bool = False
) -> tuple[int, list[str]]:
    """Write the rows as Parquet files into a directory, at any address Spark can write; returns as export_table does.

    The previous content of the directory is replaced; rows have no order. Cost: every task writes what it reads, no
    shuffle. Errors: RunError for an unknown table or run.
    """
    found, id_type = _rows_of_run(tables, name, run_id)
    rows = _public(found, name, id_type, keep_names)
    observed = Observation()
    rows.observe(observed, F.count("*").alias("rows")).write.mode("overwrite").parquet(output)
    return int(observed.get["rows"]), rows.columns


def submit_export() -> None:
    """The job under spark-submit: parse the arguments, export, exit with 0, or with one clear line and 1."""
    parser = job_arguments("export: one run's rows of a table as Parquet files.", "TOML file of the runs: its [output]")
    parser.add_argument("--table", default="top_links", help="a public table or a view")
    parser.add_argument("--output", required=True, help="directory for the Parquet files; what it holds is replaced")
    parser.add_argument("--run-id", help="a published run; the newest where not given")
    parser.add_argument("--keep-names", action="store_true", help="name a node's id `id`, as the table does")
    arguments = parser.parse_args()
    with one_clear_line():
        config = load_config(arguments.config, arguments.set)
        check_table(arguments.table)
        if arguments.run_id is not None:
            check_run_id(arguments.run_id)
        tables = Tables(build_session("graphseam export"), config.output, read_only=True)
        count, columns = export_directory(
            tables, arguments.table, arguments.output, arguments.run_id, arguments.keep_names
        )
        print(f"{count:,} rows of {arguments.table} written to {arguments.output}: {', '.join(columns)}")


def _rows_of_run(tables: Tables, name: str, run_id: str | None) -> tuple[DataFrame, str]:
    """(rows of a table or view, id_type) of a published run, the newest if none is given."""
    check_table(name)
    run_id, id_type = tables.published_run(run_id)
    if name in view_names():
        register_views(tables, name)
        rows = tables.spark.table(name)
    else:
        rows = tables.all_runs(name)
    return rows.where(F.col("run_id") == run_id), id_type


def _public(rows: DataFrame, name: str, id_type: str, keep_names: bool) -> DataFrame:
    """The columns of an export, under the names of the file, integer ids as numbers."""
    rows = rows.select(*(export_columns(name) or rows.columns))
    ids = id_columns(name)
    if id_type == "integer":
        for column in ids:
            rows = rows.withColumn(column, F.col(column).cast("bigint"))
    return rows if keep_names else rows.withColumnRenamed("id", "node")


def _write(rows: DataFrame, output: Path) -> int:
    """Let one task write the rows, so that the driver never holds them, and move its file into place."""
    observed = Observation()
    if output.suffix == ".csv":
        for field in rows.schema.fields:
            if isinstance(field.dataType, ArrayType):
                rows = rows.withColumn(field.name, F.array_join(F.col(field.name).cast("array<string>"), " "))
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.resolve().parent) as partial:
        writer = rows.observe(observed, F.count("*").alias("rows")).write.mode("overwrite")
        if output.suffix == ".csv":
            writer.option("header", True).option("escape", '"').csv(partial)  # RFC 4180: a quote is doubled
        else:
            writer.parquet(partial)
        parts = [part for part in Path(partial).iterdir() if part.name.startswith("part-")]
        parts[0].replace(output)
    return int(observed.get["rows"])
