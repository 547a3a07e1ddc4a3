"""What each block does in a round of refinement: it reads its own arrays and the halo rows from its peers, writes its
new arrays, and returns sums over its nodes.

Sums are computed in float64 and vectors rounded to float32 once per round, so that the result depends neither on the
number of blocks nor on the order of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from graphseam.blocks.store import Store
from graphseam.compiled import mix, unit_interval
from graphseam.refine.iteration import BasisUpdate
from graphseam.refine.product import product
from graphseam.refine.rows import ADJACENCY, Rows
from graphseam.refine.tall_matrices import chunks, combined, gram, grams, make_unit_views, unit_views
from graphseam.task import limit_threads, task_device
from graphseam.vectors import unit_rows

NO_SUMS = np.zeros(0)


@dataclass(frozen=True)
class View:
    """One regularised matrix M_t = D_t^-1/2 A D_t^-1/2, D_t = D + t · (mean degree), and its part in the result.

    A small t captures fine, local structure; a large one captures dense cores and degrees.
    """

    regularisation: float  # t
    share: float  # of the columns
    weight: float  # length of its rows relative to the other views'


@dataclass(frozen=True)
class Task:
    """The parameters of every round. device: None for the one that Spark assigned to the task. matrix: the one whose
    leading vectors are sought; if it is not the adjacency, it is used as it is. in_common: as in Rows.send_vectors."""

    store: Store
    views: tuple[View, ...]
    threads: int
    device: str | None = None
    mean_degree: float = 0.0
    mean_weight: float = 0.0
    matrix: str = ADJACENCY
    in_common: int = 0

    def place(self) -> str:
        """The device; also limits this process's threads to the task's share."""
        limit_threads(self.threads)
        return task_device() if self.device is None else self.device

    def scales(self, block: int, rows: Rows) -> np.ndarray:
        """Of the rows and columns of the matrix in each view, float32[m + h, views]: D_t^-1/2 for the adjacency, 0
        for a node without edges."""
        if self.matrix != ADJACENCY:
            return np.ones((rows.num_rows + rows.num_halo, 1), np.float32)
        degrees = self.store.get(block, "degrees")
        live = degrees > 0
        return np.stack(
            [
                np.where(live, 1 / np.sqrt(degrees + view.regularisation * self.mean_degree + ~live), 0)
                for view in self.views
            ],
            axis=1,
        ).astype(np.float32)


def begin(block: int, task: Task) -> np.ndarray:
    """Send degrees. Sums: nodes with an edge, their degrees, entries, entry weights, whether any is not 1; the start's
    Gram matrix."""
    task.place()
    rows, store = Rows.kept(block, task.store), task.store
    rows.send(block, store, "degrees", rows.degrees)
    rooted = store.get(block, "start") * np.sqrt(rows.degrees)[:, None].astype(np.float32)
    store.put(block, "rooted", rooted)
    weights = float(rows.weights.sum(dtype=np.float64)) if len(rows.weights) else float(len(rows.neighbours))
    live, entries, weighted = (rows.degrees > 0).sum(), len(rows.neighbours), len(rows.weights) > 0
    counts = np.array([live, rows.degrees.sum(), entries, weights, weighted], np.float64)
    return np.concatenate([counts, gram(rooted, rooted).ravel()])


def first(block: int, task: Task, transform: np.ndarray, noise: np.ndarray, seed: int) -> np.ndarray:
    """The start's leading directions. transform: [dim, width]; noise: the columns to fill with noise instead."""
    task.place()
    rows, store = Rows.kept(block, task.store), task.store
    store.put(block, "degrees", np.concatenate([rows.degrees, rows.receive(block, store, "degrees")]))
    raw = combined([(store.get(block, "rooted"), transform)])
    if len(noise):
        raw[:, noise] = _noise(rows.node_ids, len(noise), seed) * (rows.degrees > 0)[:, None]
    store.put(block, "raw.0", raw)
    return gram(raw, raw).ravel()


def next_basis(block: int, task: Task, step: int, update: BasisUpdate) -> np.ndarray:
    """The next basis from the last product, sent to the halos."""
    task.place()
    rows, store = Rows.kept(block, task.store, task.matrix), task.store
    basis = _basis(block, store, step, update)
    store.put(block, f"basis.{step}", basis)
    rows.send_vectors(block, store, f"basis.{step}", basis, task.in_common)
    return NO_SUMS


def multiply(block: int, task: Task, step: int, widths: list[int]) -> np.ndarray:
    """The product W = M B with the newest basis B. Sums: BᵀW and WᵀW. widths: of the views."""
    device = task.place()
    rows, store, name = Rows.kept(block, task.store, task.matrix), task.store, f"basis.{step}"
    basis, halo = store.get(block, name), rows.receive_vectors(block, store, name, task.in_common)
    raw = product(rows, basis, halo, task.scales(block, rows), widths, 0.0, device, task.threads)
    store.put(block, f"raw.{step + 1}", raw)
    return np.concatenate([found.ravel() for found in grams([basis, raw], raw)])


@dataclass(frozen=True)
class Span:
    """Vectors as a combination of an iteration's bases: those from number `start` on, the newest of which is still to
    be computed from the last product. coefficients: per basis, None for a basis that does not contribute."""

    start: int
    update: BasisUpdate
    coefficients: list[np.ndarray | None]

    @property
    def newest(self) -> int:
        return self.start + len(self.coefficients) - 1

    def vectors(self, block: int, store: Store) -> np.ndarray:
        """float32[m, w] of the block's rows."""
        bases = []
        for number, matrix in enumerate(self.coefficients, start=self.start):
            if matrix is not None:
                newest = number == self.newest
                basis = _basis(block, store, number, self.update) if newest else store.get(block, f"basis.{number}")
                bases.append((basis, matrix))
        return combined(bases)


def restart(block: int, task: Task, span: Span) -> np.ndarray:
    """The Ritz vectors as the first block of a new iteration. Sums: their Gram matrix."""
    task.place()
    raw = span.vectors(block, task.store)
    task.store.put(block, f"raw.{span.newest + 1}", raw)
    return gram(raw, raw).ravel()


def combine(block: int, task: Task, span: Span, widths: list[int], send: bool) -> np.ndarray:
    """The Ritz vectors, each view's rows of length 1: what the filter starts from. send: if a hop follows."""
    task.place()
    rows, store = Rows.kept(block, task.store), task.store
    vectors = span.vectors(block, store)
    make_unit_views(vectors, widths)
    store.put(block, "hop.0", vectors)
    if send:
        rows.send_vectors(block, store, "hop.0", vectors, task.in_common)
    return NO_SUMS


def hop(block: int, task: Task, step: int, send: bool) -> np.ndarray:
    """One more power of P = (D + cI)^-1/2 (A + cI) (D + cI)^-1/2, c the mean edge weight: one round of exchange.

    send: if another hop follows.
    """
    device = task.place()
    rows, store = Rows.kept(block, task.store), task.store
    scale = (1 / np.sqrt(store.get(block, "degrees") + task.mean_weight))[:, None].astype(np.float32)
    own = store.get(block, f"hop.{step}")
    halo = rows.receive_vectors(block, store, f"hop.{step}", task.in_common)
    spread = product(rows, own, halo, scale, [own.shape[1]], task.mean_weight, device, task.threads)
    store.put(block, f"hop.{step + 1}", spread)
    if send:
        rows.send_vectors(block, store, f"hop.{step + 1}", spread, task.in_common)
    return NO_SUMS


def filtered(block: int, task: Task, weights: list[float]) -> np.ndarray:
    """X + P X + …, each power with its weight. Sums: the Gram matrix of the result."""
    task.place()
    powers = [task.store.get(block, f"hop.{step}") for step in range(len(weights))]
    total = np.float32(weights[0]) * powers[0]
    for power, weight in zip(powers[1:], weights[1:], strict=True):
        total += np.float32(weight) * power
    task.store.put(block, "filtered", total)
    return gram(total, total).ravel()


@dataclass(frozen=True)
class Ending:
    """How filtered columns become a view's vectors. transform: [columns, columns]; widths, weights: of its parts."""

    transform: np.ndarray
    widths: list[int]
    weights: list[float]
    length: float

    def vectors(self, rows: Rows, total: np.ndarray, dim: int) -> Iterator[tuple[slice, np.ndarray]]:
        """float32[m, dim] by chunk: transformed, each part's rows with its weight, whole rows of `length`."""
        for part in chunks(rows.num_rows, dim):
            views = unit_views(total[part].astype(np.float64) @ self.transform, self.widths)
            columns = np.concatenate([weight * view for weight, view in zip(self.weights, views, strict=True)], axis=1)
            vectors = np.zeros((part.stop - part.start, dim), np.float32)
            vectors[:, : sum(self.widths)] = self.length * (rows.degrees[part] > 0)[:, None] * unit_rows(columns)
            yield part, vectors


def end_view(block: int, task: Task, ending: Ending, dim: int, number: int) -> np.ndarray:
    """Keep a view's vectors as "view.<number>". Sums: the products of each view so far, itself the last, with them."""
    task.place()
    rows, store = Rows.kept(block, task.store), task.store
    vectors = np.zeros((rows.num_rows, dim), np.float32)
    for part, values in ending.vectors(rows, store.get(block, "filtered"), dim):
        vectors[part] = values
    store.put(block, f"view.{number}", vectors)
    views = [store.get(block, f"view.{earlier}") for earlier in range(number)] + [vectors]
    return np.concatenate([found.ravel() for found in grams(views, vectors)])


def joined(views: list[np.ndarray], transform: np.ndarray, length: float) -> Iterator[tuple[slice, np.ndarray]]:
    """The vectors, float32[m, dim] by chunk: the views side by side in their leading directions, rows of `length`."""
    for part in chunks(len(views[0]), len(transform)):
        columns = np.concatenate([view[part] for view in views], axis=1).astype(np.float64) @ transform
        yield part, (length * unit_rows(columns)).astype(np.float32)


def _basis(block: int, store: Store, step: int, update: BasisUpdate) -> np.ndarray:
    """float32[m, width]: the basis of that number, from the last product and the two bases before it."""
    earlier = [
        (store.get(block, f"basis.{step - back}"), -matrix)
        for back, matrix in ((1, update.last), (2, update.before))
        if matrix is not None
    ]
    return combined([(store.get(block, f"raw.{step}"), update.raw), *earlier])


def _noise(node_ids: np.ndarray, count: int, seed: int) -> np.ndarray:
    """float64[n, count] of about unit variance, derived from the node id, so the same in any block."""
    base = mix(node_ids.astype(np.uint64) + np.uint64(seed % (1 << 63)))
    numbers = mix(base[:, None] ^ mix(np.arange(1, count + 1, dtype=np.uint64))[None, :])
    return np.asarray(unit_interval(numbers) * np.sqrt(12) - np.sqrt(3))
