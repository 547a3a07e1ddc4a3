"""Supersteps: every block reads its inbox and writes to others'. On Spark, or in this process for small graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from graphseam.blocks.packets import ARROW_SCHEMA, PACKED, PART_BITS, SCHEMA, Inbox, Packet, inbox_of, packet_batches
from graphseam.checkpoints import Checkpoints
from graphseam.spark_line import keys_of_partitions, local_checkpoint, map_group_pairs, map_groups

Step = Callable[[int, Inbox], Iterable[Packet]]
Packer = Callable[[Iterator[dict[str, np.ndarray]]], Iterable[Packet]]


class SparkEngine:
    """Supersteps as grouped Arrow maps over packets; one block is one group, one partition, one task.

    A block's own key hashes to its own partition, so that packets kept by `keep` never move again: a superstep
    shuffles only what blocks send each other (and their small state). Results do not depend on the order in which
    packets arrive. Nothing is computed until `keep` or `keep_and_sum` asks; a chain of steps is one Spark job.
    """

    def __init__(self, spark: SparkSession, num_blocks: int, checkpoint_dir: str | None = None) -> None:
        """checkpoint_dir: a directory all executors reach, where supersteps outlive them; None: they keep their own."""
        self.num_blocks, self._spark = num_blocks, spark
        self._checkpoints = Checkpoints(spark, checkpoint_dir) if checkpoint_dir else None
        self._keys = keys_of_partitions(spark, num_blocks)
        self._kept: list[DataFrame] = []

    def pack(self, rows: DataFrame, function: Packer) -> DataFrame:
        """Packets made of a table's rows, where they lie. function: the columns of a task's batches -> packets."""

        def pack_columns(batches: Iterator[pa.RecordBatch]) -> Iterable[Packet]:
            return function(
                {name: batch[name].to_numpy(zero_copy_only=False) for name in batch.schema.names} for batch in batches
            )

        return self.pack_batches(rows, pack_columns)

    def pack_batches(
        self, rows: DataFrame, function: Callable[[Iterator[pa.RecordBatch]], Iterable[Packet]]
    ) -> DataFrame:
        """`pack` for columns that numpy has no type for."""
        keys = self._keys

        def pack_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from packet_batches(function(batches), PACKED, keys)

        return rows.mapInArrow(pack_rows, SCHEMA)

    def step(self, function: Step, *moving: DataFrame, static: DataFrame | None = None) -> DataFrame:
        """Run `function(block, inbox)` on every block that has a packet; returns what it sent. Lazy.

        moving: packets that are shuffled to their targets. static: packets kept by `keep`, which stay in place.
        """
        keys = self._keys

        def answer(*tables: pa.Table) -> pa.Table:
            block, inbox = inbox_of(*tables)
            return pa.Table.from_batches(list(packet_batches(function(block, inbox), block, keys)), ARROW_SCHEMA)

        def run(sent: pa.Table) -> pa.Table:
            return answer(sent)

        def run_pair(kept: pa.Table, sent: pa.Table) -> pa.Table:
            return answer(kept, sent)

        if not moving:
            assert static is not None
            return map_groups(static, "key", run, SCHEMA, in_place=True)
        sent = reduce(DataFrame.union, moving).repartition(self.num_blocks, "key")
        if static is None:
            return map_groups(sent, "key", run, SCHEMA, in_place=True)
        return map_group_pairs(static, sent, ("key", "key"), run_pair, SCHEMA)

    def keep(self, packets: DataFrame, static: bool = False) -> DataFrame:
        """Compute the packets now, keep them until `release`, and forget how they came to be: no plan grows with the
        supersteps. static: in their blocks' places."""
        with _as_planned(self._spark):
            return self._keep(packets, static, eager=True)

    def keep_and_sum(self, packets: DataFrame, name: str, static: bool = False) -> tuple[DataFrame, np.ndarray]:
        """`keep`, and the sum of the int64 arrays of that name, in one job; one row a block reaches the driver."""
        with _as_planned(self._spark):
            kept = self._keep(packets, static, eager=False)
            rows = kept.where(F.col("name") == name).select("payload").collect()
        return kept, np.sum([np.frombuffer(row["payload"], np.int64) for row in rows], axis=0)

    def _keep(self, packets: DataFrame, static: bool, eager: bool) -> DataFrame:
        placed = packets.repartition(self.num_blocks, "key") if static else packets
        kept = (
            self._checkpoints.keep(placed)
            if self._checkpoints
            else local_checkpoint(placed, eager, StorageLevel.DISK_ONLY)
        )  # the heap is for what is being worked on
        self._kept.append(kept)
        return kept

    def only(self, packets: DataFrame, *names: str) -> DataFrame:
        return packets.where(F.col("name").isin(*names))

    def release(self, *packets: DataFrame) -> None:
        """Free what was kept; without arguments, all of it."""
        for kept in packets or list(self._kept):
            if not self._checkpoints:
                kept._jdf.logicalPlan().rdd().unpersist(False)
            self._kept = [other for other in self._kept if other is not kept]
        if self._checkpoints and not packets:
            self._checkpoints.remove()


class LocalEngine:
    """The same supersteps in this process, over lists of (source, packet): for graphs that need no cluster, and as
    the reference that SparkEngine must equal byte for byte."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks

    def pack(self, rows: dict[str, np.ndarray], function: Packer) -> list[tuple[int, Packet]]:
        return [(PACKED, packet) for packet in function(iter([rows]))]

    def step(
        self, function: Step, *moving: list[tuple[int, Packet]], static: list[tuple[int, Packet]] | None = None
    ) -> list[tuple[int, Packet]]:
        inboxes: dict[int, list[tuple[str, int, int, Any]]] = {}
        for packets in (static or [], *moving):
            for number, (source, packet) in enumerate(packets):
                payload = np.ascontiguousarray(packet.values).tobytes()
                inboxes.setdefault(packet.target, []).append((packet.name, source, number << PART_BITS, payload))
        return [(block, packet) for block in sorted(inboxes) for packet in function(block, Inbox(inboxes[block]))]

    def keep(self, packets: list[tuple[int, Packet]], static: bool = False) -> list[tuple[int, Packet]]:
        return packets

    def keep_and_sum(
        self, packets: list[tuple[int, Packet]], name: str, static: bool = False
    ) -> tuple[list[tuple[int, Packet]], np.ndarray]:
        return packets, np.sum([packet.values for _, packet in packets if packet.name == name], axis=0)

    def only(self, packets: list[tuple[int, Packet]], *names: str) -> list[tuple[int, Packet]]:
        return [(source, packet) for source, packet in packets if packet.name in names]

    def release(self, *packets: list[tuple[int, Packet]]) -> None:
        pass


@contextmanager
def _as_planned(spark: SparkSession) -> Iterator[None]:
    """Without adaptive execution, which plans anew after every superstep of a job and forgets where packets lie."""
    adaptive = spark.conf.get("spark.sql.adaptive.enabled")
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    try:
        yield
    finally:
        spark.conf.set("spark.sql.adaptive.enabled", str(adaptive))
