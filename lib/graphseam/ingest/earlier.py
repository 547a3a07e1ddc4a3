"""The numbers that published runs gave to ids, read by one task from their files: an id keeps its number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from graphseam.parquet import batches_of, table_of
from graphseam.runs import Run
from graphseam.tables import Tables

ROWS_AT_ONCE = 1 << 18
COLUMNS = ("node_id", "id")
KNOWN_BYTES = {"integer": 40, "string": 200}  # of the task: an id as read, joined to the others, and its number


@dataclass(frozen=True)
class EarlierFiles:
    """The files of `nodes` of each published run with ids of this type, newest first. first_free: the lowest number
    that is above all of theirs."""

    files: list[list[str]]
    first_free: int

    @staticmethod
    def of(run: Run, id_type: str) -> EarlierFiles | None:
        """None if tasks cannot read the files. Driver: one row per published run, and the statistics of its files."""
        published = run.tables.published("id_type")
        names = [row["run_id"] for row in published if row["id_type"] == id_type and row["run_id"] != run.run_id]
        tables = [Tables(run.spark, run.config.output, name, read_only=True) for name in names]
        found = [some.every_file("nodes") for some in tables]
        files = [some for some in found if some is not None]
        if len(files) < len(found):
            return None
        return EarlierFiles(files, 1 + max((_highest(file) for some in files for file in some), default=-1))

    def known(self, kind: pa.DataType) -> tuple[pa.Array, np.ndarray]:
        """(ids of that type, their numbers int64[n]), each once: as graph.newest_numbers, where concurrent runs gave an
        id two numbers, or two ids the same.

        Cost: one pass over the files. Memory: the ids, and where each number's is.
        """
        ids, numbers = pa.array([], kind), np.zeros(0, np.int64)
        without = ids  # they lost their newest number to a newer run's id
        place = np.full(self.first_free, -1)
        for files in self.files:
            parts = [self._unlike(batch, ids, place, kind) for batch in batches_of(files, COLUMNS, ROWS_AT_ONCE)]
            some = pa.concat_arrays([ids[:0], *[part for part, _ in parts]])
            theirs = np.concatenate([numbers[:0], *[part for _, part in parts]])
            if not len(some):
                continue
            is_old = pc.is_in(some, value_set=pa.concat_arrays([ids, without])).to_numpy(zero_copy_only=False)
            kept, lost = (np.flatnonzero(~is_old & chosen) for chosen in (place[theirs] < 0, place[theirs] >= 0))
            place[theirs[kept]] = len(ids) + np.arange(len(kept))
            ids, without = (
                pa.concat_arrays([one, some.take(pa.array(rows))]) for one, rows in ((ids, kept), (without, lost))
            )
            numbers = np.concatenate([numbers, theirs[kept]])
        return ids, numbers

    @staticmethod
    def _unlike(
        batch: pa.RecordBatch, ids: pa.Array, place: np.ndarray, kind: pa.DataType
    ) -> tuple[pa.Array, np.ndarray]:
        """(ids, numbers) of the rows that newer runs did not have like that."""
        some, theirs = batch["id"].cast(kind), batch["node_id"].to_numpy()
        at = place[theirs]
        alike = at >= 0
        if alike.any():
            same = pc.equal(ids.take(pa.array(np.maximum(at, 0))), some)
            alike &= same.to_numpy(zero_copy_only=False)
        rest = np.flatnonzero(~alike)
        return some.take(pa.array(rest)), theirs[rest]


def _highest(file: str) -> int:
    """The highest number in a file of nodes; -1 if it has no rows."""
    metadata = pq.read_metadata(file)
    highest = -1
    for place in range(metadata.num_row_groups):
        group = metadata.row_group(place)
        column = next(at for at in range(group.num_columns) if group.column(at).path_in_schema == "node_id")
        statistics = group.column(column).statistics
        if statistics is None or not statistics.has_min_max:  # written by others
            rows = table_of([file], ("node_id",))
            return -1 if rows is None or not rows.num_rows else int(pc.max(rows["node_id"]).as_py())
        highest = max(highest, statistics.max)
    return highest
