"""What the device is, what it can do at most, and whether the tests marked `gpu` pass on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from gpu.inputs import TINY, Sizes
from gpu.machine import Machine
from gpu.results import Results

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "numpy", "scipy", "numba", "scikit-learn", "pyarrow", "pandas", "pyspark", "pymetis")


def run(results: Results, machine: Machine, sizes: Sizes) -> None:
    results.cell("machine", lambda: about(machine))
    results.cell("memory", lambda: memory(machine))
    results.cell("copies", lambda: copies(machine, 1 << (16 if machine.dry_run else 31)))
    for name in ("bfloat16", "float32", "tf32", "float64"):
        results.cell(f"product of {name}", lambda name=name: product(machine, 64 if machine.dry_run else 8192, name))


def about(machine: Machine) -> dict[str, Any]:
    import torch

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not here"
    processors = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    told = {
        "device": machine.name,
        "processor": processors[0].partition(": ")[2] if processors else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "cores_used": machine.cores,
        "memory_gb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "versions": versions,
    }
    if not machine.dry_run:
        facts = torch.cuda.get_device_properties(0)
        told |= {
            "multiprocessors": facts.multi_processor_count,
            "capability": f"{facts.major}.{facts.minor}",
            "cuda": torch.version.cuda,
        }
    return told


def memory(machine: Machine) -> dict[str, Any]:
    """MB of the GPU, and what CUDA itself takes of it in a process that has done a product: `gpu_bytes` adds
    GPU_CONTEXT_BYTES for that."""
    import torch

    from graphseam.embedding.memory import GPU_CONTEXT_BYTES

    one = torch.ones(256, 256, device=machine.device)
    machine.timed(lambda: one @ one)
    if machine.dry_run:
        return {"forecast_of_context_mb": GPU_CONTEXT_BYTES / 2**20}
    free, total = torch.cuda.mem_get_info()
    context = total - free - torch.cuda.memory_reserved()
    return {
        "total_mb": total / 2**20,
        "context_mb": context / 2**20,
        "forecast_of_context_mb": GPU_CONTEXT_BYTES / 2**20,
    }


def copies(machine: Machine, size: int) -> dict[str, Any]:
    """GB/s: within the device, counting bytes read and written; to it, from memory of the usual kind and pinned."""
    import torch

    source = torch.ones(size, dtype=torch.uint8, device=machine.device)
    target = torch.empty_like(source)
    told = {"within_gb_s": 2 * size / repeated(machine, lambda: target.copy_(source)) / 1e9}
    host = torch.ones(size // 4, dtype=torch.uint8)
    told["from_host_gb_s"] = len(host) / repeated(machine, lambda: target[: len(host)].copy_(host)) / 1e9
    if not machine.dry_run:
        pinned = host.pin_memory()
        told["from_pinned_gb_s"] = len(host) / repeated(machine, lambda: target[: len(host)].copy_(pinned)) / 1e9
    told["to_host_gb_s"] = len(host) / repeated(machine, lambda: host.copy_(target[: len(host)])) / 1e9
    return told


def product(machine: Machine, size: int, name: str) -> dict[str, Any]:
    """TFLOP/s of a large dense product of random numbers."""
    import torch

    kind = getattr(torch, "float32" if name == "tf32" else name)
    one = torch.randn(size, size, device=machine.device).to(kind)
    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    try:
        seconds = repeated(machine, lambda: one @ one)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    return {"tflop_s": 2 * size**3 / seconds / 1e12}


def repeated(machine: Machine, work: Any, times: int = 5) -> float:
    """The median of some runs, after one that is not counted."""
    machine.timed(work)
    return statistics.median(machine.timed(work)[0] for _ in range(times))


def run_tests(results: Results, machine: Machine, sizes: Sizes) -> None:
    results.cell("marked gpu", lambda: gpu_tests(machine))
    results.cell("awkward graphs", lambda: awkward_graphs(machine))


def gpu_tests(machine: Machine) -> dict[str, Any]:
    """How many tests marked `gpu` passed, failed and were skipped, and what the failures say."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "tests/test_algorithms.py",
            "-m",
            "gpu",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        began = time.monotonic()
        ended = subprocess.run([*command, f"--junitxml={report}"], cwd=REPOSITORY, check=False)
        told: dict[str, Any] = {"pytest": ended.returncode, "seconds": time.monotonic() - began}
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    endings = [next((child for child in case if child.tag in ("failure", "error", "skipped")), None) for case in cases]
    told |= Counter("passed" if ending is None else ending.tag for ending in endings)
    told["failures"] = {
        case.get("name"): ending.get("message", "")[:400]
        for case, ending in zip(cases, endings, strict=True)
        if ending is not None and ending.tag != "skipped"
    }
    if ended.returncode not in (0, 5):
        told["error"] = f"pytest ended with {ended.returncode}"
    if told.get("skipped") and not machine.dry_run:
        told["error"] = "tests were skipped on a machine with a GPU"
    return told


def awkward_graphs(machine: Machine) -> dict[str, Any]:
    """Graphs on which a device path is most likely to trip: no edge, one edge, isolated nodes, weights. Trained for a
    moment only: batches are small on small graphs, and a GPU takes as long for a small one as for a large one."""
    from gpu.embedders import embedder_of
    from graphs import ZOO, in_memory
    from graphseam.methods import EMBEDDERS

    machine.all_cores()
    wrong = []
    for small in ZOO:
        graph = in_memory(small)
        for method in EMBEDDERS:
            try:
                vectors = embedder_of(TINY, method).embed(graph, 3, machine.device)
                if vectors.shape != (graph.num_nodes, TINY.dim) or not np.isfinite(vectors).all():
                    wrong.append(f"{method} on {small.name}: {vectors.shape} or not finite")
            except Exception as error:
                wrong.append(f"{method} on {small.name}: {error}"[:200])
    told: dict[str, Any] = {"graphs": len(ZOO), "methods": len(EMBEDDERS), "wrong": wrong}
    return {**told, "error": f"{len(wrong)} of these failed"} if wrong else told
