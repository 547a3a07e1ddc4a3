"""What a subgraph is predicted to take of its task's memory, and what it was seen to take."""

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

ARROW_BYTES_PER_EDGE = 80  # five columns as Spark's batches hold them, and once more as they are put together
BUILD_BYTES_PER_EDGE = 130  # while rows become a matrix: ids, their order, both ends' places, the matrix each way
BUILD_BYTES_PER_NODE = 48
START_COPIES = 4  # of vectors to begin from: rows as they come, put together, chosen, in order of the nodes
FIXED_BYTES = 48 << 20  # buffers of batches and of the allocators, whatever the subgraph
# Arrays below 32 MB leave holes in glibc's heap: the same subgraph took up to half more in one run than in another.
# Mapping each alone would spare the holes, and made ProNE 1.4 times slower on 20,000 nodes.
MAX_HOLES_BYTES = 6 * 32 << 20
GPU_CONTEXT_BYTES = 600 << 20  # of CUDA in each process that uses a GPU, its libraries' work space included
TRIAL_NODES = 50
LOADED: set[type] = set()  # kinds of embedders that this process has tried


def subgraph_bytes(embedder: Embedder, num_nodes: int, num_edges: int, started: bool = False) -> int:
    """Peak bytes of a task that embeds a subgraph, beside the interpreter and its libraries (some 400 MB).

    The rows as they came in, then the larger of what the graph takes to be built and what the embedder takes, a
    half more for holes between arrays, and the vectors on their way out. started: vectors to begin from come in too.
    """
    build = BUILD_BYTES_PER_EDGE * num_edges + BUILD_BYTES_PER_NODE * num_nodes
    work = max(build, embedder.predict_bytes(num_nodes, num_edges))
    rows_out = 2 * min(num_nodes * embedder.dim * 4, 64 << 20)
    rows_in = ARROW_BYTES_PER_EDGE * num_edges
    if started:
        rows_in += ARROW_BYTES_PER_EDGE // 2 * num_edges + START_COPIES * num_nodes * embedder.dim * 4
    return rows_in + work + min(work // 2, MAX_HOLES_BYTES) + rows_out + FIXED_BYTES


def gpu_bytes(embedder: Embedder, num_nodes: int, num_edges: int) -> int:
    """Peak bytes of a task on its GPU, CUDA's own included. An embedder that says nothing of GPUs is thought to take
    there what it takes of a CPU's memory."""
    predict = getattr(embedder, "predict_gpu_bytes", embedder.predict_bytes)
    return predict(num_nodes, num_edges) + GPU_CONTEXT_BYTES


def watch_gpu(device: str) -> None:
    """Give back what this process holds of the GPU, and measure its peak from here; nothing on a CPU."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def gpu_peak_bytes(device: str) -> int | None:
    """The most of the GPU that torch held since `watch_gpu`, without CUDA's own; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    import torch

    return int(torch.cuda.max_memory_reserved(device))


def _load_libraries(embedder: Embedder) -> None:
    """Embed a ring, once a process and kind of embedder: what is imported and compiled for it then is there."""
    if type(embedder) in LOADED:
        return
    LOADED.add(type(embedder))
    nodes = np.arange(TRIAL_NODES)
    ring = pa.table({"src": nodes, "dst": np.roll(nodes, 1), "weight": np.ones(TRIAL_NODES)})
    embedder.embed(Graph.from_arrow(ring), 0, "cpu")


class PeakMemory:
    """The largest resident memory of this process since `begin`, over what it was when it began.

    By the kernel's own mark, which is reset (Linux; anywhere else the memory at the end stands for the peak). The
    embedder's libraries are loaded first: they are the worker's, not the subgraph's.
    """

    def __init__(self, embedder: Embedder) -> None:
        _load_libraries(embedder)
        self._process = psutil.Process()
        self._before = 0
        self.begin()

    def begin(self) -> None:
        """Give back what is free, and start to measure anew."""
        gc.collect(0)
        pa.default_memory_pool().release_unused()
        if sys.platform == "linux":
            with contextlib.suppress(AttributeError):  # only glibc has it
                ctypes.CDLL(None).malloc_trim(0)
            # a container may forbid it: the mark then is the process's own largest, never too small
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before = self._process.memory_info().rss

    def peak_bytes(self) -> tuple[int, int]:
        """(bytes over the beginning, bytes of the whole process)."""
        peak = self._process.memory_info().rss
        status = Path("/proc/self/status")
        if status.exists():
            marks = [
                line.split() for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:")
            ]
            peak = max([peak, *(int(mark[1]) << 10 for mark in marks)])
        return max(0, peak - self._before), peak


class Limit(NamedTuple):
    """What a subgraph may take of one kind of memory, and what it is predicted to take."""

    most_mb: int
    forecast: Callable[[int, int], int]  # bytes, of (nodes, edges)
    words: tuple[str, str, str]  # who holds it, the key that says how much, who may have more


def task_limit(embedder: Embedder, most_mb: int, started: bool) -> Limit:
    """The memory of a task. started: vectors to begin from come in too."""
    return Limit(
        most_mb,
        partial(subgraph_bytes, embedder, started=started),
        ("a task may hold", "run.task_memory_mb", "executors have"),
    )


def gpu_limit(embedder: Embedder, most_mb: int) -> Limit:
    """The memory of a GPU."""
    return Limit(most_mb, partial(gpu_bytes, embedder), ("a GPU holds", "embed.gpu_memory_mb", "GPUs have"))


def check_memory(method: str, sizes: dict[int, tuple[int, int]], limits: list[Limit]) -> None:
    """MemoryBudgetError where a subgraph is predicted to go over a limit. sizes: {subgraph: (nodes, edges)}."""
    for subgraph, (num_nodes, num_edges) in sorted(sizes.items()):
        for limit in limits:
            needed_mb = limit.forecast(num_nodes, num_edges) >> 20
            if needed_mb > limit.most_mb:
                holds, key, have = limit.words
                raise MemoryBudgetError(
                    f"subgraph {subgraph} ({num_nodes:,} nodes, {num_edges:,} edges) is predicted to need "
                    f"{needed_mb:,} MB in embed.method {method!r}, and {holds} {limit.most_mb:,} ({key}); lower "
                    "partition.max_subgraph_edges and repeat the partition, or raise the limit if the "
                    f"{have} that much"
                )
