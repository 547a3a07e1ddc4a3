"""Made-up graphs: the shapes they promise, the same rows on any cluster, and what is refused."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pytest

from graphseam.errors import ConfigError
from graphseam.generate import (
    CLASSES,
    QUADRANTS,
    Community,
    community_edges,
    community_labels,
    generate,
    rmat_edges,
    scattered,
)

SEED = 12345


@pytest.mark.parametrize("num_nodes", [2, 3, 1000, 4096, 5000])
def test_ids_are_scattered_one_to_one(num_nodes):
    ids = np.arange(num_nodes)
    found = scattered(ids, num_nodes, SEED)
    np.testing.assert_array_equal(np.sort(found), ids)
    if num_nodes > 3:
        assert (found != ids).mean() > 0.9


def test_rmat_has_the_quadrants_of_graph500(monkeypatch):
    monkeypatch.setattr("graphseam.generate.scattered", lambda ids, num_nodes, seed: ids)
    src, dst = rmat_edges(np.arange(200_000), 14, SEED)
    assert src.min() >= 0
    assert max(src.max(), dst.max()) < 1 << 14
    for level in (0, 6, 13):
        pairs = 2 * ((src >> level) & 1) + ((dst >> level) & 1)
        shares = np.bincount(pairs, minlength=4) / len(pairs)
        np.testing.assert_allclose(shares, [*QUADRANTS, 1 - sum(QUADRANTS)], atol=0.005)


def test_communities_hold_the_share_of_edges_they_promise_and_degrees_fall_by_a_power():
    shape, nodes, count = Community(exponent=2.5, inside=0.8, size=100), 20_000, 400_000
    src, dst = community_edges(np.arange(count), nodes, SEED, shape)
    label_of = np.empty(nodes, np.int64)
    ids, labels = community_labels(np.arange(nodes), nodes, SEED, shape)
    label_of[ids] = labels
    assert (label_of[src] == label_of[dst]).mean() == pytest.approx(0.8, abs=0.02)
    assert np.bincount(labels).tolist() == [400] * CLASSES
    graph = nx.Graph(zip(label_of[src].tolist(), label_of[dst].tolist(), strict=True))
    assert nx.is_connected(graph)
    degrees = np.sort(np.bincount(np.concatenate([src, dst]), minlength=nodes))[::-1]
    ranks = np.array([20, 2_000])
    slope = np.log(degrees[ranks[1]] / degrees[ranks[0]]) / np.log(ranks[1] / ranks[0])
    assert slope == pytest.approx(-1 / (2.5 - 1), abs=0.15)


@pytest.mark.parametrize("rows", [rmat_edges, community_edges], ids=lambda rows: rows.__name__)
def test_a_row_depends_on_its_number_alone(rows):
    more = {"scale": 12} if rows is rmat_edges else {"num_nodes": 3_000, "shape": Community()}
    whole = rows(np.arange(5_000), seed=SEED, **more)
    part = rows(np.arange(1_000, 2_000), seed=SEED, **more)
    for all_of_it, some in zip(whole, part, strict=True):
        np.testing.assert_array_equal(all_of_it[1_000:2_000], some)
    other = rows(np.arange(5_000), seed=SEED + 1, **more)
    assert (other[0] != whole[0]).mean() > 0.9


def test_graphs_are_written_whole_and_never_over_another(spark, tmp_path):
    told = generate(spark, "community", 5_000, str(tmp_path / "made"), seed=3)
    assert told == {"nodes": 625, "edges": 5_000, "labels": 625}
    edges = pq.read_table(tmp_path / "made" / "edges")
    assert (edges.num_rows, edges.column_names) == (5_000, ["src", "dst"])
    labels = pq.read_table(tmp_path / "made" / "labels")
    assert sorted(labels["node"].to_pylist()) == list(range(625))
    with pytest.raises(ConfigError, match="is there already; give another --output"):
        generate(spark, "community", 5_000, str(tmp_path / "made"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ring", 10, "out"), r"no graphs of kind 'ring'.*rmat"),
        (("rmat", 0, "out"), r"0 edges make no graph; give at least 1 edge"),
        (("rmat", 10, "out", 1), r"1 nodes make no graph"),
        (("community", 10, "out", 1 << 41), r"more than 2\^40"),
    ],
)
def test_what_makes_no_graph_is_refused_before_spark_is_asked(arguments, message):
    with pytest.raises(ConfigError, match=message):
        generate(None, *arguments)
