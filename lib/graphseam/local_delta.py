"""Delta tables under a local directory: their log is read and written by delta-rs, in milliseconds and without Spark.

A Spark statement over a Delta table costs 0.2 to 2 s on a small machine, however few rows it is about, and a run over a
small graph needs some hundred of them: tables created, rows of the driver added, files looked up. In a local session
Spark only writes the data files of what it has computed, and delta-rs (the `deltalake` package) commits them.

Every function returns None where delta-rs cannot do it (a log with features that it does not know, a file system
without links, no such package); the caller then leaves it to Spark, which tells what is wrong if it cannot either.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterable
from functools import wraps
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from graphseam.schemas import comment_of, partition_columns, properties_of

if TYPE_CHECKING:  # 130 MB, which neither an executor nor a session on a cluster needs: imported where it is used
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

MOST_FILES = 32  # Spark lists more than these by a job of its own: there the table's log costs no more
ATTEMPTS = 30  # at a commit: delta-rs refuses one that replaces files if another process has meanwhile replaced others
PAUSE_S = 0.2  # at most, between them
T = TypeVar("T")


def _or_none(function: Callable[..., T]) -> Callable[..., T | None]:
    """None in place of an error of delta-rs."""

    @wraps(function)
    def tried(*given: Any, **named: Any) -> T | None:
        try:
            return function(*given, **named)
        except _expected():
            return None

    return tried


def _expected() -> tuple[type[Exception], ...]:
    """What says that delta-rs cannot do it."""
    known = sys.modules.get("deltalake.exceptions")
    return (OSError, ValueError, ImportError, *([] if known is None else [known.DeltaError]))


def can_write(root: str) -> bool:
    """Whether delta-rs can write below the directory: on some characters in a path it panics (1.6, `[`, `|`)."""
    return re.search(r"[\[\]\\^|]", root) is None


Stamp = tuple[str, int, int]  # the newest file of a table's log: its name, its number in the file system, its time
_opened_before: dict[str, tuple[Stamp, DeltaTable]] = {}


def _opened(table: Path) -> DeltaTable:
    """The table as it is now, for reading. Opened once per commit: a run asks for a table's files a dozen times."""
    stamp, known = _stamp(table), _opened_before.get(str(table))
    if known is not None and known[0] == stamp:
        return known[1]
    from deltalake import DeltaTable

    opened = DeltaTable(str(table))
    if stamp is not None and stamp == _stamp(table):
        _opened_before[str(table)] = stamp, opened
    return opened


def _stamp(table: Path) -> Stamp | None:
    """None if the table has no log."""
    log = table / "_delta_log"
    try:
        newest = max(name for name in os.listdir(log) if name.endswith(".json"))
        there = (log / newest).stat()
    except (OSError, ValueError):
        return None
    return newest, there.st_ino, there.st_mtime_ns


@_or_none
def create(table: Path, columns: str) -> bool:
    """Create the table as its SQL file says, if it does not exist. columns: as JSON, as Spark stores them."""
    from deltalake import DeltaTable, Schema

    name = table.name
    if _stamp(table) is not None:
        _opened(table)
        return True
    DeltaTable.create(
        str(table),
        Schema.from_json(columns),
        mode="ignore",
        partition_by=partition_columns(name),
        description=comment_of(name),
        configuration=properties_of(name),
        raise_if_key_not_exists=False,  # ours are unknown to Delta
    )
    return True


@_or_none
def columns_of(table: Path) -> list[str]:
    """The names of the table's columns."""
    return [field.name for field in _opened(table).schema().fields]


@_or_none
def files_of(
    table: Path, run_id: str | None = None, level: int | None = None, most: int | None = MOST_FILES
) -> list[str] | None:
    """Paths of the files that hold the table's rows, or those of one run; none if there are no such rows.

    level: leave out files that hold only other levels, where the table is partitioned by level.
    None where Spark has to look: more than `most` files.
    """
    paths = [f"{table}/{path}" for path in _paths(_opened(table), run_id, level)]
    return paths if most is None or len(paths) <= most else None


def _paths(opened: DeltaTable, run_id: str | None, level: int | None) -> list[str]:
    added = pa.table(opened.get_add_actions(flatten=True))
    if added.num_rows == 0:
        return []
    wanted = pc.is_valid(added["path"])
    if run_id is not None:
        wanted = pc.equal(added["partition.run_id"], run_id)
    if level is not None and "partition.level" in added.column_names:
        wanted = pc.and_(wanted, pc.equal(added["partition.level"], level))
    return sorted(added.filter(wanted)["path"].to_pylist())


def data_files(folder: Path) -> set[Path]:
    """The Parquet files below a folder of a table, whether committed or not, but those of a write in progress."""
    return {
        path
        for path in folder.rglob("*.parquet")
        if not any(part[0] in "._" for part in path.relative_to(folder).parts)
    }


@_or_none
def commit(table: Path, where: dict[str, str], written: Iterable[Path], replace: bool) -> int:
    """Make files that Spark has written the table's, in one commit; returns how many rows they hold.

    where: {partition column: its value} that all of the files share; their folders say the others. replace: take the
    place of what is stored there, else come on top. Files without rows are removed. Cost: the footer of each file is
    read, for the numbers that let readers skip files.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    added: list[AddAction | RemoveAction] = []
    num_rows = 0
    for path in sorted(written):
        rows, action = _action(table, path)
        num_rows += rows
        if rows:
            added.append(action)
        else:
            path.unlink()
            path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
    level = where.get("level")
    for patience in reversed(range(ATTEMPTS)):
        opened = DeltaTable(str(table))
        there = replace and bool(_paths(opened, where["run_id"], None if level is None else int(level)))
        if not added and not there:
            break
        try:
            opened.create_write_transaction(
                added,
                "overwrite" if there else "append",
                opened.schema(),
                partition_columns(table.name),
                [(column, "=", value) for column, value in where.items()] if there else None,
            )
            break
        except DeltaError:
            if not patience:
                raise
        time.sleep(random.uniform(0, PAUSE_S))  # so that two processes do not keep meeting
    return num_rows


def _action(table: Path, path: Path) -> tuple[int, AddAction]:
    """(number of rows, what adds the file to the table's log, with Delta's statistics of its integer columns)."""
    from deltalake.transaction import AddAction

    footer = pq.read_metadata(path)
    least: dict[str, int] = {}
    most: dict[str, int] = {}
    for group, at in product(range(footer.num_row_groups), range(footer.num_columns)):
        column = footer.row_group(group).column(at)
        name, found = column.path_in_schema, column.statistics
        if "." not in name and found is not None and found.has_min_max and type(found.min) is int:
            least[name], most[name] = (
                min(least.get(name, found.min), found.min),
                max(most.get(name, found.max), found.max),
            )
    told = {"numRecords": footer.num_rows, "minValues": least, "maxValues": most}
    there, place = path.stat(), path.relative_to(table)
    values = dict(part.split("=", 1) for part in place.parts[:-1])
    changed = int(there.st_mtime * 1000)
    return footer.num_rows, AddAction(str(place), there.st_size, values, changed, True, json.dumps(told))


@_or_none
def add_rows(table: Path, rows: pa.Table, replaced: str | None) -> int:
    """Add rows, in place of those that match the SQL predicate `replaced`; returns how many were added."""
    from deltalake import write_deltalake

    if replaced is None:
        write_deltalake(str(table), rows, mode="append")
    else:
        write_deltalake(str(table), rows, mode="overwrite", predicate=replaced)
    return rows.num_rows


@_or_none
def delete(table: Path, predicate: str) -> bool:
    """Remove the rows that match an SQL predicate, in one commit; files that hold only such rows are not read."""
    from deltalake import DeltaTable

    DeltaTable(str(table)).delete(predicate)
    return True
