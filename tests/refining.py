"""Vectors refined in blocks, in this process or another: for the tests of refinement."""

from __future__ import annotations

import numpy as np

from graphseam.blocks.stages import LocalStages
from graphseam.blocks.store import Store
from graphseam.graph import Graph
from graphseam.refine.rounds import Task
from graphseam.refine.rows import Rows
from graphseam.refine.spectral import SpectralRefiner

DIM = 8


def keep_in_blocks(graph: Graph, num_blocks: int, store: Store) -> np.ndarray:
    """The graph's rows in the store, nodes scattered over the blocks; returns the block of each node."""
    adjacency = graph.adjacency.tocoo()
    block_of = (np.arange(graph.num_nodes) * 7919) % num_blocks
    for block in range(num_blocks):
        mine = block_of[adjacency.row] == block
        Rows.build(
            block,
            np.flatnonzero(block_of == block),
            adjacency.row[mine].astype(np.int64),
            adjacency.col[mine].astype(np.int64),
            block_of[adjacency.col[mine]],
            adjacency.data[mine],
        ).keep(block, store)
    return block_of


def refined(
    refiner: SpectralRefiner,
    graph: Graph,
    start: np.ndarray,
    num_blocks: int,
    store: Store,
    stages=None,
    in_common: bool = False,
) -> np.ndarray:
    block_of = keep_in_blocks(graph, num_blocks, store)
    for block in range(num_blocks):
        store.put(block, "start", start[block_of == block])
    task = Task(store, refiner.views, 1, "cpu", in_common=graph.num_nodes if in_common else 0)
    projection = refiner.run(stages or LocalStages(num_blocks), task, start.shape[1], seed=1)
    vectors = np.zeros(start.shape, np.float32)
    for block in range(num_blocks):
        mine = np.flatnonzero(block_of == block)
        for part, values in projection.vectors(block, task):
            vectors[mine[part]] = values
    return vectors


def random_start(graph: Graph, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((graph.num_nodes, dim)).astype(np.float32)
