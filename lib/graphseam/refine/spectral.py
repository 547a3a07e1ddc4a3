"""Global refinement: leading vectors of the whole graph in several views, by block Krylov rounds from a start."""

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
from graphseam.refine import rounds, window
from graphseam.refine.driver import IterationDriver, diagonal, to_grid
from graphseam.refine.iteration import NOTHING, fixed_signs
from graphseam.refine.rounds import Ending, Task, View
from graphseam.refine.rows import ARRAYS, Rows
from graphseam.refine.walks import Sampling
from graphseam.seeds import derive_seed

WEAK_START = 1e-4  # relative to the start's size: a shorter direction is replaced by noise
MEANS_GRID = 2.0**-40
NUM_COUNTS = 5  # sums of `rounds.begin` before the Gram matrix


@dataclass(frozen=True)
class SpectralRefiner:
    """Regularised spectral views of one graph, side by side, then a short filter over the edges; and where walks do not
    mix the graph, a view of its window matrix, from the other views' vectors, joined with them in `dim` directions.

    The spectral views share every pass over the edges: one product of A with an n x dim matrix, two supersteps.
    Passes: 2 · rounds + 1 + hops, and one more for every second round after the second. Another round is started while
    the last one changed the leading Ritz values by more than `tolerance` of their sum, up to `rounds`. The window view
    costs 2 · window_rounds + 1 products with the window matrix, of at most twice as many entries as walks, and `hops`
    passes. The defaults were chosen by the mean over a dozen graphs, see docs/quality.md. Sources: Qin and Rohe,
    Regularized spectral clustering, NeurIPS 2013 (the matrix); refine/iteration.py (the iteration); refine/window.py;
    the views, their shares, the filter and the joining were chosen by our own measurements.
    """

    iteration: str = "krylov"
    rounds: int = 6
    tolerance: float = 0.001
    filter: str = "hops"
    hops: int = 3
    views: tuple[View, ...] = (View(1.5, 0.875, 1.0), View(0.1, 0.125, 0.5))
    window_weight: float | None = None  # of the window view; None: by the graph's size and density; 0: no such view
    rounds_beside_window: int = 3  # at most, of the spectral views beside a window view of the greatest weight
    window_rounds: int = 1
    window_whiten: float = 0.25  # as `whiten`, of the window view
    whiten: float = 0.5  # of the spectral views: after propagation, singular values s become s^(1 - whiten)
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
        parts = [(view, width) for view, width in zip(self.views, self.widths(dim), strict=True) if width]
        task = replace(task, views=tuple(view for view, _ in parts))
        widths = [width for _, width in parts]
        sums = stages.run(partial(rounds.begin, task=task))
        live, degrees, entries, weights, weighted = (
            float(to_grid(sums[at : at + 1], MEANS_GRID)[0]) for at in range(NUM_COUNTS)
        )
        if not live:
            return Projection(dim=dim)
        task = replace(task, mean_degree=degrees / live, mean_weight=weights / entries)
        transform, noise = _start(to_grid(sums[NUM_COUNTS:]).reshape(dim, dim), widths)
        gram = stages.run(partial(rounds.first, task=task, transform=transform, noise=noise, seed=seed))
        task.store.drop("start", "rooted")
        weight = window.weight_of(live, entries / live) if self.window_weight is None else self.window_weight
        most = min(self.rounds, self.rounds_beside_window) if weight >= window.MOST_WEIGHT else self.rounds
        driver = IterationDriver(stages, task, widths, self.iteration)
        driver.run(gram, most, self.tolerance)
        ending = self._filtered(driver, [view.weight for view in task.views], self.length, self.whiten)
        told = Projection(dim, length=self.length, changes=driver.changes)
        if not weight:
            return replace(told, ending=ending)
        gram = stages.run(partial(rounds.end_view, task=task, ending=ending, dim=dim, number=0))
        task.store.drop("filtered")
        sampling = Sampling(
            per_entry=window.walks_wanted(live, entries / 2) / entries,
            steps=window.STEPS,
            seed=derive_seed(seed, "window"),
            num_blocks=stages.num_blocks,
            weighted=bool(weighted),
        )
        window.build(stages, task, sampling, volume=degrees)
        products = self._window_view(stages, task, dim, weight, gram)
        joining = _leading(*to_grid(np.concatenate([gram, products])).reshape(3, dim, dim))
        return replace(told, joining=joining, walks=sampling.per_entry * entries)

    def _window_view(self, stages: Any, task: Task, dim: int, weight: float, gram: np.ndarray) -> np.ndarray:
        """Keeps "view.1", the window matrix's leading vectors from the start of "view.0", whose Gram matrix is `gram`.

        Returns the products of "view.0" and of "view.1" with it.
        """
        on_window = replace(task, matrix=window.WINDOW)
        stages.run(partial(window.start, task=on_window))
        driver = IterationDriver(stages, on_window, [dim], self.iteration)
        driver.run(gram, self.window_rounds, 0.0)
        ending = self._filtered(driver, [1.0], weight * self.length, self.window_whiten, power=0.5)
        task.store.drop(*[f"{window.WINDOW}.{name}" for name in ARRAYS])
        products: np.ndarray = stages.run(partial(rounds.end_view, task=task, ending=ending, dim=dim, number=1))
        return products

    def _filtered(
        self, driver: IterationDriver, part_weights: list[float], length: float, whiten: float, power: float = 1.0
    ) -> Ending:
        """Propagation from the Ritz vectors, and the softening of the result: the store's "filtered", and its ending.

        part_weights, length: of the views' rows and of whole rows. whiten: singular values s become s^(1 - whiten).
        power: of the values that scale the Ritz vectors.
        """
        stages, task = driver.stages, driver.task
        span, widths = driver.span(power)
        weights = FILTERS[self.filter](self.hops)
        hops = len(weights) - 1
        stages.run(partial(rounds.combine, task=task, span=span, widths=widths, send=hops > 0))
        driver.drop(span)
        for step in range(hops):
            stages.run(partial(rounds.hop, task=task, step=step, send=step + 1 < hops))
            task.store.drop(f"sent.hop.{step}")
        gram = to_grid(stages.run(partial(rounds.filtered, task=task, weights=weights)))
        task.store.drop(*[f"hop.{step}" for step in range(len(weights))])
        transforms = [_softening(part, whiten) for part in diagonal(gram, widths)]
        return Ending(block_diag(*transforms), widths, part_weights, length)


@dataclass(frozen=True)
class Projection:
    """The last step, per block: from the arrays in the store to vectors.

    ending: of the array "filtered", if the spectral views are all there is. joining: [2 · dim, dim], of "view.0" and
    "view.1" side by side, if there is a window view. Neither if no node has an edge. changes: of the leading Ritz
    values in each round. walks: sampled for the window view.
    """

    dim: int
    ending: Ending | None = None
    joining: np.ndarray | None = None
    length: float = 0.0
    walks: float = 0.0
    changes: list[float] = field(default_factory=list)

    @property
    def details(self) -> dict[str, Any]:
        """What the run records about the refinement."""
        return {
            "rounds": max(0, len(self.changes) - 1),
            "ritz_changes": [round(change, 6) for change in self.changes],
            "walks": round(self.walks),
        }

    def vectors(self, block: int, task: Task) -> Iterator[tuple[slice, np.ndarray]]:
        """(rows, float32[rows, dim]) of the block, in the order of its node ids; zeros for a node without edges."""
        rows = Rows.kept(block, task.store)
        if self.ending is not None:
            yield from self.ending.vectors(rows, task.store.get(block, "filtered"), self.dim)
        elif self.joining is not None:
            views = [task.store.get(block, f"view.{number}") for number in range(2)]
            yield from rounds.joined(views, self.joining, self.length)
        else:
            for part in rounds.chunks(rows.num_rows, self.dim):
                yield part, np.zeros((part.stop - part.start, self.dim), np.float32)


def _leading(first: np.ndarray, crossed: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float64[2 · dim, dim]: the leading directions of two views side by side, principal components about zero.

    first, second: the views' Gram matrices; crossed: the first view, transposed, times the second.
    """
    gram = np.block([[first, crossed], [crossed.T, second]])
    return fixed_signs(np.linalg.eigh((gram + gram.T) / 2)[1][:, ::-1])[:, : len(first)]


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
