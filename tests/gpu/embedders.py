"""Every embedder on real graphs, on the CPU and on the device: seconds, labels, memory, and whether it repeats."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from gpu.inputs import SCRATCH, Sizes, real_graph, real_labels
from gpu.machine import Machine
from gpu.results import Results
from gpu.scores import micro_f1, product_difference
from graphseam.embedding.memory import GPU_CONTEXT_BYTES, gpu_bytes, gpu_peak_bytes, watch_gpu
from graphseam.graph import Graph
from graphseam.methods import EMBEDDERS
from graphseam.task import limit_threads

GRAPHS = ("blogcatalog", "ppi")
LONGEST_FIRST = ("line", "node2vec", "deepwalk", "netmf", "prone", "fastrp")  # on one core
SEED = 11
CORES_FOR_THE_DEVICE = 4  # the others run embedders on one core each meanwhile
F1_MAY_DIFFER = 0.5


def run(results: Results, machine: Machine, sizes: Sizes) -> None:
    """While some cores embed and score, the device does: first the embedders that use all cores on a CPU, with little
    beside them; then those that are trained. Section `throughput` has those alone on the machine."""
    graphs = {name: real_graph(sizes, name) for name in GRAPHS}
    runs = list(product(graphs, sorted(EMBEDDERS, key=[*LONGEST_FIRST, *EMBEDDERS].index)))
    (SCRATCH / "vectors").mkdir(parents=True, exist_ok=True)
    workers = max(1, machine.cores - CORES_FOR_THE_DEVICE)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _one_thread) as pool:
        beside = Beside(pool, results)
        for name in graphs:  # at once, or nothing else would be left to do when it ends
            beside.begin(f"{name}/{LONGEST_FIRST[0]}/one core", on_one_core, sizes, LONGEST_FIRST[0], name)
        threads = max(1, machine.threads - len(graphs))
        limit_threads(threads)
        for name, method in runs:
            if not is_trained(method):
                cpu = partial(on_cpu, threads, sizes, method, name, graphs[name])
                results.cell(f"{name}/{method}/all cores", cpu)
                results.cell(f"{name}/{method}/device", partial(on_device, machine, sizes, method, name, graphs[name]))
        for name, method in runs:
            beside.begin(f"{name}/{method}/one core", on_one_core, sizes, method, name)
        for name, method in runs:
            results.cell(f"{name}/{method}/device", partial(on_device, machine, sizes, method, name, graphs[name]))
            beside.begin(f"{name}/{method}/labels", labels_of, sizes, name, method)
        beside.finish()
    for name, method in runs:
        results.put(f"{name}/{method}/compared", compared(results, name, method))


class Beside:
    """What the processes of a pool work on, one core each."""

    def __init__(self, pool: ProcessPoolExecutor, results: Results) -> None:
        self.pool, self.results, self.waiting = pool, results, {}

    def begin(self, cell: str, *work: Any) -> None:
        if not self.results.has(cell) and cell not in self.waiting.values():
            self.waiting[self.pool.submit(*work)] = cell

    def finish(self) -> None:
        for future in as_completed(self.waiting):
            self.results.cell(self.waiting[future], future.result)


def is_trained(method: str) -> bool:
    """In one thread on a CPU, and in batches by torch on a GPU."""
    return hasattr(EMBEDDERS[method].load(), "train_in_batches")


def embedder_of(sizes: Sizes, method: str) -> Any:
    kind = EMBEDDERS[method].load()
    known = {option.name for option in dataclasses.fields(kind)}
    return kind(dim=sizes.dim, **{name: value for name, value in sizes.settings.items() if name in known})


def loaded(embedder: Any, device: str) -> Any:
    """The embedder, once one like it has run for a moment: loading libraries and kernels is not what is measured."""
    nodes = np.arange(50)
    short = {name: 1 for name in ("num_walks", "samples") if hasattr(embedder, name)}
    dataclasses.replace(embedder, **short).embed(Graph.from_edges(nodes, np.roll(nodes, 1), np.ones(50)), 0, device)
    return embedder


def on_cpu(threads: int, sizes: Sizes, method: str, name: str, graph: Graph) -> dict[str, Any]:
    embedder = loaded(embedder_of(sizes, method), "cpu")
    began = time.monotonic()
    vectors = embedder.embed(graph, SEED, "cpu")
    seconds = time.monotonic() - began
    np.save(saved_at(name, method, "cpu"), vectors)
    return {"seconds": seconds, "threads": threads}


def on_one_core(sizes: Sizes, method: str, name: str) -> dict[str, Any]:
    """In a process of the pool. Its vectors are scored there, too."""
    graph = real_graph(sizes, name)
    told = on_cpu(1, sizes, method, name, graph)
    vectors = np.load(saved_at(name, method, "cpu"))
    return {**told, "f1": micro_f1(vectors, real_labels(name, graph), sizes.shuffles)}


def on_device(machine: Machine, sizes: Sizes, method: str, name: str, graph: Graph) -> dict[str, Any]:
    """Two runs: the second has the kernels of these sizes loaded, and tells whether vectors repeat."""
    embedder = loaded(embedder_of(sizes, method), machine.device)
    watch_gpu(machine.device)
    first_s, vectors = machine.timed(lambda: embedder.embed(graph, SEED, machine.device))
    told = memory_of(machine, embedder, graph)
    seconds, again = machine.timed(lambda: embedder.embed(graph, SEED, machine.device))
    np.save(saved_at(name, method, "device"), vectors)
    return {"seconds": seconds, "first_s": first_s, "repeats_to": product_difference(vectors, again), **told}


def memory_of(machine: Machine, embedder: Any, graph: Graph) -> dict[str, Any]:
    """The forecast without CUDA's own share beside what torch held at most, and their ratio."""
    forecast = gpu_bytes(embedder, graph.num_nodes, graph.num_edges) - GPU_CONTEXT_BYTES
    peak = gpu_peak_bytes(machine.device)
    if peak is None:
        return {"forecast_mb": forecast / 2**20}
    import torch

    return {
        "forecast_mb": forecast / 2**20,
        "peak_mb": peak / 2**20,
        "allocated_mb": torch.cuda.max_memory_allocated(machine.device) / 2**20,
        "forecast_by_peak": forecast / peak,
    }


def labels_of(sizes: Sizes, name: str, method: str) -> dict[str, Any]:
    graph, vectors = real_graph(sizes, name), np.load(saved_at(name, method, "device"))
    return {"f1": micro_f1(vectors, real_labels(name, graph), sizes.shuffles)}


def compared(results: Results, name: str, method: str) -> dict[str, Any]:
    """One row of the table: the CPU beside the device. A trained embedder's vectors are others on a GPU, by design."""
    found = {where: results.cells.get(f"{name}/{method}/{where}", {}) for where in ("one core", "device", "labels")}
    if any("error" in cell for cell in found.values()) or not all(found.values()):
        return {"error": "a run of it is missing"}
    f1 = [found["one core"]["f1"], found["labels"]["f1"]]
    paths = [saved_at(name, method, where) for where in ("cpu", "device")]
    here = all(path.exists() for path in paths)  # else the machine of an earlier try has kept them
    return {
        "f1_cpu": f1[0],
        "f1_device": f1[1],
        "f1_alike": abs(f1[0] - f1[1]) <= F1_MAY_DIFFER,
        "products_differ_by": product_difference(*(np.load(path) for path in paths)) if here else None,
        "one_core_by_device": found["one core"]["seconds"] / found["device"]["seconds"],
    }


def saved_at(name: str, method: str, where: str) -> Path:
    return SCRATCH / "vectors" / f"{name}-{method}-{where}.npy"


def _one_thread() -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    limit_threads(1)
