"""The first level of a base run, kept in a graph that one task can hold: as partition.kept, without a join in Spark.

The task reads the files of both runs' tables; a test compares the rows with those of `kept`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graphseam.arrays import distinct, is_among
from graphseam.base_run import Base
from graphseam.columns import TRIPLE
from graphseam.gathered import gathered
from graphseam.parquet import table_of
from graphseam.partition.kept import Changes, join_neighbours
from graphseam.runs import Run

EDGE_BYTES = 120  # of an edge of either run in the task: its columns, and its key, sorted
SHARE_OF_TASK = 0.5  # of its memory that may be taken
ROWS_AT_ONCE = 1 << 17
TABLES = ("assignments", "subgraph_edges", "border_edges", "edge_changes")
COUNTS = -1  # the record that is of no subgraph


@dataclass(frozen=True)
class Kept:
    """What was written. nodes, ends, captured: of each subgraph its nodes, the ends of edges at them, and its edges.
    border, border_nodes: edges between subgraphs, and their ends."""

    changes: Changes
    nodes: dict[int, int]
    ends: dict[int, int]
    captured: dict[int, int]
    border: int
    border_nodes: int


def keep_in_one_task(run: Run, base: Base) -> Kept | None:
    """Write TABLES in one task; None, and nothing is written, where it cannot hold both graphs or reach their files."""
    if not run.tasks_read_files:
        return None
    files = run.tables.files_of_all(("nodes", "edges"))
    its = base.tables.files_of_all(("nodes", "edges", "assignments"), level=1)
    if files is None or its is None:
        return None
    edges = sum(pq.read_metadata(file).num_rows for file in [*files["edges"], *its["edges"]])
    if edges * EDGE_BYTES > SHARE_OF_TASK * (run.task_memory_mb(num_tasks=1) << 20):
        return None
    records, base_run_id = gathered(run.spark), base.run_id

    def work(_: int) -> Iterator[tuple[str, pa.RecordBatch]]:
        found: dict[int, dict[str, Any]] = {}
        for name, rows in rows_of(files, its, base_run_id, found):
            for batch in rows.to_batches(ROWS_AT_ONCE):
                yield name, batch
        records.add(found)

    run.tables.write_in_tasks(list(TABLES), 1, work)
    told = records.value
    counts = told.pop(COUNTS)
    nodes, ends, captured = ({number: record[name] for number, record in told.items()} for name in PARTS)
    changes = Changes(**{name: counts[name] for name in Changes.__dataclass_fields__})
    return Kept(changes, nodes, ends, captured, counts["border"], counts["border_nodes"])


PARTS = ("nodes", "ends", "captured")  # of the record of a subgraph


def rows_of(
    files: dict[str, list[str]], its: dict[str, list[str]], base_run_id: str, records: dict[int, dict[str, Any]]
) -> Iterator[tuple[str, pa.Table]]:
    """(table, its rows). files, its: of the run's and of its base's tables. records: filled, see gathered."""
    present, before = (np.sort(_read(some["nodes"], ["node_id"])["node_id"].to_numpy()) for some in (files, its))
    ids = distinct(np.concatenate([present, before]))
    now, then = (Edges.of(_read(some["edges"], TRIPLE), ids) for some in (files, its))
    changes = changes_between(now, then)
    homes = _homes(_read(its["assignments"], ["subgraph_id", "node_id"]), ids, changes)
    touched = distinct(np.concatenate([changes["src"], changes["dst"]]))
    records[COUNTS] = asdict(
        Changes(
            new_edges=int((changes["change"] == "new").sum()),
            removed_edges=int((changes["change"] == "removed").sum()),
            reweighted_edges=int((changes["change"] == "weight").sum()),
            new_nodes=int((~is_among(present, before)).sum()),
            vanished_nodes=int((~is_among(before, present)).sum()),
            nodes=int(is_among(ids[touched], present).sum()),
        )
    )
    yield (
        "edge_changes",
        _with_homes(changes, ids, homes).append_column(
            "base_run_id", pa.array([base_run_id] * len(changes["src"]), pa.string())
        ),
    )
    mine = homes[np.searchsorted(ids, present)]
    yield "assignments", _at_first_level(pa.table({"subgraph_id": mine, "node_id": present}))
    src, dst = homes[now.src], homes[now.dst]
    inside = src == dst
    edges = pa.table({"src": ids[now.src], "dst": ids[now.dst], "weight": now.weight})
    captured = edges.filter(pa.array(inside)).append_column("subgraph_id", pa.array(src[inside]))
    yield "subgraph_edges", _at_first_level(captured)
    border = edges.filter(pa.array(~inside))
    for name, home in (("src_subgraph", src), ("dst_subgraph", dst)):
        border = border.append_column(name, pa.array(home[~inside]))
    yield "border_edges", _at_first_level(border)
    size = int(homes.max(initial=-1)) + 1
    parts = [np.bincount(some, minlength=size) for some in (mine, np.concatenate([src, dst]), src[inside])]
    for number in np.flatnonzero(parts[0]):
        records[int(number)] = {name: int(part[number]) for name, part in zip(PARTS, parts, strict=True)}
    ends = np.concatenate([now.src[~inside], now.dst[~inside]])
    records[COUNTS] |= {"border": int((~inside).sum()), "border_nodes": len(distinct(ends))}


@dataclass(frozen=True)
class Edges:
    """By rising key, src · n + dst: int64[m] positions of the ends, and weights float64[m]."""

    keys: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    weight: np.ndarray

    @staticmethod
    def of(rows: pa.Table, ids: np.ndarray) -> Edges:
        src, dst = (np.searchsorted(ids, rows[name].to_numpy()) for name in TRIPLE[:2])
        keys = src * np.int64(max(1, len(ids))) + dst
        order = np.argsort(keys)
        return Edges(keys[order], src[order], dst[order], rows["weight"].to_numpy()[order])


def changes_between(now: Edges, then: Edges) -> dict[str, np.ndarray]:
    """src, dst int64, positions; change; base_weight, weight, NaN where there is none: of the edges that differ."""
    new, gone = ~is_among(now.keys, then.keys), ~is_among(then.keys, now.keys)
    same, its = np.flatnonzero(~new), np.flatnonzero(~gone)  # the same keys, in the same order
    differ = now.weight[same] != then.weight[its]
    same, its = same[differ], its[differ]
    nothing = np.full(max(len(now.keys), len(then.keys)), np.nan)
    parts = [
        ("new", now.src[new], now.dst[new], nothing[: new.sum()], now.weight[new]),
        ("removed", then.src[gone], then.dst[gone], then.weight[gone], nothing[: gone.sum()]),
        ("weight", now.src[same], now.dst[same], then.weight[its], now.weight[same]),
    ]
    names = ("src", "dst", "base_weight", "weight")
    found = {name: np.concatenate([part[at] for part in parts]) for at, name in enumerate(names, start=1)}
    return found | {"change": np.repeat([part[0] for part in parts], [len(part[1]) for part in parts])}


def _homes(assignments: pa.Table, ids: np.ndarray, changes: dict[str, np.ndarray]) -> np.ndarray:
    """int32[n]: the subgraph of each node of either run; of a new one as kept.homes_of."""
    homes = np.full(len(ids), -1, np.int32)
    homes[np.searchsorted(ids, assignments["node_id"].to_numpy())] = assignments["subgraph_id"].to_numpy()
    last = int(homes.max(initial=0))
    new = np.flatnonzero(homes < 0)
    if last:
        there = ~np.isnan(changes["weight"])
        src, dst, weight = (changes[name][there] for name in TRIPLE)
        ends, others = np.concatenate([src, dst]), np.concatenate([dst, src])
        of_new = homes[ends] < 0
        arcs = {"node_id": ends, "other": others, "weight": np.tile(weight, 2), "home": homes[others]}
        rows = pa.table({name: pa.array(values[of_new]) for name, values in arcs.items()})
        unknown = rows["home"].to_numpy() < 0
        home = pa.array(rows["home"].to_numpy(), mask=unknown)
        joined = join_neighbours(rows.set_column(3, "home", home))
        homes[joined["node_id"].to_numpy()] = joined["subgraph_id"].to_numpy()
    spread = new[homes[new] < 0]
    homes[spread] = ids[spread] % (last + 1)
    return homes


def _with_homes(changes: dict[str, np.ndarray], ids: np.ndarray, homes: np.ndarray) -> pa.Table:
    """Rows of edge_changes, without base_run_id."""
    columns = {f"{end}_subgraph": homes[changes[end]] for end in TRIPLE[:2]}
    columns |= {end: ids[changes[end]] for end in TRIPLE[:2]}
    weights = {name: pa.array(changes[name], mask=np.isnan(changes[name])) for name in ("base_weight", "weight")}
    return pa.table({**columns, **weights, "change": pa.array(changes["change"].tolist(), pa.string())})


def _at_first_level(rows: pa.Table) -> pa.Table:
    return rows.append_column("level", pa.array(np.ones(rows.num_rows, np.int32)))


def _read(files: Sequence[str], columns: Sequence[str]) -> pa.Table:
    rows = table_of(files, columns)
    return rows if rows is not None else pa.table({name: pa.array([], pa.int64()) for name in columns})
