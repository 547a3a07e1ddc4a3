"""The block engine: the layout's arrays, and supersteps on Spark that equal those in this process byte for byte."""

from __future__ import annotations

from functools import partial

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark import TaskContext

from graphs import communities
from graphseam.blocks.engine import LocalEngine, SparkEngine
from graphseam.blocks.layout import EDGE, ROW_BITS, ROW_MASK, Block, Ranges
from graphseam.blocks.packets import Inbox, Packet, inbox_of, packet_batches
from graphseam.partition.finest import Job, pack_edges


def job_of(ranges: Ranges, num_nodes: int) -> Job:
    return Job(ranges, num_nodes, num_parts=2, seed=0, weight_scale=0, num_ends=0)


def blocks_of(edges: np.ndarray, num_nodes: int, num_blocks: int) -> tuple[Ranges, list[Block]]:
    ranges = Ranges.even(np.bincount(edges.ravel(), minlength=num_nodes), 1, num_blocks)
    parts: dict[int, list[np.ndarray]] = {block: [] for block in range(ranges.num_blocks)}
    for packet in pack_edges(iter([{"src": edges[:, 0], "dst": edges[:, 1]}]), job_of(ranges, num_nodes)):
        parts[packet.target].append(packet.values)
    stops = np.append(ranges.starts[1:], num_nodes)
    return ranges, [Block.build(block, parts[block], int(stops[block] - ranges.starts[block]), None) for block in parts]


@given(st.integers(0, 1000), st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_blocks_hold_the_adjacency_and_peers_agree_on_what_travels(seed, num_blocks):
    rng = np.random.default_rng(seed)
    edges = rng.integers(0, 30, (rng.integers(1, 80), 2))
    edges = edges[edges[:, 0] != edges[:, 1]]
    if not len(edges):
        return
    ranges, blocks = blocks_of(edges, 30, num_blocks)
    dense = np.zeros((30, 30), int)
    dense[edges[:, 0], edges[:, 1]] = dense[edges[:, 1], edges[:, 0]] = 1
    found = np.zeros_like(dense)
    for block in blocks:
        places = np.concatenate([block.addresses, block.halo])
        rows = np.repeat(block.addresses, np.diff(block.indptr))
        ids = [ranges.starts[ends >> ROW_BITS] + (ends & ROW_MASK) for ends in (rows, places[block.neighbours])]
        np.add.at(found, tuple(ids), 1)
        told = {packet.target: packet.values for packet in block.send_halo("x", block.addresses)}
        for place, peer in enumerate(block.peers.tolist()):
            theirs = blocks[peer]
            at = theirs.peers.tolist().index(block.index)
            expected = theirs.halo[theirs.halo_starts[at] : theirs.halo_starts[at + 1]]
            np.testing.assert_array_equal(told[peer], expected)
            assert block.halo_starts[place] < block.halo_starts[place + 1]
    np.testing.assert_array_equal(found, dense)


def test_ranges_even_out_the_entries_and_leave_no_node_out():
    counts = np.array([100, 0, 0, 1, 1, 1, 97, 50, 50, 0])
    ranges = Ranges.even(counts, 10, 3)
    assert ranges.starts[0] == 0
    assert (np.diff(ranges.starts) > 0).all()
    sums = np.add.reduceat(counts, ranges.starts // 10)
    assert sums.max() <= 100
    assert len(Ranges.even(np.zeros(0, np.int64), 1, 4).starts) == 1


def test_an_inbox_names_what_it_lacks():
    parts = [("a", 2, 0, np.arange(2)), ("a", 1, 1, np.array([2, 3])), ("a", 1, 0, np.array([0, 1]))]
    inbox = Inbox([(name, source, place, values.tobytes()) for name, source, place, values in parts])
    np.testing.assert_array_equal(inbox.joined("a", np.int64), [0, 1, 2, 3, 0, 1])  # two parts of one packet, then 2's
    with pytest.raises(KeyError, match="2 packets named 'a' where one was expected"):
        inbox.one("a", np.int64)
    with pytest.raises(KeyError, match="0 packets named 'b'"):
        inbox.one("b", np.int64)


def test_a_packet_larger_than_a_row_travels_in_parts_and_arrives_whole():
    rng = np.random.default_rng(0)
    long = {
        "numbers": rng.integers(0, 1 << 40, 1_200_000),
        "flags": rng.random(5_000_000) < 0.5,
        "entries": np.zeros(500_000, EDGE),
        "pairs": rng.integers(0, 9, (400_000, 2)),
        "none": np.zeros(0, np.int32),
    }
    long["entries"]["column"] = rng.integers(0, 1 << 40, 500_000)
    batches = packet_batches([Packet(1, name, values) for name, values in long.items()], 2, np.arange(3))
    table = pa.Table.from_batches(list(batches))
    assert max(len(payload.as_buffer()) for payload in table["payload"]) <= 4 << 20
    assert table.num_rows > len(long) + 4
    block, inbox = inbox_of(table.take(pa.array(rng.permutation(table.num_rows))))
    assert block == 1
    for name, values in long.items():
        np.testing.assert_array_equal(inbox.one(name, values.dtype), values.reshape(-1))


def components(engine, edges_packed, num_blocks: int, ranges: Ranges, num_nodes: int):
    """Connected components by minimum label: ten lines, as for any algorithm on the engine."""

    def build(block: int, inbox: Inbox):
        stop = ranges.starts[block + 1] if block + 1 < num_blocks else num_nodes
        entries = [values for _, values in inbox.all("entries", EDGE)]
        yield from Block.build(block, entries, int(stop - ranges.starts[block]), None).packets()

    def spread(block: int, inbox: Inbox):
        graph = Block.of(block, inbox)
        own = inbox.one("labels", np.int64) if "labels" in inbox else graph.addresses
        labels = np.concatenate([own, inbox.joined("halo", np.int64) if "labels" in inbox else graph.halo])
        rows = np.repeat(np.arange(graph.num_rows), np.diff(graph.indptr))
        smallest = own.copy()
        np.minimum.at(smallest, rows, labels[graph.neighbours])
        yield Packet(block, "labels", smallest)
        yield from graph.send_halo("halo", smallest)
        yield Packet(block, "moved", np.array([(smallest != own).sum()], np.int64))

    graph = engine.keep(engine.step(build, edges_packed), static=True)
    state, (moved,) = engine.keep_and_sum(engine.step(spread, static=graph), "moved")
    while moved:
        told = engine.only(state, "labels", "halo")
        state, (moved,) = engine.keep_and_sum(engine.step(spread, told, static=graph), "moved")
    return engine.only(state, "labels")


@pytest.fixture(scope="module")
def forest():
    """60 separate communities of ten nodes."""
    edges = np.array([(10 * part + a, 10 * part + b) for part in range(60) for a, b in communities(1, 10, part)])
    return edges, nx.Graph(edges.tolist())


def test_connected_components_in_ten_lines_are_those_of_networkx(spark, forest):
    edges, network = forest
    ranges = Ranges.even(np.bincount(edges.ravel(), minlength=600), 1, 4)
    local, pack = LocalEngine(ranges.num_blocks), partial(pack_edges, job=job_of(ranges, 600))
    packed = local.pack({"src": edges[:, 0], "dst": edges[:, 1]}, pack)
    here = components(local, packed, ranges.num_blocks, ranges, 600)
    labels = np.concatenate([packet.values for _, packet in here])
    found = {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}
    assert {part for part in found if len(part) > 1} == {frozenset(part) for part in nx.connected_components(network)}

    engine = SparkEngine(spark, ranges.num_blocks)
    rows = spark.createDataFrame([tuple(map(int, edge)) for edge in edges], "src LONG, dst LONG")
    there = components(engine, engine.pack(rows, pack), ranges.num_blocks, ranges, 600)
    payloads = {row["target"]: bytes(row["payload"]) for row in there.collect()}
    engine.release()
    assert payloads == {packet.target: packet.values.tobytes() for _, packet in here}


def test_each_block_is_its_own_partition_and_kept_packets_do_not_move(spark):
    engine = SparkEngine(spark, 7)

    def start(batches):
        list(batches)
        for block in range(7):
            yield Packet(block, "number", np.array([block]))

    def tell(block, inbox):
        yield Packet(block, "task", np.array([TaskContext.get().partitionId(), inbox.one("number", np.int64)[0]]))

    numbers = engine.keep(engine.pack(spark.range(1).coalesce(1), start), static=True)
    found = engine.step(tell, engine.pack(spark.range(1).coalesce(1), lambda batches: ()), static=numbers)
    plan = found._jdf.queryExecution().executedPlan().toString()
    assert plan.count("Exchange") == 1, plan  # that of the moving side
    tasks = [np.frombuffer(row["payload"], np.int64).tolist() for row in found.collect()]
    assert sorted(tasks) == [[block, block] for block in range(7)]
    engine.release()


def test_checkpoints_are_files_and_are_removed(spark, tmp_path):
    engine = SparkEngine(spark, 3, checkpoint_dir=str(tmp_path / "kept"))

    def start(batches):
        list(batches)
        yield Packet(1, "number", np.array([5]))

    kept, total = engine.keep_and_sum(engine.pack(spark.range(1).coalesce(1), start), "number")
    assert total.tolist() == [5]
    assert list((tmp_path / "kept").rglob("part-*"))
    assert kept.count() == 1
    engine.release()
    assert not list((tmp_path / "kept").rglob("part-*"))
