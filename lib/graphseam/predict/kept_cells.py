"""The cells of a run's search, kept in a table: an incremental run looks for near nodes in those of its base."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from graphseam.predict.cells import SHARES, Cells, recall_at
from graphseam.predict.group_search import ALL, UNKNOWN
from graphseam.predict.routes import ToCells
from graphseam.predict.search_plan import Plan, Search, Vectors, plan_in, probed_by
from graphseam.runs import Run
from graphseam.tables import Tables


@dataclass(frozen=True)
class KeptCells:
    """Cells of an earlier run: centroids float32[cells, dim], shares float64[cells] of its nodes; gaps as in Cells."""

    centroids: np.ndarray
    shares: np.ndarray
    gap: float
    found_gap: float

    @staticmethod
    def of(plan: Plan, num_nodes: int) -> KeptCells | None:
        """Those of a plan; None if it has none."""
        if not isinstance(plan.route, ToCells):
            return None
        cells = plan.route.cells
        return KeptCells(cells.centroids, plan.route.rows / (num_nodes * plan.copies), cells.gap, cells.found_gap)

    def plan(self, vectors: Vectors, search: Search) -> Plan:
        """The plan by these cells, with the recall that they have now."""
        cells = replace(Cells.of(self.centroids, search.seed), gap=self.gap, found_gap=self.found_gap)
        copies, recall, queries = 1.0, {UNKNOWN: 1.0, ALL: 1.0}, 0
        found = probed_by(vectors, cells)
        if found is not None:
            needed, gaps = found
            share = min(SHARES, key=lambda share: abs(share * self.gap - self.found_gap))
            copies, queries = float((gaps <= self.gap).sum(axis=1).mean()), len(gaps)
            recall |= {kind: recall_at(self.gap, pairs) for kind, pairs in needed[share].items()}
        return replace(plan_in(cells, self.shares, search, copies, recall, queries), kept=True)


def write_cells(run: Run, plan: Plan) -> None:
    """Write search_cells; nothing for an exact search. Driver: a row per cell."""
    cells = KeptCells.of(plan, run.ingested.nodes)
    if cells is None:
        return
    gaps = {"gap": cells.gap, "found_gap": cells.found_gap}
    rows = [
        {"cell": cell, "centroid": centroid.tolist(), "share": share, **gaps}
        for cell, (centroid, share) in enumerate(zip(cells.centroids, cells.shares.tolist(), strict=True))
    ]
    run.tables.write_rows("search_cells", rows)


def kept_cells(tables: Tables) -> KeptCells | None:
    """Those of a run; None if it kept none. Driver: a row per cell."""
    rows = tables.read("search_cells").sort("cell").collect()
    if not rows:
        return None
    return KeptCells(
        np.array([row["centroid"] for row in rows], np.float32),
        np.array([row["share"] for row in rows]),
        rows[0]["gap"],
        rows[0]["found_gap"],
    )
