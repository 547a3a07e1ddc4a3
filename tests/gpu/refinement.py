"""Refinement of whole graphs on the CPU and on the device: seconds, the vectors, and held-out edges by both."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpu.inputs import SEED, Sizes, made_graph, real_graph
from gpu.machine import Machine, timers
from gpu.results import Results
from gpu.scores import auc, cosines, held_out
from graphseam.embedding.memory import gpu_peak_bytes, watch_gpu
from graphseam.embedding.prone import ProneEmbedder
from graphseam.graph import Graph
from graphseam.refine import product, rounds, window
from graphseam.refine.spectral import SpectralRefiner

GRAPHS = ("ca_condmat", "blogcatalog")
SHARE = 0.2  # of the edges, held out
PAIRS = 200_000  # whose cosines are compared
AUC_MAY_DIFFER = 0.1
PARTS = {  # of the seconds on the device; `product_s` holds `moving_s`, and `window_s` the walks that make the matrix
    "product_s": (rounds, "product"),
    "moving_s": (product, "_by_torch"),
    "gram_s": (rounds, "gram"),
    "combined_s": (rounds, "combined"),
    "window_s": (window, "build"),
}


def run(results: Results, machine: Machine, sizes: Sizes) -> None:
    machine.all_cores()
    for name in GRAPHS:
        results.cell(
            name, partial(refined_on_both, machine, sizes, partial(real_graph, sizes, name), SpectralRefiner())
        )
    # without the window view: its walks, which the CPU makes in either case, would take most of the section's time
    refiner = SpectralRefiner(window_weight=0.0)
    results.cell("made", partial(refined_on_both, machine, sizes, partial(made_graph, sizes, "refined"), refiner))


def refined_on_both(machine: Machine, sizes: Sizes, read: Any, refiner: SpectralRefiner) -> dict[str, Any]:
    graph, edges, others = held_out(read(), SHARE, SEED)
    start = ProneEmbedder(dim=sizes.dim).embed(graph, SEED, machine.device)
    small = Graph.from_edges(np.arange(50), np.roll(np.arange(50), 1), np.ones(50))
    found, told = {}, {"nodes": graph.num_nodes, "edges": graph.num_edges, "threads": machine.threads}
    for name, device in (("cpu", "cpu"), ("device", machine.device)):
        refine = partial(refiner.refine, seed=SEED, device=device, threads=machine.threads)
        refine(small, start[:50])
        watch_gpu(device)
        told[f"{name}_s"], found[name] = machine.timed(lambda refine=refine: refine(graph, start))
        told[f"auc_{name}"] = auc(found[name], edges, others)
    told["auc_start"] = auc(start, edges, others)
    peak = gpu_peak_bytes(machine.device)
    told["peak_mb"] = None if peak is None else peak / 2**20
    told["auc_alike"] = abs(told["auc_cpu"] - told["auc_device"]) <= AUC_MAY_DIFFER
    told["faster"] = told["cpu_s"] / told["device_s"]
    pairs = np.random.default_rng(SEED).integers(0, graph.num_nodes, (PAIRS, 2))
    apart = np.abs(cosines(found["cpu"], pairs) - cosines(found["device"], pairs))
    told |= {"cosines_differ_by": apart.max(), "cosines_differ_by_mean": apart.mean()}
    return {
        **told,
        "parts": parts_of(machine, refiner, graph, start) if told["device_s"] < 15 else "too slow to run again",
    }


def parts_of(machine: Machine, refiner: SpectralRefiner, graph: Graph, start: np.ndarray) -> dict[str, float]:
    """Where the seconds go on the device, by a run with the parts timed: what is left runs on the CPU."""
    with timers(machine, PARTS) as spent:
        seconds, _ = machine.timed(lambda: refiner.refine(graph, start, SEED, machine.device, threads=machine.threads))
    return {"seconds": seconds, **spent}
