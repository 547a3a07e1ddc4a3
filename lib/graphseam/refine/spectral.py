"""Global refinement: the leading spectrum of the whole graph in two views, by block Krylov rounds from a start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from graphseam.embed import linalg
from graphseam.graph import Graph

DEPENDENT = 3e-6   # of a block's size: a direction below it is noise in float32
SMALLEST = 1e-30


@dataclass(frozen=True)
class View:
    """One regularised matrix M_t = D_t^-1/2 A D_t^-1/2, D_t = D + t · (mean degree), and its part in the result.

    A small t sees fine, local structure; a large one sees dense cores and degrees.
    """

    regularisation: float  # t
    share: float           # of the columns
    weight: float          # of its rows' length beside the other views'


@dataclass(frozen=True)
class SpectralRefiner:
    """Regularised spectral views of one graph, side by side.

    All views share every pass over the edges: a pass is one product of A with n x dim numbers.
    Passes: 2 · rounds + 1 + hops. The defaults were chosen on the mean over ten graphs, as the README tells.
    Sources: Qin and Rohe, Regularized spectral clustering, NeurIPS 2013 (the matrix); Musco and Musco, Randomized
    block Krylov methods, NeurIPS 2015 (the iteration); the views, their shares and the filter are our measurement.
    """

    rounds: int = 2
    hops: int = 3
    views: tuple[View, ...] = (View(1.5, 0.875, 1.0), View(0.1, 0.125, 0.5))
    whiten: float = 0.5  # after propagation, singular values s become s^(1 - whiten)
    length: float = 2.0  # of every row: what a logistic regression with C = 1 does best with; a cosine ignores it

    def widths(self, dim: int) -> list[int]:
        """Columns of each view, `dim` in all; a narrow embedding may leave a view none."""
        ends = np.cumsum([view.share for view in self.views]) / sum(view.share for view in self.views)
        return np.diff(np.round(np.concatenate([[0], ends]) * dim)).astype(int).tolist()

    def refine(self, graph: Graph, start: np.ndarray, seed: int, device: str) -> np.ndarray:
        """float32[n, dim], zero rows for nodes without an edge. start: float32[n, dim], zero rows allowed.

        Deterministic on a CPU. Cost: passes · edges · dim + n · dim² · (2 · rounds + 1)².
        """
        num_nodes, dim = start.shape
        degrees = graph.degrees
        if not (degrees > 0).any():
            return np.zeros((num_nodes, dim), np.float32)
        parts = [(view, width) for view, width in zip(self.views, self.widths(dim), strict=True) if width]
        work = _Work.of(graph, degrees, [view.regularisation for view, _ in parts], torch.device(device))
        first = torch.from_numpy(np.ascontiguousarray(start, np.float32)).to(device) * work.root_degree
        blocks = [_leading(first, width, work, linalg.derived(seed, at)) for at, (_, width) in enumerate(parts)]
        vectors = self._propagate(work, self._krylov(work, blocks, [width for _, width in parts]))
        softened = [view.weight * linalg.pad_columns(_soften(part, self.whiten) * work.live, width)
                    for part, (view, width) in zip(vectors, parts, strict=True)]
        return (self.length * linalg.unit_rows(torch.cat(softened, dim=1))).cpu().numpy()

    def _krylov(self, work: _Work, blocks: list[torch.Tensor], widths: list[int]) -> list[torch.Tensor]:
        """The leading vectors of each M_t on the span of X, M X, M² X, …, scaled by their values, rows of length 1."""
        bases = [[block] for block in blocks]
        images = [[image] for image in work.products(blocks, work.scales)]
        for _ in range(2 * self.rounds):
            new = [_orthonormal_to(image[-1], basis) for basis, image in zip(bases, images, strict=True)]
            for basis, image, block, product in zip(bases, images, new, work.products(new, work.scales), strict=True):
                basis.append(block)
                image.append(product)
        bases.clear()  # half of the memory
        found = []
        for image, width in zip(images, widths, strict=True):
            left, values = linalg.thin_svd(image, width)  # the bases are orthonormal: this is Rayleigh-Ritz
            found.append(linalg.unit_rows(left * values))
        return found

    def _propagate(self, work: _Work, vectors: list[torch.Tensor]) -> list[torch.Tensor]:
        """X + P X + P² X + …, P = (D + cI)^-1/2 (A + cI) (D + cI)^-1/2, c the mean weight of an edge."""
        total = current = vectors
        loop, own_weight = work.loop_scale, work.mean_weight * work.loop_scale ** 2
        for _ in range(self.hops):
            spread = work.products(current, [loop] * len(current))
            current = [product + own_weight * own for product, own in zip(spread, current, strict=True)]
            total = [so_far + step for so_far, step in zip(total, current, strict=True)]
        return total


@dataclass(frozen=True)
class _Work:
    """The graph on the device, and the diagonal scalings, each float32[n, 1]."""

    adjacency: torch.Tensor
    live: torch.Tensor          # 1 where the node has an edge
    root_degree: torch.Tensor
    scales: list[torch.Tensor]  # D_t^-1/2 of each view
    loop_scale: torch.Tensor    # (D + cI)^-1/2
    mean_weight: float          # c, of an edge

    @staticmethod
    def of(graph: Graph, degrees: np.ndarray, regularisations: list[float], device: torch.device) -> _Work:
        live = degrees > 0
        mean, mean_weight = degrees[live].mean(), float(graph.adjacency.data.mean())

        def column(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(values.astype(np.float32))[:, None].to(device)

        inverse_roots = [np.where(live, 1 / np.sqrt(degrees + t * mean + ~live), 0) for t in regularisations]
        return _Work(
            adjacency=linalg.to_torch(graph.adjacency, device), live=column(live), root_degree=column(np.sqrt(degrees)),
            scales=[column(values) for values in inverse_roots], loop_scale=column(1 / np.sqrt(degrees + mean_weight)),
            mean_weight=mean_weight)

    def products(self, blocks: list[torch.Tensor], scales: list[torch.Tensor]) -> list[torch.Tensor]:
        """[S A S X for each block X and scaling S], in one pass over the edges."""
        scaled = torch.cat([scale * block for scale, block in zip(scales, blocks, strict=True)], dim=1)
        parts = (self.adjacency @ scaled).split([block.shape[1] for block in blocks], dim=1)
        return [scale * part for scale, part in zip(scales, parts, strict=True)]


def _leading(vectors: torch.Tensor, width: int, work: _Work, seed: int) -> torch.Tensor:
    """An orthonormal basis of the leading `width` directions; noise fills up what the vectors do not span."""
    left, values = linalg.thin_svd([vectors], width)
    left = left[:, values > 1e-4 * max(values.norm().item(), SMALLEST)]
    missing = width - left.shape[1]
    if missing:
        noise = linalg.gaussian(len(vectors), missing, seed, vectors.device) * work.live
        left = torch.cat([left, _orthonormal_to(noise, [left])], dim=1)
    return left


def _orthonormal_to(block: torch.Tensor, basis: list[torch.Tensor]) -> torch.Tensor:
    """An orthonormal basis of what the block adds to the (orthonormal) basis; dependent directions fall away."""
    block = block / max(block.norm().item(), SMALLEST)
    for smallest in (DEPENDENT ** 2, 0.25):  # in float32, once more is needed and enough
        if block.shape[1] == 0:
            break
        for part in basis:
            block = block - part @ (part.T @ block)
        values, vectors = torch.linalg.eigh((block.T @ block).double())
        keep = values > smallest  # the block's size was 1 before: what is left may be nothing but rounding
        block = block @ (vectors[:, keep] / values[keep].sqrt()).to(block.dtype)
    return block


def _soften(vectors: torch.Tensor, whiten: float) -> torch.Tensor:
    """Rows of length 1 after the singular values s became s^(1 - whiten)."""
    values, directions = torch.linalg.eigh((vectors.T @ vectors).double())
    values = values.clamp_min(1e-10 * max(values.max().item(), SMALLEST))
    turned = linalg.fix_signs(directions.flip(1)) * values.flip(0) ** (-whiten / 2)
    return linalg.unit_rows(vectors @ turned.to(vectors.dtype))
