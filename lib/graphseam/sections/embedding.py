"""Sections for the steps from the graph to its vectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphseam.errors import ConfigError, nearest
from graphseam.methods import EMBEDDERS, FILTERS, FUSIONS, ITERATIONS, PARTITIONERS
from graphseam.sections.checks import check_run_id, require, require_name

BORDER, NO_START = "border", ""  # values of embed.warm_start beside a run id


@dataclass(frozen=True, kw_only=True)
class PartitionConfig:
    method: str = "multilevel"  # METIS where the graph fits one task; also metis, hash, graphframes_lpa
    num_subgraphs: int = 0  # of the first level; 0: as few as the bounds below allow
    max_subgraph_edges: int = 0  # edges one task embeds at once; 0: as its memory allows, at most 5,000,000
    max_levels: int = 6  # the last level has one subgraph, the core of the remaining graph
    min_captured: float = 0.2  # a level that captures a smaller share of its edges is the last one cut by nodes
    imbalance: float = 0.05  # largest subgraph <= (1 + imbalance) * mean, in edge ends, or bytes if they are the limit
    block_edges: int = 1_000_000  # multilevel: edges per block, the work of one of its tasks
    coarsest_edges: int = 0  # multilevel: edges left to METIS in one task; 0: as its memory allows

    def __post_init__(self) -> None:
        require_name(self.method, "partition.method", PARTITIONERS)
        require(self.num_subgraphs >= 0, "partition.num_subgraphs", self.num_subgraphs, "give 0 (automatic) or more")
        require(
            self.max_subgraph_edges >= 0,
            "partition.max_subgraph_edges",
            self.max_subgraph_edges,
            "give 0 (automatic) or more",
        )
        require(self.block_edges >= 1, "partition.block_edges", self.block_edges, "give 1 or more")
        require(self.coarsest_edges >= 0, "partition.coarsest_edges", self.coarsest_edges, "give 0 (automatic) or more")
        require(0 <= self.min_captured <= 1, "partition.min_captured", self.min_captured, "give a share in [0, 1]")
        require(1 <= self.max_levels <= 16, "partition.max_levels", self.max_levels, "give a number from 1 to 16")
        require(0 < self.imbalance < 1, "partition.imbalance", self.imbalance, "give a number between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    method: str = "prone"  # or netmf, deepwalk, node2vec, line, fastrp
    dim: int = 128  # columns of a vector
    warm_start: str = ""  # start from the vectors of an earlier run (its id), or of the deepest "border"; "": random
    device: str = "auto"  # the GPU that Spark gives a task, or the CPU where it gives none; "cpu": never a GPU
    precision: str = "auto"  # deepwalk, node2vec, line: bfloat16 products on a GPU; "mixed": anywhere; or "float32"
    gpu_memory_mb: int = 0  # of one GPU; subgraphs that fit a share of it then share one. 0: as set for the job
    gpu_share: float = 0.25  # of a GPU, for those small subgraphs
    num_walks: int = 10  # deepwalk, node2vec: walks from each node
    walk_length: int = 80  # nodes of a walk
    window: int = 10  # contexts each way; netmf: powers of the walk
    p: float = 1.0  # node2vec: a small value favours returning to the previous node,
    q: float = 0.5  # a small value favours moving further away
    samples: int = 100  # line: per edge on average, in each direction and order
    options: dict[str, dict[str, Any]] = field(default_factory=dict)  # {method: its own settings}, see methods.py

    def __post_init__(self) -> None:
        require_name(self.method, "embed.method", EMBEDDERS)
        require(2 <= self.dim <= 2048, "embed.dim", self.dim, "give a number from 2 to 2048")
        require_name(self.device, "embed.device", ("auto", "cpu"))
        require_name(self.precision, "embed.precision", ("auto", "float32", "mixed"))
        require(self.gpu_memory_mb >= 0, "embed.gpu_memory_mb", self.gpu_memory_mb, "give 0 (not known) or more")
        require(0 < self.gpu_share <= 0.5, "embed.gpu_share", self.gpu_share, "give a share above 0, at most 0.5")
        for name, most in (("num_walks", 1000), ("walk_length", 10_000), ("window", 100), ("samples", 100_000)):
            value = getattr(self, name)
            require(1 <= value <= most, f"embed.{name}", value, f"give a number from 1 to {most:,}")
        for name in ("p", "q"):
            require(
                0.01 <= getattr(self, name) <= 100,
                f"embed.{name}",
                getattr(self, name),
                "give a number from 0.01 to 100",
            )
        if self.warm_start and self.warm_start != BORDER:
            check_run_id(self.warm_start)
        if self.warm_start and not EMBEDDERS[self.method].warm:
            can = ", ".join(name for name, kind in EMBEDDERS.items() if kind.warm)
            raise ConfigError(
                f"embed.warm_start is {self.warm_start!r}, and {self.method} begins from nothing; "
                f"leave it out, or use one of: {can}"
            )
        self._check_options()

    def _check_options(self) -> None:
        """Check each method's own settings, also of methods not chosen: a file may hold them for several."""
        checked: dict[str, dict[str, Any]] = {}
        for method, given in self.options.items():
            require_name(method, "the section in embed.options", EMBEDDERS)
            if not isinstance(given, dict):
                raise ConfigError(f"embed.options.{method} is {given!r}; write a section, [embed.options.{method}]")
            known = EMBEDDERS[method].settings
            for name in given:
                if name not in known:
                    raise ConfigError(f"unknown key 'embed.options.{method}.{name}'.{nearest(name, known)}")
            key = f"embed.options.{method}"
            checked[method] = {name: known[name].checked(value, f"{key}.{name}") for name, value in given.items()}
        object.__setattr__(self, "options", checked)

    @property
    def own_options(self) -> dict[str, Any]:
        """The chosen method's own settings, as given."""
        return self.options.get(self.method, {})


@dataclass(frozen=True, kw_only=True)
class FuseConfig:
    method: str = "procrustes"  # rotate subgraphs onto each other; or concat: the levels side by side, as a baseline

    def __post_init__(self) -> None:
        require_name(self.method, "fuse.method", FUSIONS)


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    method: str = "krylov"  # or subspace: as many products, a third of the disk space, slower convergence
    rounds: int = 6  # at most; 2 products over all edges each; 0 keeps the fused vectors' span
    tolerance: float = 0.001  # a round that changes the leading Ritz values by a smaller share is the last
    filter: str = "hops"  # or chebyshev: ProNE's band-pass filter, for comparison
    hops: int = 3  # products of the filter over all edges; rounds = hops = 0 skips the step
    window_weight: float = -1.0  # of the window view, what short walks join; -1: by size and density; 0: no such view
    num_blocks: int = 0  # 0: 1 if the graph fits one task, else as many as the memory budget requires

    def __post_init__(self) -> None:
        require_name(self.method, "refine.method", ITERATIONS)
        require_name(self.filter, "refine.filter", FILTERS)
        require(0 <= self.tolerance < 1, "refine.tolerance", self.tolerance, "give a share in [0, 1)")
        require(0 <= self.num_blocks <= 100_000, "refine.num_blocks", self.num_blocks, "give 0 (automatic) to 100,000")
        require(0 <= self.rounds <= 20, "refine.rounds", self.rounds, "give a number from 0 to 20")
        require(0 <= self.hops <= 20, "refine.hops", self.hops, "give a number from 0 to 20")
        require(
            self.window_weight == -1 or 0 <= self.window_weight <= 100,
            "refine.window_weight",
            self.window_weight,
            "give -1 (automatic), 0 (no window view) or a number up to 100",
        )
