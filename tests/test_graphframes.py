"""GraphFrames in and out, and its algorithms with our packing. Its own code runs where its jar is: on Spark 3.5."""

from __future__ import annotations

import datetime

import networkx as nx
import numpy as np
import pyarrow.parquet as pq
import pyspark
import pytest
from pyspark.sql import functions as F

import graphseam
from conftest import LASTFM, check_levels, cut_into_six, make_config, run_steps, write_graph
from graphs import PLANTED, ZOO, communities
from graphseam.errors import ConfigError, InputError, RunError
from graphseam.graphframe import VertexEdges, _inputs
from graphseam.graphframes_jvm import connected_components, label_propagation
from graphseam.partition.communities import LpaPartitioner, assigned_by_communities
from graphseam.partition.levels import Wanted
from graphseam.partition.report import components_told
from graphseam.session import size_shuffles
from graphseam.spark_line import schema_of

# The Spark 3.5 lane of `make test` runs all of this file; test_frames has a whole run for this line
in_one_lane = pytest.mark.spark if pyspark.__version__.startswith("3.5") else pytest.mark.thorough
SMALL = {"embed.dim": 8, "predict.links.top_k": 3, "predict.similar.top_k": 0}
ASSIGNMENTS = "level INT NOT NULL, subgraph_id INT NOT NULL, node_id BIGINT NOT NULL"


# --- a GraphFrame in, a GraphFrame out


def friends(spark, to_id) -> VertexEdges:
    """Planted communities with attributes; to_id maps 0, 1, … to the user's ids."""
    edges = communities(4, 30, seed=3)
    vertices = [(at, f"name {at}", None if at % 3 == 0 else f"team {at // 30}", {"age": at}) for at in range(120)]
    rows = [(src, dst, 1.0 + src % 3, f"edge {place}") for place, (src, dst) in enumerate(edges)]
    return VertexEdges(
        spark.createDataFrame(vertices, "id INT, name STRING, team STRING, more MAP<STRING, INT>").withColumn(
            "id", to_id(F.col("id"))
        ),
        spark.createDataFrame(rows, "src INT, dst INT, `tie strength` DOUBLE, note STRING")
        .withColumn("src", to_id(F.col("src")))
        .withColumn("dst", to_id(F.col("dst"))),
    )


def as_text(row) -> str:
    return str(sorted(row.asDict().items(), key=str))


def check_round_trip(graph, result) -> None:
    """Every row and attribute is returned unchanged; everything else is new, with the same ids."""
    vertices = result.vertices.collect()
    assert result.vertices.columns == [*graph.vertices.columns, "vector", "predicted_labels"]
    assert sorted(map(as_text, result.vertices.select(*graph.vertices.columns).collect())) == sorted(
        map(as_text, graph.vertices.collect())
    )
    assert {len(row["vector"]) for row in vertices} == {8}
    assert all(np.isfinite(row["vector"]).all() for row in vertices)
    assert all(
        labels[0]["probability"] >= labels[-1]["probability"] > 0
        for row in vertices
        if (labels := row["predicted_labels"])
    )
    teams = [(row["name"], row["predicted_labels"][0]["label"]) for row in vertices if row["team"] is None]
    right = [label == f"team {int(name.split()[1]) // 30}" for name, label in teams]
    assert np.mean(right) > 0.8
    assert result.edges.columns == [*graph.edges.columns, "probability"]
    assert result.edges.schema[:-1] == graph.edges.schema[:]
    given = result.edges.where("probability IS NULL").drop("probability")
    assert sorted(map(as_text, given.collect())) == sorted(map(as_text, graph.edges.collect()))
    predicted = result.edges.where("probability IS NOT NULL").collect()
    ids = {str(row["id"]) for row in vertices}
    pairs = {frozenset((str(row["src"]), str(row["dst"]))) for row in predicted}
    known = {frozenset((str(row["src"]), str(row["dst"]))) for row in graph.edges.collect()}
    assert len(predicted) == len(pairs) > 50
    assert all(len(pair) == 2 and pair <= ids and pair not in known for pair in pairs)
    assert all(0 < row["probability"] <= 1 and row["note"] is None for row in predicted)


def settings_of(spark) -> dict[str, str]:
    return {row["key"]: row["value"] for row in spark.sql("SET").collect()}


@in_one_lane
def test_two_dataframes_do_without_the_jar_and_any_type_of_id(spark, tmp_path):
    def day(number):
        return F.date_add(F.lit(datetime.date(2026, 1, 1)), number)

    graph, before = friends(spark, day), settings_of(spark)
    result = graphseam.embed(graph, str(tmp_path), weight="tie strength", label="team", settings=SMALL, run_id="first")
    assert type(result) is VertexEdges
    check_round_trip(graph, result)
    assert settings_of(spark) == before
    assert spark.getActiveSession()._jsparkSession.equals(spark._jsparkSession)

    again = graphseam.embed(graph, str(tmp_path), weight="tie strength", label="team", settings=SMALL, run_id="first")
    assert again.vertices.select("vector").collect() == result.vertices.select("vector").collect()
    other = VertexEdges(graph.vertices, graph.edges.where("note <> 'edge 5'"))
    with pytest.raises(RunError, match="run 'first' was begun on another graph; give a new run_id"):
        graphseam.embed(other, str(tmp_path), weight="tie strength", label="team", settings=SMALL, run_id="first")
    more = VertexEdges(graph.vertices.union(graph.vertices.limit(1).withColumn("id", day(F.lit(9999)))), graph.edges)
    (unknown,) = graphseam.with_results(more, str(tmp_path), "first").vertices.where("vector IS NULL").collect()
    assert unknown["id"] == datetime.date(2026, 1, 1) + datetime.timedelta(9999)
    with pytest.raises(InputError, match="holds no graphseam tables"):
        graphseam.with_results(graph, str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(RunError, match=r"no published run 'frist'. Did you mean 'first'\?"):
        graphseam.with_results(graph, str(tmp_path), "frist")


def test_ends_are_written_as_the_ids_are_even_of_another_type(spark):
    vertices = spark.createDataFrame([(1.0,), (2.0,)], "id DOUBLE")
    edges = spark.createDataFrame([(1, 2)], "src INT, dst BIGINT")
    copied = {name: rows.collect() for name, rows in _inputs(VertexEdges(vertices, edges), "", "").items()}
    ids = {row["id"] for row in copied["vertices"]}
    assert {end for row in copied["edges"] for end in row} == ids == {"1.0", "2.0"}


@pytest.mark.graphframes
def test_a_graphframe_of_names_comes_back_with_all_it_had(spark, tmp_path):
    from graphframes import GraphFrame

    def named(number):
        return F.concat(F.lit("user "), number)

    graph = GraphFrame(*friends(spark, named))
    result = graphseam.embed(
        graph,
        str(tmp_path),
        weight="tie strength",
        label="team",
        settings={**SMALL, "partition.method": "graphframes_lpa", "partition.num_subgraphs": 3},
    )
    assert isinstance(result, GraphFrame)
    check_round_trip(graph, result)
    surest = result.filterEdges("probability > 0.01").dropIsolatedVertices()
    assert 0 < surest.vertices.count() <= 120
    assert surest.inDegrees.agg(F.sum("inDegree")).first()[0] == surest.edges.count()


def test_a_saved_graphframe_is_an_input_and_no_label_is_no_bad_row(spark, tmp_path):
    graph = friends(spark, lambda number: number)
    for name in ("vertices", "edges"):
        getattr(graph, name).write.parquet(str(tmp_path / "saved" / name))
    saved = str(tmp_path / "saved")
    config = make_config(
        {"graphframe": saved, "labels": f"{saved}/vertices", "label": "team", "weight": "tie strength"},
        tmp_path / "tables",
    )
    details = run_steps(spark, config, "saved", last="ingest").details("ingest")
    assert (details["nodes"], details["labelled_nodes"], details["rejected"]) == (120, 80, {})
    with pytest.raises(ConfigError, match=r"input\.edges is 'x'; leave it out, as input.graphframe gives"):
        make_config({"graphframe": saved, "edges": "x"}, tmp_path / "tables")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"weight": "strength"}, r"edges have no column 'strength'. Did you mean 'tie strength'\?"),
        ({}, {"label": "teem"}, r"vertices have no column 'teem'. Did you mean 'team'\?"),
        ({"vertices": lambda rows: rows.withColumn("vector", F.lit(1))}, {}, "vertices have a column 'vector' already"),
        (
            {"edges": lambda rows: rows.withColumn("probability", F.lit(1))},
            {},
            "edges have a column 'probability' already",
        ),
        ({"vertices": lambda rows: rows.withColumnRenamed("id", "node")}, {}, "vertices have no column 'id'"),
        (
            {"vertices": lambda rows: rows.withColumn("id", F.concat(F.lit(" "), "id"))},
            {},
            "ids that begin or end with a blank, such as ' [0-9]+'; trim them in vertices and edges",
        ),
        ({}, {"settings": {"dim": 8}}, "settings has the key 'dim'; give section.key"),
        ({}, {"settings": {"output.root": "x"}}, "settings has the key 'output.root'"),
        ({}, {"settings": {"embed.dims": 8}}, r"unknown key 'embed.dims' in the configuration. Did you mean 'dim'\?"),
    ],
)
def test_what_cannot_be_embedded_is_told_before_anything_runs(spark, tmp_path, change, options, message):
    graph = friends(spark, lambda number: number)
    graph = graph._replace(**{name: alter(getattr(graph, name)) for name, alter in change.items()})
    with pytest.raises((InputError, ConfigError), match=message):
        graphseam.embed(graph, str(tmp_path / "tables"), **options)
    assert not (tmp_path / "tables").exists()


# --- its algorithms


def zoo_edges(spark):
    """(edges of all the zoo's graphs with numbers of their own, the same as one graph of networkx)."""
    network, rows = nx.Graph(), []
    for place, graph in enumerate(ZOO):
        ids = {node: 1000 * place + at for at, node in enumerate(sorted(graph.node_ids, key=str))}
        rows += [(ids[src], ids[dst]) for src, dst in (tuple(sorted(pair, key=ids.get)) for pair in graph.simple_edges)]
    network.add_edges_from(rows)
    return spark.createDataFrame(
        [(src, dst, 1.0) for src, dst in sorted(set(rows))], "src BIGINT, dst BIGINT, weight DOUBLE"
    ), network


@pytest.mark.graphframes
def test_components_are_those_of_networkx(spark, tmp_path, monkeypatch):
    edges, network = zoo_edges(spark)
    monkeypatch.setattr("graphseam.session.ADAPT_FROM_ROWS", 0)
    size_shuffles(spark, 0)
    with connected_components(edges, str(tmp_path / "kept")) as components:
        found = {row["node_id"]: row["component"] for row in components.collect()}
        assert list((tmp_path / "kept").iterdir())
    assert list((tmp_path / "kept").iterdir()) == []
    assert found == {node: min(part) for part in nx.connected_components(network) for node in part}
    assert settings_of(spark)["spark.sql.adaptive.enabled"] == "true"


@pytest.mark.graphframes
def test_label_propagation_does_not_depend_on_the_layout_and_leaves_nothing_behind(spark):
    edges, network = zoo_edges(spark)
    before, found = spark.sparkContext._jsc.getPersistentRDDs().size(), []
    for rows in (edges, edges.repartition(5).sort(F.desc("dst"))):
        with label_propagation(rows, 3, None) as labels:
            found.append(sorted(tuple(row) for row in labels.collect()))
    assert found[0] == found[1]
    assert {node for node, _ in found[0]} == set(network)
    assert spark.sparkContext._jsc.getPersistentRDDs().size() <= before + 2  # local checkpoints go when unused
    inside = dict(found[0])
    assert all(nx.has_path(network, node, label) for node, label in inside.items())


@pytest.mark.graphframes
def test_communities_are_packed_evenly_and_small_components_kept_whole(spark):
    edges, network = zoo_edges(spark)
    nodes = spark.createDataFrame([(node,) for node in [*network, 77777, 88888]], "node_id BIGINT")
    wanted = Wanted(3, 1, 10, 5, schema_of(ASSIGNMENTS))
    with assigned_by_communities(edges, nodes, LpaPartitioner(), wanted, 1024, None) as assignments:
        rows = assignments.collect()
    part = {row["node_id"]: row["subgraph_id"] for row in rows}
    assert len(rows) == len(part) == len(network) + 2
    assert set(part.values()) == {10, 11, 12}
    assert {row["level"] for row in rows} == {1}
    ends = np.bincount([part[node] - 10 for node in network], weights=[network.degree[node] for node in network])
    assert ends.max() <= 1.06 * ends.mean()
    room = 2 * network.number_of_edges() / 3 / 2
    for component in nx.connected_components(network):
        if sum(network.degree[node] for node in component) <= room:
            assert len({part[node] for node in component}) == 1
    cut = sum(part[src] != part[dst] for src, dst in network.edges)
    assert cut < 0.2 * network.number_of_edges()


@pytest.mark.graphframes
def test_a_graph_without_edges_and_the_report_of_components(spark, tmp_path):
    pq.write_table(pq.read_table(LASTFM / "edges.parquet").slice(0, 40), tmp_path / "edges.parquet")
    config = make_config(
        {"edges": str(tmp_path / "edges.parquet")},
        tmp_path / "tables",
        partition={"method": "graphframes_lpa", "num_subgraphs": 2},
    )
    run = run_steps(spark, config, "forty", last="partition")
    network = nx.Graph([(row["src"], row["dst"]) for row in run.tables.read("edges").collect()])
    sizes = [len(part) for part in nx.connected_components(network)]
    told = components_told(run.tables, "forty", len(network) + 2)
    assert told.startswith(f"{len(sizes)} connected components with an edge; the largest has {max(sizes)} of ")
    assert told.endswith("; 2 nodes have no edge")

    nothing = run.tables.read("edges").limit(0)
    nodes = spark.createDataFrame([(4,), (5,)], "node_id BIGINT")
    with assigned_by_communities(
        nothing, nodes, LpaPartitioner(), Wanted(2, 1, 0, 5, schema_of(ASSIGNMENTS)), 1024, None
    ) as assignments:
        assert sorted((row["node_id"], row["subgraph_id"]) for row in assignments.collect()) == [(4, 0), (5, 1)]


@pytest.mark.thorough
@pytest.mark.graphframes
def test_levels_of_label_propagation_end_in_one_core_for_the_frame(spark, tmp_path):
    config = make_config(write_graph(PLANTED, tmp_path), tmp_path / "tables", embed={"dim": 8})
    check_levels(cut_into_six(run_steps(spark, config, "six", last="ingest"), "graphframes_lpa"))


def test_without_the_jar_the_coordinate_is_told_before_anything_is_read(spark, tmp_path, monkeypatch):
    from graphseam.pipeline import run_pipeline

    monkeypatch.setattr("graphseam.graphframes_jvm.has_graphframes", lambda _: False)
    config = make_config(
        {"edges": str(LASTFM / "edges.parquet")}, tmp_path / "tables", partition={"method": "graphframes_lpa"}
    )
    with pytest.raises(ConfigError, match=r"with --packages io\.graphframes:graphframes-spark[34]_2\.1[23]:0\."):
        run_pipeline(config, spark=spark)
    assert not (tmp_path / "tables").exists()
