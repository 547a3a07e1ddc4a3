"""Refinement of an incremental run: both graphs and the base's vectors to blocks, updated vectors and drift back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
from graphseam.blocks.stages import LocalStages, SparkStages
from graphseam.blocks.store import MemoryStore, Store
from graphseam.gathered import gathered
from graphseam.refine.block_plan import ONE_BLOCK, Blocks, plan_update, update_bytes
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

    None, and the run has no rows there, if the base's vectors do not follow from its neighbourhoods (LEAST_FIT). One
    task does it where it can hold everything; otherwise blocks, for which the edges, the nodes with their ids and the
    base's vectors are shuffled once. Then the cost of `update`.
    Errors: MemoryBudgetError if no number of blocks fits; RunError if the base is gone.
    """
    base = base_named(run, base_run_id)
    files = UpdateFiles.of(run, base, ONE_BLOCK) if fits_one_task(run) else None
    details = _in_one_task(run, base.run_id, files) if files is not None else _in_blocks(run, base)
    if details["fit"] < LEAST_FIT:
        return None
    told = {"base": base.run_id, "window_weight": base.window_weight, "view_widths": base.view_widths}
    return {**details, "fit": round(details["fit"], 4), **told}


def _in_blocks(run: Run, base: Base) -> dict[str, Any]:
    with updated_by_blocks(run, base) as found:
        details = {"fit": found.fit, "blocks": found.blocks, "threads": found.threads}
        if found.fit < LEAST_FIT:
            return details
        vectors = run.tables.write("embeddings", found.rows("embeddings", run.tables.schema("embeddings")))
        run.tables.write("drift", found.rows("drift", run.tables.schema("drift")))
    return {"vectors": vectors, **details}


def fits_one_task(run: Run) -> bool:
    """Whether one task may hold both graphs and all vectors; arrays need no files then."""
    settings, ingested = run.config.refine, run.ingested
    if settings.num_blocks > 1 or not run.tasks_read_files:
        return False
    needed = update_bytes(ingested.nodes, ingested.edges, run.config.embed.dim)
    return needed <= run.task_memory_mb(num_tasks=1) << 20


def _in_one_task(run: Run, base_run_id: str, files: UpdateFiles) -> dict[str, Any]:
    """Update the vectors in one task, which writes the tables."""
    names, dim, seed = ("embeddings", "drift"), run.config.embed.dim, derive_seed(run.config.run.seed, "update")
    threads, records = cores_of_a_task(run.spark, num_tasks=1), gathered(run.spark)
    schemas = {name: run.tables.schema(name) for name in names}

    def work(_: int) -> Iterator[tuple[str, pa.RecordBatch]]:
        task = Task(MemoryStore(), (), threads)
        task.place()
        build_from_files(0, files, task.store, dim)
        fit = update(LocalStages(1), task, dim, SpectralRefiner.length, seed)
        records.add({0: {"fit": fit}})
        if fit >= LEAST_FIT:
            for name, streamed in _streams(task, base_run_id).items():
                for batch in streamed(schemas[name], [0]):
                    yield name, batch

    counts = run.tables.write_in_tasks(list(names), 1, work)
    return {"vectors": counts["embeddings"], **records.value[0], "blocks": 1, "threads": threads}


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

        def rows(name: str, schema: StructType) -> Mapped:
            streamed = _streams(task, base.run_id)[name]

            def stream(batches: Batches) -> Batches:
                for batch in batches:
                    yield from streamed(schema, batch["id"].to_pylist())

            return Mapped(in_tasks, stream, schema)

        yield Updated(blocks.num_blocks, task.threads, fit, rows)
    finally:
        engine.release()
        store.remove()


CHANGED = ("src", "dst", "base_weight", "weight", "src_subgraph", "dst_subgraph")


def pack_changes(batches: Batches, blocks: Blocks) -> Iterator[Packet]:
    """Rows of edge_changes as changes of both directions' entries; a weight that is not there is 0."""
    for batch in batches:
        yield from pack_by_block(*changes_of(batch, blocks), "changes")


def build(block: int, inbox: Inbox, store: Store, dim: int) -> Iterator[Packet]:
    """Put what a block got in the store."""
    nodes = keep_nodes(block, inbox, store)
    parts = [(part["node_id"], part["vector"]) for _, part in inbox.all("start", start_type(dim))]
    known = distinct(np.concatenate([np.zeros(0, np.int64), *[numbers for numbers, _ in parts]]))
    ids = distinct(np.concatenate([nodes, known]))
    entries, changes = inbox.joined("entries", ENTRY), inbox.joined("changes", CHANGE)
    keep(block, store, (ids, known), entries, changes, lambda: start_of(ids, parts, dim))
    yield Packet(block, "built", np.zeros(0, np.int8))


def build_from_files(block: int, files: UpdateFiles, store: Store, dim: int) -> np.ndarray:
    """Put what a block finds in the tables' files in the store."""
    nodes = keep_names(block, files.nodes(block), store)
    known = files.known(block)
    ids = distinct(np.concatenate([nodes, known]))
    with ThreadPoolExecutor(1) as pool:  # which reads the vectors while this thread sorts entries
        start = pool.submit(start_of, ids, files.start(known), dim)
        keep(block, store, (ids, known), files.entries(block), files.changes(block), start.result)
    return NO_SUMS


def start_of(ids: np.ndarray, parts: Iterable[tuple[np.ndarray, np.ndarray]], dim: int) -> np.ndarray:
    """float32[m, dim]: the vectors of the ids, zeros of those that have none. parts: (numbers, vectors) of some."""
    base = np.zeros((len(ids), dim), np.float32)
    for some, vectors in parts:
        base[find_rows(ids, some)] = vectors
    return base


def keep(
    block: int,
    store: Store,
    numbers: tuple[np.ndarray, np.ndarray],
    entries: np.ndarray,
    changes: np.ndarray,
    start: Callable[[], np.ndarray],
) -> None:
    """Put both graphs' rows and the base's vectors in the store. The rows are those of both runs' nodes.

    numbers: rising, of both runs' nodes, and of those of the base alone. start: gives the vectors, of `start_of`.
    """
    ids, known = numbers
    now = Rows.build(block, ids, *(entries[name] for name in ("src", "dst", "dst_block", "weight")))
    now.keep(block, store)
    before = before_changes(entries, changes)
    earlier = Rows.build(block, ids, *(before[name] for name in ("src", "dst", "dst_block", "weight")))
    replace(earlier, matrix=BEFORE).keep(block, store)
    base = start()
    store.put(block, BASE, base)
    touched = is_among(ids, distinct(changes["src"]))
    store.put(block, "known", is_among(ids, known))
    store.put(block, TOUCHED, touched)
    store.put(block, UNCHANGED, base.any(axis=1) & (now.degrees > 0) & ~touched)
    store.put(block, DEGREES, np.bincount(find_rows(ids, entries["src"]), minlength=len(ids)))


def before_changes(entries: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """The base's entries: those of now, without what the changes added, with what they took away; one per changed
    pair."""
    size = 1 + max(rows["dst"].max(initial=0) for rows in (entries, changes))
    changed = distinct(changes["src"] * size + changes["dst"])
    at_changed = np.flatnonzero(is_among(entries["src"] * size + entries["dst"], changed))
    parts = [entries[at_changed]]
    for name, sign in (("now", -1.0), ("before", 1.0)):
        part = np.empty(len(changes), ENTRY)
        for column in ("src", "dst", "dst_block"):
            part[column] = changes[column]
        part["weight"] = sign * changes[name]
        parts.append(part)
    both = np.concatenate(parts)
    both = both[np.lexsort((both["weight"], both["dst"], both["src"]))]
    if not len(both):
        return entries
    first = np.flatnonzero((np.diff(both["src"], prepend=-1) != 0) | (np.diff(both["dst"], prepend=-1) != 0))
    found = both[first]
    found["weight"] = np.add.reduceat(both["weight"], first)
    found = found[found["weight"] > NOTHING * np.add.reduceat(np.abs(both["weight"]), first)]
    return np.concatenate([np.delete(entries, at_changed), found])


Streamed = Callable[[StructType, list[int]], Batches]


def _streams(task: Task, base_run_id: str) -> dict[str, Streamed]:
    """{table: a function that makes the rows of these blocks, from its schema and their numbers}."""

    def of_vectors(block: int, some: np.ndarray) -> dict[str, pa.Array]:
        return {}

    def of_drift(block: int, some: np.ndarray) -> dict[str, pa.Array]:
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

    return {name: partial(_rows_of, task, of) for name, of in (("embeddings", of_vectors), ("drift", of_drift))}


def _rows_of(
    task: Task, columns: Callable[[int, np.ndarray], dict[str, pa.Array]], schema: StructType, blocks: list[int]
) -> Batches:
    """What the blocks' nodes of now are given as rows of a table, with their ids and, if it has them, vectors."""
    wanted = to_arrow_schema(schema)
    for block in blocks:
        nodes, vectors = kept_nodes(block, task.store), task.store.get(block, UPDATED)
        rows = find_rows(Rows.kept(block, task.store).node_ids, nodes["node_id"].to_numpy())
        for part in slices(len(rows), 4 * vectors.shape[1]):
            some, held = rows[part], nodes.slice(part.start, part.stop - part.start)
            found = {name: held[name].combine_chunks() for name in ("node_id", "id")}
            found |= columns(block, some)
            if "vector" in wanted.names:
                found["vector"] = vector_column(vectors[some], wanted.field("vector").type)
            yield pa.RecordBatch.from_arrays([found[name] for name in wanted.names], schema=wanted)
