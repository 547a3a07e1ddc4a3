"""Every algorithm that a configuration can name, one entry each, by the dotted name of its implementation.

A configuration is checked against these tables without importing an algorithm, which may import numba or torch.
To add an algorithm, write its module and add its entry here; tests/test_algorithms.py then runs its
property tests on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any

from graphseam.errors import ConfigError


@dataclass(frozen=True)
class Setting:
    """A setting specific to one algorithm: its default and its bounds, both inclusive.

    default: an int, a float, or a tuple of floats; a tuple has 1 to 16 numbers, each within the bounds.
    """

    default: int | float | tuple[float, ...]
    lowest: float
    highest: float

    def checked(self, value: Any, key: str) -> int | float | tuple[float, ...]:
        """The value converted to the setting's type; ConfigError if it has another type or is out of bounds."""
        is_list = isinstance(self.default, tuple)
        numbers = list(value) if is_list and isinstance(value, (list, tuple)) else [value]
        kinds = (int,) if type(self.default) is int else (int, float)
        usable = 1 <= len(numbers) <= 16 and is_list == isinstance(value, (list, tuple))
        if not usable or not all(type(one) in kinds and self.lowest <= one <= self.highest for one in numbers):
            what = "a list of 1 to 16 numbers" if is_list else "a whole number" if kinds == (int,) else "a number"
            raise ConfigError(f"{key} is {value!r}; give {what} from {self.lowest:g} to {self.highest:g}")
        if is_list:
            return tuple(float(one) for one in numbers)
        return int(value) if kinds == (int,) else float(value)


@dataclass(frozen=True)
class Method:
    """An algorithm by its dotted name, "module:name".

    warm: for an embedder, whether it can start from given vectors. settings: the algorithm's own settings, by name.
    """

    target: str
    warm: bool = False
    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))

    def load(self) -> Any:
        """Import the class or function and return it."""
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """A new instance of the class, or the function's result."""
        return self.load()(*arguments, **settings)


# partition.method; docs/architecture.md describes the interface that the classes of each table implement
PARTITIONERS = {
    "multilevel": Method("graphseam.partition.multilevel:MultilevelPartitioner"),
    "metis": Method("graphseam.partition.metis:MetisPartitioner"),
    "hash": Method("graphseam.partition.hashing:HashPartitioner"),
    "graphframes_lpa": Method("graphseam.partition.communities:LpaPartitioner"),
}

SKIP_GRAM = {
    "negatives": Setting(5, 1, 100),
    "alpha": Setting(0.025, 1e-6, 10),
    "power": Setting(0.75, 0, 2),
    "subsample": Setting(1e-3, 1e-9, 1),
}

# embed.method; `settings` are configured as embed.options.<method>.<setting>
EMBEDDERS = {
    "prone": Method(
        "graphseam.embedding.prone:ProneEmbedder",
        warm=True,
        settings={
            "order": Setting(10, 2, 100),
            "mu": Setting(0.2, -1, 2),
            "theta": Setting(0.5, 0.01, 10),
            "power": Setting(0.75, 0, 2),
            "svd_rounds": Setting(5, 0, 50),
        },
    ),
    "netmf": Method(
        "graphseam.embedding.netmf:NetmfEmbedder",
        warm=True,
        settings={"negatives": Setting(1.0, 0.01, 100), "svd_rounds": Setting(8, 0, 50)},
    ),
    "deepwalk": Method("graphseam.embedding.node2vec:DeepWalkEmbedder", warm=True, settings=SKIP_GRAM),
    "node2vec": Method("graphseam.embedding.node2vec:Node2vecEmbedder", warm=True, settings=SKIP_GRAM),
    "line": Method(
        "graphseam.embedding.line:LineEmbedder",
        warm=True,
        settings={"negatives": Setting(5, 1, 100), "alpha": Setting(0.025, 1e-6, 10), "power": Setting(0.75, 0, 2)},
    ),
    "fastrp": Method(
        "graphseam.embedding.fastrp:FastrpEmbedder",
        settings={"weights": Setting((1.0, 1.0, 7.81, 45.28), 0, 1e6), "degree_power": Setting(-0.628, -2, 2)},
    ),
}

FUSIONS = {  # fuse.method
    "procrustes": Method("graphseam.fuse:fuse_by_procrustes"),
    "concat": Method("graphseam.fuse:fuse_by_concat"),
}

ITERATIONS = {  # refine.method
    "krylov": Method("graphseam.refine.iteration:Krylov"),
    "subspace": Method("graphseam.refine.iteration:Subspace"),
}

FILTERS = {  # refine.filter
    "hops": Method("graphseam.refine.filters:plain_hops"),
    "chebyshev": Method("graphseam.refine.filters:chebyshev"),
}

SEARCHES = {  # predict.links.candidates and predict.similar.method: how nearest vectors are found
    "exact": Method("graphseam.predict.search_plan:plan_blocks"),
    "cells": Method("graphseam.predict.search_plan:plan_cells"),
}
CANDIDATES = (*SEARCHES, "two_hop")  # predict.links.candidates: a search, or short paths
CLASS_WEIGHTS = ("none", "balanced")  # predict.nodes.class_weight
UNLABELLED = ("auto", "all", "none")  # predict.nodes.unlabelled
