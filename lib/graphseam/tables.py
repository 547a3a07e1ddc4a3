"""All reading and writing of graphseam's own tables: one Delta table per name, every row with its run_id."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, DataFrameWriter, Observation, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from graphseam import causes, local_delta
from graphseam.files import absolute, has_table, is_remote, local_path
from graphseam.local_writer import WRITE_OPTIONS, LocalWriter, Writer
from graphseam.schemas import columns_ddl, create_statement
from graphseam.sections import OutputConfig, check_run_id
from graphseam.session import in_one_process
from graphseam.spark_line import schema_of, small_table
from graphseam.stored import choose_run, identifier_of, missing_columns, quoted, stored_columns
from graphseam.task_files import FromRows, Mapped, Work, written_by_tasks, written_from

GRAPHFRAME_INPUTS = "_graphframe"  # under output.root: a copy of the graph for each run made by `graphseam.embed`


class Tables:
    """The tables of one root (or catalog), as one run sees them.

    Writing replaces this run's rows of the table (or of one `level` of it), so a repeated step leaves no duplicate.
    In a local session, under a local root, Spark reads and writes data files and delta-rs the tables' logs; elsewhere
    Spark does both. What readers find is the same.
    read_only: for readers, who may lack the permission to write: a table that does not exist is empty, not created.
    """

    def __init__(
        self, spark: SparkSession, output: OutputConfig, run_id: str | None = None, read_only: bool = False
    ) -> None:
        self.spark = spark
        self.read_only = read_only
        self.output = output
        self.run_id = check_run_id(run_id) if run_id is not None else None
        self.is_new_run = False  # set by a caller that knows no table has a row of the run yet: saves the check
        self._here = not output.catalog and not is_remote(output.root) and in_one_process(spark)
        self._local: LocalWriter | None = None
        if self._here and not read_only and local_delta.can_write(local_path(absolute(output.root))):
            self._local = LocalWriter(spark, Path(local_path(absolute(output.root))), run_id)
            causes.written_to.add(local_path(absolute(output.root)))
        self._created: set[str] = set()
        self._complete: set[str] = set()  # tables known to have every column of their SQL files
        self._written: set[str] = set()
        self._counted = threading.local()  # steps may run beside each other, each in a thread of its own

    def identifier(self, name: str) -> str:
        """The table's name in SQL."""
        return identifier_of(self.output, name)

    def location(self, name: str) -> str:
        """Where to find the table, for messages: its path, or its name in the catalog."""
        return f"{self.output.catalog}.{name}" if self.output.catalog else f"{self.output.root.rstrip('/')}/{name}"

    def _address(self, name: str) -> str:
        """Where the table lies under output.root, independent of the working directory."""
        return f"{absolute(self.output.root)}/{name}"

    def _path(self, name: str) -> Path:
        """The table's directory, where the root is a local one."""
        return Path(local_path(self._address(name)))

    def ensure(self, name: str) -> None:
        """Create the table if it does not exist yet, and add the columns that a table of an earlier version lacks.

        Old rows get NULL in the added columns. Cost: no data file is read or written.
        """
        if name in self._complete:
            return
        self._complete.add(name)
        self._create(name)
        there = local_delta.columns_of(self._path(name)) if self._here else None
        missing = missing_columns(name, self.spark.table(self.identifier(name)).columns if there is None else there)
        if not missing:
            return
        identifier, wanted = self.identifier(name), columns_ddl(name)
        try:
            self.spark.sql(f"ALTER TABLE {identifier} ADD COLUMNS ({', '.join(wanted[column] for column in missing)})")
        except PySparkException:  # another job may have added them at the same time
            if missing_columns(name, self.spark.table(identifier).columns):
                raise

    def all_runs(self, name: str) -> DataFrame:
        """The rows of all runs; none if the table does not exist, which is then created unless read-only.

        A column that a table of an earlier version lacks is NULL; reading does not change the table.
        """
        if self.read_only:
            if not self.exists(name):
                return self.spark.createDataFrame([], stored_columns(name))
        else:
            self._create(name)
        files = local_delta.files_of(self._path(name)) if self._here else None
        if files is not None:
            return self._rows_in(files, name)
        rows = self.spark.table(self.identifier(name))
        missing = missing_columns(name, rows.columns)
        if not missing:
            return rows
        kinds = schema_of(", ".join(columns_ddl(name)[column] for column in missing))
        return rows.withColumns({field.name: F.lit(None).cast(field.dataType) for field in kinds.fields})

    def _create(self, name: str) -> None:
        """Create the table from its SQL file if it does not exist."""
        if name in self._created:
            return
        if self._local is not None and local_delta.create(self._path(name), stored_columns(name).json()):
            self._created.add(name)
            return
        if self.output.catalog and not self._created:
            self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {quoted(self.output.catalog)}")
        self.spark.sql(create_statement(name, self.identifier(name)))
        self._created.add(name)

    def files(self, name: str, level: int | None = None) -> list[str] | None:
        """The files of this run's rows, or of one level of them; None if only a query can tell, as on a cluster."""
        if self.run_id is None or not self._here:
            return None
        return local_delta.files_of(self._path(name), self.run_id, level)

    def every_file(self, name: str, level: int | None = None) -> list[str] | None:
        """As `files`, however many there are, for tasks that read them; none if the table does not exist."""
        if self.run_id is None or not self._here:
            return None
        return local_delta.files_of(self._path(name), self.run_id, level, most=None) if self.exists(name) else []

    def files_of_all(self, names: Collection[str], level: int | None = None) -> dict[str, list[str]] | None:
        """`every_file` of each table; None if only a query can tell. level: of those tables that have levels."""
        found = {name: files for name in names if (files := self.every_file(name, level)) is not None}
        return found if len(found) == len(names) else None

    def exists(self, name: str) -> bool:
        if self.output.catalog:
            return self.spark.catalog.tableExists(f"{self.output.catalog}.{name}")
        if not is_remote(self.output.root):
            return has_table(self.output.root, name)
        from delta.tables import DeltaTable

        return DeltaTable.isDeltaTable(self.spark, self._address(name))

    def published(self, *columns: str) -> list[Row]:
        """run_id and the named columns of `runs`, newest first: one row per published run, collected by the driver."""
        newest_first = self.all_runs("runs").sort(F.desc("published_at"), F.desc("run_id"))
        return newest_first.select("run_id", *columns).collect()

    def published_run(self, run_id: str | None) -> tuple[str, str]:
        """(run_id, id_type) of the requested run, or of the newest if None. RunError if no such run is published."""
        known = [(row["run_id"], row["id_type"]) for row in self.published("id_type")]
        return choose_run(known, run_id, self.output.root)

    def read(self, name: str, level: int | None = None) -> DataFrame:
        """This run's rows, or those of one level, without run_id.

        In a local session straight from the files that the table's log names now: no query over the log, and no rows
        that are written later. A column that a table of an earlier version lacks is NULL.
        """
        if not self.read_only:
            self._create(name)
        files = self.files(name, level)
        if files is None:
            rows = self.all_runs(name).where(F.col("run_id") == F.lit(self.run_id)).drop("run_id")
        else:
            rows = self._rows_in(files, name).drop("run_id")
        return rows if level is None else rows.where(F.col("level") == level)

    def _rows_in(self, files: list[str], name: str) -> DataFrame:
        """The rows of these files of the table, in the order of its columns."""
        columns = stored_columns(name)
        if not files:
            return self.spark.createDataFrame([], columns).where(F.lit(False))
        reader = self.spark.read.schema(columns).options(basePath=self._address(name), __globPaths__="false")
        return reader.parquet(*files).select(*columns.names)

    def schema(self, name: str) -> StructType:
        """The columns of the table without run_id: what a transformation that fills it must return."""
        fields = (stored_columns(name) if self._here else self.all_runs(name).schema).fields
        return StructType([field for field in fields if field.name != "run_id"])

    def arrow_schema(self, name: str) -> pa.Schema:
        return to_arrow_schema(self.schema(name))

    def write(self, name: str, rows: DataFrame | Mapped, level: int | None = None, part: str = "") -> int:
        """Replace this run's rows of the table, or of one level of it, in one commit; returns how many were written.

        part: an SQL predicate, to replace only the rows of the run that match it; all of `rows` must match it.
        rows: the table's columns without run_id, in any order; NULL in a NOT NULL column fails the write.
        """
        mine = (
            f"run_id = '{self.run_id}'"
            + (f" AND level = {int(level)}" if level is not None else "")
            + (f" AND {part}" if part else "")
        )
        num_rows = None if part else self._save_here(name, rows, level, replace=True)
        if num_rows is None:
            replaced = None if self._holds_nothing(name, mine, level) else mine  # an append costs a quarter of that
            num_rows = self._save(name, rows, replaced)
        self._rows_written.setdefault(name, {})[mine] = num_rows
        return num_rows

    def append(self, name: str, rows: DataFrame | Mapped) -> int:
        """Add rows to this run's, for a step that writes a table in several commits and has dropped its old rows."""
        num_rows = self._save_here(name, rows, None, replace=False)
        if num_rows is None:
            num_rows = self._save(name, rows, None)
        self._count_appended(name, num_rows)
        return num_rows

    def _count_appended(self, name: str, num_rows: int) -> None:
        of_table = self._rows_written.setdefault(name, {})
        of_table["appended"] = of_table.get("appended", 0) + num_rows

    @property
    def _rows_written(self) -> dict[str, dict[str, int]]:
        """By table and predicate, what this thread has written since `forget_rows_written`."""
        rows: dict[str, dict[str, int]] = self._counted.__dict__.setdefault("rows", {})
        return rows

    def forget_rows_written(self) -> None:
        """Begin to count anew; said before each step."""
        self._rows_written.clear()

    def rows_written(self) -> dict[str, int]:
        """{table: rows of this run that the step has written and not dropped again}; 0 if it only dropped some."""
        return {name: sum(parts.values()) for name, parts in self._rows_written.items()}

    @property
    def written_here(self) -> bool:
        """Whether tasks can reach the tables' files, so that they may write some themselves: `write_in_tasks`."""
        return self._local is not None

    def write_in_tasks(self, names: list[str], num_tasks: int, work: Work) -> dict[str, int]:
        """Replace this run's rows of several tables by what `work(task)` yields for each task, as (table, rows).

        Tables of one level only, in a session where `written_here`. Rows have the table's columns without run_id, in
        any order; a null in a NOT NULL column fails the write. Returns how many rows each table was given.
        """
        return self._written_by(names, lambda targets: written_by_tasks(self.spark, targets, num_tasks, work))

    def write_from(self, names: list[str], rows: DataFrame, work: FromRows) -> dict[str, int]:
        """As `write_in_tasks`, by what `work` yields for the rows of each task of `rows`."""
        return self._written_by(names, lambda targets: written_from(rows, targets, work))

    def _written_by(self, names: list[str], write: Writer) -> dict[str, int]:
        mine = f"run_id = '{self.run_id}'"
        for name in names:
            self.ensure(name)
        assert self._local is not None
        found = self._local.save_in_tasks(names, write)
        counts = {}
        for name, (files, num_rows) in found.items():
            if num_rows is None:  # Spark does it, or tells why not
                num_rows = self._save(name, self._rows_in(files, name), mine)
            counts[name] = num_rows
            self._rows_written.setdefault(name, {})[mine] = num_rows
        return counts

    def _save_here(self, name: str, rows: DataFrame | Mapped, level: int | None, replace: bool) -> int | None:
        """Let Spark write the rows' files and delta-rs commit them; returns how many were written.

        None, for `_save` to do it, where the session or the root is not local.
        """
        if self._local is None:
            return None
        self.ensure(name)
        return self._local.save(name, rows, level, replace)

    def _save(self, name: str, rows: DataFrame | Mapped, replaced: str | None) -> int:
        """Write rows in one commit, replacing those that match `replaced`; returns how many were written."""
        self.ensure(name)
        table = self.all_runs(name)
        wanted = [
            F.lit(self.run_id).alias("run_id")
            if field.name == "run_id"
            else F.col(field.name).cast(field.dataType).alias(field.name)
            for field in table.schema.fields
        ]
        counted = Observation()
        mapped = rows.frame() if isinstance(rows, Mapped) else rows
        observed = mapped.select(*wanted).observe(counted, F.count(F.lit(1)).alias("rows"))
        writer = observed.write.format("delta").options(**WRITE_OPTIONS)
        writer = (
            writer.mode("append") if replaced is None else writer.mode("overwrite").option("replaceWhere", replaced)
        )
        self._commit(name, writer)
        return int(counted.get["rows"])

    def _commit(self, name: str, writer: DataFrameWriter) -> None:
        """Write to the table, in the catalog or under the root."""
        if self.output.catalog:
            writer.saveAsTable(self.identifier(name))
        else:
            writer.save(self._address(name))

    def _holds_nothing(self, name: str, predicate: str, level: int | None = None) -> bool:
        """Whether no row of the table matches; for the first write of a new run that is known without a query."""
        first_time = f"{name} {predicate}" not in self._written
        self._written.add(f"{name} {predicate}")
        if self.is_new_run and first_time:
            return True
        self._create(name)
        files = self.files(name, level)
        return not files if files is not None else self.all_runs(name).where(predicate).limit(1).count() == 0

    def write_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Replace this run's rows with a few that the driver holds (at most one per subgraph, level or metric)."""
        self.ensure(name)
        mine = f"run_id = '{self.run_id}'"
        if self._add_here(name, rows, replaced=None if self.files(name) == [] else mine):
            self._rows_written[name] = {mine: len(rows)}
        else:
            self.write(name, small_table(self.spark, rows, self.schema(name)))

    def append_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Add a few rows to this run's, keeping the existing ones (the log of steps, a table of two)."""
        self.ensure(name)
        if not self._add_here(name, rows, replaced=None):
            added = small_table(self.spark, self._with_run_id(rows), self.all_runs(name).schema)
            self._commit(name, added.coalesce(1).write.format("delta").mode("append"))
        self._count_appended(name, len(rows))

    def _add_here(self, name: str, rows: list[dict[str, Any]], replaced: str | None) -> bool:
        """Let delta-rs add rows of the driver, in place of those that match `replaced`; False where Spark has to."""
        return self._local is not None and self._local.add(name, self._with_run_id(rows), replaced)

    def _with_run_id(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "run_id": self.run_id} for row in rows]

    def drop_run(self, name: str, part: str = "") -> None:
        """Remove this run's rows from the table, if it exists; of them those that match the SQL predicate `part`."""
        has_none = self.is_new_run and not self._rows_written.get(name)
        if part:
            self._rows_written.setdefault(name, {})
        else:
            self._rows_written[name] = {}
        if not has_none and self.exists(name) and self.files(name) != []:
            if part:  # it may name a column that an earlier version's table lacks
                self.ensure(name)
            mine = f"run_id = '{self.run_id}'" + (f" AND {part}" if part else "")
            self._delete(name, mine)

    def drop_runs(self, name: str, run_ids: list[str]) -> None:
        """Remove every row of these runs in one commit; tables are partitioned by run_id, so no row is read."""
        chosen = ", ".join(f"'{check_run_id(run_id)}'" for run_id in run_ids)
        self._delete(name, f"run_id IN ({chosen})")

    def _delete(self, name: str, predicate: str) -> None:
        if self._local is None or not local_delta.delete(self._path(name), predicate):
            self.spark.sql(f"DELETE FROM {self.identifier(name)} WHERE {predicate}")
