"""Sparse products and thin factorisations in torch, on the task's device."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
import torch

from graphseam.vectors import SHORTEST


def to_torch(matrix: sp.csr_matrix, device: torch.device) -> torch.Tensor:
    """A scipy CSR matrix as a float32 sparse CSR tensor on the device."""
    # scipy's matrices are well formed: checking them again would cost more than a product
    with warnings.catch_warnings(), torch.sparse.check_sparse_tensor_invariants(enable=False):
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            size=matrix.shape,
            device=device,
        )


def gaussian(rows: int, columns: int, seed: int, device: torch.device) -> torch.Tensor:
    """float32[rows, columns] of standard normal numbers, drawn on the CPU: the same on every device."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).to(device)


def product(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """left @ right, written into `out` if that has the shape of the result, else into new memory.

    Memory that was in use before is written to at once; the system clears new memory page by page, which took half of
    ProNE's time on a virtual machine. left: sparse CSR or dense.
    """
    if out is None or out.shape != (left.shape[0], right.shape[1]):
        return left @ right
    if left.layout == torch.sparse_csr:  # torch.mm would take new memory all the same
        return torch.addmm(out, left, right, beta=0, out=out)
    return torch.mm(left, right, out=out)


def orthonormal(columns: torch.Tensor, spare: torch.Tensor | None = None) -> torch.Tensor:
    """An orthonormal basis of the columns' span, float32[n, k], k <= columns; dependent columns are dropped.

    By eigenvectors of the Gram matrix, twice: one pass over n rows each, where QR needs many. In float32 products,
    directions below 1e-6 of the largest are lost in noise, so those are dropped. spare: memory of the columns' shape;
    with it the columns are overwritten, mostly by the basis itself.
    """
    for _ in range(2):
        if columns.shape[1] == 0:
            return columns
        gram = (columns.T @ columns).double()
        values, vectors = torch.linalg.eigh(gram)
        keep = values > max(values.max().item(), 1e-30) * 1e-10
        turned = product(columns, (vectors[:, keep] / values[keep].sqrt()).to(columns.dtype), spare)
        columns, spare = turned, columns if turned is spare else None
    return columns


def thin_svd(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(U float32[n, k], s float32[k]) of a tall matrix, k <= rank, largest first; by its Gram matrix."""
    values, vectors = torch.linalg.eigh((matrix.T @ matrix).double())
    values, vectors = values.flip(0)[:rank].clamp_min(0), fix_signs(vectors.flip(1)[:, :rank])
    keep = values > max(values.max().item(), 1e-30) * 1e-12
    singular = values[keep].sqrt()
    return matrix @ (vectors[:, keep] / singular).to(matrix.dtype), singular.to(matrix.dtype)


def fix_signs(vectors: torch.Tensor) -> torch.Tensor:
    """Flip each column so that its largest entry is positive: LAPACK leaves the sign undefined."""
    if vectors.numel() == 0:
        return vectors
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)


def randomized_svd(
    matrix: torch.Tensor, transposed: torch.Tensor, rank: int, rounds: int, seed: int, start: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(U, s) of the `rank` largest singular values of a sparse or dense matrix, approximately.

    start: float32[n, k], vectors expected to span the result; they replace as many random ones.
    Cost: 2 * rounds + 2 products of nnz * (rank + 10). Source: Halko, Martinsson and Tropp, SIAM Review 2011.
    """
    width = min(rank + 10, min(matrix.shape))
    first = gaussian(matrix.shape[1], width, seed, matrix.device)
    if start is not None:
        known = orthonormal(start[:, :width])
        first[:, : known.shape[1]] = known * first.norm(dim=0).mean()
    one, other = torch.zeros_like(first), first  # of a square matrix, two blocks of memory are used by turns
    basis = orthonormal(product(matrix, first, one), other)
    for _ in range(rounds):
        basis, other = _multiplied(transposed, basis, other)
        basis, other = _multiplied(matrix, basis, other)
    small = product(transposed, basis, other)  # matrix.T @ basis: its left vectors are the matrix's right ones
    values, vectors = torch.linalg.eigh((small.T @ small).double())
    values, vectors = values.flip(0)[:rank].clamp_min(0), fix_signs(vectors.flip(1)[:, :rank])
    return basis @ vectors.to(basis.dtype), values.sqrt().to(basis.dtype)


def _multiplied(matrix: torch.Tensor, basis: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(an orthonormal basis of matrix @ basis, memory that is free then). other: memory that is free now; the memory of
    `basis` is overwritten if the shapes allow it."""
    image = product(matrix, basis, other)
    found = orthonormal(image, basis)
    return found, basis if found is image else image


def unit_rows(vectors: torch.Tensor) -> torch.Tensor:
    """Each row divided by its length; a zero row stays zero."""
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(SHORTEST)


def pad_columns(vectors: torch.Tensor, dim: int) -> torch.Tensor:
    """Add zero columns (or drop the last ones) so that there are `dim`."""
    return torch.nn.functional.pad(vectors[:, :dim], (0, max(0, dim - vectors.shape[1])))
