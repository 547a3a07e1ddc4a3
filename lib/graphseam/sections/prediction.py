"""Sections for predictions from the vectors, and for their evaluation."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from graphseam.errors import ConfigError
from graphseam.methods import CANDIDATES, CLASS_WEIGHTS, SEARCHES, UNLABELLED
from graphseam.sections.checks import check_run_id, require, require_name


def renamed(key: str, value: str) -> str:
    """`value` with names of earlier versions replaced: `hnsw`, until 0.1.0, is now `cells`, and costs less."""
    parts = value.split("+")
    if "hnsw" not in parts:
        return value
    print(f'graphseam: {key}: "hnsw" is now called "cells", and is read as that', file=sys.stderr)
    return "+".join("cells" if part == "hnsw" else part for part in parts)


@dataclass(frozen=True, kw_only=True)
class LinksConfig:
    top_k: int = 10  # predicted links per node; 0 skips link prediction
    candidates: str = "auto"  # where to look: exact, cells, two_hop, or two joined by "+"; pairs: those of input.pairs
    num_candidates: int = 0  # scored per node and kind; 0: twice top_k, at least 20
    hub_cap: int = 1000  # two_hop: paths through nodes with more edges are left out
    src_type: str = ""  # links for nodes of this type only (input.node_type); "": all, or one side if bipartite
    dst_type: str = ""  # links to nodes of this type only
    model_run: str = ""  # score and calibrate with the model of this earlier run, one that held out edges

    # candidates "auto": exact up to 50,000 nodes, else cells, and two_hop with either. A graph in which no id
    # occurs in both columns is bipartite: the nodes of the first column get links to those of the second.

    @property
    def wanted_candidates(self) -> int:
        """Candidates per node and kind, also where the key is 0."""
        return self.num_candidates or max(20, 2 * self.top_k)

    def __post_init__(self) -> None:
        require(0 <= self.top_k <= 1000, "predict.links.top_k", self.top_k, "give a number from 0 to 1000")
        object.__setattr__(self, "candidates", renamed("predict.links.candidates", self.candidates))
        parts = self.candidates.split("+")
        for part in parts:
            require_name(part, "predict.links.candidates", ("auto", "pairs", *CANDIDATES))
        require(
            len(parts) == 1 or not {"auto", "pairs"} & set(parts),
            "predict.links.candidates",
            self.candidates,
            "give auto or pairs alone",
        )
        require(
            len(set(SEARCHES) & set(parts)) < 2,
            "predict.links.candidates",
            self.candidates,
            "give exact or cells, not both",
        )
        require(
            self.num_candidates == 0 or self.top_k <= self.num_candidates <= 5000,
            "predict.links.num_candidates",
            self.num_candidates,
            "give 0 (automatic) or top_k to 5,000",
        )
        require(self.hub_cap >= 2, "predict.links.hub_cap", self.hub_cap, "give 2 or more")
        if self.model_run:
            check_run_id(self.model_run)


@dataclass(frozen=True, kw_only=True)
class NodesConfig:
    top_labels: int = 3  # labels kept per node, best first
    unlabelled: str = "auto"  # which nodes without a label get predictions: auto, all or none
    max_train_nodes: int = 200_000  # labelled nodes that a model is trained on; of more, a sample
    class_weight: str = "none"  # or balanced: examples are weighted inversely to their label's frequency

    # unlabelled "auto": nodes of the types (input.node_type) that labelled nodes have; without types, in a bipartite
    # graph, those of the edge columns that labelled nodes occur in; else all.

    def __post_init__(self) -> None:
        require(self.top_labels >= 1, "predict.nodes.top_labels", self.top_labels, "give 1 or more")
        require(self.max_train_nodes >= 10, "predict.nodes.max_train_nodes", self.max_train_nodes, "give 10 or more")
        require_name(self.class_weight, "predict.nodes.class_weight", CLASS_WEIGHTS)
        require_name(self.unlabelled, "predict.nodes.unlabelled", UNLABELLED)


@dataclass(frozen=True, kw_only=True)
class SimilarConfig:
    top_k: int = 10  # similar nodes per node; 0 skips them
    method: str = "auto"  # exact or cells, as for links; auto is exact up to 50,000 nodes

    def __post_init__(self) -> None:
        require(0 <= self.top_k <= 1000, "predict.similar.top_k", self.top_k, "give a number from 0 to 1000")
        object.__setattr__(self, "method", renamed("predict.similar.method", self.method))
        require_name(self.method, "predict.similar.method", ("auto", *SEARCHES))


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    recall: float = 0.97  # share of the exact nearest vectors that a search by cells shall find
    links: LinksConfig = field(default_factory=LinksConfig)
    nodes: NodesConfig = field(default_factory=NodesConfig)
    similar: SimilarConfig = field(default_factory=SimilarConfig)

    def __post_init__(self) -> None:
        require(0 < self.recall <= 1, "predict.recall", self.recall, "give a share above 0, at most 1")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    holdout: float = 0.0  # share of the edges set aside before anything sees them; 0: none, no link metrics
    held_out: str = ""  # or the values of the column input.split, separated by commas, that mark held-out edges
    max_pairs: int = 100_000  # at most so many held-out edges are scored, with as many negatives of each kind
    max_ranked: int = 1_000  # at most so many of them are ranked, each among 100 negatives of each kind; 0: none

    @property
    def held_out_values(self) -> list[str]:
        """The values in held_out, without surrounding blanks."""
        return [value.strip() for value in self.held_out.split(",") if value.strip()]

    def __post_init__(self) -> None:
        require(0 <= self.holdout < 1, "evaluate.holdout", self.holdout, "give a share in [0, 1)")
        require(
            not self.held_out or bool(self.held_out_values),
            "evaluate.held_out",
            self.held_out,
            "give a value of the column input.split, or several apart by commas",
        )
        if self.holdout and self.held_out:
            raise ConfigError(
                f"evaluate.holdout is {self.holdout} and evaluate.held_out is {self.held_out!r}; draw "
                "the edges held out by the one, or name them by the other, and leave one out"
            )
        require(self.max_pairs >= 10, "evaluate.max_pairs", self.max_pairs, "give 10 or more")
        require(
            0 <= self.max_ranked <= 20_000, "evaluate.max_ranked", self.max_ranked, "give a number from 0 to 20,000"
        )


@dataclass(frozen=True, kw_only=True)
class PlaceConfig:
    max_hops: int = 10  # new nodes up to this far from the run's nodes are placed; one pass over the new edges per hop
    top_links: int = 10  # predicted links per new node; 0 skips them

    def __post_init__(self) -> None:
        require(1 <= self.max_hops <= 100, "place.max_hops", self.max_hops, "give a number from 1 to 100")
        require(0 <= self.top_links <= 1000, "place.top_links", self.top_links, "give a number from 0 to 1000")
