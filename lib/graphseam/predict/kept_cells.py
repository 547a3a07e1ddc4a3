"""The cells of a run's search, kept in a table: an incremental run looks for near nodes in those of its base."""

from __future__ import annotations

import numpy as np

from graphseam.predict.search_plan import KeptCells, Plan
from graphseam.runs import Run
from graphseam.tables import Tables


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
    """Those of a run; None if it kept none, as before graphseam 0.3. Driver: a row per cell."""
    rows = tables.read("search_cells").sort("cell").collect()
    if not rows:
        return None
    return KeptCells(
        np.array([row["centroid"] for row in rows], np.float32),
        np.array([row["share"] for row in rows]),
        rows[0]["gap"],
        rows[0]["found_gap"],
    )
