"""The products and factorisations of `linalg`, on all cores and on the device: seconds, and how far they are apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from gpu.facts import repeated
from gpu.inputs import SEED, Sizes
from gpu.machine import Machine
from gpu.results import Results
from graphseam import linalg

PER_ROW = 20  # entries; those of 10 edges per node
OVERSAMPLED = 10  # columns beside `dim`, as in randomized_svd


def run(results: Results, machine: Machine, sizes: Sizes) -> None:
    machine.all_cores()
    torch.set_grad_enabled(False)
    for rows in sizes.rows:
        wanted = [f"{rows} rows/{name}" for name in ("sparse", "orthonormal", "thin_svd", "gram")]
        if all(results.has(name) for name in wanted):
            continue
        matrix, columns = random_matrix(rows), linalg.gaussian(rows, sizes.dim + OVERSAMPLED, SEED, torch.device("cpu"))
        measures = (
            partial(sparse_product, machine, matrix, columns),
            partial(on_both, machine, columns, linalg.orthonormal, span_difference),
            partial(on_both, machine, columns, partial(linalg.thin_svd, rank=sizes.dim), singular_difference),
            partial(gram, machine, columns),
        )
        for name, measure in zip(wanted, measures, strict=True):
            results.cell(name, measure)


def random_matrix(rows: int) -> sp.csr_matrix:
    """Columns anywhere: the hardest case for a cache, as in a graph whose ids say nothing."""
    rng = np.random.default_rng(SEED)
    indices = np.sort(rng.integers(0, rows, (rows, PER_ROW), dtype=np.int32), axis=1).ravel()
    indptr = np.arange(0, len(indices) + 1, PER_ROW)
    return sp.csr_matrix((rng.random(len(indices), np.float32), indices, indptr), shape=(rows, rows))


def sparse_product(machine: Machine, matrix: sp.csr_matrix, columns: torch.Tensor) -> dict[str, Any]:
    """CSR times dense: as `to_torch` makes it, with 64-bit indices, and on the device with 32-bit ones, too."""
    on_cpu = linalg.to_torch(matrix, torch.device("cpu"))
    told: dict[str, Any] = {"cpu_s": repeated(machine, lambda: on_cpu @ columns, times=3)}
    expected, there = on_cpu @ columns, columns.to(machine.device)
    told["move_s"], moved = machine.timed(lambda: linalg.to_torch(matrix, torch.device(machine.device)))
    narrow = torch.sparse_csr_tensor(
        moved.crow_indices().int(), moved.col_indices().int(), moved.values(), size=moved.shape
    )
    for name, sparse in (("int64", moved), ("int32", narrow)):
        told[f"{name}_s"] = repeated(machine, lambda sparse=sparse: sparse @ there)
        told[f"{name}_apart"] = relative(sparse @ there, expected)
    told["gflop_s"] = 2 * matrix.nnz * columns.shape[1] / told["int64_s"] / 1e9
    return {**told, "faster": told["cpu_s"] / told["int64_s"]}


def on_both(
    machine: Machine, columns: torch.Tensor, work: Callable[..., Any], apart: Callable[[Any, Any], float]
) -> dict[str, Any]:
    there = columns.to(machine.device)
    cpu_s = repeated(machine, lambda: work(columns), times=3)
    device_s = repeated(machine, lambda: work(there))
    return {
        "cpu_s": cpu_s,
        "device_s": device_s,
        "faster": cpu_s / device_s,
        "apart": apart(work(there), work(columns)),
    }


def gram(machine: Machine, columns: torch.Tensor) -> dict[str, Any]:
    """CᵀC as it is, in TF32 and in float64: what each costs, and what it loses against float64 on the CPU."""
    exact, there = columns.double().T @ columns.double(), columns.to(machine.device)
    told: dict[str, Any] = {"cpu_s": repeated(machine, lambda: columns.T @ columns, times=3)}
    for name in ("float32", "tf32", "float64"):
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        work = partial(_gram, there, name == "float64")
        told[f"{name}_s"] = repeated(machine, work)
        told[f"{name}_apart"] = relative(work(), exact)
    torch.backends.cuda.matmul.allow_tf32 = False
    return {**told, "faster": told["cpu_s"] / told["float32_s"]}


def _gram(columns: torch.Tensor, double: bool) -> torch.Tensor:
    columns = columns.double() if double else columns
    return columns.T @ columns


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Frobenius norm of the difference, relative to that of what is expected."""
    expected = expected.double()
    return float((found.cpu().double() - expected).norm() / expected.norm())


def span_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Of two orthonormal bases: how much of one the other misses, beside what it lacks of being orthonormal."""
    found, expected = found.cpu().double(), expected.double()
    identity = torch.eye(found.shape[1], dtype=torch.float64)
    missed = relative(expected @ (expected.T @ found), found)
    return max(missed, float((found.T @ found - identity).abs().max()))


def singular_difference(found: tuple[torch.Tensor, torch.Tensor], expected: tuple[torch.Tensor, torch.Tensor]) -> float:
    return relative(found[1], expected[1])
