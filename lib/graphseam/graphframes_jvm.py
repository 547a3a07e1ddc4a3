"""GraphFrames' own algorithms on our edges, called as its issues recommend; its jar is optional.

Ids are our BIGINT numbers: for other ids GraphFrames generates numbers that change when a block is lost. A broadcast
threshold of -1 keeps it from collecting hubs and from turning off adaptive execution for the whole session. Its results
are persisted, and are unpersisted here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from py4j.protocol import Py4JError
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from graphseam.checkpoints import Checkpoints
from graphseam.columns import ENDS
from graphseam.edges import both_ways, end_nodes
from graphseam.errors import ConfigError
from graphseam.seeds import uniform
from graphseam.spark_line import graphframes_coordinate

NO_BROADCAST = -1
NO_LIMIT = (1 << 31) - 2  # of iterations; GraphFrames 0.10 has 2 ^ 31 - 2 as its default, which is 29 in Python
LPA_ITERATIONS = 10
LPA_MOST_NEIGHBOURS = 64  # considered per node: GraphFrames collects the labels of all; merging is quadratic


def has_graphframes(spark: SparkSession) -> bool:
    """Whether the session's JVM has GraphFrames' classes."""
    jvm: Any = spark.sparkContext._jvm
    try:
        jvm.java.lang.Thread.currentThread().getContextClassLoader().loadClass("org.graphframes.GraphFramePythonAPI")
    except Py4JError:
        return False
    return True


def require_graphframes(spark: SparkSession, what: str) -> None:
    """ConfigError with the jar's coordinate unless the session has it."""
    if not has_graphframes(spark):
        raise ConfigError(
            f"{what} needs GraphFrames' jar, and this Spark session has none; start it with --packages "
            f"{graphframes_coordinate()} (spark.jars.packages), or put the jar into the installed Spark "
            "once by `graphseam jars --fetch graphframes`. Everything else works without it"
        )


@contextmanager
def label_propagation(edges: DataFrame, seed: int, checkpoint_dir: str | None) -> Iterator[DataFrame]:
    """(node_id, label): communities of the nodes with an edge, by GraphFrames' label propagation.

    edges: EDGES, each pair once. A node takes the label that most of its neighbours have, the smallest in a tie;
    it considers at most 64 of them, those of smallest hash. Weights are ignored. checkpoint_dir: a directory that all
    executors can reach; None if the session is one process. Cost: 10 rounds, each a join and a shuffle of the edges.
    Source: Raghavan, Albert and Kumara, Near linear time algorithm to detect community structures, PRE 76, 2007.
    """
    from graphframes import GraphFrame

    listens = Window.partitionBy("dst").orderBy(uniform(seed, F.lit("lpa"), *ENDS), "src")
    incoming = (
        both_ways(edges, *ENDS)
        .withColumn("place", F.row_number().over(listens))
        .where(F.col("place") <= LPA_MOST_NEIGHBOURS)
        .select(*ENDS)
        .persist()
    )
    vertices = incoming.select(F.col("dst").alias("id")).distinct().persist()
    with _checkpoints(edges.sparkSession, checkpoint_dir) as local, _freed(incoming, vertices) as kept:
        labels = GraphFrame(vertices, incoming).labelPropagation(
            LPA_ITERATIONS,
            algorithm="graphframes",  # "graphx" breaks ties by the order in which messages arrive
            use_local_checkpoints=local,
        )
        kept.append(labels)
        yield labels.select(F.col("id").alias("node_id"), "label")


@contextmanager
def connected_components(edges: DataFrame, checkpoint_dir: str | None) -> Iterator[DataFrame]:
    """(node_id, component): the component of each node with an edge, named by its smallest node id.

    edges: EDGES. checkpoint_dir: as for label_propagation. Cost: a few rounds, each two joins of the remaining edges.
    Source: Kiveris et al., Connected components in MapReduce and beyond, SOCC 2014.
    """
    from graphframes import GraphFrame

    pairs = edges.select(*ENDS).persist()
    vertices = end_nodes(pairs, "id").distinct().persist()
    with _checkpoints(edges.sparkSession, checkpoint_dir) as local, _freed(pairs, vertices) as kept:
        components = GraphFrame(vertices, pairs).connectedComponents(
            broadcastThreshold=NO_BROADCAST, max_iter=NO_LIMIT, use_local_checkpoints=local
        )
        kept.append(components)
        yield components.select(F.col("id").alias("node_id"), "component")


@contextmanager
def _checkpoints(spark: SparkSession, checkpoint_dir: str | None) -> Iterator[bool]:
    """Whether local checkpoints suffice, which are lost with their executor; else a folder holds the checkpoints and is
    removed at the end: GraphFrames leaves its own behind."""
    if checkpoint_dir is None:
        yield True
        return
    checkpoints = Checkpoints(spark, checkpoint_dir)
    try:
        yield False
    finally:
        checkpoints.remove()


@contextmanager
def _freed(*persisted: DataFrame) -> Iterator[list[DataFrame]]:
    """A list of persisted DataFrames; all of them are unpersisted at the end."""
    kept = list(persisted)
    try:
        yield kept
    finally:
        for rows in kept:
            rows.unpersist()
