"""The exact search for nearest vectors: the same nodes on the device as on the CPU, and how fast."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from gpu.inputs import SEED, Sizes
from gpu.machine import Machine, timers
from gpu.results import Results
from graphseam.predict import group_search
from graphseam.predict.group_search import BOTH, Members, search_group, wanted_of
from graphseam.vectors import unit_rows

CENTRES = 200  # of the made-up vectors: neighbours that are worth finding, and twins, which are ties
TWINS = 100


def run(results: Results, machine: Machine, sizes: Sizes) -> None:
    machine.all_cores()
    members = made_members(sizes.vectors, sizes.dim)
    results.cell("exact", lambda: search_on_both(machine, members))


def made_members(count: int, dim: int) -> Members:
    """Vectors around some centres; each node knows one other, and a few vectors are there twice."""
    rng = np.random.default_rng(SEED)
    vectors = rng.standard_normal((CENTRES, dim))[rng.integers(0, CENTRES, count)]
    vectors += 0.7 * rng.standard_normal(vectors.shape)
    vectors[:TWINS] = vectors[TWINS : 2 * TWINS]
    return Members(
        ids=np.arange(count) * 3,
        unit=unit_rows(vectors).astype(np.float32),
        role=np.full(count, BOTH, np.int8),
        learning=np.arange(count) % 10 == 0,
        known_ptr=np.arange(count + 1),
        known=rng.integers(0, count, count) * 3,
    )


def search_on_both(machine: Machine, members: Members) -> dict[str, Any]:
    wanted = wanted_of(10, 10)

    def search(device: str) -> pa.Table:
        return pa.Table.from_batches(search_group(members, wanted, device))

    seconds, tables = {}, {}
    for name, device in (("cpu", "cpu"), ("device", machine.device)):
        machine.timed(partial(search, device))
        seconds[f"{name}_s"], tables[name] = machine.timed(partial(search, device))
    with timers(machine, {"rescoring_s": (group_search, "_answers"), "leaders_s": (group_search, "largest")}) as spent:
        search(machine.device)
    rows = tables["cpu"]["dst"].combine_chunks(), tables["device"]["dst"].combine_chunks()
    same = rows[0].equals(rows[1])
    differ = 0 if same else sum(one != other for one, other in zip(*(part.to_pylist() for part in rows), strict=True))
    told = {
        "vectors": len(members.ids),
        "answers": len(rows[0]),
        "same_ids": same,
        "answers_that_differ": differ,
        "faster": seconds["cpu_s"] / seconds["device_s"],
        **seconds,
        **spent,
    }
    return told if same else {**told, "error": f"{differ} answers differ"}
