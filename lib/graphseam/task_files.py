"""Rows that tasks write into tables' files themselves: for what Python workers compute, in a local session.

Spark would take the rows from its Python workers, turn them into its own, and write those: for lists of numbers several
times the work of computing them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

WRITTEN = "name STRING, path STRING"
ROWS_AT_ONCE = 1 << 16  # of a row group, at least
Work = Callable[[int], Iterator[tuple[str, pa.RecordBatch]]]


def written_by_tasks(
    spark: SparkSession, folders: dict[str, Path], schemas: dict[str, pa.Schema], num_tasks: int, work: Work
) -> dict[str, list[Path]]:
    """{table: files} of what `work(task)` yields for each task from 0 to num_tasks - 1, as (table, rows).

    folders, schemas: by table. The rows are cast to the table's schema. A task that runs again, or fails, leaves files
    that no table knows. Errors: ValueError for a null where the schema has none. Memory: a row group per table.
    """

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for task in batch["id"].to_pylist():
                files: dict[str, RowFile] = {}
                for name, rows in work(task):
                    if name not in files:
                        files[name] = RowFile(folders[name], schemas[name], task)
                    files[name].add(rows)
                paths = {name: str(file.closed()) for name, file in files.items()}
                yield pa.RecordBatch.from_pydict({"name": list(paths), "path": list(paths.values())})

    found: dict[str, list[Path]] = {name: [] for name in folders}
    for row in spark.range(0, num_tasks, 1, num_tasks).mapInArrow(write, WRITTEN).collect():  # one per table and task
        found[row["name"]].append(Path(row["path"]))
    return found


class RowFile:
    """A Parquet file of a table, which has its name only once it is complete."""

    def __init__(self, folder: Path, schema: pa.Schema, task: int) -> None:
        self._schema, self._num_rows = schema, 0
        self._pending: list[pa.Table] = []
        self._path = folder / f"part-{task:05d}-{uuid.uuid4()}.snappy.parquet"
        self._draft = self._path.with_name(f"_{self._path.name}")
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
        if self._num_rows >= ROWS_AT_ONCE:
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
