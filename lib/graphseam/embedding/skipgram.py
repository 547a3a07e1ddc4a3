"""Skip-gram with negative sampling over random walks: compiled on a CPU, in large batches by torch on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from graphseam.compiled import compiled_fast
from graphseam.embedding.sampling import alias_table, draw, generator, uniform
from graphseam.embedding.walks import WalkGraph, walk_from, walks_from

if TYPE_CHECKING:
    import torch

PAIRS_PER_CHUNK = 1 << 22  # about, on a GPU: walks are generated on the CPU and kept for one chunk only


class SkipGram(NamedTuple):
    """Settings of the skip-gram training on walks; the defaults are word2vec's.

    The contexts around a position share its negatives, as in Ji et al., Parallelizing Word2Vec in Shared and
    Distributed Memory, TPDS 2019: half the time, the same label scores. Source: Mikolov et al., Distributed
    Representations of Words and Phrases, NIPS 2013.
    """

    num_walks: int = 10
    walk_length: int = 80
    window: int = 10
    negatives: int = 5
    alpha: float = 0.025  # learning rate, decaying linearly
    power: float = 0.75  # negatives are drawn in proportion to their visits to this power
    subsample: float = 1e-3  # a node with a larger share of all visits is sometimes left out of a walk

    @property
    def pairs_of_a_walk(self) -> int:
        """On average, and before nodes are left out."""
        return self.walk_length * (self.window + 1)


def walks_of_a_chunk(settings: SkipGram) -> int:
    """The number of walks that give about PAIRS_PER_CHUNK pairs, at least one."""
    return max(1, PAIRS_PER_CHUNK // settings.pairs_of_a_walk)


def visits_of(arcs: sp.csr_matrix) -> np.ndarray:
    """float64[n]: how often walks visit each node, up to a factor: the sum of its outgoing and incoming weights."""
    return np.asarray(arcs.sum(axis=0)).ravel() + np.asarray(arcs.sum(axis=1)).ravel()


def keep_chances(visits: np.ndarray, subsample: float) -> np.ndarray:
    """float32[n]: the probability that a visit is kept in its walk (word2vec's rule)."""
    ratio = subsample / np.maximum(visits / max(visits.sum(), 1e-300), 1e-300)
    return np.minimum(1.0, np.sqrt(ratio) + ratio).astype(np.float32)


def train_on_cpu(settings: SkipGram, walks: WalkGraph, visits: np.ndarray, vectors: np.ndarray, seed: int) -> None:
    """Train `vectors` (float32[n, dim]) in place, in one thread: the same bytes every time. No walk is stored.

    Cost: n * num_walks * walk_length * (window + 1) * (negatives + 1) * dim * 6 operations.
    """
    shuffle, state = np.random.default_rng(seed), generator(seed)
    contexts = np.zeros_like(vectors)
    negatives, keep = alias_table(visits**settings.power), keep_chances(visits, settings.subsample)
    starts = np.flatnonzero(visits > 0)
    for number in range(settings.num_walks):
        rate = settings.alpha * (1 - number / settings.num_walks), settings.alpha / settings.num_walks
        _train_pass(walks, shuffle.permutation(starts), vectors, contexts, negatives, keep, settings, rate, state)


@compiled_fast
def _train_pass(
    graph: Any,
    starts: Any,
    vectors: Any,
    contexts: Any,
    negatives: Any,
    keep: Any,
    settings: Any,
    rate: Any,
    state: Any,
) -> None:
    """A walk from each start, trained on immediately; during the pass the rate decays from rate[0] by rate[1]."""
    walk, kept = np.empty(settings.walk_length, np.int32), np.empty(settings.walk_length, np.int32)
    targets, error = np.empty(settings.negatives + 1, np.int32), np.empty(vectors.shape[1], np.float32)
    for done in range(len(starts)):
        alpha = np.float32(max(rate[0] - rate[1] * done / len(starts), settings.alpha * 0.004))
        reached, count = walk_from(graph, starts[done], walk, state), 0
        for at in range(reached):
            if keep[walk[at]] >= 1.0 or uniform(state) < keep[walk[at]]:
                kept[count] = walk[at]
                count += 1
        for centre in range(count):
            reach = 1 + int(uniform(state) * settings.window)
            targets[0] = kept[centre]
            for at in range(1, len(targets)):
                targets[at] = draw(negatives[0], negatives[1], state)
            for at in range(max(0, centre - reach), min(count, centre + reach + 1)):
                if at != centre:
                    train_pair(vectors[kept[at]], targets, contexts, alpha, error)


@compiled_fast
def train_pair(row: Any, targets: Any, contexts: Any, alpha: Any, error: Any) -> None:
    """One step of a vector towards the context of targets[0] and away from those of the negatives, targets[1:]."""
    error[:] = 0
    for place in range(len(targets)):
        if place and targets[place] == targets[0]:
            continue  # a negative that is the positive itself
        side, dot = contexts[targets[place]], np.float32(0)
        for column in range(len(row)):
            dot += row[column] * side[column]
        gain = (np.float32(place == 0) - np.float32(1) / (np.float32(1) + np.exp(-dot))) * alpha
        for column in range(len(row)):
            error[column] += gain * side[column]
            side[column] += gain * row[column]
    for column in range(len(row)):
        row[column] += error[column]


def pair_chunks(
    settings: SkipGram, walks: WalkGraph, visits: np.ndarray, seed: int, device: torch.device
) -> Iterator[tuple[float, torch.Tensor, torch.Tensor]]:
    """(share of the work done, rows int64[b], targets int64[b]) of a chunk of walks at a time, on the device.

    Walks and draws are generated on the CPU: the pairs are the same on every device.
    """
    import torch

    shuffle, state, draws = np.random.default_rng(seed), generator(seed), torch.Generator().manual_seed(seed)
    keep = torch.from_numpy(keep_chances(visits, settings.subsample))
    starts = np.concatenate([shuffle.permutation(np.flatnonzero(visits > 0)) for _ in range(settings.num_walks)])
    step = walks_of_a_chunk(settings)
    for first in range(0, len(starts), step):
        nodes = torch.from_numpy(walks_from(walks, starts[first : first + step], settings.walk_length, state))
        kept = (nodes >= 0) & (torch.rand(nodes.shape, generator=draws) < keep[nodes.clamp_min(0).long()])
        order = torch.argsort((~kept).to(torch.int8), dim=1, stable=True)  # close the gaps in each walk
        nodes = torch.where(kept, nodes, -1).gather(1, order).to(device)
        reach = torch.randint(1, settings.window + 1, nodes.shape, generator=draws).to(device)
        rows, targets = [], []
        for offset in range(1, min(settings.window, nodes.shape[1] - 1) + 1):
            left, right = nodes[:, :-offset], nodes[:, offset:]
            for row, centre, within in ((left, right, reach[:, offset:]), (right, left, reach[:, :-offset])):
                chosen = (left >= 0) & (right >= 0) & (within >= offset)
                rows.append(row[chosen])
                targets.append(centre[chosen])
        yield first / len(starts), torch.cat(rows).long(), torch.cat(targets).long()
