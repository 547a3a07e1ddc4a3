"""The rounds of one refinement: the order of the supersteps, and when the Ritz values have converged."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from graphseam.methods import ITERATIONS
from graphseam.refine import rounds
from graphseam.refine.iteration import NOTHING, ROUNDS_PER_SPAN, BasisUpdate, Iteration
from graphseam.refine.rounds import Span, Task

GRAM_GRID = 2.0**-32  # finer than the precision of float32 vectors, coarser than the effect of the summation order
NEGLIGIBLE = 1e-12  # of the largest Ritz value


@dataclass
class IterationDriver:
    """Restarts limit how many bases are kept, and how much orthogonality the three-term recurrence loses.

    changes: of the leading Ritz values in each round, as a share of their sum; the first product is round 0.
    """

    stages: Any
    task: Task
    widths: list[int]  # columns wanted of each view
    method: str
    changes: list[float] = field(default_factory=list)
    _start: int = 0  # number of the span's first basis
    _products: int = 0
    _iterations: list[Iteration] = field(default_factory=list)
    _updates: list[BasisUpdate] = field(default_factory=list)
    _ritz: list[tuple[list[np.ndarray | None], np.ndarray]] = field(default_factory=list)

    @property
    def _kind(self) -> type[Iteration]:
        kind: type[Iteration] = ITERATIONS[self.method].load()
        return kind

    def run(self, gram: np.ndarray, rounds: int, tolerance: float) -> None:
        """From the Gram matrix of "raw.0": a first product, then at most `rounds` rounds of two products."""
        self._begin(gram, self.widths)
        self._product()
        self._note()
        for done in range(rounds):
            if self._closed or self.changes[-1] < tolerance:
                break
            if done and done % ROUNDS_PER_SPAN == 0 and self._kind.keeps_bases:
                self._restart()
            self._product()
            self._product()
            self._note()

    def span(self, power: float = 1.0) -> tuple[Span, list[int]]:
        """(the Ritz vectors, scaled by that power of their values; columns of each view)."""
        scaled = [
            ([part if part is None else part * _positive(values) ** (power - 1) for part in parts], values)
            for parts, values in self._ritz
        ]
        coefficients = [beside([parts[place] for parts, _ in scaled]) for place in range(self._products + 1)]
        return Span(self._start, side_by_side(self._updates), coefficients), [len(values) for _, values in self._ritz]

    def drop(self, span: Span) -> None:
        """Free the bases that a span was combined from."""
        self.task.store.drop(
            *[f"{kind}.{number}" for kind in ("basis", "raw") for number in range(span.start, span.newest + 1)]
        )

    @property
    def _closed(self) -> bool:
        """No new direction is left: the span holds all that its start can reach."""
        return not any(update.raw.shape[1] for update in self._updates)

    def _begin(self, gram: np.ndarray, widths: list[int]) -> None:
        self._iterations = [self._kind(width) for width in self.widths]
        self._updates = [
            iteration.begin(part)
            for iteration, part in zip(self._iterations, diagonal(to_grid(gram), widths), strict=True)
        ]
        self._products = 0

    def _product(self) -> None:
        if self._closed:
            return
        widths = [update.raw.shape[1] for update in self._updates]
        number = self._start + self._products
        store = self.task.store
        self.stages.run(partial(rounds.next_basis, task=self.task, step=number, update=side_by_side(self._updates)))
        store.drop(f"raw.{number}")  # at once: disk and memory are largest during the product
        if not self._kind.keeps_bases:
            store.drop(f"basis.{number - 1}")
        sums = self.stages.run(partial(rounds.multiply, task=self.task, step=number, widths=widths))
        store.drop(f"sent.basis.{number}")
        crossed, squared = (diagonal(to_grid(part), widths) for part in np.split(sums, 2))
        self._updates = [
            iteration.advance(cross, square)
            for iteration, cross, square in zip(self._iterations, crossed, squared, strict=True)
        ]
        self._products += 1

    def _note(self) -> None:
        before = [values for _, values in self._ritz] or [np.zeros(0) for _ in self.widths]
        self._ritz = [iteration.ritz() for iteration in self._iterations]
        self.changes.append(max(_change(values, old) for (_, values), old in zip(self._ritz, before, strict=True)))

    def _restart(self) -> None:
        span, widths = self.span()
        gram = self.stages.run(partial(rounds.restart, task=self.task, span=span))
        self.drop(span)
        self._start = span.newest + 1
        self._begin(gram, widths)
        self._product()


def _change(now: np.ndarray, before: np.ndarray) -> float:
    return float(
        np.abs(now - np.pad(before, (0, max(0, len(now) - len(before))))[: len(now)]).sum() / max(now.sum(), NOTHING)
    )


def _positive(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, NEGLIGIBLE * max(float(values.max(initial=0)), NOTHING))


def to_grid(sums: np.ndarray, grid: float = GRAM_GRID) -> np.ndarray:
    """Rounded to multiples of `grid` times the largest sum, so that the order in which blocks were summed, and so their
    number, has no effect. Where eigenvalues coincide it would otherwise determine the vectors."""
    unit = grid * 2.0 ** np.ceil(np.log2(max(float(np.abs(sums).max(initial=0)), NOTHING)))
    return np.round(sums / unit) * unit


def diagonal(gram: np.ndarray, widths: list[int]) -> list[np.ndarray]:
    """The diagonal block of each view in a matrix over the columns of all views."""
    ends = np.cumsum([0, *widths])
    gram = gram.reshape(ends[-1], ends[-1])
    return [gram[start:stop, start:stop] for start, stop in itertools.pairwise(ends.tolist())]


def beside(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """One block-diagonal matrix for the columns of all views."""
    present = [part for part in parts if part is not None]
    return block_diag(*present) if present else None


def side_by_side(updates: list[BasisUpdate]) -> BasisUpdate:
    raw = beside([update.raw for update in updates])
    assert raw is not None  # an update always has it
    return BasisUpdate(raw, beside([update.last for update in updates]), beside([update.before for update in updates]))
