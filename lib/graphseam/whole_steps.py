"""Which steps of a run let one task do all of their work, because it can hold the graph: these cost something else."""

from __future__ import annotations

import os
from collections.abc import Set
from dataclasses import dataclass

from graphseam.config import Config
from graphseam.heap import local_heap, megabytes
from graphseam.ingest.whole import taken_by_rows
from graphseam.partition.metis import MetisPartitioner
from graphseam.predict.link_search import shares_search_of
from graphseam.predict.whole_graph import parts_that_fit
from graphseam.refine import window
from graphseam.refine.block_plan import whole_bytes
from graphseam.runs import Run
from graphseam.session import CLUSTER_TASK_MB, MANY_TASKS, in_one_process, local_task_mb


@dataclass(frozen=True)
class TaskMemory:
    """MB of a task beside others, and of one that is alone. here: whether tasks are processes of this machine, which
    write the tables' files themselves."""

    shared_mb: int
    alone_mb: int
    here: bool

    @staticmethod
    def of(run: Run) -> TaskMemory:
        return TaskMemory(
            run.task_memory_mb(), run.task_memory_mb(num_tasks=1), in_one_process(run.spark) and run.tables.written_here
        )

    @staticmethod
    def planned(configured_mb: int, executors: int, cores: int) -> TaskMemory:
        """Of a local session of so many cores on this machine, or of a cluster of more than one executor."""
        if executors > 1:
            return TaskMemory(configured_mb or CLUSTER_TASK_MB, configured_mb or CLUSTER_TASK_MB, here=False)
        heap_mb = megabytes(local_heap()) or 1024
        shared, alone = (
            configured_mb or local_task_mb(heap_mb, min(count, cores or os.cpu_count() or 1))
            for count in (MANY_TASKS, 1)
        )
        return TaskMemory(shared, alone, here=True)


def steps_in_one_task(config: Config, nodes: int, edges: int, memory: TaskMemory) -> Set[str]:
    """Names of the steps. A forecast: ids are taken for numbers, and the graph for one of a single kind of nodes."""
    found = set()
    dim, alone = config.embed.dim, memory.alone_mb << 20
    links = config.predict.links
    if memory.here and config.run.in_one_task:
        if not config.input.split and taken_by_rows(edges, "integer") <= alone:
            found.add("ingest")
        if links.top_k and parts_that_fit(nodes, edges, dim, memory.shared_mb):
            found.add("predict_links")
            if shares_search_of(config, nodes, bipartite=False):
                found.add("predict_similar")
    by_metis = config.partition.method == "multilevel" and not config.partition.coarsest_edges
    if by_metis and MetisPartitioner().predict_bytes(nodes, edges) <= alone:
        found.add("partition")
    weight = config.refine.window_weight
    weight = window.weight_of(nodes, 2 * edges / max(1, nodes)) if weight < 0 else weight
    walks = window.walks_wanted(nodes, edges) if weight else 0.0
    fits = whole_bytes(nodes, edges, dim, config.refine.rounds, walks) <= alone
    if config.refine.num_blocks == 1 or (not config.refine.num_blocks and fits):
        found.add("refine")
    return found
