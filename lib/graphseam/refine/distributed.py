"""Refinement in blocks on Spark: the run's tables in, vectors out; no task holds more than its block and halo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.arrow import vector_column, vector_matrix
from graphseam.blocks.engine import SparkEngine
from graphseam.blocks.layout import pack_by_block, rows_by_block
from graphseam.blocks.packets import Inbox, Packet
from graphseam.blocks.stages import SparkStages
from graphseam.blocks.store import FileStore, Store
from graphseam.columns import TRIPLE
from graphseam.edges import with_id_of
from graphseam.errors import ConfigError
from graphseam.refine.block_plan import Blocks
from graphseam.refine.rounds import Task
from graphseam.refine.rows import Rows, find_rows
from graphseam.refine.spectral import Projection, SpectralRefiner
from graphseam.runs import Run
from graphseam.session import cores_of_a_task, in_one_process
from graphseam.task_files import Mapped

ENTRY = np.dtype([("src", "<i8"), ("dst", "<i8"), ("dst_block", "<i4"), ("weight", "<f8")])  # packed: 28 bytes
Batches = Iterator[pa.RecordBatch]


@contextmanager
def refined_by_blocks(
    run: Run, refiner: SpectralRefiner, blocks: Blocks, start: DataFrame, seed: int, details: dict[str, Any]
) -> Iterator[Mapped]:
    """(node_id, id, vector), one row per node; the rows are valid inside the `with` block.

    start: (node_id, subgraph_id, vector) that refinement starts from. details: filled with what the run records about
    the refinement. Cost: one shuffle each of the edges, of the nodes with their ids and of the start vectors, then two
    supersteps per pass over the edges, in which only the vectors of halo nodes move. A block's own vectors stay in
    files; on a cluster these are where every executor can reach them, so that a lost executor costs at most the
    superstep it was in.
    """
    store, checkpoints = store_of(run), run.checkpoint_dir()
    engine = SparkEngine(run.spark, blocks.num_blocks, f"{checkpoints}/refine" if checkpoints else None)
    stages = SparkStages(run.spark, blocks.num_blocks)
    dim, threads = run.config.embed.dim, cores_of_a_task(run.spark, num_tasks=stages.num_tasks)
    task = Task(store, refiner.views, threads, in_common=blocks.in_common)
    try:
        packed = [
            engine.pack_batches(rows, partial(pack, blocks=blocks))
            for rows, pack in [*block_inputs(run), (start, pack_start)]
        ]
        engine.release(engine.keep(engine.step(partial(build, store=store, dim=dim), *packed)))
        projection = refiner.run(stages, task, dim, seed)
        details.update(blocks=blocks.num_blocks, threads=threads, **projection.details)
        output = run.tables.arrow_schema("embeddings")
        blocks_in_tasks = run.spark.range(0, blocks.num_blocks, 1, stages.num_tasks)
        yield Mapped(blocks_in_tasks, _written(projection, task, output), run.tables.schema("embeddings"))
    finally:
        engine.release()
        store.remove()


def store_of(run: Run) -> FileStore:
    """Where every executor reaches the blocks' arrays. ConfigError if no such place is known."""
    if in_one_process(run.spark):
        return FileStore.temporary()
    folder = run.checkpoint_dir()
    if folder is None:
        raise ConfigError(
            "refinement in blocks keeps vectors where every executor can reach them; set "
            "spark.checkpoint.dir to a shared folder, or give output.root instead of output.catalog"
        )
    return FileStore(f"{folder}/vectors")


def block_inputs(run: Run) -> Iterator[tuple[DataFrame, Callable[..., Iterator[Packet]]]]:
    """The run's edges and nodes, each with the function that packs them by block."""
    home = F.col("subgraph_id")
    inside = run.tables.read("subgraph_edges", level=1).select(
        *TRIPLE, home.alias("src_subgraph"), home.alias("dst_subgraph")
    )
    cut = run.tables.read("border_edges", level=1).select(*TRIPLE, "src_subgraph", "dst_subgraph")
    yield inside, pack_entries
    yield cut, pack_entries
    placed = run.tables.read("assignments", level=1).select("node_id", "subgraph_id")
    yield with_id_of(placed, "node_id", "id", run.tables.read("nodes"), run.ingested.id_shift), pack_nodes


def pack_entries(batches: Batches, blocks: Blocks) -> Iterator[Packet]:
    """Edges (src, dst, weight, src_subgraph, dst_subgraph) as entries of both directions."""
    for batch in batches:
        yield from pack_by_block(*entries_of(batch, blocks), "entries")


def entries_of(batch: pa.RecordBatch, blocks: Blocks) -> tuple[np.ndarray, np.ndarray]:
    """`both_directions` of edges."""
    return both_directions(batch, blocks, ENTRY, {"weight": batch["weight"].to_numpy()})


def both_directions(
    batch: pa.RecordBatch, blocks: Blocks, kind: np.dtype[Any], values: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """(the block of each entry, entries of that kind with src, dst, dst_block and the values): each row from both of
    its ends.

    batch: (src, dst, src_subgraph, dst_subgraph, …). values: of each row.
    """
    ends = [batch[name].to_numpy() for name in ("src", "dst")]
    places = [
        blocks.of(batch[f"{name}_subgraph"].to_numpy(), ids) for name, ids in zip(("src", "dst"), ends, strict=True)
    ]
    entries = np.empty(2 * batch.num_rows, kind)
    entries["src"], entries["dst"] = np.concatenate(ends), np.concatenate(ends[::-1])
    entries["dst_block"] = np.concatenate(places[::-1])
    for name, column in values.items():
        entries[name] = np.tile(column, 2)
    return np.concatenate(places), entries


def pack_nodes(batches: Batches, blocks: Blocks) -> Iterator[Packet]:
    """Nodes (node_id, subgraph_id, id) as small Arrow streams: ids are strings of any length."""
    for batch in batches:
        places = blocks.of(batch["subgraph_id"].to_numpy(), batch["node_id"].to_numpy())
        for block, rows in rows_by_block(places):
            yield from _arrow_packets(block, batch.select(["node_id", "id"]).take(pa.array(rows)))


def _arrow_packets(block: int, rows: pa.RecordBatch) -> Iterator[Packet]:
    """Below 4 MB each: parts of a packet made by `pack` arrive separately, so each must be readable by itself."""
    if rows.num_rows > 1 and rows.nbytes > 2 << 20:
        half = rows.num_rows // 2
        yield from _arrow_packets(block, rows.slice(0, half))
        yield from _arrow_packets(block, rows.slice(half))
        return
    yield Packet(block, "nodes", _arrow_bytes(rows))


def _arrow_bytes(rows: pa.RecordBatch | pa.Table) -> np.ndarray:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write(rows)
    return np.frombuffer(sink.getvalue(), np.uint8)


def _arrow_table(values: np.ndarray) -> pa.Table:
    return pa.ipc.open_stream(values).read_all()


def pack_start(batches: Batches, blocks: Blocks) -> Iterator[Packet]:
    """Fused vectors (node_id, subgraph_id, vector)."""
    for batch in batches:
        if batch.num_rows == 0:
            continue
        vectors, ids = vector_matrix(batch["vector"]), batch["node_id"].to_numpy()
        records = np.empty(batch.num_rows, start_type(vectors.shape[1]))
        records["node_id"], records["vector"] = ids, vectors
        yield from pack_by_block(blocks.of(batch["subgraph_id"].to_numpy(), ids), records, "start")


def start_type(dim: int) -> np.dtype[Any]:
    """Of packed start vectors."""
    return np.dtype([("node_id", "<i8"), ("vector", "<f4", (dim,))])


def keep_nodes(block: int, inbox: Inbox, store: Store) -> np.ndarray:
    """Put the block's (node_id, id), in order of the number, in the store; returns the numbers."""
    parts = [_arrow_table(values) for _, values in inbox.all("nodes", np.uint8)]
    if not parts:  # all of its nodes have gone
        parts = [pa.table({"node_id": pa.array([], pa.int64()), "id": pa.array([], pa.string())})]
    return keep_names(block, pa.concat_tables(parts).sort_by("node_id").combine_chunks(), store)


def keep_names(block: int, nodes: pa.Table, store: Store) -> np.ndarray:
    """As `keep_nodes`, of (node_id, id) in that order."""
    store.put(block, "nodes", _arrow_bytes(nodes))
    numbers: np.ndarray = nodes["node_id"].to_numpy()
    return numbers


def kept_nodes(block: int, store: Store) -> pa.Table:
    """(node_id, id) of the block's nodes."""
    return _arrow_table(store.get(block, "nodes")).combine_chunks()


def build(block: int, inbox: Inbox, store: FileStore, dim: int) -> Iterator[Packet]:
    """Put the block's rows, ids and start vectors in the store."""
    nodes = keep_nodes(block, inbox, store)
    entries = inbox.joined("entries", ENTRY)
    rows = Rows.build(block, nodes, entries["src"], entries["dst"], entries["dst_block"], entries["weight"])
    rows.keep(block, store)
    start = np.zeros((rows.num_rows, dim), np.float32)
    for _, records in inbox.all("start", start_type(dim)):
        start[find_rows(rows.node_ids, records["node_id"])] = records["vector"]
    store.put(block, "start", start)
    yield Packet(block, "built", np.zeros(0, np.int8))


def _written(projection: Projection, task: Task, schema: pa.Schema) -> Callable[[Batches], Batches]:
    """Each block's vectors with their ids, as rows of EMBEDDINGS."""

    def written(batches: Batches) -> Batches:
        for batch in batches:
            for block in batch["id"].to_pylist():
                task.place()
                nodes = kept_nodes(block, task.store)
                for part, vectors in projection.vectors(block, task):
                    rows = nodes.slice(part.start, part.stop - part.start)
                    columns = {
                        "node_id": rows["node_id"].combine_chunks(),
                        "id": rows["id"].combine_chunks(),
                        "vector": vector_column(vectors, schema.field("vector").type),
                    }
                    yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    return written
