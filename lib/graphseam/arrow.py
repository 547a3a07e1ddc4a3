"""Vectors and groups in Arrow, as executors exchange them: columns in, columns out, never row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa


def vector_matrix(column: pa.ChunkedArray | pa.Array, dim: int | None = None) -> np.ndarray:
    """float32[n, dim] of a list<float> column without nulls; `dim` is needed only if n may be 0.

    Copies once. ValueError if the vectors have different lengths.
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    num_rows = sum(len(chunk) for chunk in chunks)
    if num_rows == 0:
        return np.zeros((0, dim or 0), np.float32)
    flat = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks])
    if flat.size % num_rows:
        raise ValueError(f"{num_rows} vectors hold {flat.size} numbers: they are not of one length")
    return flat.astype(np.float32, copy=False).reshape(num_rows, -1)


def vector_column(vectors: np.ndarray, kind: pa.ListType) -> pa.ListArray:
    """The rows of float32[n, dim] as a list column of the table's own type."""
    offsets = np.arange(0, vectors.size + 1, vectors.shape[1] or 1, dtype=np.int32)[: len(vectors) + 1]
    values = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=kind)


def positions(first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """int64[sum of lengths]: first[i], first[i] + 1, … for each part i of a flat list, one part after the other."""
    before = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(first - before, lengths)


def slices(num_rows: int, row_bytes: int, limit_bytes: int = 64 << 20) -> Iterator[slice]:
    """Slice rows so that each batch stays below `limit_bytes`: list offsets have 32 bits, and Spark copies batches."""
    step = max(1, limit_bytes // max(1, row_bytes))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def groups_of(batches: Iterable[pa.RecordBatch], key: str) -> Iterator[tuple[Any, pa.Table]]:
    """Split a stream of batches, sorted by `key`, into one table per value. Memory: one group."""
    current: Any = None
    held: list[pa.RecordBatch] = []
    for batch in batches:
        if batch.num_rows == 0:
            continue
        values = batch.column(batch.schema.get_field_index(key)).to_numpy(zero_copy_only=False)
        cuts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [len(values)]])
        for start, stop in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            if held and values[start] != current:
                yield current, pa.Table.from_batches(held)
                held = []
            current = values[start : start + 1].tolist()[0]
            held.append(batch.slice(start, stop - start))
    if held:
        yield current, pa.Table.from_batches(held)


def shifted_ids(numbers: np.ndarray, shift: int) -> pa.Array:
    """Original ids, as text, where they follow from the numbers of nodes: see Ingested.id_shift."""
    return pa.array(numbers - shift).cast(pa.string())
