"""Writing tables under a local root in a local session: Spark or its tasks write data files, delta-rs commits them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from graphseam import local_delta
from graphseam.schemas import partition_columns
from graphseam.spark_line import arrow_rows
from graphseam.stored import as_stored, stored_columns
from graphseam.task_files import Work, written_by_tasks

WRITE_OPTIONS = {"compression": "snappy"}
NO_MARK = {"mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}  # the table's log says what has succeeded


@dataclass(frozen=True)
class LocalWriter:
    """Writes rows of one run into tables that exist, with all columns of their SQL files.

    Where delta-rs cannot commit, methods return None or False, and the caller leaves it to Spark.
    """

    spark: SparkSession
    root: Path
    run_id: str | None

    def save(self, name: str, rows: DataFrame, level: int | None, replace: bool) -> int | None:
        """Let Spark write the rows' files, in place of the run's or on top of them; returns how many were written."""
        table = self.root / name
        where = {"run_id": str(self.run_id)} | ({} if level is None else {"level": str(level)})
        folder = table.joinpath(*(f"{column}={value}" for column, value in where.items()))
        others = [column for column in partition_columns(name) if column not in where]
        before = local_delta.data_files(folder)
        stored = [as_stored(field) for field in stored_columns(name).fields if field.name not in where]
        writer = rows.select(*stored).write.mode("append").options(**WRITE_OPTIONS, **NO_MARK)
        writer.partitionBy(*others).parquet(str(folder))
        return local_delta.commit(table, where, local_delta.data_files(folder) - before, replace)

    def save_in_tasks(self, names: list[str], num_tasks: int, work: Work) -> dict[str, tuple[list[str], int | None]]:
        """{table: (its files, how many rows they hold)}, in place of the run's rows; see task_files."""
        columns = {name: stored_columns(name).fields for name in names}
        schemas = {
            name: to_arrow_schema(StructType([field for field in fields if field.name != "run_id"]))
            for name, fields in columns.items()
        }
        folders = {name: self.root / name / f"run_id={self.run_id}" for name in names}
        found = {}
        for name, files in written_by_tasks(self.spark, folders, schemas, num_tasks, work).items():
            num_rows = local_delta.commit(self.root / name, {"run_id": str(self.run_id)}, files, replace=True)
            found[name] = ([str(file) for file in files], num_rows)
        return found

    def add(self, name: str, rows: list[dict[str, Any]], replaced: str | None) -> bool:
        """Let delta-rs add rows of the driver, run_id among them, in place of those that match `replaced`."""
        return local_delta.add_rows(self.root / name, arrow_rows(rows, stored_columns(name)), replaced) is not None
