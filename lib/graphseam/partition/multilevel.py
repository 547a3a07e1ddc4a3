"""Multilevel partitioning on the block engine: on any number of machines, with the cut that one large machine gives.

Cluster, contract, repeat; cut the coarsest graph by METIS in one task; carry the parts down and refine them per level.
Source: Meyerhenke, Sanders and Schulz, Parallel graph partitioning for complex networks, IEEE TPDS 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from pyspark.sql import DataFrame

from graphseam.blocks.engine import LocalEngine
from graphseam.blocks.layout import Ranges
from graphseam.graph import Graph
from graphseam.partition import coarsening
from graphseam.partition.budget import end_limits, max_ends_of_a_node
from graphseam.partition.distributed import assigned_by_blocks
from graphseam.partition.finest import (
    Job,
    build_finest,
    gather,
    name_members,
    pack_edges,
    pack_nodes,
    solve_coarsest,
    weigh,
)
from graphseam.partition.levels import LevelRows, Room, Wanted
from graphseam.partition.metis import METIS_BYTES_PER_EDGE, MetisPartitioner, weight_scale

CLUSTER_SUPERSTEPS = 6  # each visits half the nodes
REFINE_SUPERSTEPS = 6  # at most; each moves nodes one way only
STALLED = 0.85  # coarsening stops at a level that keeps more than this share of the edges
BLOCK_BYTES_PER_EDGE = 500  # of a block in which every edge has two nodes of its own
SETTLED = 2e-4  # refinement stops when less than this share of the weight moves


@dataclass(frozen=True)
class MultilevelPartitioner:
    """Balances edge ends, like MetisPartitioner. Deterministic for a given seed, for any layout of the edges.

    block_edges: edges per block, the work of one task. coarsest_edges: edges that the last task, METIS's, may hold.
    Cost: about 8 supersteps per level for coarsening and 8 for refinement, O(edges) each; a level leaves a tenth to a
    half of the edges.
    """

    imbalance: float = 0.05
    node_cost: int = 0
    block_edges: int = 1_000_000
    coarsest_edges: int = 10_000_000  # 0 in a configuration: as many as fit in the task's memory

    def partition(self, graph: Graph, num_subgraphs: int, seed: int) -> np.ndarray:
        """int32[n]: the same supersteps in this process, on a graph in memory."""
        upper = sp.triu(graph.adjacency).tocoo()
        num_blocks = max(1, -(-upper.nnz // self.block_edges))
        counts = np.diff(graph.adjacency.indptr)
        scale = weight_scale(upper.data.min(), upper.data.max()) if upper.nnz else 0.0
        job = Job(Ranges.even(counts, 1, num_blocks), graph.num_nodes, num_subgraphs, seed, scale, 2 * upper.nnz)
        engine = LocalEngine(job.ranges.num_blocks)
        columns = {"src": upper.row.astype(np.int64), "dst": upper.col.astype(np.int64), "weight": upper.data}
        entries = engine.pack(columns, partial(pack_edges, job=job))
        nodes = engine.pack({"node_id": np.arange(graph.num_nodes)}, partial(pack_nodes, job=job))
        parts = np.zeros(graph.num_nodes, np.int32)
        for _, packet in self.cut(engine, job, entries, nodes):
            parts[packet.values[:, 0]] = packet.values[:, 1]
        return parts

    @contextmanager
    def assigned(self, rows: LevelRows, wanted: Wanted, room: Room) -> Iterator[tuple[str, DataFrame]]:
        """As Partitioner.assigned; a graph that fits in one task is given to METIS.

        Blocks and the coarsest graph are made small enough for a task's memory.
        """
        coarsest = self.coarsest_edges or (room.lone_task_mb << 20) // METIS_BYTES_PER_EDGE
        metis = MetisPartitioner(imbalance=self.imbalance, node_cost=self.node_cost)
        needed_mb = metis.predict_bytes(rows.num_nodes, rows.num_edges) >> 20
        if rows.num_edges <= coarsest and needed_mb <= room.lone_task_mb:
            with metis.assigned(rows, wanted, room) as done:
                yield done
            return
        block_edges = min(self.block_edges, (room.task_mb << 20) // BLOCK_BYTES_PER_EDGE)
        bounded = replace(self, block_edges=block_edges, coarsest_edges=coarsest)
        with assigned_by_blocks(
            rows.edges, rows.nodes, bounded, wanted, room.task_mb, room.checkpoint_dir
        ) as assignments:
            yield "multilevel", assignments

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int:
        """For a block of `num_edges` edges, in both directions: entries as they come in, matrix, labels, halo."""
        return BLOCK_BYTES_PER_EDGE * num_edges // 2 + BLOCK_BYTES_PER_EDGE * min(num_nodes, 2 * num_edges) // 4

    def cut(self, engine: Any, job: Job, entries: Any, nodes: Any) -> Any:
        """Packets `members`, one per block: int64[m, 2], (node id, part) of nodes with an edge and those in `nodes`.

        entries, nodes: packets of `pack_edges` and `pack_nodes`. Cost: see the class.
        """
        graph, num_entries, total = self._finest(engine, job, entries, nodes)
        limit, num_parts = (1 + self.imbalance) * total / job.num_parts, job.num_parts
        levels: list[tuple[Any, Any]] = []
        while num_entries > 2 * self.coarsest_edges:
            coarser = self._coarsen(
                engine, graph, max(1, int(self.imbalance * total / num_parts)), job.seed + len(levels)
            )
            levels.append((graph, coarser.plans))
            graph, before, num_entries = coarser.graph, num_entries, coarser.num_entries
            if num_entries > STALLED * before:
                break
        keep = min(1.0, 2 * self.coarsest_edges / max(1, num_entries))
        solve = partial(solve_coarsest, num_parts=num_parts, imbalance=self.imbalance, seed=job.seed)
        parts = engine.step(solve, engine.step(partial(gather, keep=keep), static=graph))
        for level, plans in reversed(levels):
            graph = level
            parts = self._refine(engine, graph, plans, parts, num_parts, limit)
        return engine.step(partial(name_members, job=job), engine.only(parts, "parts"), static=graph)

    def _finest(self, engine: Any, job: Job, entries: Any, nodes: Any) -> tuple[Any, int, int]:
        """(blocks of the input graph, their entries, the weight of all nodes). Hubs cost one more superstep."""
        limits = end_limits(job.num_ends, job.num_parts, self.imbalance)
        finest = partial(build_finest, job=job, limits=limits)
        graph, totals = engine.keep_and_sum(engine.step(finest, entries, nodes), "totals", static=True)
        most = max_ends_of_a_node(limits, totals[2:], job.num_parts, self.imbalance)
        if totals[2] == totals[1] and not self.node_cost:  # no node exceeds a limit, and only edge ends are balanced
            return graph, int(totals[1]), int(totals[1])
        weighed, (_, num_entries, total) = engine.keep_and_sum(
            engine.step(partial(weigh, node_cost=self.node_cost, max_ends=most), static=graph), "totals", static=True
        )
        engine.release(graph)
        return weighed, int(num_entries), int(total)

    def _coarsen(self, engine: Any, graph: Any, max_weight: int, seed: int) -> _Coarser:
        sent: tuple[Any, ...] = ()
        for superstep in range(CLUSTER_SUPERSTEPS):
            step = partial(
                coarsening.cluster,
                superstep=superstep,
                last=superstep == CLUSTER_SUPERSTEPS - 1,
                max_weight=max_weight,
                seed=seed,
            )
            sent = (engine.step(step, *sent, static=graph),)
        plans = engine.keep(engine.step(partial(coarsening.number_clusters, max_weight=max_weight), *sent))
        named = engine.step(coarsening.name_clusters, engine.only(plans, "slots", "ids"), static=graph)
        entries = engine.step(coarsening.contract, named, static=graph)
        coarser, (_, num_entries, _) = engine.keep_and_sum(
            engine.step(coarsening.build, entries, engine.only(plans, "coarse_weights")), "totals", static=True
        )
        return _Coarser(coarser, plans, int(num_entries))

    def _refine(self, engine: Any, graph: Any, plans: Any, coarse_parts: Any, num_parts: int, limit: float) -> Any:
        carried = engine.step(coarsening.carry_down, engine.only(plans, "plans"), engine.only(coarse_parts, "parts"))
        take = partial(coarsening.take_parts, num_parts=num_parts)
        parts, measures = engine.keep_and_sum(
            engine.step(take, carried, engine.only(plans, "slots"), static=graph), "measures"
        )
        for superstep in range(REFINE_SUPERSTEPS):
            spare = (int(limit) - measures[:-1]) // engine.num_blocks
            step = partial(
                coarsening.refine, room=np.maximum(0, spare), excess=np.maximum(0, -spare), upwards=superstep % 2 == 0
            )
            refined, measures = engine.keep_and_sum(
                engine.step(step, engine.only(parts, "parts", "halo"), static=graph), "measures"
            )
            engine.release(parts)
            parts = refined
            if superstep and measures[-1] < SETTLED * measures[:-1].sum():
                break
        return parts


@dataclass(frozen=True)
class _Coarser:
    graph: Any
    plans: Any
    num_entries: int
