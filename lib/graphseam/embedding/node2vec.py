"""DeepWalk and node2vec: skip-gram over random walks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphseam.embedding import batches, skipgram
from graphseam.embedding.skipgram import SkipGram
from graphseam.embedding.start import random_start
from graphseam.embedding.walks import WalkGraph
from graphseam.graph import Graph


@dataclass(frozen=True)
class DeepWalkEmbedder:
    """Plain random walks, weighted and directed.

    Cost: num_walks * walk_length visits per node, with window + 1 contexts each; with the defaults 3 ms per node on one
    core at dim 128. On a GPU, training is in batches. Sources: Perozzi, Al-Rfou and Skiena, DeepWalk, KDD 2014; the
    skip-gram settings are word2vec's.
    """

    dim: int = 128
    precision: str = "auto"
    num_walks: int = 10
    walk_length: int = 80
    window: int = 10
    negatives: int = 5
    alpha: float = 0.025  # learning rate, decaying linearly
    power: float = 0.75  # negatives are drawn in proportion to their visits to this power
    subsample: float = 1e-3  # a node with a larger share of all visits is sometimes left out of a walk

    @property
    def bias(self) -> tuple[float, float]:
        """(p, q) of node2vec; (1, 1) is a plain walk."""
        return 1.0, 1.0

    def embed(self, graph: Graph, seed: int, device: str, start: np.ndarray | None = None) -> np.ndarray:
        """float32[n, dim]; a node without edges gets a zero row. Deterministic on a CPU."""
        visits = skipgram.visits_of(graph.arcs)
        vectors = random_start(graph.num_nodes, self.dim, seed, start)
        if graph.num_edges:
            walks = WalkGraph.of(graph.arcs, *self.bias)
            train = self._train_on_cpu if device == "cpu" else self.train_in_batches
            vectors = train(walks, visits, vectors, seed, device)
        vectors[visits == 0] = 0
        return vectors

    @property
    def settings(self) -> SkipGram:
        return SkipGram(
            self.num_walks, self.walk_length, self.window, self.negatives, self.alpha, self.power, self.subsample
        )

    def _train_on_cpu(
        self, walks: WalkGraph, visits: np.ndarray, vectors: np.ndarray, seed: int, device: str
    ) -> np.ndarray:
        skipgram.train_on_cpu(self.settings, walks, visits, vectors, seed)
        return vectors

    def train_in_batches(
        self, walks: WalkGraph, visits: np.ndarray, vectors: np.ndarray, seed: int, device: str
    ) -> np.ndarray:
        """The same training in torch, in batches, on any device; used on a GPU."""
        import torch

        place, settings = torch.device(device), self.settings
        trained = torch.from_numpy(vectors).to(place)
        trainer = batches.batch_trainer(settings.negatives, settings.alpha, place, self.precision)
        trainer.train(
            trained,
            torch.zeros_like(trained),
            visits**settings.power,
            seed,
            skipgram.pair_chunks(settings, walks, visits, seed, place),
        )
        return trained.cpu().numpy()

    def predict_bytes(self, num_nodes: int, num_edges: int) -> int:
        """Peak of `embed`: the graph with its alias tables, the vectors, the contexts and the start."""
        return 2 * num_edges * 24 + num_nodes * (3 * self.dim * 4 + 80)

    def predict_gpu_bytes(self, num_nodes: int, num_edges: int) -> int:
        """Peak on a GPU, with walks generated on the CPU: training alone."""
        pairs = skipgram.walks_of_a_chunk(self.settings) * self.settings.pairs_of_a_walk
        return batches.PairTrainer().train_bytes(num_nodes, self.dim, pairs)


@dataclass(frozen=True)
class Node2vecEmbedder(DeepWalkEmbedder):
    """Walks that prefer to return (p small) or to go far (q small). Source: Grover and Leskovec, node2vec, KDD 2016."""

    p: float = 1.0
    q: float = 0.5

    @property
    def bias(self) -> tuple[float, float]:
        return self.p, self.q
