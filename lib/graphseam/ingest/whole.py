"""A graph that one task can hold: its nodes, edges, held-out edges and evaluation pairs, by that task.

The rows are those that ingest.graph and pairs make by joins and shuffles, which cost a graph of this size more than all
that is computed of it; a test compares them. For local sessions, where tasks can write the tables' files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.arrays import distinct
from graphseam.config import Config
from graphseam.gathered import gathered
from graphseam.ingest.earlier import KNOWN_BYTES, EarlierFiles
from graphseam.ingest.whole_pairs import PAIR_COLUMNS, draw_whole_pairs
from graphseam.runs import Run
from graphseam.seeds import derive_seed, uniform_of
from graphseam.whole_pairs import WholeEdges

ROW_BYTES = {"integer": 250, "string": 500}  # of the task: a row as it comes in, its ends sorted, and as an edge
SHARE_OF_TASK = 0.5  # of its memory that may be taken
EDGE_ROW, NODE_ROW = 0, 1
TABLES = ("nodes", "edges", "holdout_edges", "evaluation_pairs")
SIDES = np.array([None, "src", "dst", "both"], object)  # by bits
LARGEST_SHIFT = 2.0**62  # numbers and ids that differ by more may have overflown
ROWS_AT_ONCE = 1 << 17


def fits_one_task(run: Run, num_rows: int, id_type: str, earlier: EarlierFiles) -> bool:
    """Whether one task may take all rows of the edges and the ids of earlier runs, and write the tables' files."""
    allowed = run.tasks_read_files and not run.config.input.split
    needed = taken_by_rows(num_rows, id_type) + earlier.first_free * KNOWN_BYTES[id_type] / SHARE_OF_TASK
    return allowed and needed <= run.task_memory_mb(num_tasks=1) << 20


def taken_by_rows(num_rows: int, id_type: str) -> float:
    """Bytes that a task must have to take so many rows of the edges."""
    return num_rows * ROW_BYTES[id_type] / SHARE_OF_TASK


def write_graph(run: Run, edges: DataFrame, nodes: DataFrame | None, earlier: EarlierFiles) -> dict[str, Any]:
    """Write the TABLES from usable rows, in one task; returns what ingest reports of them.

    edges: (src, dst, weight). nodes: (node) or (node, node_type). earlier: the numbers of earlier runs. Cost: every row
    is sent to the task, once.
    """
    no_id, no_type = F.lit(None).cast(edges.schema["src"].dataType), F.lit(None).cast("string")
    names = ("kind", "one", "other", "weight", "type")
    parts = [(edges, (F.lit(EDGE_ROW), F.col("src"), F.col("dst"), F.col("weight"), no_type))]
    if nodes is not None:
        kind = F.col("node_type").cast("string") if "node_type" in nodes.columns else no_type
        parts.append((nodes, (F.lit(NODE_ROW), F.col("node"), no_id, F.lit(0.0), kind)))
    rows, *others = [
        part.select(*[column.alias(name) for name, column in zip(names, columns, strict=True)])
        for part, columns in parts
    ]
    for other in others:
        rows = rows.union(other)
    records, config = gathered(run.spark), run.config

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[str, pa.RecordBatch]]:
        details: dict[str, Any] = {}
        yield from graph_rows(_gathered(batches), config, earlier, details)
        records.add({0: details})

    written = run.tables.write_from(list(TABLES), rows.coalesce(1), work)
    nothing = {"bipartite": False, "id_shift": None}
    found = {name: written[name] for name in ("nodes", "edges", "holdout_edges")}
    return found | nothing | records.value.get(0, {})


def _gathered(batches: Iterator[pa.RecordBatch]) -> pa.Table | None:
    """The rows of a task; None if there are none. Nothing else holds them then."""
    held = list(batches)
    return pa.Table.from_batches(held) if held else None


def graph_rows(
    rows: pa.Table | None, config: Config, earlier: EarlierFiles, details: dict[str, Any]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(table, its rows). details: filled with bipartite, id_shift and the numbers of evaluation pairs."""
    if rows is None:
        return
    kind = rows["kind"].to_numpy()
    edges, others = (rows.filter(pa.array(kind == wanted)) for wanted in (EDGE_ROW, NODE_ROW))
    numbered = Numbered.of(edges, others, earlier)
    del rows
    details |= {"bipartite": numbered.bipartite, "id_shift": numbered.shift()}
    yield from _batches("nodes", numbered.rows(others))
    whole = merged(numbered, edges["weight"].to_numpy(), config)
    held = held_out(whole, config) if config.holds_out else np.zeros(len(whole.src), bool)
    for name, chosen in (("edges", ~held), ("holdout_edges", held)):
        yield from _batches(name, whole.rows(chosen))
    if config.holds_out:
        pairs = draw_whole_pairs(whole, held, numbered.sides == "dst" if numbered.bipartite else None, config, details)
        yield from _batches("evaluation_pairs", pa.table(pairs, names=PAIR_COLUMNS))


def _batches(name: str, rows: pa.Table) -> Iterator[tuple[str, pa.RecordBatch]]:
    for batch in rows.to_batches(ROWS_AT_ONCE):
        yield name, batch


@dataclass(frozen=True)
class Numbered:
    """The nodes in order of their numbers: ids, numbers int64[n], sides. src, dst: int64, the edges' ends as positions
    among them; nodes: those of the rows of the nodes."""

    ids: pa.Array
    numbers: np.ndarray
    sides: np.ndarray
    src: np.ndarray
    dst: np.ndarray
    nodes: np.ndarray

    @staticmethod
    def of(edges: pa.Table, others: pa.Table, earlier: EarlierFiles) -> Numbered:
        """Ids that are known keep their number; the others get the next free ones in order of the id."""
        parts = [_flat(part) for part in (edges["one"], edges["other"], others["one"])]
        ids, at = _ranked(pa.concat_arrays(parts))
        src, dst, nodes = np.split(at, np.cumsum([len(part) for part in parts])[:-1])
        numbers = earlier.first_free + np.arange(len(ids))
        if earlier.first_free:
            known, theirs = earlier.known(ids.type)
            found = pc.index_in(ids, value_set=known)
            old = found.is_valid().to_numpy(zero_copy_only=False)
            numbers = earlier.first_free + np.cumsum(~old) - 1
            numbers[old] = theirs[found.drop_null().to_numpy()]
        bits = np.zeros(len(ids), np.int64)
        for bit, ends in ((1, src), (2, dst)):
            bits[ends] |= bit
        order = np.argsort(numbers, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        sides = SIDES[bits[order]]
        return Numbered(ids.take(pa.array(order)), numbers[order], sides, place[src], place[dst], place[nodes])

    @property
    def bipartite(self) -> bool:
        """Whether no id occurs in both columns of the edges, and some id in one."""
        return bool(len(self.src)) and not (self.sides == "both").any()

    def shift(self) -> int | None:
        """What every integer id differs by from its number; None if it is not one number."""
        if not len(self.ids) or not pa.types.is_integer(self.ids.type):
            return None
        ids = self.ids.to_numpy()
        shift = int(self.numbers[0]) - int(ids[0])
        far = np.abs(self.numbers.astype(float) - ids.astype(float)).max()
        same = far < LARGEST_SHIFT and (self.numbers - ids == shift).all()
        return shift if same else None

    def rows(self, others: pa.Table) -> pa.Table:
        """Rows of nodes. A node with several types has the first in order of the text."""
        types = np.full(len(self.ids), None, object)
        given = np.flatnonzero(others["type"].is_valid().to_numpy())
        if len(given):
            names, at = _ranked(_flat(others["type"]).take(pa.array(given)))
            first = np.full(len(self.ids), len(names))
            np.minimum.at(first, self.nodes[given], at)
            there = first < len(names)
            types[there] = np.array(names.to_pylist(), object)[first[there]]
        return pa.table(
            {
                "node_id": self.numbers,
                "id": self.ids.cast(pa.large_string()),
                "type": pa.array(types, pa.string()),
                "side": pa.array(self.sides, pa.string()),
            }
        )


def _flat(column: pa.ChunkedArray) -> pa.Array:
    """One array; texts of more than 2 GB in all need offsets of 64 bits."""
    kind = pa.large_string() if pa.types.is_string(column.type) else column.type
    return pa.concat_arrays(column.cast(kind).chunks) if column.num_chunks else pa.array([], kind)


def _ranked(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """(the different values in order, texts by their bytes; int64[n]: the position of each value among them)."""
    if pa.types.is_integer(values.type):
        numbers = values.to_numpy()
        found = distinct(numbers)
        return pa.array(found, values.type), np.searchsorted(found, numbers)
    encoded = values.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return encoded.dictionary.take(pa.array(order)), place[encoded.indices.to_numpy()]


def merged(numbered: Numbered, weights: np.ndarray, config: Config) -> WholeEdges:
    """As graph.merge: one edge per pair, loops left out, weights of duplicate edges added in order of size."""
    use = np.flatnonzero(numbered.src != numbered.dst)
    src, dst = numbered.src[use], numbered.dst[use]
    if not config.input.directed:
        src, dst = np.minimum(src, dst), np.maximum(src, dst)
    size = len(numbered.numbers)
    keys = src * size + dst
    if not config.input.weighted:
        keys = distinct(keys)
        return WholeEdges.of(numbered.numbers, keys, np.ones(len(keys)))
    order = np.lexsort((weights[use], keys))
    keys = keys[order]
    first = np.diff(keys, prepend=-1) != 0
    sums = np.bincount(np.cumsum(first) - 1, weights[use][order]) if len(keys) else np.zeros(0)  # one after another
    return WholeEdges.of(numbered.numbers, keys[first], sums)


def held_out(edges: WholeEdges, config: Config) -> np.ndarray:
    """bool[m], as graph.mark_free and graph.hold_out: each node keeps its edge with the highest draw."""
    seed = derive_seed(config.run.seed, "holdout")
    low, high = (edges.numbers[ends] for ends in (np.minimum(edges.src, edges.dst), np.maximum(edges.src, edges.dst)))
    draw = uniform_of(seed, "keep", low, high)
    best = np.full(len(edges.numbers), -1.0)
    for ends in (edges.src, edges.dst):
        np.maximum.at(best, ends, draw)
    free = (draw < best[edges.src]) & (draw < best[edges.dst])
    num_free = int(free.sum())
    chance = min(1.0, config.evaluate.holdout * len(draw) / num_free) if num_free else 0.0
    return free & (uniform_of(seed, "hold out", low, high) < chance)
