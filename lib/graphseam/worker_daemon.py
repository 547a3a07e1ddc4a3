"""Spark's Python daemon for local sessions: workers that start warm and stay fast.

torch is loaded before the daemon forks: workers start with it instead of taking seconds each to load it. Importing
torch starts no thread and touches no GPU, so forking is safe; the workers share its pages. On a cluster the daemon
starts before the job's files have arrived, so this is for local sessions only.

After every task Spark's worker calls gc.collect(), which walks every object of every loaded module: 100 to 250 ms with
torch and Arrow, more than a small task itself takes. Frozen objects are not walked, so what a worker has loaded
is frozen.

What a large task has freed goes back to the system at its end, so that idle workers hold no memory.
"""

import gc
import resource
import sys
from pathlib import Path

import torch  # noqa: F401
from pyspark import daemon

from graphseam.task import return_memory

LARGE_BYTES = 1 << 30  # resident in a worker after a task
STATM = Path("/proc/self/statm")


class FreezingCollector:
    """Replaces the module `gc` in pyspark.daemon: collects, and freezes modules loaded since the last call."""

    def __init__(self) -> None:
        self._num_modules = 0

    def collect(self) -> None:
        gc.collect()
        if len(sys.modules) > self._num_modules:
            self._num_modules = len(sys.modules)
            gc.freeze()
        if STATM.exists() and int(STATM.read_text().split()[1]) * resource.getpagesize() > LARGE_BYTES:
            return_memory()


if __name__ == "__main__":
    gc.freeze()
    daemon.gc = FreezingCollector()  # type: ignore[assignment]
    daemon.manager()
