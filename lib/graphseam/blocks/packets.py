"""What travels between blocks: named arrays, packed, never a row a node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

SCHEMA = "key INT, target INT, source INT, name STRING, payload BINARY"
ARROW_SCHEMA = pa.schema([("key", pa.int32()), ("target", pa.int32()), ("source", pa.int32()), ("name", pa.string()),
                          ("payload", pa.binary())])


@dataclass(frozen=True)
class Packet:
    """An array on its way to a block. The reader knows its type: bytes are what is sent."""

    target: int
    name: str
    values: np.ndarray


class Inbox:
    """What a block finds in a superstep: its own packets and those of others, by name, in the order of their source."""

    def __init__(self, rows: Iterable[tuple[str, int, Any]]) -> None:
        self._packets: dict[str, list[tuple[int, Any]]] = {}
        for name, source, payload in rows:
            self._packets.setdefault(name, []).append((source, payload))
        for packets in self._packets.values():
            packets.sort(key=lambda packet: packet[0])

    def __contains__(self, name: str) -> bool:
        return name in self._packets

    def all(self, name: str, dtype: Any) -> list[tuple[int, np.ndarray]]:
        """(source, array) of every packet of that name, by source; arrays are read-only views."""
        return [(source, np.frombuffer(payload, dtype)) for source, payload in self._packets.get(name, [])]

    def one(self, name: str, dtype: Any) -> np.ndarray:
        """The only array of that name. KeyError where there is none or are several."""
        found = self.all(name, dtype)
        if len(found) != 1:
            raise KeyError(f"{len(found)} packets named {name!r} where one was expected; "
                           f"there are {sorted(self._packets)}")
        return found[0][1]

    def joined(self, name: str, dtype: Any) -> np.ndarray:
        """All arrays of that name one after another, by source; empty where there is none."""
        arrays = [values for _, values in self.all(name, dtype)]
        return np.concatenate(arrays) if arrays else np.zeros(0, dtype)


def inbox_of(*tables: pa.Table) -> tuple[int, Inbox]:
    """The block and its inbox, from the rows of one key. Payloads are not copied."""
    rows: list[tuple[str, int, Any]] = []
    block = -1
    for table in tables:
        for batch in table.to_batches():
            if batch.num_rows:
                block = batch["target"][0].as_py()
            names, sources, payloads = batch["name"].to_pylist(), batch["source"].to_pylist(), batch["payload"]
            rows.extend((name, source, payloads[place].as_buffer())
                        for place, (name, source) in enumerate(zip(names, sources, strict=True)))
    return block, Inbox(rows)


def packet_batches(packets: Iterable[Packet], source: int, keys: np.ndarray) -> Iterator[pa.RecordBatch]:
    """One batch a packet, so that no batch outgrows Arrow's 2 GB of binary."""
    for packet in packets:
        payload = pa.py_buffer(np.ascontiguousarray(packet.values))
        offsets = pa.py_buffer(np.array([0, payload.size], np.int32))
        yield pa.RecordBatch.from_arrays([
            pa.array([int(keys[packet.target])], pa.int32()), pa.array([packet.target], pa.int32()),
            pa.array([source], pa.int32()), pa.array([packet.name]),
            pa.Array.from_buffers(pa.binary(), 1, [None, offsets, payload]),
        ], schema=ARROW_SCHEMA)
