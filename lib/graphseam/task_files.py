"""Rows that tasks write into tables' files themselves: for what Python workers compute, in a local session.

Spark would take the rows from its Python workers, turn them into its own, and write those: for lists of numbers several
times the work of computing them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.resource import ResourceProfile
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from graphseam.spark_line import by_group, map_in_arrow

WRITTEN = "name STRING, path STRING"
ARROW_WRITTEN = pa.schema([("name", pa.string()), ("path", pa.string())])
DRAFT = "_draft-"
ROWS_AT_ONCE = 1 << 16  # of a row group, at least
BYTES_AT_ONCE = 32 << 20  # of a row group, at most but for the rows that are added at once
Stream = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]
Work = Callable[[int], Iterator[tuple[str, pa.RecordBatch]]]
FromRows = Callable[[Iterator[pa.RecordBatch]], Iterator[tuple[str, pa.RecordBatch]]]


@dataclass(frozen=True)
class Mapped:
    """Rows that a function makes of others in tasks. `Tables.write` lets those tasks write them, where it can."""

    rows: DataFrame
    stream: Stream
    schema: StructType
    profile: ResourceProfile | None = None

    def frame(self) -> DataFrame:
        """The rows as Spark passes them on."""
        return map_in_arrow(self.rows, self.stream, self.schema, self.profile)


def mapped_groups(rows: DataFrame, key: str, function: Callable[[pa.Table], pa.Table], schema: StructType) -> Mapped:
    """As `spark_line.map_groups`: one call per value of `key`. Cost: one shuffle, and a sort."""
    return Mapped(rows.repartition(key).sortWithinPartitions(key), by_group(key, function, schema), schema)


@dataclass(frozen=True)
class Target:
    """Where a table's rows go: the folder of what they have in common, the schema of their files, and the columns by
    whose values they go to folders below it, which are not in the files."""

    folder: Path
    schema: pa.Schema
    by: tuple[str, ...] = ()


def written_by_tasks(
    spark: SparkSession, targets: dict[str, Target], num_tasks: int, work: Work
) -> dict[str, list[Path]]:
    """{table: files} of what `work(task)` yields for each task from 0 to num_tasks - 1, as (table, rows).

    The rows are cast to the schema of the table's files. A task that runs again, or fails, leaves files that no table
    knows. Errors: ValueError for a null where the schema has none. Memory: a row group per table.
    """

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for task in batch["id"].to_pylist():
                yield _paths_of(targets, task, work(task))

    rows = spark.range(0, num_tasks, 1, num_tasks).mapInArrow(write, WRITTEN)
    return _found(rows, targets)


def written_from(rows: DataFrame, targets: dict[str, Target], work: FromRows) -> dict[str, list[Path]]:
    """{table: files} of what `work(rows of a task)` yields for each task; as `written_by_tasks`."""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield _paths_of(targets, _task_number(), work(batches))

    return _found(rows.mapInArrow(write, WRITTEN), targets)


def _task_number() -> int:
    context = TaskContext.get()
    return context.partitionId() if context is not None else 0


def written_by_stream(name: str, target: Target, mapped: Mapped) -> list[Path]:
    """The files of the rows that a stream makes, written by its own tasks; as `written_by_tasks`."""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield _paths_of({name: target}, _task_number(), ((name, rows) for rows in stream(batches)))

    stream = mapped.stream  # the rest of `mapped` cannot go to a task
    return _found(map_in_arrow(mapped.rows, write, WRITTEN, mapped.profile), {name: target})[name]


def _found(rows: DataFrame, targets: dict[str, Target]) -> dict[str, list[Path]]:
    for target in targets.values():  # what a killed process has left: VACUUM does not see such names
        for draft in target.folder.rglob(f"{DRAFT}*.parquet"):
            draft.unlink(missing_ok=True)
    found: dict[str, list[Path]] = {name: [] for name in targets}
    for row in rows.collect():  # one per table, folder and task
        found[row["name"]].append(Path(row["path"]))
    return found


def _paths_of(targets: dict[str, Target], task: int, rows: Iterator[tuple[str, pa.RecordBatch]]) -> pa.RecordBatch:
    """Rows of WRITTEN: the files that the rows were written to."""
    files: dict[tuple[str, Path], RowFile] = {}
    with ExitStack() as drafts:
        for name, some in rows:
            for folder, part in _by_folder(targets[name], some):
                if (name, folder) not in files:
                    files[name, folder] = RowFile(folder, targets[name].schema, task)
                    drafts.callback(files[name, folder].discard)
                files[name, folder].add(part)
        paths = [(name, str(file.closed())) for (name, _), file in files.items()]
    columns = {"name": [name for name, _ in paths], "path": [path for _, path in paths]}
    return pa.RecordBatch.from_pydict(columns, ARROW_WRITTEN)


def _by_folder(target: Target, rows: pa.RecordBatch) -> Iterator[tuple[Path, pa.RecordBatch]]:
    """The rows of each folder below the target's."""
    parts = [(target.folder, rows)]
    for column in target.by:
        parts = [
            (folder / f"{column}={value}", part.filter(pc.equal(part[column], value)))
            for folder, part in parts
            for value in sorted(pc.unique(part[column]).to_pylist())
        ]
    yield from parts


class RowFile:
    """A Parquet file of a table, which has its name only once it is complete."""

    def __init__(self, folder: Path, schema: pa.Schema, task: int) -> None:
        self._schema, self._num_rows = schema, 0
        self._pending: list[pa.Table] = []
        self._path = folder / f"part-{task:05d}-{uuid.uuid4()}.snappy.parquet"
        self._draft = self._path.with_name(f"{DRAFT}{self._path.name}")
        folder.mkdir(parents=True, exist_ok=True)
        repeated = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_int32(field.type)]
        # numbers hardly repeat, and a dictionary of them is given up after it was built
        self._file = pq.ParquetWriter(self._draft, schema, compression="snappy", use_dictionary=repeated)

    def add(self, rows: pa.RecordBatch) -> None:
        table = pa.Table.from_batches([rows]).select(self._schema.names)
        for field in self._schema:
            if not field.nullable and table[field.name].null_count:
                raise ValueError(f"column {field.name} has no value in a row, and is NOT NULL")
        self._pending.append(table.cast(self._schema))
        self._num_rows += rows.num_rows
        if self._num_rows >= ROWS_AT_ONCE or sum(part.nbytes for part in self._pending) >= BYTES_AT_ONCE:
            self._write()

    def _write(self) -> None:
        if self._pending:
            self._file.write_table(pa.concat_tables(self._pending))
        self._pending, self._num_rows = [], 0

    def closed(self) -> Path:
        """The file's path, after its last rows."""
        self._write()
        self._file.close()
        self._draft.rename(self._path)
        return self._path

    def discard(self) -> None:
        """Remove what is written, if it is not whole."""
        self._file.close()
        self._draft.unlink(missing_ok=True)
