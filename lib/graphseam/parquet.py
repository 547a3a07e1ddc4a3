"""Columns of a table's files, as tasks read them themselves in a local session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_AT_ONCE, VECTORS_AT_ONCE = 1 << 16, 1 << 14


def batches_of(
    files: Sequence[str], columns: Sequence[str], rows_at_once: int = ROWS_AT_ONCE
) -> Iterator[pa.RecordBatch]:
    """The columns of all rows, file by file. Memory: a batch, and the row group that is read."""
    for file in files:
        # mapped: a copy of what was compressed would be new memory, which a virtual machine hands out at disk speed
        yield from pq.ParquetFile(file, memory_map=True).iter_batches(rows_at_once, columns=list(columns))


def table_of(files: Sequence[str], columns: Sequence[str]) -> pa.Table | None:
    """The columns of all rows in memory; None if there is no file, and so nothing that tells their types."""
    parts = [pq.ParquetFile(file, memory_map=True).read(columns=list(columns)) for file in files]
    return pa.concat_tables(parts) if parts else None


def stored_bytes(files: Sequence[str], columns: Sequence[str]) -> int:
    """Bytes of the columns before they were compressed, as the files tell."""
    groups = [
        metadata.row_group(place)
        for metadata in map(pq.read_metadata, files)
        for place in range(metadata.num_row_groups)
    ]
    chunks = [group.column(at) for group in groups for at in range(group.num_columns)]
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in columns)
