"""Sections for what is published, and what is kept."""

from __future__ import annotations

from dataclasses import dataclass

from graphseam.sections.checks import require, require_name

MEASURES = (
    "auc",
    "ap",
    "mrr_of_101",
    "hits@1_of_101",
    "hits@10_of_101",
    "hits@50_of_101",
    "hits@100_of_101",
    "micro_f1",
    "macro_f1",
    "stability",
    "nodes",
    "edges",
)


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    max_drop: float = 1.0  # share of its last published value that a measure may lose; 1: nothing is compared
    measures: str = "auc, mrr_of_101, micro_f1, nodes, edges"  # of links, labels and the graph; those that the run has

    @property
    def names(self) -> tuple[str, ...]:
        """The measures, without surrounding blanks."""
        return tuple(name.strip() for name in self.measures.split(",") if name.strip())

    def __post_init__(self) -> None:
        require(0 <= self.max_drop <= 1, "gate.max_drop", self.max_drop, "give a share in [0, 1], as in 0.05")
        require(bool(self.names), "gate.measures", self.measures, "give one measure, or several apart by commas")
        for name in self.names:
            require_name(name, "gate.measures", MEASURES)


@dataclass(frozen=True, kw_only=True)
class PruneConfig:
    keep: int = 7  # newest published runs kept; runs that one of them refers to are kept with it
    unpublished_days: float = 7.0  # a run that was never published is removed when its last step is older
    vacuum_hours: float = 168.0  # files that no table needs are deleted once they are older; Delta allows no less

    def __post_init__(self) -> None:
        require(self.keep >= 1, "prune.keep", self.keep, "give 1 or more; the newest published run always stays")
        require(
            self.unpublished_days >= 1,
            "prune.unpublished_days",
            self.unpublished_days,
            "give 1 or more; a younger run may still be at work",
        )
        require(
            self.vacuum_hours >= 168,
            "prune.vacuum_hours",
            self.vacuum_hours,
            "give 168 (a week) or more; a reader of an older version would lose its files",
        )
