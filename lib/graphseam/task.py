"""What a Spark task may use: the GPU that Spark assigned to it, and its share of the cores."""

from __future__ import annotations

import os

from pyspark import TaskContext


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
    """Let torch and BLAS use this many threads: the task's share of the cores, no more."""
    import torch  # takes seconds to import, and the driver never calls this
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)
