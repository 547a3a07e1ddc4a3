"""The data files of a Delta table under a local directory, from its log alone: milliseconds, without Spark.

A Spark query over a Delta table first runs one or two queries over the table's log, 0.2 to 1 s each time on a small
machine, and a run over a small graph asks some hundred times. delta-rs (the `deltalake` package) reads the log itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

MOST_FILES = 32  # Spark lists more than these by a job of its own: there the table's log costs no more


def files_of_run(table: Path, run_id: str, level: int | None = None) -> Sequence[str] | None:
    """Paths of the files that hold the run's rows of the table, or those of one level; none if there are no such rows.

    None where Spark has to look: more than 32 files, or a log that delta-rs does not understand.
    """
    wanted = [("run_id", "=", run_id)] + ([("level", "=", str(int(level)))] if level is not None else [])
    try:
        files = DeltaTable(str(table)).file_uris(wanted)
    except (DeltaError, OSError, ValueError):
        return None
    return sorted(files) if len(files) <= MOST_FILES else None
