"""What ingest reports to the later steps and the summary, as stored in run_steps.details."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

FORMER_NAMES = {"twins": "duplicate_edges"}  # in runs of 0.1


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """Counts of the input rows and of what became of them.

    rows: of the edge input. rejected: {"input: reason": rows}. loops, duplicate_edges: valid rows that did not become
    a separate edge. nodes, edges: of the graph that is embedded; holdout_edges: edges set aside.
    """

    id_type: str  # integer or string
    rows: int
    nodes: int
    edges: int
    holdout_edges: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    rows_outside: int = 0  # usable rows outside input.window and input.until
    until: str = ""  # the time that ages of edges count from; empty without input.time
    loops: int = 0
    duplicate_edges: int = 0
    null_like_rows: int = 0  # usable rows with an id such as NULL, which is a node like any other
    id_shift: int | None = None  # number of a node minus its id, if that is the same for all nodes
    bipartite: bool = False  # no id occurs in both columns of the edges: they join two kinds of nodes
    nodes_held_out: int = 0  # nodes with held-out edges only, which get a zero vector
    evaluation_pairs: dict[str, int] = field(default_factory=dict)  # by kind; fewer_<kind>: queries with too few
    label_rows: int | None = None  # None: no labels were given
    labelled_nodes: int = 0
    label_classes: int = 0
    labels_of_unknown_nodes: int = 0
    pairs: int | None = None  # None: no pairs were given
    pairs_left_out: int = 0

    @staticmethod
    def of(details: dict[str, Any]) -> Ingested:
        """Parse run_steps.details of this version or an earlier one; fields added by a later version are ignored."""
        known = {entry.name for entry in dataclasses.fields(Ingested)}
        named = {FORMER_NAMES.get(name, name): value for name, value in details.items()}
        return Ingested(**{name: value for name, value in named.items() if name in known})

    def details(self) -> dict[str, Any]:
        """For run_steps.details: the fields that have a value; counts of inputs that were not given are left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
