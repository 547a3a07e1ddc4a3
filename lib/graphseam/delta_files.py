"""The data files of a Delta table under a local directory, from its log alone: milliseconds, without Spark.

A Spark query over a Delta table first runs one or two queries over the table's log, 0.2 to 1 s each time on a small
machine, and a run over a small graph asks some hundred times. delta-rs (the `deltalake` package) reads the log itself.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

MOST_FILES = 32  # Spark lists more than these by a job of its own: there the table's log costs no more


def files_of_run(table: Path, run_id: str, level: int | None = None) -> list[str] | None:
    """Paths of the files that hold the run's rows of the table; none if there are no such rows.

    level: leave out files that hold only other levels, where the table is partitioned by level.
    None where Spark has to look: more than 32 files, or a log that delta-rs does not understand.
    """
    try:
        added = pa.table(DeltaTable(str(table)).get_add_actions(flatten=True))
    except (DeltaError, OSError, ValueError):
        return None
    if added.num_rows == 0:
        return []
    if "partition.run_id" not in added.column_names:
        return None
    wanted = pc.equal(added["partition.run_id"], run_id)
    if level is not None and "partition.level" in added.column_names:
        wanted = pc.and_(wanted, pc.equal(added["partition.level"], level))
    paths = sorted(added.filter(wanted)["path"].to_pylist())
    return [f"{table}/{path}" for path in paths] if len(paths) <= MOST_FILES else None
