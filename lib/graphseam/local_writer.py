"""Writing tables under a local root in a local session: Spark or its tasks write data files, delta-rs commits them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from graphseam import local_delta
from graphseam.schemas import partition_columns
from graphseam.spark_line import arrow_rows, stored_schema
from graphseam.stored import as_stored, stored_columns
from graphseam.task_files import Mapped, Target, written_by_stream

WRITE_OPTIONS = {"compression": "snappy"}
Writer = Callable[[dict[str, Target]], dict[str, list[Path]]]
NO_MARK = {"mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}  # the table's log says what has succeeded


@dataclass(frozen=True)
class LocalWriter:
    """Writes rows of one run into tables that exist, with all columns of their SQL files.

    Where delta-rs cannot commit, methods return None or False, and the caller leaves it to Spark.
    """

    spark: SparkSession
    root: Path
    run_id: str | None

    def save(self, name: str, rows: DataFrame | Mapped, level: int | None, replace: bool) -> int | None:
        """Write the rows' files, in place of the run's or on top of them; returns how many were written.

        Spark writes what it has computed, and tasks what they have mapped.
        """
        where = {"run_id": str(self.run_id)} | ({} if level is None else {"level": str(level)})
        target = self._target(name, where)
        if isinstance(rows, Mapped):
            return local_delta.commit(self.root / name, where, written_by_stream(name, target, rows), replace)
        before = local_delta.data_files(target.folder)
        stored = [as_stored(field) for field in stored_columns(name).fields if field.name not in where]
        writer = rows.select(*stored).write.mode("append").options(**WRITE_OPTIONS, **NO_MARK)
        writer.partitionBy(*target.by).parquet(str(target.folder))
        return local_delta.commit(self.root / name, where, local_delta.data_files(target.folder) - before, replace)

    def _target(self, name: str, where: dict[str, str]) -> Target:
        folder = (self.root / name).joinpath(*(f"{column}={value}" for column, value in where.items()))
        by = tuple(column for column in partition_columns(name) if column not in where)
        fields = [field for field in stored_columns(name).fields if field.name not in (*where, *by)]
        return Target(folder, stored_schema(StructType(fields)), by)

    def save_in_tasks(self, names: list[str], write: Writer) -> dict[str, tuple[list[str], int | None]]:
        """{table: (its files, how many rows they hold)}, in place of the run's rows. write: lets tasks write them."""
        where = {"run_id": str(self.run_id)}
        targets = {name: self._target(name, where) for name in names}
        found = {}
        for name, files in write(targets).items():
            num_rows = local_delta.commit(self.root / name, where, files, replace=True)
            found[name] = ([str(file) for file in files], num_rows)
        return found

    def add(self, name: str, rows: list[dict[str, Any]], replaced: str | None) -> bool:
        """Let delta-rs add rows of the driver, run_id among them, in place of those that match `replaced`."""
        return local_delta.add_rows(self.root / name, arrow_rows(rows, stored_columns(name)), replaced) is not None
