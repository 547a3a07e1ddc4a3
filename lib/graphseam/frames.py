"""Embed a frame of edges in one call: pandas, polars, Arrow or Spark in, vectors, links and labels out.

    result = graphseam.embed(edges, root="tables", weight="amount", labels=people)
    ids, vectors = result.to_numpy()

The tables are those of any other run. A GraphFrame is passed on to graphframe.embed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from graphseam import graphframe
from graphseam.config import check_run_id
from graphseam.errors import InputError, nearest
from graphseam.files import absolute, has_table
from graphseam.graphframe import VertexEdges
from graphseam.pipeline import run_pipeline
from graphseam.report import published_run, write_report
from graphseam.runs import Run, new_run_id
from graphseam.sections import OutputConfig
from graphseam.session import build_session
from graphseam.tables import GRAPHFRAME_INPUTS, Tables

if TYPE_CHECKING:
    import torch
    from graphframes import GraphFrame


@dataclass(frozen=True)
class Embedding:
    """The results of a published run.

    `links`, `labels`, `similar` and `metrics` are pandas frames, which the driver holds; as_spark: of Spark instead.
    """

    run: Run
    as_spark: bool = False

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def metrics(self) -> Any:
        """(task, metric, variant, scorer, stratum, value, support): what `evaluate` measured."""
        return self._given(self.run.tables.read("metrics").sort("task", "metric", "variant", "scorer", "stratum"))

    @property
    def links(self) -> Any:
        """(src, dst, probability, rank, …): predicted links by original ids, the likeliest first."""
        rows = self._with_ids("link_predictions", "src", "dst").where("NOT held_out")
        return self._given(rows.sort(F.desc("probability"), F.desc("score"), "src_node_id", "rank"))

    @property
    def labels(self) -> Any:
        """(id, label, probability, rank, …): the likeliest labels of each node."""
        return self._given(self._with_ids("node_predictions", "id").sort("node_id", "rank"))

    @property
    def similar(self) -> Any:
        """(src, dst, cosine, rank, …): the most similar nodes of each node."""
        return self._given(self._with_ids("similar_nodes", "src", "dst").sort("src_node_id", "rank"))

    def to_numpy(self) -> tuple[np.ndarray, np.ndarray]:
        """(ids int64[n] or str object[n], vectors float32[n, dim]), by node_id. The driver holds all of them."""
        rows: Any = self._with_ids("embeddings", "id").sort("node_id").select("id", "vector").toPandas()
        dim = self.run.config.embed.dim
        vectors = np.stack(rows["vector"].to_numpy()) if len(rows) else np.zeros((0, dim))
        return rows["id"].to_numpy(), np.ascontiguousarray(vectors, dtype=np.float32)

    def to_torch(self) -> tuple[np.ndarray, torch.Tensor]:
        """(ids as in `to_numpy`, vectors as a float32 tensor on the CPU)."""
        import torch

        ids, vectors = self.to_numpy()
        return ids, torch.from_numpy(vectors)

    def table(self, name: str) -> DataFrame:
        """The run's rows of any table, as Spark reads them."""
        return self.run.tables.read(name)

    def report(self, output: str | None = None) -> str:
        """Write the run's page and return where it is; see `report.write_report`."""
        return write_report(self.run, output)

    def _given(self, rows: DataFrame) -> Any:
        return rows if self.as_spark else rows.toPandas()

    def _with_ids(self, name: str, *columns: str) -> DataFrame:
        """The run's rows, with ids as numbers where they came as numbers."""
        rows = self.run.tables.read(name)
        if self.run.ingested.id_type != "integer":
            return rows
        return rows.withColumns({column: F.col(column).cast("bigint") for column in columns})


@overload
def embed(graph: VertexEdges, root: str, **options: Any) -> VertexEdges: ...
@overload
def embed(graph: GraphFrame, root: str, **options: Any) -> GraphFrame: ...
@overload
def embed(graph: Any, root: str, **options: Any) -> Embedding: ...  # type: ignore[overload-cannot-match]
def embed(graph: Any, root: str, **options: Any) -> Any:
    """Embed a graph: run every step on it, and return the results of the published run.

    graph: a frame of edges (pandas, polars, pyarrow.Table or Spark), for which the options are those of `embed_frame`
    and the result is an Embedding; or a GraphFrame (or VertexEdges), with the options and the result of
    `graphframe.embed`. root: directory of the tables.
    """
    if hasattr(graph, "vertices") and hasattr(graph, "edges"):
        return graphframe.embed(graph, root, **options)
    return embed_frame(graph, root, **options)


def embed_frame(
    edges: Any,
    root: str,
    src: str = "src",
    dst: str = "dst",
    weight: str = "",
    labels: Any = None,
    node: str = "node",
    label: str = "label",
    directed: bool = False,
    run_id: str | None = None,
    settings: Mapping[str, object] | None = None,
) -> Embedding:
    """Run the whole pipeline on a frame of edges.

    edges: columns src and dst, numbers or text, and weight if named. labels: a frame with a row per label of a node.
    directed: false treats a -> b and b -> a as one edge. run_id: None makes a new one; an unfinished run over the same
    edges is resumed. settings: {"embed.dim": 64, …}, any key but those of input and output.
    A copy of the edges is kept under `root` as the run's input. Without a running Spark session, one is started on this
    machine. Errors: InputError for a missing column, and those of a run.
    """
    own = edges if isinstance(edges, DataFrame) else None
    spark = own.sparkSession if own is not None else build_session(local=True)
    graphframe.require_delta(spark)
    run_id = new_run_id() if run_id is None else check_run_id(run_id)
    place = f"{absolute(root)}/{GRAPHFRAME_INPUTS}/{run_id}"
    source: dict[str, object] = {"edges": f"{place}/edges", "directed": directed}
    wanted = {"src": src, "dst": dst}
    if weight:
        wanted["weight"], source["weight"] = weight, "weight"
    graphframe.copy_input(_input_rows(spark, edges, wanted, "edges"), f"{place}/edges", run_id)
    if labels is not None:
        known = _input_rows(spark, labels, {"node": node, "label": label}, "labels")
        graphframe.copy_input(known, f"{place}/labels", run_id)
        source["labels"] = f"{place}/labels"
    config = graphframe.config_with(source, root, settings or {})
    with graphframe.own_session(spark) as session:
        run = run_pipeline(config, run_id, spark=session)
    return Embedding(run, as_spark=own is not None)


def results(root: str, run_id: str | None = None) -> Embedding:
    """The results of a published run, by default the newest, in a running Spark session or a new local one.

    Errors: InputError if the root has no tables, RunError if there is no such run.
    """
    if not has_table(root):
        raise InputError(f"{root!r} holds no graphseam tables; give the output.root of a run")
    spark = build_session(local=True)
    return Embedding(published_run(Tables(spark, OutputConfig(root=root), read_only=True), run_id))


def _input_rows(spark: SparkSession, frame: Any, wanted: Mapping[str, str], what: str) -> DataFrame:
    """The columns of a frame of any known library under our names. wanted: {our name: theirs}.

    Errors: InputError for something that is no frame, or for a missing column, with the nearest name.
    """
    for convert in ("to_arrow", "to_pandas"):  # polars' and pyarrow's
        if hasattr(frame, convert) and not isinstance(frame, DataFrame):
            frame = getattr(frame, convert)()
    if not (hasattr(frame, "columns") and hasattr(frame, "dtypes")):
        raise InputError(f"{what} is a {type(frame).__name__}; give a frame of pandas, polars, pyarrow or Spark")
    for name in wanted.values():
        if name not in frame.columns:
            raise InputError(f"the frame of {what} has no column {name!r}.{nearest(name, frame.columns)}")
    if isinstance(frame, DataFrame):
        return frame.select(*[F.col(f"`{name}`").alias(ours) for ours, name in wanted.items()])
    given = frame[list(dict.fromkeys(wanted.values()))]
    return spark.createDataFrame(given).select(*[F.col(f"`{name}`").alias(ours) for ours, name in wanted.items()])
