"""The machine that the check runs on, and how it is timed there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from graphseam.task import limit_threads

DRY_RUN_CORES = 2
ASKED = "import torch; print(torch.cuda.get_device_name(0) if torch.cuda.is_available() else '')"


@dataclass(frozen=True)
class Machine:
    """device: "cuda:0"; without a GPU "cpu:0": our code takes any device but "cpu" for a GPU, so a dry run goes through
    the same lines in torch, on the CPU."""

    device: str
    name: str
    cores: int

    @property
    def dry_run(self) -> bool:
        return self.device.startswith("cpu")

    @property
    def threads(self) -> int:
        """One in a dry run: on a busy machine two threads of torch mostly wait for each other."""
        return 1 if self.dry_run else self.cores

    def all_cores(self) -> None:
        limit_threads(self.threads)

    def wait(self) -> None:
        """Until the GPU has done what it was given: it works on while Python goes on."""
        if not self.dry_run:
            import torch

            torch.cuda.synchronize()

    def timed(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """(seconds, what `work` returns)."""
        self.wait()
        began = time.monotonic()
        found = work()
        self.wait()
        return time.monotonic() - began, found


def this_machine() -> Machine:
    """Asked in a process of its own: one that has asked holds memory of the GPU, and should not be forked."""
    told = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True, timeout=120)
    name = told.stdout.strip()
    return Machine("cuda:0", name, len(os.sched_getaffinity(0))) if name else Machine("cpu:0", "no GPU", DRY_RUN_CORES)


@contextmanager
def timers(machine: Machine, places: dict[str, tuple[Any, str]]) -> Iterator[Counter[str]]:
    """Seconds spent in some functions while the block runs, calls from within included: {name: (owner, attribute)}.

    Each call waits for the GPU before and after it, so the block takes longer than without.
    """
    spent: Counter[str] = Counter()

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            seconds, found = machine.timed(lambda: function(*arguments, **settings))
            spent[name] += seconds
            return found

        return call

    with ExitStack() as patches:
        for name, (owner, attribute) in places.items():
            patches.enter_context(mock.patch.object(owner, attribute, watched(name, getattr(owner, attribute))))
        yield spent


def longest_kernels(machine: Machine, work: Callable[[], Any], count: int = 8) -> dict[str, float]:
    """Milliseconds of the operations that took longest on the device, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    activity = ProfilerActivity.CPU if machine.dry_run else ProfilerActivity.CUDA
    with profile(activities=[activity]) as profiled:
        work()
        machine.wait()
    field = "self_cpu_time_total" if machine.dry_run else "self_device_time_total"
    times = {event.key[:80]: getattr(event, field) / 1000 for event in profiled.key_averages()}
    return {name: round(times[name], 2) for name in sorted(times, key=lambda name: -times[name])[:count]}
