"""How many subgraphs a level gets, so that each fits a task in edges and bytes, and a node's weight in the balance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graphseam.errors import MemoryBudgetError

DEFAULT_MAX_EDGES = 5_000_000  # per subgraph, even if memory allows more: leaves work for many tasks
EDGES_BIND = 1.5  # if edges need this many times the subgraphs that bytes need, only edges are balanced
TRIES = 3


@dataclass(frozen=True)
class Cut:
    """How a level is cut: the number of subgraphs, balanced by edge ends plus `node_cost` per node."""

    num_subgraphs: int
    node_cost: int = 0


@dataclass(frozen=True)
class Budget:
    """The limits of a subgraph, and how a level is cut to keep within them.

    max_bytes: of a task that runs alongside others; lone_bytes: of a task that runs alone. bytes_of: the forecast for a
    subgraph of (nodes, edges), increasing in both.
    """

    num_subgraphs: int  # of level 1; 0: as few as fit
    max_edges: int  # of one subgraph
    border_edges: int  # of one subgraph of a later level
    max_bytes: int
    lone_bytes: int
    bytes_of: Callable[[int, int], int]
    imbalance: float = 0.05

    @staticmethod
    def of(
        num_subgraphs: int,
        max_subgraph_edges: int,
        num_edges: int,
        max_bytes: int,
        lone_bytes: int,
        bytes_of: Callable[[int, int], int],
        imbalance: float,
    ) -> Budget:
        """If `num_subgraphs` is given, no subgraph of a later level is larger than the mean of the first level."""
        most = max_subgraph_edges or DEFAULT_MAX_EDGES
        later = most if num_subgraphs == 0 else min(most, max(1, -(-num_edges // num_subgraphs)))
        return Budget(num_subgraphs, most, later, max_bytes, lone_bytes, bytes_of, imbalance)

    def cut(self, level: int, num_nodes: int, num_edges: int) -> Cut:
        """The fewest subgraphs within the budget, provided that the partition keeps its balance."""
        needed = self.bytes_of(num_nodes, num_edges)
        most = self.max_edges if level == 1 else self.border_edges
        by_edges = 1 if num_edges <= most else self._with_slack(num_edges, most)
        if level == 1:
            by_edges = max(by_edges, self.num_subgraphs)
        alone = level == 1 and by_edges == 1
        by_bytes = (
            1
            if needed <= (self.lone_bytes if alone else self.max_bytes)
            else self._fewest_that_fit(num_nodes, num_edges)
        )
        count = max(by_edges, by_bytes)
        bytes_bind = by_bytes > 1 and by_edges < EDGES_BIND * by_bytes
        return Cut(count, self.node_cost(num_nodes // count, num_edges // count) if bytes_bind else 0)

    def _fewest_that_fit(self, num_nodes: int, num_edges: int) -> int:
        """The smallest number of subgraphs that fit a task even at their largest allowed size; by bisection.

        MemoryBudgetError if not even two nodes and their edge fit.
        """
        if self.bytes_of(2, 1) > self.max_bytes:
            raise MemoryBudgetError(
                f"a task may hold {self.max_bytes >> 20:,} MB, and a subgraph of one edge is predicted to need "
                f"{self.bytes_of(2, 1) >> 20:,}; raise run.task_memory_mb (on a GPU embed.gpu_memory_mb), or lower "
                "embed.dim"
            )

        def fits(count: int) -> bool:
            slack = (1 + self.imbalance) / count
            return self.bytes_of(math.ceil(num_nodes * slack), math.ceil(num_edges * slack)) <= self.max_bytes

        low, high = 1, 2
        while not fits(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return high

    def most_core_edges(self, num_nodes: int) -> int:
        """The most edges that a subgraph of a later level may have with so many nodes; 0 if there is none."""
        low, high = 0, self.border_edges + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.bytes_of(num_nodes, middle) <= self.max_bytes else (low, middle)
        return low

    def _with_slack(self, amount: float, most: float) -> int:
        return max(1, int(np.ceil(amount * (1 + self.imbalance) / most)))

    def node_cost(self, num_nodes: int, num_edges: int) -> int:
        """The number of edge ends that take as much memory as one node, in a subgraph of this size."""
        nodes, edges = max(1000, num_nodes), max(1000, num_edges)
        here = self.bytes_of(nodes, edges)
        a_node = (self.bytes_of(2 * nodes, edges) - here) / nodes
        an_end = max(1, self.bytes_of(nodes, 2 * edges) - here) / (2 * edges)
        return max(1, round(a_node / an_end))

    def better_cut(self, cut: Cut, sizes: list[tuple[int, int]]) -> Cut | None:
        """More subgraphs, or a node cost, if one of `sizes`, (nodes, edges) each, is over the budget; else None."""
        over_edges = max((edges / self.max_edges for _, edges in sizes), default=0.0)
        over_bytes = max((self.bytes_of(*size) / self.max_bytes for size in sizes if size[1]), default=0.0)
        if max(over_edges, over_bytes) <= 1:
            return None
        over = max(over_edges, over_bytes if cut.node_cost else 0.0)
        count = self._with_slack(cut.num_subgraphs * over, 1) if over > 1 else cut.num_subgraphs
        worst = max(sizes, key=lambda size: self.bytes_of(*size))
        return Cut(count, self.node_cost(*worst) if over_bytes > 1 else cut.node_cost)


def balanced_weights(neighbours: np.ndarray, node_cost: int, max_ends: int) -> np.ndarray:
    """int64[n]: a node's weight in the balance: its edge ends, at most `max_ends`, plus node_cost; 0 without edges."""
    ends = neighbours.astype(np.int64)
    return np.where(ends > 0, np.minimum(ends, max(1, max_ends)) + node_cost, 0)


def end_limits(total_ends: int, num_subgraphs: int, imbalance: float) -> np.ndarray:
    """int64[17]: limits on the edge ends counted for a hub, from half a subgraph's share of all ends downwards."""
    return (_half_a_subgraph(total_ends, num_subgraphs, imbalance) * 2.0 ** (-np.arange(17) / 4)).astype(np.int64)


def max_ends_of_a_node(limits: np.ndarray, bounded_ends: np.ndarray, num_subgraphs: int, imbalance: float) -> int:
    """The smallest of `limits` that is at least half of what a subgraph may then hold.

    bounded_ends: the edge ends of all nodes if each node counts at most limits[i]. A hub with more neighbours than half
    a subgraph holds counts as one half, which leaves the other half for its neighbours. As without a limit, a subgraph
    captures at most half as many edges as it counts ends: every edge, except between two such hubs, has another end
    that counts.
    """
    best = int(limits[0])
    for limit, ends in zip(limits.tolist(), bounded_ends.tolist(), strict=True):
        if limit < _half_a_subgraph(ends, num_subgraphs, imbalance):
            break
        best = limit
    return max(1, best)


def _half_a_subgraph(ends: int, num_subgraphs: int, imbalance: float) -> float:
    return (1 + imbalance) * ends / num_subgraphs / 2
