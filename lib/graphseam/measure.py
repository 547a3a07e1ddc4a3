"""The memory that a process and its children use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

NEW_HIGH = 1.01  # how far memory must rise above its highest value so far to be measured exactly


@contextmanager
def peak_memory(interval_s: float = 0.5, beside: Callable[[], float] | None = None) -> Iterator[list[float]]:
    """Watch the resident memory of this process and its children (JVM, Python workers); yields [peak in MB, 0].

    beside: another figure to be watched as often; its highest value takes the place of the 0.

    On a cluster this covers the driver's side only. Pages that Python processes share, as they are forked, are divided
    among them if the system reports it (Linux), else counted once per process. That division walks every page, a tenth
    of a second for a JVM, which shares hardly any: it is requested of the others only, and only when the processes
    together use more than ever before.
    """
    peak, highest, done = [0.0, 0.0], [0], threading.Event()

    def total(size: Callable[[psutil.Process], int]) -> int:
        held = 0
        for process in (me, *me.children(recursive=True)):
            with suppress(psutil.Error):  # it ended after it was listed
                held += size(process)
        return held

    def look() -> None:
        if beside is not None:
            peak[1] = max(peak[1], beside())
        resident = total(lambda process: process.memory_info().rss)
        if resident > NEW_HIGH * highest[0]:
            highest[0] = resident
            peak[0] = max(peak[0], total(_shared_out) / 2**20)

    def watch() -> None:
        look()
        while not done.wait(interval_s):
            look()

    me = psutil.Process()
    watcher = threading.Thread(target=watch, daemon=True)  # from the first look on: it takes 50 ms
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _shared_out(process: psutil.Process) -> int:
    """Bytes of a process, of pages that it shares with others its part."""
    resident: int = process.memory_info().rss
    return resident if process.name() == "java" else getattr(process.memory_full_info(), "pss", 0) or resident
