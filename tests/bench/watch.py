"""The memory of a session's processes, watched from outside; for the benchmarks beside this file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


@contextmanager
def watched_memory() -> Iterator[dict[str, int]]:
    """The largest resident bytes of a java process and of a Python worker so far; what a worker maps counts too."""
    peak, stop = {"java": 0, "python": 0}, threading.Event()

    def watch() -> None:
        while not stop.wait(0.3):
            for process in psutil.Process().children(recursive=True):
                try:
                    kind = process.name().rstrip("0123456789.")
                    if kind in peak:  # the JVM's helpers share its memory for a moment, under other names
                        peak[kind] = max(peak[kind], process.memory_info().rss)
                except psutil.Error:
                    continue

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield peak
    finally:
        stop.set()


def told(peak: dict[str, int]) -> str:
    return f"resident at most: a java process {peak['java'] >> 20:,} MB, a Python worker {peak['python'] >> 20:,} MB"
