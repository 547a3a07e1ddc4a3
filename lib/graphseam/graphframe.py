"""Embed a GraphFrame in one call, and get a GraphFrame back.

    result = graphseam.embed(graph, root="tables", weight="strength", label="team")
    result.vertices   # every column they had, then vector, predicted_labels
    result.edges      # every column they had, then probability: null except for predicted edges

The tables are those of any other run. Without GraphFrames' jar, pass two DataFrames: VertexEdges(vertices, edges).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, DataType, MapType, StringType, StructType

from graphseam import folders
from graphseam.config import Config, check_run_id, config_of, put
from graphseam.errors import ConfigError, InputError, RunError, nearest
from graphseam.files import absolute, has_table
from graphseam.ingest.reading import INTEGERS
from graphseam.pipeline import run_pipeline
from graphseam.runs import new_run_id
from graphseam.sections import OutputConfig
from graphseam.session import BOUNDED, REQUIRED, unset
from graphseam.spark_line import delta_coordinate
from graphseam.tables import GRAPHFRAME_INPUTS, Tables

if TYPE_CHECKING:
    from graphframes import GraphFrame

VECTOR, LABELS, PROBABILITY = "vector", "predicted_labels", "probability"


class VertexEdges(NamedTuple):
    """The content of a GraphFrame: vertices (id, …) and edges (src, dst, …)."""

    vertices: DataFrame
    edges: DataFrame


AnyGraph = TypeVar("AnyGraph", "GraphFrame", VertexEdges)


def embed(
    graph: AnyGraph,
    root: str,
    weight: str = "",
    label: str = "",
    directed: bool = False,
    run_id: str | None = None,
    settings: Mapping[str, object] | None = None,
) -> AnyGraph:
    """Run the whole pipeline on a GraphFrame; returns one with the results, read from the published tables.

    graph: ids of any type, any further columns. root: the directory for the tables. weight: a column of the edges; "":
    every edge weighs 1. label: a column of the vertices, text or a list of text, null if unknown; "": no labels are
    predicted. directed: false treats src -> dst and dst -> src as one edge. run_id: None makes a new one; an unfinished
    run over the same graph is resumed. settings: {"embed.dim": 64, …}, any key of a configuration.
    The graph is read once, and a copy of its ids, weights and labels is kept in `root` as the run's input.
    Cost: that copy, and a run. Errors: ConfigError if the session has no Delta, InputError if a column is missing or
    its name is taken, or if an id begins or ends with a blank.
    """
    spark = graph.vertices.sparkSession
    require_delta(spark)
    _check_columns(graph, weight, label)
    run_id = new_run_id() if run_id is None else check_run_id(run_id)
    place = f"{absolute(root)}/{GRAPHFRAME_INPUTS}/{run_id}"
    config = _config(graph, place, root, bool(weight), bool(label), directed, settings or {})
    _check_blanks(graph.vertices)
    for name, rows in _inputs(graph, weight, label).items():
        copy_input(rows, f"{place}/{name}", run_id)
    with own_session(spark) as session:
        run_pipeline(config, run_id, spark=session)
    return with_results(graph, root, run_id)


def with_results(graph: AnyGraph, root: str, run_id: str | None = None) -> AnyGraph:
    """The graph with the results of a published run over it: the newest of `root` if no run_id is given.

    Vertices gain `vector` ARRAY<FLOAT>, null if the run does not know the id, and, if the run predicted labels,
    `predicted_labels`, a list of (label, probability), most probable first. Edges gain `probability`, null, and the
    predicted edges are appended, with nulls in the other columns. All lazy. Cost: a join of vertices and vectors.
    """
    spark = graph.vertices.sparkSession
    _check_free(graph)
    if not has_table(root):
        raise InputError(f"{root!r} holds no graphseam tables; give the root that the graph was embedded into")
    tables = Tables(spark, OutputConfig(root=root), run_id)
    runs: list[str] = [str(row["run_id"]) for row in tables.published()]
    if not runs or run_id not in (None, *runs):
        raise RunError(
            f"{root!r} has no published run{'' if run_id is None else f' {run_id!r}'}.{nearest(run_id or '', runs)}"
        )
    tables = Tables(spark, OutputConfig(root=root), run_id or runs[0])
    return type(graph)(_vertices(graph.vertices, tables), _edges(graph, tables))


def _vertices(vertices: DataFrame, tables: Tables) -> DataFrame:
    vectors = tables.read("embeddings").select(F.col("id").alias("_key"), VECTOR)
    found = vertices.withColumn("_key", _key(vertices, "id")).join(vectors, on="_key", how="left")
    predicted = tables.read("node_predictions")
    if not predicted.isEmpty():
        ranked = F.sort_array(F.collect_list(F.struct("rank", "label", "probability")))
        lists = predicted.groupBy(F.col("id").alias("_key")).agg(
            F.transform(
                ranked, lambda one: F.struct(one["label"].alias("label"), one["probability"].alias("probability"))
            ).alias(LABELS)
        )
        found = found.join(lists, on="_key", how="left")
    added = [name for name in (VECTOR, LABELS) if name in found.columns]
    return found.select(*[F.col(f"`{name}`") for name in vertices.columns], *added)


def _edges(graph: AnyGraph, tables: Tables) -> DataFrame:
    """The edges, followed by the predicted links that are not known edges, each pair once."""
    both_ways = Window.partitionBy(F.least("src_node_id", "dst_node_id"), F.greatest("src_node_id", "dst_node_id"))
    first = F.row_number().over(both_ways.orderBy("rank", "src_node_id"))
    links = tables.read("link_predictions").where("NOT held_out").withColumn("_place", first).where("_place = 1")
    known = graph.vertices.select(F.col("id").alias("_id"), _key(graph.vertices, "id").alias("_key"))
    for end in ("src", "dst"):  # back to the original ids
        ids = known.select(F.col("_id").alias(f"_{end}"), F.col("_key").alias(end))
        links = links.join(ids, on=end, how="inner")
    kinds = {field.name: field.dataType for field in graph.edges.schema.fields}
    filled = {"src": F.col("_src"), "dst": F.col("_dst")}
    predicted = links.select(
        *[filled.get(name, F.lit(None)).cast(kind).alias(name) for name, kind in kinds.items()], PROBABILITY
    )
    return graph.edges.withColumn(PROBABILITY, F.lit(None).cast("double")).unionByName(predicted)


def _check_columns(graph: AnyGraph, weight: str, label: str) -> None:
    """InputError if a requested column is missing, or the name of a result column is taken."""
    asked = {"vertices": ["id", *([label] if label else [])], "edges": ["src", "dst", *([weight] if weight else [])]}
    for kind, wanted in asked.items():
        there = getattr(graph, kind).columns
        for name in wanted:
            if name not in there:
                raise InputError(f"the graph's {kind} have no column {name!r}.{nearest(name, there)}")
    _check_free(graph)


def _check_free(graph: AnyGraph) -> None:
    for kind, name in (("vertices", VECTOR), ("vertices", LABELS), ("edges", PROBABILITY)):
        if name in getattr(graph, kind).columns:
            raise InputError(
                f"the graph's {kind} have a column {name!r} already, which the results are to be put in; "
                "rename or drop it first"
            )


def _config(
    graph: AnyGraph,
    place: str,
    root: str,
    weighted: bool,
    labelled: bool,
    directed: bool,
    settings: Mapping[str, object],
) -> Config:
    kind = graph.vertices.schema["id"].dataType
    source: dict[str, object] = {
        "graphframe": place,
        "directed": directed,
        "id_type": "integer" if isinstance(kind, INTEGERS) else "string",
    }
    if weighted:
        source["weight"] = "weight"
    if labelled:
        source["labels"] = f"{place}/labels"
    return config_with(source, root, settings)


def config_with(source: dict[str, object], root: str, settings: Mapping[str, object]) -> Config:
    """The configuration of an [input] section, a root, and {"section.key": value} of the other sections."""
    tree: dict[str, Any] = {"input": source, "output": {"root": root}}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        if section.partition(".")[0] in ("", "input", "output"):
            raise ConfigError(
                f"settings has the key {key!r}; give section.key as in a configuration, such as "
                '"embed.dim", but neither input nor output, which are the graph and root'
            )
        put(tree, section, name, value, f"settings has the key {key!r}")
    return config_of(tree)


def _inputs(graph: AnyGraph, weight: str, label: str) -> dict[str, DataFrame]:
    """The run's input: edges (src, dst, weight), vertices (id), labels (id, label)."""
    vertices, edges = graph.vertices, graph.edges
    kind = vertices.schema["id"].dataType
    for end in ("src", "dst"):  # another type would be written as text that differs from the id's
        edges = edges.withColumn(end, F.col(end).cast(kind))
    ends = [_key(edges, end).alias(end) for end in ("src", "dst")]
    weights = [F.col(f"`{weight}`").alias("weight")] if weight else []
    wanted = {"edges": edges.select(*ends, *weights), "vertices": vertices.select(_key(vertices, "id").alias("id"))}
    if label:
        known = F.col(f"`{label}`")
        if isinstance(vertices.schema[label].dataType, ArrayType):
            known = F.explode(known)
        wanted["labels"] = vertices.select(_key(vertices, "id").alias("id"), known.cast("string").alias("label")).where(
            F.trim("label") != ""
        )
    return wanted


def copy_input(rows: DataFrame, path: str, run_id: str) -> None:
    """Write the rows once. RunError if those of another graph were written for this run before."""
    spark = rows.sparkSession
    if not folders.exists(spark, f"{path}/_SUCCESS"):
        rows.write.mode("overwrite").parquet(path)
    elif _content(rows) != _content(spark.read.parquet(path).select(*rows.columns)):
        raise RunError(f"run {run_id!r} was begun on another graph; give a new run_id")


def _content(rows: DataFrame) -> Any:
    """A checksum of the rows that does not depend on their order. One pass."""
    hashes = F.xxhash64(*rows.columns)
    return rows.agg(F.count("*"), F.sum(hashes.bitwiseAND(F.lit((1 << 31) - 1))), F.bit_xor(hashes)).first()


def _check_blanks(vertices: DataFrame) -> None:
    """InputError if an id begins or ends with a blank: inputs are read with outer blanks removed."""
    if isinstance(vertices.schema["id"].dataType, StringType):
        padded = vertices.where(F.col("id") != F.trim("id")).select("id").first()
        if padded is not None:
            raise InputError(
                f"the graph's vertices have ids that begin or end with a blank, such as {padded['id']!r}; "
                "trim them in vertices and edges"
            )


def _key(rows: DataFrame, name: str) -> Column:
    """How the run's input and tables represent an id: numbers and text as they are, other types as text."""
    kind: DataType = rows.schema[name].dataType
    column = F.col(f"`{name}`")
    if isinstance(kind, (StructType, ArrayType, MapType)):
        return F.to_json(column)
    return F.base64(column) if isinstance(kind, BinaryType) else column.cast("string")


def require_delta(spark: SparkSession) -> None:
    """ConfigError unless the session was started with Delta, which cannot be added to a running one."""
    if not hasattr(spark, "_jsparkSession"):
        raise ConfigError("this is a Spark Connect session, which graphseam cannot work in; use a classic one")
    extension = REQUIRED["spark.sql.extensions"]
    if extension not in spark.sparkContext.getConf().get("spark.sql.extensions", ""):
        raise ConfigError(
            "this Spark session has no Delta; stop it, and start one by graphseam.build_session(local=True) on a "
            f"laptop, or on a cluster with --packages {delta_coordinate()} --conf spark.sql.extensions={extension} "
            "and what else conf/spark-cluster.conf sets"
        )


@contextmanager
def own_session(spark: SparkSession) -> Iterator[SparkSession]:
    """A session next to the user's, in the same application: the run's settings do not change the user's."""
    session = spark.newSession()
    for key, value in {**unset(BOUNDED, spark.sparkContext.getConf()), **REQUIRED}.items():
        if key != "spark.sql.extensions":  # fixed when the application started
            session.conf.set(key, value)
    try:
        yield session
    finally:
        SparkSession._activeSession = spark
        spark._jvm.SparkSession.setActiveSession(spark._jsparkSession)  # type: ignore[union-attr]
