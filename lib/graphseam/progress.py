"""What a user sees during a run: the step, how far Spark is in it, and its result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from py4j.protocol import Py4JError
from pyspark import SparkContext
from rich.console import Console

from graphseam.steps import ALL_STEPS

console = Console(stderr=True, highlight=False)
LINE_EVERY_S = 30.0  # if the output is a log: a line now and then instead of a live display


class StepProgress:
    """Numbers the steps and reports their progress on standard error; results go to standard output."""

    def __init__(self, total: int) -> None:
        self.total, self.place = total, 0

    def start(self, run_id: str) -> None:
        console.print(f"run [bold]{run_id}[/bold]: starting Spark")

    def skip(self, step: str) -> None:
        console.print(f"{self.label(step)}done before", markup=False)

    def label(self, step: str) -> str:
        """What the line of the next step begins with."""
        self.place += 1
        return f"[{self.place}/{self.total}] {step:<14}"

    @contextmanager
    def step(self, step: str, label: str = "") -> Iterator[Callable[[dict[str, Any]], None]]:
        """Report the step's progress while the block runs; the block passes its details to the yielded function.

        label: of a step that is run beside others, which are watched together.
        """
        with _told(label or self.label(step), watched=not label) as say:
            yield lambda details: say(ALL_STEPS[step].tells(details))

    @contextmanager
    def beside(self, steps: Sequence[str]) -> Iterator[list[str]]:
        """Watch steps that run beside each other; the block passes each of them its label."""
        labels = [self.label(step) for step in steps]
        with _watched(f"{labels[0].rstrip()}, {', '.join(steps[1:])} ", time.monotonic()):
            yield labels

    @contextmanager
    def doing(self, what: str) -> Iterator[Callable[[str], None]]:
        """Report something that is no step while the block runs; the block passes its sentence to the function."""
        before = f"[{self.total}/{self.total}] "
        with _told(f"{'':<{len(before)}}{what:<14}") as say:
            yield say

    def warn(self, sentence: str) -> None:
        console.print(f"[yellow]{_plain(sentence)}[/yellow]", soft_wrap=True)


@contextmanager
def _told(label: str, watched: bool = True) -> Iterator[Callable[[str], None]]:
    """Watch Spark while the block runs, then print one line with the time and the sentence the block gave."""
    told, started = [""], time.monotonic()
    with _watched(label, started) if watched else nullcontext():
        yield told.append
    line = f"{label}{time.monotonic() - started:6.1f} s  {told[-1]}"
    console.print(line, markup=False, soft_wrap=True)  # a scheduler's log is searched line by line


@contextmanager
def _watched(label: str, started: float) -> Iterator[None]:
    """Show Spark's own counts of tasks while the block runs."""
    done = threading.Event()

    def follow(show: Callable[[str], None], every_s: float) -> None:
        while not done.wait(every_s):
            show(f"{label}{time.monotonic() - started:6.1f} s  {_tasks()}")

    with console.status(_plain(label)) if console.is_terminal else nullcontext() as status:
        show = (
            (lambda text: console.print(text, markup=False))
            if status is None
            else (lambda text: status.update(_plain(text)))
        )
        watcher = threading.Thread(target=follow, args=(show, LINE_EVERY_S if status is None else 0.5), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _plain(text: str) -> str:
    """Text that rich prints as it is: a bracket would start a style."""
    return text.replace("[", r"\[")


def _tasks() -> str:
    context = SparkContext._active_spark_context
    if context is None:
        return ""
    try:
        tracker = context.statusTracker()
        stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    except (Py4JError, OSError):  # Java has just ended; what the block raises says why
        return ""
    done, total = (
        sum(getattr(stage, name) for stage in stages if stage is not None) for name in ("numCompletedTasks", "numTasks")
    )
    return f"{done} of {total} tasks done" if total else ""
