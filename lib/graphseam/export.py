"""One run's rows of a table as one file, or a directory of files, for tools that don't read Delta."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from graphseam.config import check_run_id, load_config
from graphseam.entry import job_arguments, one_clear_line
from graphseam.errors import ConfigError, RunError, nearest
from graphseam.session import build_session
from graphseam.tables import PUBLIC_TABLES, Tables, view_names

ID_COLUMNS = {
    "nodes": ["id"],
    "embeddings": ["id"],
    "current_embeddings": ["id"],
    "node_predictions": ["id"],
    "node_labels": ["id"],
    "link_predictions": ["src", "dst"],
    "top_links": ["src", "dst"],
    "similar_nodes": ["src", "dst"],
    "placed_nodes": ["id"],
    "placed_links": ["src", "dst"],
    "placed_labels": ["id"],
}
ORDERS = {
    "link_predictions": ["src_node_id", "rank"],
    "similar_nodes": ["src_node_id", "rank"],
    "node_predictions": ["node_id", "rank"],
    "embeddings": ["node_id"],
    "current_embeddings": ["node_id"],
    "nodes": ["node_id"],
    "node_labels": ["node_id"],
    "label_quality": ["label"],
    "placed_nodes": ["batch", "node_id"],
    "placed_links": ["batch", "src_node_id", "rank"],
    "placed_labels": ["batch", "node_id", "rank"],
}
PUBLIC_COLUMNS = {
    "embeddings": ["id", "vector"],
    "current_embeddings": ["id", "vector"],
    "link_predictions": ["src", "dst", "probability", "rank", "score"],
    "similar_nodes": ["src", "dst", "cosine", "rank"],
    "node_predictions": ["id", "label", "probability", "rank", "source"],
    "node_labels": ["id", "label", "probability", "label_f1", "label_precision", "source"],
}


def check_output(output: str) -> None:
    """ConfigError where the file cannot be written; asked before Spark starts."""
    if Path(output).suffix not in (".parquet", ".csv"):
        raise ConfigError(f"--output is {output!r}; give a file that ends in .parquet or .csv")
    if Path(output).is_dir():
        raise ConfigError(f"--output is {output!r}, which is a directory; give a file")
    if not Path(output).resolve().parent.is_dir():
        raise ConfigError(f"--output is {output!r}, and there is no directory {str(Path(output).resolve().parent)!r}")


def check_table(name: str) -> None:
    """RunError unless `name` is a public table or a view."""
    known = (*PUBLIC_TABLES, *view_names())
    if name not in known:
        raise RunError(f"there is no public table {name!r}.{nearest(name, known)}")


def export_table(tables: Tables, name: str, output: str, run_id: str | None = None) -> int:
    """Write the rows, sorted by node; returns how many.

    Integer ids come out as int64, others as text. Errors: RunError for an unknown table or run.
    Cost: one task sorts and writes, spilling to disk what it cannot hold.
    """
    rows, id_type = _rows_of_run(tables, name, run_id)
    rows = rows.repartition(1)
    if name in ORDERS:
        rows = rows.sortWithinPartitions(*ORDERS[name])
    return _write(_public(rows, name, id_type), Path(output))


def export_directory(tables: Tables, name: str, output: str, run_id: str | None = None) -> int:
    """Write the rows as Parquet files into a directory, at any address Spark can write; returns how many.

    What the directory held is replaced. Columns are those of export_table; rows come in no order. Cost: every task
    writes what it reads, no shuffle. Errors: RunError for an unknown table or run.
    """
    rows, id_type = _rows_of_run(tables, name, run_id)
    observed = Observation()
    _public(rows, name, id_type).observe(observed, F.count("*").alias("rows")).write.mode("overwrite").parquet(output)
    return int(observed.get["rows"])


def submit_export() -> None:
    """The job under spark-submit: read the arguments, export, end with 0 or one clear line and 1."""
    parser = job_arguments("TOML file of the runs: its [output]")
    parser.add_argument("--table", default="top_links", help="a public table or a view")
    parser.add_argument("--output", required=True, help="directory for the Parquet files; what it holds is replaced")
    parser.add_argument("--run-id", help="a published run; the newest where not given")
    arguments = parser.parse_args()
    with one_clear_line():
        config = load_config(arguments.config, arguments.set)
        check_table(arguments.table)
        if arguments.run_id is not None:
            check_run_id(arguments.run_id)
        tables = Tables(build_session("graphseam export"), config.output)
        count = export_directory(tables, arguments.table, arguments.output, arguments.run_id)
        print(f"{count:,} rows of {arguments.table} written to {arguments.output}")


def _rows_of_run(tables: Tables, name: str, run_id: str | None) -> tuple[DataFrame, str]:
    """(rows of a table or view, id_type) of a published run, the newest where none is given."""
    check_table(name)
    run_id, id_type = published_run(tables, run_id)
    if name in view_names():
        tables.register_views()
        rows = tables.spark.table(name)
    else:
        rows = tables.all_runs(name)
    return rows.where(F.col("run_id") == run_id), id_type


def published_run(tables: Tables, run_id: str | None) -> tuple[str, str]:
    """(run_id, id_type) of the run asked for, or of the newest."""
    known = tables.published("id_type")
    if not known:
        raise RunError(f"no run is published under {tables.output.root!r} yet")
    chosen = known[0] if run_id is None else next((row for row in known if row["run_id"] == run_id), None)
    if chosen is None:
        raise RunError(f"there is no published run {run_id!r}.{nearest(str(run_id), [row['run_id'] for row in known])}")
    return chosen["run_id"], chosen["id_type"]


def _public(rows: DataFrame, name: str, id_type: str) -> DataFrame:
    rows = rows.select(*PUBLIC_COLUMNS.get(name, rows.columns))
    if id_type == "integer":
        for column in ID_COLUMNS.get(name, []):
            rows = rows.withColumn(column, F.col(column).cast("bigint"))
    return rows.withColumnRenamed("id", "node") if "id" in ID_COLUMNS.get(name, []) else rows


def _write(rows: DataFrame, output: Path) -> int:
    """Have one task write the rows, so that the driver never holds them, and move its file into place."""
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
