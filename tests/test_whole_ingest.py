"""A graph that one task can hold is ingested by that task: every table has the rows that joins and shuffles give it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import make_config, publish_row, run_steps, write_graph
from graphs import AWKWARD, PLANTED, ZOO, SmallGraph, communities
from graphseam.ingest.earlier import EarlierFiles, _highest
from graphseam.ingest.whole import TABLES, Numbered

HELD = {"evaluate": {"holdout": 0.2, "max_ranked": 40, "max_pairs": 60}}
SHOP = SmallGraph(
    "shop", [(f"u{a}", f"i{b}", 1.0 + (a * b) % 3) for a in range(30) for b in range(20) if a * b % 7 == 1]
)
HEAVY = SmallGraph("heavy", [(a % 9, (a * 7) % 11, 0.1 * a) for a in range(1, 200)])
SIGNED = SmallGraph("signed", [(a - 50, 3 * b) for a, b in communities(2, 10, seed=1)])
FAR = SmallGraph("far", [(-(1 << 63), (1 << 63) - 1), ((1 << 63) - 1, 5), (5, -(1 << 63)), (5, 6)])
TEXTS = SmallGraph(
    "texts", [("ä", "z"), ("z", "Z"), ("Z", "é"), ("\U0001d54f", "\ufffd"), ("\ufffd", "ä"), ("a", "ä"), ("a", "z")]
)


def tables_of(run) -> dict[str, list[str]]:
    return {name: sorted(str(row) for row in run.tables.read(name).collect()) for name in TABLES}


@pytest.mark.spark
@pytest.mark.parametrize(
    "graph",
    [
        AWKWARD,
        SHOP,
        *[pytest.param(graph, marks=pytest.mark.thorough) for graph in (PLANTED, HEAVY, SIGNED, FAR, TEXTS, *ZOO)],
    ],
    ids=lambda graph: graph.name,
)
def test_one_task_writes_what_joins_write(spark, tmp_path, monkeypatch, graph):
    """Also the second time, when some ids have numbers and others have come, and for the details of the step."""
    told = []
    for whole in (True, False):
        if not whole:
            monkeypatch.setattr("graphseam.ingest.fits_one_task", lambda *_: False)
        folder = tmp_path / str(whole)
        folder.mkdir()
        first = SmallGraph(graph.name, graph.edges[: len(graph.edges) // 2], graph.nodes[:1], graph.directed)
        for name, some in (("first", first), ("second", graph)):
            section = write_graph(some, folder)
            config = make_config(section, folder / "tables", **HELD)
            if not some.edges:
                continue
            run = run_steps(spark, config, name, last="ingest")
            details = {key: value for key, value in run.details("ingest").items() if key not in ("usage",)}
            told.append((name, whole, tables_of(run), details))
            publish_row(run.tables, id_type=run.ingested.id_type)
    half = len(told) // 2
    for (name, _, one, details), (_, _, other, others) in zip(told[:half], told[half:], strict=True):
        assert one == other, name
        assert details == others


def nodes_file(path: Path, rows: list[tuple[str, int]]) -> str:
    table = pa.table({"id": pa.array([a for a, _ in rows], pa.string()), "node_id": pa.array([b for _, b in rows])})
    pq.write_table(table.cast(pa.schema([("id", pa.string()), ("node_id", pa.int64())])), path)
    return str(path)


@pytest.mark.parametrize("seed", range(30))
def test_numbers_of_earlier_runs_are_the_newest(seed, tmp_path):
    """As the aggregations of newest_numbers, where concurrent runs disagree: the newest number of each id, and of the
    ids that would share it the one of the newest run."""
    rng = random.Random(seed)
    runs = [dict(zip(rng.sample("abcdef", 4), rng.sample(range(7), rng.randint(0, 4)), strict=False)) for _ in range(4)]
    newest: dict[str, tuple[int, int]] = {}
    for age, run in enumerate(runs):
        for node, number in run.items():
            newest.setdefault(node, (age, number))
    of_number: dict[int, tuple[int, str]] = {}
    for node, (age, number) in newest.items():
        of_number[number] = min(of_number.get(number, (age, node)), (age, node))
    files = [[nodes_file(tmp_path / f"{age}.parquet", [*run.items()])] for age, run in enumerate(runs)]
    ids, numbers = EarlierFiles(files, 7).known(pa.large_string())
    highest = max((_highest(one) for some in files for one in some), default=-1)
    assert dict(zip(numbers.tolist(), ids.to_pylist(), strict=True)) == {n: node for n, (_, node) in of_number.items()}
    assert highest == max((number for run in runs for number in run.values()), default=-1)


def test_the_order_of_rows_does_not_show(tmp_path):
    rng = random.Random(3)
    edges = [(rng.choice("abcdefgh"), rng.choice("abcdefgh")) for _ in range(60)]
    types = [(rng.choice("abcxyz"), rng.choice(["u", "v", None])) for _ in range(20)]
    known = [("c", 4), ("a", 9), ("gone", 2)]

    def numbered() -> tuple[list, list]:
        arcs = pa.table({"one": [a for a, _ in edges], "other": [b for _, b in edges]})
        others = pa.table({"one": [a for a, _ in types], "type": pa.array([t for _, t in types], pa.string())})
        found = Numbered.of(arcs, others, EarlierFiles([[nodes_file(tmp_path / "known.parquet", known)]], 10))
        ids = found.ids.to_pylist()
        ends = [(ids[a], ids[b]) for a, b in zip(found.src.tolist(), found.dst.tolist(), strict=True)]
        assert ends == edges
        return found.rows(others).to_pylist(), sorted(ends)

    wanted = numbered()
    numbers = {row["id"]: row["node_id"] for row in wanted[0]}
    assert (numbers["c"], numbers["a"]) == (4, 9)
    new = sorted(set(numbers) - {"a", "c"})
    assert [numbers[node] for node in new] == list(range(10, 10 + len(new)))
    least = {node: min((t for n, t in types if n == node and t), default=None) for node in numbers}
    assert {row["id"]: row["type"] for row in wanted[0]} == least
    for rows in (edges, types, known):
        rng.shuffle(rows)
    assert numbered() == wanted


def test_a_shift_is_told_only_if_it_is_one_number():
    def shift(ids: list[int]) -> int | None:
        ids = pa.array(sorted(ids), pa.int64())
        nothing = np.zeros(0, np.int64)
        return Numbered(ids, np.arange(len(ids)), np.full(len(ids), None), nothing, nothing, nothing).shift()

    assert shift([7, 8, 9]) == -7
    assert shift([7, 9]) is None
    assert shift([]) is None
    assert shift([-(1 << 63), (1 << 63) - 1]) is None
