"""What a Spark task may use: the GPU that Spark assigned to it, and its share of the cores."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from pyspark import TaskContext

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2  # mallopt's, of glibc
MOST_KEPT = (1 << 31) - 1  # free bytes at the end of the heap, beyond which they go back to the system
HEAP_STEP = 64 << 20


def task_device() -> str:
    """'cuda:<address>' of the GPU that Spark assigned to this task, 'cpu' if it assigned none.

    Workers are reused between GPUs and see all of them, so the address is looked up in every task. If the cluster
    manager has restricted CUDA_VISIBLE_DEVICES to the executor's own devices, they are numbered from 0.
    """
    addresses = task_gpus()
    if not addresses:
        return "cpu"
    return "cuda:0" if os.environ.get("CUDA_VISIBLE_DEVICES") else f"cuda:{addresses[0]}"


def task_gpus() -> list[str]:
    """The addresses of the GPUs that Spark assigned to this task."""
    context = TaskContext.get()
    gpus = context.resources().get("gpu") if context is not None else None
    return [] if gpus is None else list(gpus.addresses)


def limit_threads(threads: int) -> None:
    """Let torch and BLAS use this many threads, the task's share of the cores, no more, and arrays reuse memory."""
    import torch  # takes seconds to import, and the driver never calls this

    reuse_memory()
    torch.set_num_threads(threads)
    _pools(len(sys.modules)).limit(limits=threads)


@lru_cache(maxsize=1)
def _pools(_: int) -> ThreadpoolController:
    """The libraries with threads of their own, found anew only once more has been imported: it takes 20 ms."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@cache
def reuse_memory() -> None:
    """Let freed arrays leave their memory to the next ones of this process, instead of each being new to the system.

    glibc maps every array of more than 32 MB anew, and the system clears its pages one by one: on a virtual machine up
    to a second per gigabyte, for each temporary of each block. Elsewhere than with glibc nothing is changed. A task's
    memory is bounded as before; `return_memory` gives it back after the task.
    """
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        for option, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, MOST_KEPT), (TOP_PAD, HEAP_STEP)):
            libc.mallopt(option, value)


def return_memory() -> None:
    """Give freed memory back to the system."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
