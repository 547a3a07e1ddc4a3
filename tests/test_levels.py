"""Graphs cut into many levels: what depends on the previous level must not grow with their number."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import graphseam.fuse
from conftest import last_line_of, make_config, run_steps
from graphs import social
from graphseam.checkpoints import Checkpoints
from graphseam.fuse.procrustes import Placing, place_level
from graphseam.runs import Run
from graphseam.spark_line import schema_of

FUSED = "node_id BIGINT, subgraph_id INT, degree DOUBLE, vector ARRAY<FLOAT>"


def num_operators(rows) -> int:
    """Operators of the plan, including those of cached inputs."""
    return rows._jdf.queryExecution().executedPlan().treeString().count("\n")


@pytest.fixture(scope="module")
def four_levels(spark, tmp_path_factory):
    """A run whose cut has four levels, embedded and fused."""
    folder = tmp_path_factory.mktemp("levels")
    src, dst = zip(*social(150, 1500, seed=2), strict=True)
    pq.write_table(pa.table({"src": src, "dst": dst}), folder / "edges.parquet")
    partition = {"num_subgraphs": 16, "max_levels": 4, "min_captured": 0.0}
    config = make_config(
        {"edges": str(folder / "edges.parquet")}, folder / "tables", embed={"dim": 4}, partition=partition
    )
    return run_steps(spark, config, "levels", last="fuse")


@pytest.mark.parametrize("adaptive", ["true", "false"])
def test_the_plan_of_a_frame_has_one_size_whatever_the_level(spark, four_levels, monkeypatch, adaptive):
    sizes = []

    def place_and_measure(*arguments):
        placed = place_level(*arguments)
        sizes.append(num_operators(placed.frame()))
        return placed

    monkeypatch.setattr(graphseam.fuse, "place_level", place_and_measure)
    before = spark.conf.get("spark.sql.adaptive.enabled")
    spark.conf.set("spark.sql.adaptive.enabled", adaptive)
    try:
        graphseam.fuse.fuse(four_levels)
    finally:
        spark.conf.set("spark.sql.adaptive.enabled", before)
    assert len(sizes) == 4
    assert sizes[0] < sizes[1]  # there is no frame yet for the deepest level
    assert set(sizes[1:]) == {sizes[1]}


def test_frames_of_deeper_levels_are_given_back_as_files_too(four_levels, tmp_path, monkeypatch):
    """On a cluster each frame is kept in files until the next one exists, and the vectors are the same."""
    expected = sorted(map(str, four_levels.tables.read("fused_embeddings").collect()))
    kept, keep = [], Checkpoints.keep

    def keep_and_look(checkpoints, rows):
        kept.append(len({file.parent for file in tmp_path.rglob("part-*")}))
        return keep(checkpoints, rows)

    monkeypatch.setattr(Run, "checkpoint_dir", lambda run: str(tmp_path))
    monkeypatch.setattr(Checkpoints, "keep", keep_and_look)
    graphseam.fuse.fuse(four_levels)
    assert kept == [0, 1, 1]
    assert not list(tmp_path.rglob("part-*"))
    assert sorted(map(str, four_levels.tables.read("fused_embeddings").collect())) == expected


def test_a_node_whose_edges_were_all_cut_keeps_the_frames_vector_in_its_own_subgraph(spark):
    """Node 1 lies in subgraph 5 of the level, which did not embed it; node 2 in subgraph 6, which did."""
    fused, frame_rows = schema_of(FUSED), [(1, 9, 2.0, [1.0, 2.0]), (2, 9, 1.0, [0.0, 1.0])]
    level = spark.createDataFrame([(2, 6, 3.0, [1.0, 0.0]), (3, 6, 1.0, [0.0, 1.0])], fused)
    homes = spark.createDataFrame([(1, 5), (2, 6), (3, 6)], "node_id BIGINT, subgraph_id INT")
    rows = {
        row["node_id"]: row
        for row in place_level(level, spark.createDataFrame(frame_rows, fused), homes, Placing(1, fused))
        .frame()
        .collect()
    }
    assert (rows[1]["subgraph_id"], rows[1]["degree"], list(rows[1]["vector"])) == (5, 2.0, [1.0, 2.0])
    assert (rows[2]["subgraph_id"], rows[2]["degree"]) == (6, 4.0)
    np.testing.assert_allclose(rows[2]["vector"], [0.0, 1.0], atol=1e-6)  # rotated onto the frame's, and averaged
    assert sorted(rows) == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(("methods", "num_edges", "num_nodes"), [("default", 23_000, 2_000), ("all", 200_000, 12_000)])
def test_six_levels_get_through_a_heap_of_1_gb(methods, num_edges, num_nodes):
    """The default, partitioned in blocks, with both fusions; and every other method."""
    told = json.loads(last_line_of("six_levels.py", methods))
    assert told["edges"] >= num_edges
    assert set(told["levels"].values()) == {6}, told
    assert {"multilevel", "metis", "hash"} <= set(told["levels"]) or methods == "default"
    assert "multilevel" in told["levels"]
    assert 11 * num_nodes // 12 < told["vectors"] <= num_nodes
    assert max(told["largest_plans"].values()) < 300, told
