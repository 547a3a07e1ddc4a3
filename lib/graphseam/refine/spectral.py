"""Global refinement: the leading spectrum of the whole graph in two views, by block Krylov rounds from a start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from graphseam.blocks.stages import LocalStages
from graphseam.blocks.store import MemoryStore
from graphseam.graph import Graph
from graphseam.methods import FILTERS
from graphseam.refine import rounds
from graphseam.refine.driver import IterationDriver, diagonal, to_grid
from graphseam.refine.iteration import NOTHING, fixed_signs
from graphseam.refine.rounds import Task, View
from graphseam.refine.rows import Rows

WEAK_START = 1e-4  # relative to the start's size: a shorter direction is replaced by noise
MEANS_GRID = 2.0**-40


@dataclass(frozen=True)
class SpectralRefiner:
    """Regularised spectral views of one graph, side by side, then a short filter over the edges.

    All views share every pass over the edges: a pass is one product of A with an n x dim matrix, one superstep.
    Passes: 2 · rounds + 1 + hops, and one more for every second round after the second. Another round is started while
    the last one changed the leading Ritz values by more than `tolerance` of their sum, up to `rounds`. The defaults
    were chosen by the mean over ten graphs, see the README. Sources: Qin and Rohe, Regularized spectral clustering,
    NeurIPS 2013 (the matrix); refine/iteration.py (the iteration); the views, their shares and the filter were chosen
    by our own measurements.
    """

    iteration: str = "krylov"
    rounds: int = 6
    tolerance: float = 0.001
    filter: str = "hops"
    hops: int = 3
    views: tuple[View, ...] = (View(1.5, 0.875, 1.0), View(0.1, 0.125, 0.5))
    whiten: float = 0.5  # after propagation, singular values s become s^(1 - whiten)
    length: float = 2.0  # of every row: works best for a logistic regression with C = 1; cosine similarity ignores it

    def widths(self, dim: int) -> list[int]:
        """Columns of each view, `dim` in total; in a narrow embedding a view may get none."""
        ends = np.cumsum([view.share for view in self.views]) / sum(view.share for view in self.views)
        return np.diff(np.round(np.concatenate([[0], ends]) * dim)).astype(int).tolist()

    def refine(self, graph: Graph, start: np.ndarray, seed: int, device: str, threads: int = 1) -> np.ndarray:
        """float32[n, dim], zero rows for nodes without an edge: the whole graph as one block, in this process.

        start: float32[n, dim], zero rows allowed. Deterministic on a CPU, for any number of threads.
        Cost: passes · edges · dim + n · dim² · passes.
        """
        adjacency, store = graph.adjacency.tocoo(), MemoryStore()
        ids = np.arange(graph.num_nodes, dtype=np.int64)
        rows = Rows.build(
            0, ids, ids[adjacency.row], ids[adjacency.col], np.zeros(adjacency.nnz, np.int64), adjacency.data
        )
        rows.keep(0, store)
        store.put(0, "start", np.ascontiguousarray(start, np.float32))
        task = Task(store, self.views, threads, device)
        projection = self.run(LocalStages(1), task, start.shape[1], seed)
        vectors = np.zeros((graph.num_nodes, start.shape[1]), np.float32)
        for part, values in projection.vectors(0, task):
            vectors[part] = values
        return vectors

    def run(self, stages: Any, task: Task, dim: int, seed: int) -> Projection:
        """Run all rounds, on any number of blocks, whose rows and start vectors are in the store."""
        widths = self.widths(dim)
        parts = [(view, width) for view, width in zip(self.views, widths, strict=True) if width]
        task = replace(task, views=tuple(view for view, _ in parts))
        widths = [width for _, width in parts]
        sums = stages.run(partial(rounds.begin, task=task))
        live, degrees, entries, weights = (float(to_grid(sums[at : at + 1], MEANS_GRID)[0]) for at in range(4))
        if not live:
            return Projection(dim=dim)
        task = replace(task, mean_degree=degrees / live, mean_weight=weights / entries)
        transform, noise = _start(to_grid(sums[4:]).reshape(dim, dim), widths)
        gram = stages.run(partial(rounds.first, task=task, transform=transform, noise=noise, seed=seed))
        task.store.drop("start", "rooted")
        driver = IterationDriver(stages, task, widths, self.iteration)
        driver.run(gram, self.rounds, self.tolerance)
        return self._filter(driver, dim)

    def _filter(self, driver: IterationDriver, dim: int) -> Projection:
        """Propagation from the Ritz vectors, and the softening of the result."""
        stages, task = driver.stages, driver.task
        span, widths = driver.span()
        stages.run(partial(rounds.combine, task=task, span=span, widths=widths))
        driver.drop(span)
        weights = FILTERS[self.filter](self.hops)
        for step in range(len(weights) - 1):
            stages.run(partial(rounds.hop, task=task, step=step))
        gram = to_grid(stages.run(partial(rounds.filtered, task=task, weights=weights)))
        transforms = [_softening(part, self.whiten) for part in diagonal(gram, widths)]
        return Projection(
            dim, block_diag(*transforms), widths, [view.weight for view in task.views], self.length, driver.changes
        )


@dataclass(frozen=True)
class Projection:
    """The last step, per block: the array "filtered" from the store, transformed.

    transform: None if no node has an edge. changes: of the leading Ritz values in each round.
    """

    dim: int
    transform: np.ndarray | None = None
    widths: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    length: float = 0.0
    changes: list[float] = field(default_factory=list)

    @property
    def details(self) -> dict[str, Any]:
        """What the run records about the refinement."""
        return {"rounds": max(0, len(self.changes) - 1), "ritz_changes": [round(change, 6) for change in self.changes]}

    def vectors(self, block: int, task: Task) -> Iterator[tuple[slice, np.ndarray]]:
        """(rows, float32[rows, dim]) of the block, in the order of its node ids; zeros for a node without edges."""
        rows = Rows.kept(block, task.store)
        if self.transform is None:
            for part in rounds.chunks(rows.num_rows, self.dim):
                yield part, np.zeros((part.stop - part.start, self.dim), np.float32)
            return
        yield from rounds.finished(
            rows, task.store.get(block, "filtered"), self.transform, self.widths, self.weights, self.dim, self.length
        )


def _start(gram: np.ndarray, widths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """(transform float64[dim, sum of widths], columns of noise): each view's leading directions of the start, then
    noise if the start spans too few."""
    values, vectors = np.linalg.eigh(gram)
    lengths, vectors = np.sqrt(np.maximum(values[::-1], 0)), fixed_signs(vectors[:, ::-1])
    strong = int((lengths > WEAK_START * max(float(np.linalg.norm(lengths)), NOTHING)).sum())
    noise: list[int] = []
    transform = np.zeros((len(gram), sum(widths)))
    for place, width in zip(np.cumsum([0, *widths[:-1]]).tolist(), widths, strict=True):
        taken = min(width, strong)
        transform[:, place : place + taken] = vectors[:, :taken] / lengths[:taken]
        noise += range(place + taken, place + width)
    return transform, np.array(noise, np.int64)


def _softening(gram: np.ndarray, whiten: float) -> np.ndarray:
    """The transform that changes the columns' singular values from s to s^(1 - whiten)."""
    values, directions = np.linalg.eigh(gram)
    values = np.maximum(values[::-1], 1e-10 * max(values[-1], NOTHING))
    return fixed_signs(directions[:, ::-1]) * values ** (-whiten / 2)
