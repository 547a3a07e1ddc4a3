"""Refinement of an incremental run: both graphs and the base's vectors to blocks, updated vectors and drift back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from graphseam.arrays import distinct, is_among
from graphseam.arrow import slices, vector_column
from graphseam.base_run import EDGES, NEW, SAME, Base, base_named
from graphseam.blocks.engine import SparkEngine
from graphseam.blocks.layout import pack_by_block
from graphseam.blocks.packets import Inbox, Packet
from graphseam.blocks.stages import SparkStages
from graphseam.blocks.store import FileStore
from graphseam.refine.block_plan import Blocks, plan_update
from graphseam.refine.distributed import (
    ENTRY,
    block_inputs,
    keep_names,
    keep_nodes,
    kept_nodes,
    pack_start,
    start_type,
    store_of,
)
from graphseam.refine.rounds import NO_SUMS, Task
from graphseam.refine.rows import Rows, find_rows
from graphseam.refine.spectral import SpectralRefiner
from graphseam.refine.update import BASE, BEFORE, TOUCHED, UNCHANGED, UPDATED, update
from graphseam.refine.update_files import CHANGE, UpdateFiles, changes_of
from graphseam.runs import Run
from graphseam.seeds import derive_seed
from graphseam.session import cores_of_a_task
from graphseam.task_files import Mapped
from graphseam.vectors import row_cosines

LEAST_FIT = 0.5  # below, the base's vectors do not follow from the neighbourhoods: refinement starts from them instead
NOTHING = 1e-9  # of a pair's weights: what is left of them is an error of rounding
DEGREES = "edge_ends"  # array in the store: embedded edges of each node now
Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class Updated:
    """Updated vectors in the blocks' store. fit: see update.update."""

    blocks: int
    threads: int
    fit: float
    rows: Callable[[str, StructType], Mapped]  # of embeddings or of drift, to be written into that table


def update_vectors(run: Run, base_run_id: str) -> dict[str, Any] | None:
    """Write embeddings and drift of a run that has kept the partition of its base; returns the details.

    None, and nothing is written, if the base's vectors do not follow from its neighbourhoods (LEAST_FIT).
    Cost: one shuffle each of the edges, the nodes with their ids and the base's vectors, then that of `update`.
    Errors: MemoryBudgetError if no number of blocks fits; RunError if the base is gone.
    """
    base = base_named(run, base_run_id)
    with updated_by_blocks(run, base) as found:
        if found.fit < LEAST_FIT:
            return None
        vectors = run.tables.write("embeddings", found.rows("embeddings", run.tables.schema("embeddings")))
        run.tables.write("drift", found.rows("drift", run.tables.schema("drift")))
    return {
        "vectors": vectors,
        "base": base.run_id,
        "fit": round(found.fit, 4),
        "blocks": found.blocks,
        "threads": found.threads,
        "window_weight": base.window_weight,
        "view_widths": base.view_widths,
    }


@contextmanager
def updated_by_blocks(run: Run, base: Base) -> Iterator[Updated]:
    """The updated vectors, valid inside the `with` block."""
    blocks, dim, store, checkpoints = plan_update(run), run.config.embed.dim, store_of(run), run.checkpoint_dir()
    engine = SparkEngine(run.spark, blocks.num_blocks, f"{checkpoints}/refine" if checkpoints else None)
    stages = SparkStages(run.spark, blocks.num_blocks)
    task = Task(store, (), cores_of_a_task(run.spark, num_tasks=stages.num_tasks))
    homes = base.tables.read("assignments", level=1).select("node_id", "subgraph_id")
    vectors = base.tables.read("embeddings").select("node_id", "vector").join(homes, on="node_id")
    changes = run.tables.read("edge_changes")
    files = UpdateFiles.of(run, base, blocks)
    try:
        if files is not None:
            stages.run(partial(build_from_files, files=files, store=store, dim=dim))
        else:
            packed = [
                engine.pack_batches(rows, partial(pack, blocks=blocks))
                for rows, pack in [
                    *block_inputs(run),
                    (changes.select(*CHANGED), pack_changes),
                    (vectors.select("node_id", "subgraph_id", "vector"), pack_start),
                ]
            ]
            engine.release(engine.keep(engine.step(partial(build, store=store, dim=dim), *packed)))
        fit = update(stages, task, dim, SpectralRefiner.length, derive_seed(run.config.run.seed, "update"))
        in_tasks = run.spark.range(0, blocks.num_blocks, 1, stages.num_tasks)
        streams = {"embeddings": _vectors_of(task), "drift": _drift_of(task, base.run_id)}
        yield Updated(
            blocks.num_blocks, task.threads, fit, lambda name, schema: Mapped(in_tasks, streams[name](schema), schema)
        )
    finally:
        engine.release()
        store.remove()


CHANGED = ("src", "dst", "base_weight", "weight", "src_subgraph", "dst_subgraph")


def pack_changes(batches: Batches, blocks: Blocks) -> Iterator[Packet]:
    """Rows of edge_changes as changes of both directions' entries; a weight that is not there is 0."""
    for batch in batches:
        yield from pack_by_block(*changes_of(batch, blocks), "changes")


def build(block: int, inbox: Inbox, store: FileStore, dim: int) -> Iterator[Packet]:
    """Put what a block got in the store."""
    nodes = keep_nodes(block, inbox, store)
    parts = [(part["node_id"], part["vector"]) for _, part in inbox.all("start", start_type(dim))]
    keep(block, store, nodes, inbox.joined("entries", ENTRY), inbox.joined("changes", CHANGE), parts, dim)
    yield Packet(block, "built", np.zeros(0, np.int8))


def build_from_files(block: int, files: UpdateFiles, store: FileStore, dim: int) -> np.ndarray:
    """Put what a block finds in the tables' files in the store."""
    nodes = keep_names(block, files.nodes(block), store)
    keep(block, store, nodes, files.entries(block), files.changes(block), list(files.start(block)), dim)
    return NO_SUMS


def keep(
    block: int,
    store: FileStore,
    nodes: np.ndarray,
    entries: np.ndarray,
    changes: np.ndarray,
    start: list[tuple[np.ndarray, np.ndarray]],
    dim: int,
) -> None:
    """Put both graphs' rows and the base's vectors in the store. The rows are those of both runs' nodes.

    nodes: of now. start: (numbers, vectors) of the base's nodes.
    """
    known = distinct(np.concatenate([np.zeros(0, np.int64), *[numbers for numbers, _ in start]]))
    ids = distinct(np.concatenate([nodes, known]))
    now = Rows.build(block, ids, *(entries[name] for name in ("src", "dst", "dst_block", "weight")))
    now.keep(block, store)
    before = before_changes(entries, changes)
    earlier = Rows.build(block, ids, *(before[name] for name in ("src", "dst", "dst_block", "weight")))
    replace(earlier, matrix=BEFORE).keep(block, store)
    base = np.zeros((len(ids), dim), np.float32)
    for numbers, vectors in start:
        base[find_rows(ids, numbers)] = vectors
    store.put(block, BASE, base)
    touched = is_among(ids, distinct(changes["src"]))
    store.put(block, "known", is_among(ids, known))
    store.put(block, TOUCHED, touched)
    store.put(block, UNCHANGED, base.any(axis=1) & (now.degrees > 0) & ~touched)
    store.put(block, DEGREES, np.bincount(find_rows(ids, entries["src"]), minlength=len(ids)))


def before_changes(entries: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """The base's entries, one per pair: those of now, without what the changes added, with what they took away."""
    parts = [entries]
    for name, sign in (("now", -1.0), ("before", 1.0)):
        part = np.empty(len(changes), ENTRY)
        for column in ("src", "dst", "dst_block"):
            part[column] = changes[column]
        part["weight"] = sign * changes[name]
        parts.append(part)
    both = np.concatenate(parts)
    both = both[np.lexsort((both["weight"], both["dst"], both["src"]))]
    if not len(both):
        return both
    first = np.flatnonzero((np.diff(both["src"], prepend=-1) != 0) | (np.diff(both["dst"], prepend=-1) != 0))
    found = both[first]
    found["weight"] = np.add.reduceat(both["weight"], first)
    return found[found["weight"] > NOTHING * np.add.reduceat(np.abs(both["weight"]), first)]


def _vectors_of(task: Task) -> Callable[[StructType], Callable[[Batches], Batches]]:
    """Rows of embeddings."""
    return lambda schema: _streamed(task, schema, lambda block, some: {})


def _drift_of(task: Task, base_run_id: str) -> Callable[[StructType], Callable[[Batches], Batches]]:
    """Rows of drift."""

    def columns(block: int, some: np.ndarray) -> dict[str, pa.Array]:
        store = task.store
        known, touched = store.get(block, "known")[some], store.get(block, TOUCHED)[some]
        cosine = row_cosines(store.get(block, BASE)[some], store.get(block, UPDATED)[some])
        change = np.where(known, np.where(touched, EDGES, SAME), NEW)
        return {
            "base_run_id": pa.array([base_run_id] * len(some)),
            "change": pa.array(change),
            "degree": pa.array(store.get(block, DEGREES)[some]),
            "cosine": pa.array(cosine, mask=np.isnan(cosine)),
        }

    return lambda schema: _streamed(task, schema, columns)


def _streamed(
    task: Task, schema: StructType, columns: Callable[[int, np.ndarray], dict[str, pa.Array]]
) -> Callable[[Batches], Batches]:
    """What a block's nodes of now are given as rows of a table, with their ids and, if it has them, vectors."""
    wanted = to_arrow_schema(schema)

    def stream(batches: Batches) -> Batches:
        for batch in batches:
            for block in batch["id"].to_pylist():
                nodes, vectors = kept_nodes(block, task.store), task.store.get(block, UPDATED)
                rows = find_rows(Rows.kept(block, task.store).node_ids, nodes["node_id"].to_numpy())
                for part in slices(len(rows), 4 * vectors.shape[1]):
                    some, held = rows[part], nodes.slice(part.start, part.stop - part.start)
                    found = {name: held[name].combine_chunks() for name in ("node_id", "id")}
                    found |= columns(block, some)
                    if "vector" in wanted.names:
                        found["vector"] = vector_column(vectors[some], wanted.field("vector").type)
                    yield pa.RecordBatch.from_arrays([found[name] for name in wanted.names], schema=wanted)

    return stream
