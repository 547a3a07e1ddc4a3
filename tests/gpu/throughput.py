"""Training on a graph of a million nodes: samples a second on one core, on all cores, and on the device."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gpu.embedders import embedder_of, loaded, memory_of
from gpu.inputs import SEED, Sizes, made_graph
from gpu.machine import Machine, longest_kernels, timers
from gpu.results import Results
from gpu.training import on_device
from graphseam import linalg
from graphseam.embedding import line, prone, skipgram
from graphseam.embedding.memory import watch_gpu
from graphseam.embedding.sampling import alias_table, generator
from graphseam.embedding.walks import WalkGraph
from graphseam.graph import Graph
from graphseam.task import limit_threads

WARM_UP = 10  # walks or samples, to load the compiled code
Prepare = Callable[[int], Callable[[int], Any]]  # of a core by its number: step(how many)
PRONE_PARTS = {  # `svd_s` and `filter_s` hold what they call of the others
    "proximity_s": (prone, "log_proximity"),
    "moving_s": (linalg, "to_torch"),
    "svd_s": (linalg, "randomized_svd"),
    "orthonormal_s": (linalg, "orthonormal"),
    "filter_s": (prone.ProneEmbedder, "_propagate"),
}


def run(results: Results, machine: Machine, sizes: Sizes) -> None:
    """The CPU first, by processes that share the graph's pages: they are forked, which CUDA does not survive."""
    graph = made_graph(sizes, "trained")
    for method in ("deepwalk", "node2vec", "line"):
        count = sizes.samples_of_a_core if method == "line" else sizes.walks_of_a_core
        cores = {"one core": 1, "all cores": machine.cores}
        missing = [name for name in cores if not results.has(f"{method}/{name}")]
        if missing:
            prepare = (line_on_a_core if method == "line" else walks_on_a_core)(sizes, method, graph)
            for name in missing:
                results.cell(f"{method}/{name}", partial(rate, method, prepare, cores[name], count))
    with multiprocessing.get_context("spawn").Pool(1) as beside:
        one_core = beside.apply_async(prone_on_one_core, (sizes,))
        for method in ("deepwalk", "node2vec", "line"):
            results.cell(f"{method}/device", partial(on_device, machine, sizes, method, graph))
        results.cell("prone/device", partial(prone_on_device, machine, sizes))
        results.cell("prone/one core, a tenth", one_core.get)
    results.cell("prone/all cores", partial(prone_on_all_cores, machine, sizes))
    for method in ("deepwalk", "node2vec", "line"):
        results.put(f"{method}/compared", compared(results, method))


def walks_on_a_core(sizes: Sizes, method: str, graph: Graph) -> Prepare:
    """Skip-gram as `train_on_cpu` runs it, over some of the starts of a pass."""
    embedder = loaded(embedder_of(sizes, method), "cpu")
    settings, visits = embedder.settings, skipgram.visits_of(graph.arcs)
    walks, starts = WalkGraph.of(graph.arcs, *embedder.bias), np.flatnonzero(visits > 0)
    negatives = alias_table(visits**settings.power)
    keep = skipgram.keep_chances(visits, settings.subsample)
    rate = settings.alpha, settings.alpha / settings.num_walks

    def prepare(number: int) -> Callable[[int], Any]:
        vectors, contexts = vectors_of(graph, embedder.dim, number)
        state, order = generator(number), np.random.default_rng(number).permutation(starts)
        return lambda count: skipgram._train_pass(
            walks, order[:count], vectors, contexts, negatives, keep, settings, rate, state
        )

    return prepare


def line_on_a_core(sizes: Sizes, method: str, graph: Graph) -> Prepare:
    """Second order, in half of the columns, as `LineEmbedder` trains it."""
    embedder, arcs = loaded(embedder_of(sizes, method), "cpu"), graph.arcs
    sources, targets = line._sources(arcs), arcs.indices.astype(np.int32)
    chances, negatives = alias_table(arcs.data), alias_table(skipgram.visits_of(arcs) ** embedder.power)

    def prepare(number: int) -> Callable[[int], Any]:
        vectors, contexts = vectors_of(graph, embedder.dim // 2, number)
        state = generator(number)
        return lambda count: line._train(
            sources, targets, chances, negatives, vectors, contexts, (count, embedder.negatives, embedder.alpha), state
        )

    return prepare


def vectors_of(graph: Graph, dim: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and contexts, written once: first use of a page is not what is measured."""
    row = (np.random.default_rng(number).random(dim, np.float32) - np.float32(0.5)) / dim
    return np.tile(row, (graph.num_nodes, 1)), np.full((graph.num_nodes, dim), 1e-6, np.float32)


def rate(method: str, prepare: Prepare, cores: int, count: int) -> dict[str, Any]:
    """What so many cores do together, each with vectors of its own: as tasks that train a subgraph each."""
    context = multiprocessing.get_context("fork")
    barrier, spans = context.Barrier(cores), context.Queue()
    work = partial(_train, prepare, count=count, barrier=barrier, spans=spans)
    workers = [context.Process(target=work, args=(number,), daemon=True) for number in range(cores)]
    for worker in workers:
        worker.start()
    found = [spans.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    seconds = max(end for _, end in found) - min(begin for begin, _ in found)
    unit = "samples" if method == "line" else "walks"
    return {"cores": cores, "seconds": seconds, f"{unit}_a_second": cores * count / seconds}


def _train(prepare: Prepare, number: int, count: int, barrier: Any, spans: Any) -> None:
    limit_threads(1)
    step = prepare(number)
    step(WARM_UP)
    barrier.wait(50)
    began = time.monotonic()
    step(count)
    spans.put((began, time.monotonic()))


def prone_on_device(machine: Machine, sizes: Sizes) -> dict[str, Any]:
    """On the graph that is refined: five million edges are what one executor embeds at once."""
    machine.all_cores()
    graph, embedder = made_graph(sizes, "refined"), loaded(embedder_of(sizes, "prone"), machine.device)
    work = partial(embedder.embed, graph, SEED, machine.device)
    watch_gpu(machine.device)
    first_s, _ = machine.timed(work)
    held = memory_of(machine, embedder, graph)
    seconds, _ = machine.timed(work)
    with timers(machine, PRONE_PARTS) as spent:
        work()
    return {
        "edges": graph.num_edges,
        "seconds": seconds,
        "first_s": first_s,
        **held,
        "parts": dict(spent),
        "kernels_ms": longest_kernels(machine, work),
    }


def prone_on_all_cores(machine: Machine, sizes: Sizes) -> dict[str, Any]:
    machine.all_cores()
    graph, embedder = made_graph(sizes, "refined"), loaded(embedder_of(sizes, "prone"), "cpu")
    seconds, _ = machine.timed(partial(embedder.embed, graph, SEED, "cpu"))
    return {"edges": graph.num_edges, "cores": machine.threads, "seconds": seconds}


def prone_on_one_core(sizes: Sizes) -> dict[str, Any]:
    """On a graph of a tenth of the edges, as the whole would take minutes: in a process beside the device's work."""
    limit_threads(1)
    graph, embedder = made_graph(sizes, "tenth"), loaded(embedder_of(sizes, "prone"), "cpu")
    began = time.monotonic()
    embedder.embed(graph, SEED, "cpu")
    return {"edges": graph.num_edges, "seconds": time.monotonic() - began}


def compared(results: Results, method: str) -> dict[str, Any]:
    """How many times as fast the device is."""
    unit = "samples_a_second" if method == "line" else "walks_a_second"
    rates = [results.cells.get(f"{method}/{name}", {}).get(unit) for name in ("one core", "all cores", "device")]
    if None in rates:
        return {"error": "a rate of it is missing"}
    return {"by_one_core": rates[2] / rates[0], "by_all_cores": rates[2] / rates[1]}
