"""Vectors to start from come with a subgraph's edges: each reaches its own node, and no other."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from graphseam.embedding.executor import Stage, _graph_and_start
from graphseam.embedding.prone import ProneEmbedder

EDGES = [(3, 5), (5, 9), (9, 3)]


def rows_with(starts: dict[int, list[float]]) -> pa.Table:
    """Edges and starting vectors as a task receives them, in arbitrary order."""
    rows = [
        {"level": 0, "subgraph_id": 7, "src": node, "dst": -1, "weight": 0.0, "vector": vector}
        for node, vector in starts.items()
    ]
    rows += [{"level": 2, "subgraph_id": 7, "src": src, "dst": dst, "weight": 1.0, "vector": []} for src, dst in EDGES]
    kinds = {
        "level": pa.int32(),
        "subgraph_id": pa.int32(),
        "src": pa.int64(),
        "dst": pa.int64(),
        "weight": pa.float64(),
        "vector": pa.list_(pa.float32()),
    }
    return pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items())))


@pytest.mark.parametrize("cut_off", [[], [1], [4], [100], [1, 4, 100]])
def test_a_vector_of_a_node_without_an_edge_here_is_left_out(cut_off):
    """All edges of the node were cut: it is in the assignments but not in the subgraph; first, in between or last."""
    stage = Stage(ProneEmbedder(dim=2), 0, {7: (3, 3)}, 1, None, None, started=True)
    starts = {5: [0.5, 1.5], **{node: [9.0, 9.0] for node in cut_off}, 9: [2.5, 3.5]}
    graph, start = _graph_and_start(rows_with(starts), stage)
    assert graph.node_ids.tolist() == [3, 5, 9]
    np.testing.assert_array_equal(start, np.array([[0, 0], [0.5, 1.5], [2.5, 3.5]], np.float32))
