"""Training in batches on the device, for a few seconds: how fast, and where the seconds go."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from gpu.embedders import embedder_of, loaded, memory_of
from gpu.inputs import SEED, Sizes
from gpu.machine import Machine, longest_kernels, timers
from graphseam.embedding import batches, line, skipgram
from graphseam.embedding.memory import watch_gpu
from graphseam.embedding.start import random_start
from graphseam.embedding.walks import WalkGraph
from graphseam.graph import Graph

Chunk = tuple[float, torch.Tensor, torch.Tensor]


@dataclass
class Watched:
    """Passes chunks of pairs on for some seconds; counts them, and what it took to make them.

    exact: wait for the GPU at both ends of making a chunk, so that its time and that of the training do not overlap.
    """

    machine: Machine
    limit_s: float
    exact: bool
    pairs: int = 0
    chunks: int = 0
    making_s: float = 0.0

    def of(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        began = time.monotonic()
        while time.monotonic() - began < self.limit_s:
            if self.exact:
                self.machine.wait()
            asked = time.monotonic()
            chunk = next(chunks, None)
            if self.exact:
                self.machine.wait()
            self.making_s += time.monotonic() - asked
            if chunk is None:
                return
            self.pairs, self.chunks = self.pairs + len(chunk[1]), self.chunks + 1
            yield chunk


def on_device(machine: Machine, sizes: Sizes, method: str, graph: Graph) -> dict[str, Any]:
    """Pairs a second as users get them; then a shorter run with its parts timed, and the longest kernels of two chunks.

    walks_a_second, samples_a_second: to compare with the CPU, which draws as many pairs from each.
    """
    machine.all_cores()
    loaded(embedder_of(sizes, method), machine.device)
    trainer = LineTraining(machine, sizes, graph) if method == "line" else WalkTraining(machine, sizes, method, graph)
    trainer.train(limit_s=0.2)
    watch_gpu(machine.device)
    watched, seconds = trainer.train(sizes.gpu_seconds)
    done = watched.chunks * trainer.of_a_chunk
    held = memory_of(machine, trainer.embedder, graph)
    return {
        "nodes": graph.num_nodes,
        "edges": graph.num_edges,
        "seconds": seconds,
        f"{trainer.unit}_a_second": done / seconds,
        "pairs_a_second": watched.pairs / seconds,
        f"pairs_of_{trainer.unit}": watched.pairs / max(1, done),
        "whole_training_s": trainer.whole / (done / seconds) if done else None,
        **held,
        "parts": parts_of(machine, trainer, sizes.gpu_seconds / 2),
        "kernels_ms": longest_kernels(machine, partial(trainer.train, limit_s=60, most=2)),
    }


def parts_of(machine: Machine, trainer: Any, limit_s: float) -> dict[str, float]:
    """Shares of the seconds if nothing overlapped: drawing walks on the CPU, the rest of making pairs, training.

    For line, making is drawing samples on the CPU and moving them.
    """
    with timers(machine, trainer.drawing) as spent:
        watched, seconds = trainer.train(limit_s, exact=True, spent=spent)
    drawing = sum(spent.values())
    return {
        "drawing": drawing / seconds,
        "making": (watched.making_s - drawing) / seconds,
        "training": 1 - watched.making_s / seconds,
        "chunks": watched.chunks,
    }


class Training:
    """What is trained: `width` columns, and chunks of pairs made anew for every run."""

    unit = ""
    of_a_chunk = 0
    whole = 0  # units of a default embedding
    drawing: dict[str, tuple[Any, str]]

    def __init__(self, machine: Machine, embedder: Any, graph: Graph, width: int) -> None:
        self.machine, self.embedder, self.graph = machine, embedder, graph
        self.place, self.visits = torch.device(machine.device), skipgram.visits_of(graph.arcs)
        self.start = random_start(graph.num_nodes, width, SEED)

    def chunks(self) -> Iterator[Chunk]:
        raise NotImplementedError

    def train(
        self, limit_s: float, exact: bool = False, most: int | None = None, spent: Counter[str] | None = None
    ) -> tuple[Watched, float]:
        """(what was counted, seconds), without those of moving the vectors and of making the first chunk, with which
        come tables of the whole graph. spent: of timers that are to forget it, too."""
        vectors = torch.from_numpy(self.start).to(self.place, copy=True)
        contexts, watched = torch.zeros_like(vectors), Watched(self.machine, limit_s, exact)
        embedder = self.embedder
        trainer = batches.batch_trainer(embedder.negatives, embedder.alpha, self.place, embedder.precision)
        chunks = self.chunks()
        begun = itertools.chain([next(chunks)], chunks)
        if spent is not None:
            spent.clear()
        chunks = watched.of(itertools.islice(begun, most))
        seconds, _ = self.machine.timed(
            lambda: trainer.train(vectors, contexts, self.visits**embedder.power, SEED, chunks)
        )
        return watched, seconds


class WalkTraining(Training):
    unit = "walks"

    def __init__(self, machine: Machine, sizes: Sizes, method: str, graph: Graph) -> None:
        embedder = embedder_of(sizes, method)
        super().__init__(machine, embedder, graph, embedder.dim)
        self.walks = WalkGraph.of(graph.arcs, *embedder.bias)
        self.of_a_chunk = min(skipgram.walks_of_a_chunk(embedder.settings), graph.num_nodes * embedder.num_walks)
        self.whole = int((self.visits > 0).sum()) * embedder.num_walks
        self.drawing = {"walks": (skipgram, "walks_from")}

    def chunks(self) -> Iterator[Chunk]:
        return skipgram.pair_chunks(self.embedder.settings, self.walks, self.visits, SEED, self.place)


class LineTraining(Training):
    unit = "samples"

    def __init__(self, machine: Machine, sizes: Sizes, graph: Graph) -> None:
        embedder = embedder_of(sizes, "line")
        super().__init__(machine, embedder, graph, embedder.dim // 2)
        self.whole = 2 * embedder.samples * graph.arcs.nnz
        self.of_a_chunk = min(line.SAMPLES_PER_CHUNK, self.whole // 2)
        self.drawing = {}

    def chunks(self) -> Iterator[Chunk]:
        return self.embedder._sampled_arcs(self.graph.arcs, SEED, self.place)
