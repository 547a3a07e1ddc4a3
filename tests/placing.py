"""Nodes that arrive after a run, and what became of them: for the tests of placing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from deltalake import DeltaTable

from graphseam.config import config_of
from graphseam.place import place


def arrive(
    run,
    rows: list[tuple],
    folder: Path,
    run_id: str | None = None,
    batch: str | None = "one",
    settings: tuple[str, ...] = (),
) -> dict:
    """Write the rows as text and place them."""
    file = folder / "new edges.csv"
    file.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    config = config_of({"input": {"edges": str(file)}, "output": {"root": run.config.output.root}}, settings)
    return place(run.spark, config, run_id, batch)


def placed(run, batch: str = "one", table: str = "placed_nodes") -> list[dict]:
    found = DeltaTable(f"{run.config.output.root}/{table}").to_pyarrow_table(filters=[("batch", "=", batch)])
    return sorted(
        found.to_pylist(),
        key=lambda row: (row["node_id"] if "node_id" in row else row["src_node_id"], row.get("rank", 0)),
    )


def vectors_of(run) -> dict[str, np.ndarray]:
    return {row["id"]: np.array(row["vector"]) for row in run.tables.read("embeddings").collect()}


def cosine(left, right) -> float:
    return float(np.dot(left, right) / np.linalg.norm(left) / np.linalg.norm(right))
