"""The memory that a subgraph is predicted to take of its task, and what it was measured to take."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pyarrow as pa

from graphseam.embedding.embedder import Embedder
from graphseam.errors import MemoryBudgetError
from graphseam.graph import Graph

ARROW_BYTES_PER_EDGE = 80  # five columns in Spark's batches, and once more when they are concatenated
BUILD_BYTES_PER_EDGE = 130  # while rows become a matrix: ids, their order, positions of both ends, entries both ways
BUILD_BYTES_PER_NODE = 48
START_COPIES = 4  # of vectors to start from: rows as they come in, concatenated, filtered, in node order
FIXED_BYTES = 48 << 20  # buffers of batches and of the allocators, for any subgraph
# Arrays below 32 MB fragment glibc's heap: the same subgraph took up to half more in one run than in another.
# Mapping each array separately would avoid this, but made ProNE 1.4 times slower on 20,000 nodes.
MAX_HOLES_BYTES = 6 * 32 << 20
GPU_CONTEXT_BYTES = 600 << 20  # of CUDA in each process that uses a GPU, including its libraries' workspace
TRIAL_NODES = 50
LOADED: set[type] = set()  # embedder types that this process has run on the trial graph


def subgraph_bytes(embedder: Embedder, num_nodes: int, num_edges: int, started: bool = False) -> int:
    """Peak bytes of a task that embeds a subgraph, without the interpreter and its libraries (some 400 MB).

    The rows as they come in, then the larger of building the graph and running the embedder, half as much again (at
    most MAX_HOLES_BYTES) for heap fragmentation, and the vectors on their way out. started: vectors to start from come
    in too.
    """
    build = BUILD_BYTES_PER_EDGE * num_edges + BUILD_BYTES_PER_NODE * num_nodes
    work = max(build, embedder.predict_bytes(num_nodes, num_edges))
    rows_out = 2 * min(num_nodes * embedder.dim * 4, 64 << 20)
    rows_in = ARROW_BYTES_PER_EDGE * num_edges
    if started:
        rows_in += ARROW_BYTES_PER_EDGE // 2 * num_edges + START_COPIES * num_nodes * embedder.dim * 4
    return rows_in + work + min(work // 2, MAX_HOLES_BYTES) + rows_out + FIXED_BYTES


def gpu_bytes(embedder: Embedder, num_nodes: int, num_edges: int) -> int:
    """Peak bytes of a task on its GPU, including CUDA's own. An embedder without `predict_gpu_bytes` is assumed to take
    as much there as in main memory."""
    predict = getattr(embedder, "predict_gpu_bytes", embedder.predict_bytes)
    return predict(num_nodes, num_edges) + GPU_CONTEXT_BYTES


def watch_gpu(device: str) -> None:
    """Release the GPU memory that this process caches, and restart the measurement of its peak; no-op on a CPU."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def gpu_peak_bytes(device: str) -> int | None:
    """Peak GPU memory that torch held since `watch_gpu`, without CUDA's own; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return int(torch.cuda.max_memory_reserved(device))


def _load_libraries(embedder: Embedder) -> None:
    """Embed a ring, once per process and embedder type, so that its imports and compilation are done beforehand."""
    if type(embedder) in LOADED:
        return
    LOADED.add(type(embedder))
    nodes = np.arange(TRIAL_NODES)
    ring = pa.table({"src": nodes, "dst": np.roll(nodes, 1), "weight": np.ones(TRIAL_NODES)})
    embedder.embed(Graph.from_arrow(ring), 0, "cpu")


class PeakMemory:
    """The peak resident memory of this process since `begin`, above its level at `begin`.

    Read from the kernel's high-water mark, which is reset (on Linux; elsewhere the memory at the end stands in for the
    peak). The embedder's libraries are loaded first: they count for the worker, not for the subgraph.
    """

    def __init__(self, embedder: Embedder) -> None:
        _load_libraries(embedder)
        self._process = psutil.Process()
        self._before = 0
        self.begin()

    def begin(self) -> None:
        """Release free memory, and restart the measurement."""
        gc.collect(0)
        pa.default_memory_pool().release_unused()
        if sys.platform == "linux":
            with contextlib.suppress(AttributeError):  # only glibc has it
                ctypes.CDLL(None).malloc_trim(0)
            # a container may forbid it: the mark is then the peak of the whole process, so never too small
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = self._process.memory_info().rss

    def peak_bytes(self) -> tuple[int, int]:
        """(peak bytes above the level at `begin`, peak bytes of the whole process)."""
        peak = self._process.memory_info().rss
        status = Path("/proc/self/status")
        if status.exists():
            marks = [
                line.split() for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:")
            ]
            peak = max([peak, *(int(mark[1]) << 10 for mark in marks)])
        return max(0, peak - self._before), peak


class Limit(NamedTuple):
    """How much of one kind of memory a subgraph may take, and the forecast of what it takes."""

    most_mb: int
    forecast: Callable[[int, int], int]  # bytes from (nodes, edges)
    words: tuple[str, str, str]  # for the message: what holds it, the key that sets it, what may have more


def task_limit(embedder: Embedder, most_mb: int, started: bool) -> Limit:
    """The memory of a task. started: vectors to start from come in too."""
    return Limit(
        most_mb,
        partial(subgraph_bytes, embedder, started=started),
        ("a task may hold", "run.task_memory_mb", "executors have"),
    )


def gpu_limit(embedder: Embedder, most_mb: int) -> Limit:
    """The memory of a GPU."""
    return Limit(most_mb, partial(gpu_bytes, embedder), ("a GPU holds", "embed.gpu_memory_mb", "GPUs have"))


def check_memory(method: str, sizes: dict[int, tuple[int, int]], limits: list[Limit]) -> None:
    """MemoryBudgetError if a subgraph is predicted to exceed a limit. sizes: {subgraph: (nodes, edges)}."""
    for subgraph, (num_nodes, num_edges) in sorted(sizes.items()):
        for limit in limits:
            needed_mb = limit.forecast(num_nodes, num_edges) >> 20
            if needed_mb > limit.most_mb:
                holds, key, have = limit.words
                raise MemoryBudgetError(
                    f"subgraph {subgraph} ({num_nodes:,} nodes, {num_edges:,} edges) is predicted to need "
                    f"{needed_mb:,} MB with embed.method {method!r}, and {holds} {limit.most_mb:,} ({key}); lower "
                    "partition.max_subgraph_edges and repeat the partition, or raise the limit if the "
                    f"{have} that much"
                )
