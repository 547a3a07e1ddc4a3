"""Supersteps: every block reads its inbox and writes to other blocks' inboxes, on Spark or in this process."""

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

    A block's key hashes to a partition of its own, so packets kept by `keep` never move again: a superstep shuffles
    only what blocks send each other (and their small state). Results do not depend on the order in which packets
    arrive. Nothing is computed until `keep` or `keep_and_sum` is called; a chain of steps is one Spark job.
    """

    def __init__(self, spark: SparkSession, num_blocks: int, checkpoint_dir: str | None = None) -> None:
        """checkpoint_dir: a directory that all executors can reach, where supersteps outlive the executors; None: the
        executors keep them."""
        self.num_blocks, self._spark = num_blocks, spark
        self._checkpoints = Checkpoints(spark, checkpoint_dir) if checkpoint_dir else None
        self._keys = keys_of_partitions(spark, num_blocks)
        self._kept: list[DataFrame] = []

    def pack(self, rows: DataFrame, function: Packer) -> DataFrame:
        """Packets made from a table's rows, without moving them. function: columns of a task's batches -> packets."""

        def pack_columns(batches: Iterator[pa.RecordBatch]) -> Iterable[Packet]:
            return function(
                {name: batch[name].to_numpy(zero_copy_only=False) for name in batch.schema.names} for batch in batches
            )

        return self.pack_batches(rows, pack_columns)

    def pack_batches(
        self, rows: DataFrame, function: Callable[[Iterator[pa.RecordBatch]], Iterable[Packet]]
    ) -> DataFrame:
        """`pack` for columns that have no numpy type."""
        keys = self._keys

        def pack_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            yield from packet_batches(function(batches), PACKED, keys)

        return rows.mapInArrow(pack_rows, SCHEMA)

    def step(self, function: Step, *moving: DataFrame, static: DataFrame | None = None) -> DataFrame:
        """Run `function(block, inbox)` on every block that has a packet; returns the packets it sends. Lazy.

        moving: packets to shuffle to their targets. static: packets kept by `keep`, which stay in place.
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
        """Compute the packets now, keep them until `release` and cut their lineage, so that plans do not grow with the
        supersteps. static: each packet in its target block's partition."""
        with _as_planned(self._spark):
            return self._keep(packets, static, eager=True)

    def keep_and_sum(self, packets: DataFrame, name: str, static: bool = False) -> tuple[DataFrame, np.ndarray]:
        """`keep`, and the sum of the int64 arrays of that name, in one job; one row per block reaches the driver."""
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
        )  # on disk: the heap is needed for the running superstep
        self._kept.append(kept)
        return kept

    def only(self, packets: DataFrame, *names: str) -> DataFrame:
        return packets.where(F.col("name").isin(*names))

    def release(self, *packets: DataFrame) -> None:
        """Free the given kept packets; without arguments, all of them."""
        for kept in packets or list(self._kept):
            if not self._checkpoints:
                kept._jdf.logicalPlan().rdd().unpersist(False)
            self._kept = [other for other in self._kept if other is not kept]
        if self._checkpoints and not packets:
            self._checkpoints.remove()


class LocalEngine:
    """The same supersteps in this process, over lists of (source, packet): for small graphs, and as the reference that
    SparkEngine must match byte for byte."""

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
    """Without adaptive execution, which would replan after every superstep of a job and lose the packets' placement."""
    adaptive = spark.conf.get("spark.sql.adaptive.enabled")
    spark.conf.set("spark.sql.adaptive.enabled", "false")
    try:
        yield
    finally:
        spark.conf.set("spark.sql.adaptive.enabled", str(adaptive))
