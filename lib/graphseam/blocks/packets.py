"""What blocks send each other: named arrays, packed, never one row per node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

SCHEMA = "key INT, target INT, source INT, name STRING, place LONG, payload BINARY"
ARROW_SCHEMA = pa.schema(
    [
        ("key", pa.int32()),
        ("target", pa.int32()),
        ("source", pa.int32()),
        ("name", pa.string()),
        ("place", pa.int64()),
        ("payload", pa.binary()),
    ]
)
ROW_BYTES = 4 << 20  # payload of one row: Spark copies rows whole, and a few at a time must fit in the heap
PART_BITS = 20  # a row's place: (number of the packet at its source << 20) | number of the part


PACKED = -1  # the source of packets that `pack` made: no block


@dataclass(frozen=True)
class Packet:
    """An array addressed to a block. Only its bytes are sent: the reader must know the type."""

    target: int
    name: str
    values: np.ndarray


class Inbox:
    """What a block receives in a superstep: its own packets and those of others, by name, in the order they were sent.

    rows: (name, source, place, payload). Packets that `pack` made from a table's rows have no order; each of their
    parts is a packet of its own.
    """

    def __init__(self, rows: Iterable[tuple[str, int, int, Any]]) -> None:
        parts: dict[str, dict[tuple[int, int], list[tuple[int, Any]]]] = {}
        for number, (name, source, place, payload) in enumerate(rows):
            packet = (source, place >> PART_BITS if source != PACKED else number)
            parts.setdefault(name, {}).setdefault(packet, []).append((place, payload))
        self._packets = {
            name: [(packet[0], _whole(packets[packet])) for packet in sorted(packets)]
            for name, packets in parts.items()
        }

    def __contains__(self, name: str) -> bool:
        return name in self._packets

    def all(self, name: str, dtype: Any) -> list[tuple[int, np.ndarray]]:
        """(source, array) of every packet of that name, by source; arrays are read-only views."""
        return [(source, np.frombuffer(payload, dtype)) for source, payload in self._packets.get(name, [])]

    def one(self, name: str, dtype: Any) -> np.ndarray:
        """The only array of that name. KeyError if there is none or more than one."""
        found = self.all(name, dtype)
        if len(found) != 1:
            raise KeyError(
                f"{len(found)} packets named {name!r} where one was expected; there are {sorted(self._packets)}"
            )
        return found[0][1]

    def joined(self, name: str, dtype: Any) -> np.ndarray:
        """All arrays of that name, concatenated by source; empty if there is none."""
        arrays = [values for _, values in self.all(name, dtype)]
        return np.concatenate(arrays) if arrays else np.zeros(0, dtype)


def _whole(parts: list[tuple[int, Any]]) -> Any:
    if len(parts) == 1:
        return parts[0][1]
    return b"".join(payload for _, payload in sorted(parts, key=lambda part: part[0]))


def inbox_of(*tables: pa.Table) -> tuple[int, Inbox]:
    """The block and its inbox, from the rows of one key. Payloads are not copied."""
    rows: list[tuple[str, int, int, Any]] = []
    block = -1
    for table in tables:
        for batch in table.to_batches():
            if batch.num_rows:
                block = batch["target"][0].as_py()
            columns = [batch[name].to_pylist() for name in ("name", "source", "place")]
            payloads = (payload.as_buffer() for payload in batch["payload"])
            rows.extend(zip(*columns, payloads, strict=True))
    return block, Inbox(rows)


def packet_batches(packets: Iterable[Packet], source: int, keys: np.ndarray) -> Iterator[pa.RecordBatch]:
    """One batch per part of a packet, at most 4 MB each."""
    for number, packet in enumerate(packets):
        values = np.ascontiguousarray(packet.values).reshape(-1)
        step = max(1, ROW_BYTES // values.itemsize)
        for part, start in enumerate(range(0, max(1, len(values)), step)):
            payload = pa.py_buffer(values[start : start + step])
            offsets = pa.py_buffer(np.array([0, payload.size], np.int32))
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array([int(keys[packet.target])], pa.int32()),
                    pa.array([packet.target], pa.int32()),
                    pa.array([source], pa.int32()),
                    pa.array([packet.name]),
                    pa.array([(number << PART_BITS) | part], pa.int64()),
                    pa.Array.from_buffers(pa.binary(), 1, [None, offsets, payload]),
                ],
                schema=ARROW_SCHEMA,
            )
