"""ingest: input files -> nodes, edges, holdout_edges, labels, rejected_rows."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from graphseam.columns import EDGE, ENDS
from graphseam.errors import InputError
from graphseam.files import is_remote, local_files
from graphseam.ingest.earlier import EarlierFiles
from graphseam.ingest.graph import connect, hold_out, mark_free, merge, newest_numbers, number_ids, with_sides
from graphseam.ingest.reading import count_rows, id_type_of, read_rows, text_of, with_reason
from graphseam.ingest.split import check_split, mark_held, settle, stranded
from graphseam.ingest.times import within_window
from graphseam.ingest.whole import fits_one_task, write_graph
from graphseam.ingested import Ingested
from graphseam.pairs import draw_pairs
from graphseam.runs import Run
from graphseam.seeds import derive_seed
from graphseam.session import persisted, size_shuffles
from graphseam.sources import inputs

BYTES_PER_ROW = 4  # of a compressed edge list
MANY_ROWS = 10_000_000
KEY_TYPES = {"integer": "BIGINT", "string": "STRING"}
ID_COLUMNS = {"edges": [*ENDS], "nodes": ["node"], "labels": ["node"], "pairs": [*ENDS]}


def ingest(run: Run) -> dict[str, Any]:
    """Read the inputs, store unusable rows with the reason, and write the graph.

    Returns what the summary reports (see Ingested): rows, rejections by reason, loops, duplicate edges, nodes, edges.
    Errors: InputError if no row of the edges is usable and no nodes are given.
    """
    size_shuffles(run.spark, _guess_rows(run))
    raw = {
        name: read_rows(run.spark, name, path, columns, run.config.input)
        for name, path, columns in inputs(run.config.input)
    }
    if run.config.input.labels and run.config.input.labels == run.config.input.nodes:
        raw["labels"] = raw["labels"].where("label IS NOT NULL")  # a node without a label is not a bad row
    id_type = id_type_of(raw["edges"], ID_COLUMNS["edges"], run.config.input.id_type)
    weight = "weight" if run.config.input.weight else None
    checked = {
        name: with_reason(rows, ID_COLUMNS[name], weight if name == "edges" else None, id_type)
        for name, rows in raw.items()
    }
    if "labels" in checked:
        missing = F.when(text_of(checked["labels"], "label").isNull(), "label is missing")
        checked["labels"] = checked["labels"].withColumn("reason", F.coalesce("reason", missing))
    if run.config.input.split:
        checked["edges"] = mark_held(checked["edges"], run.config.evaluate.held_out_values)
    in_time = within_window(checked["edges"], run.config.input) if run.config.input.time else None
    if in_time is not None:
        checked["edges"] = in_time.rows
    with persisted(_said_of_rejected_only(checked["edges"])) as checked["edges"]:
        counts = count_rows(checked["edges"])
        details = {"id_type": id_type, "rows": counts.rows, "loops": counts.loops, **_reject(run, checked)}
        if in_time is not None:
            details |= {"rows": in_time.read, "rows_outside": in_time.read - counts.rows, "until": in_time.until}
        details["null_like_rows"] = counts.null_like
        size_shuffles(run.spark, counts.rows)
        earlier = EarlierFiles.of(run, id_type) if run.tasks_read_files else None
        if earlier is not None and fits_one_task(run, counts.rows, id_type, earlier):
            details |= write_graph(run, *_usable(checked), earlier)
        else:
            details |= _write_by_joins(run, checked, id_type)
        nodes = _numbers(run, id_type)
        if details["nodes"] == 0:
            worst = max(details["rejected"], key=details["rejected"].get, default="no row at all")
            left_out = details.get("rows_outside", 0)
            outside = f"{left_out:,} outside input.window and input.until; " if left_out else ""
            raise InputError(
                f"no row of {run.config.input.edges!r} can be used ({details['rows']:,} read; {outside}most often: "
                f"{worst}); see the table {run.tables.location('rejected_rows')}"
            )
    details["duplicate_edges"] = counts.usable - counts.loops - details["edges"] - details["holdout_edges"]
    if "labels" in checked:
        details |= _write_labels(run, checked["labels"].where("reason IS NULL"), nodes)
    if "pairs" in checked:
        details |= _write_pairs(run, checked["pairs"].where("reason IS NULL"), nodes)
    return Ingested(**details).details()


def _said_of_rejected_only(rows: DataFrame) -> DataFrame:
    """`rows` without the text of usable ones: it is several times as large as their ids, and only rejected rows keep
    it."""
    return rows.withColumns({name: F.when(F.col("reason").isNotNull(), F.col(name)) for name in ("file", "content")})


def _guess_rows(run: Run) -> int:
    """A rough number of input rows, estimated from file sizes; MANY_ROWS if only Spark can read an input."""
    paths = [path for _, path, _ in inputs(run.config.input)]
    if any(is_remote(path) for path in paths):
        return MANY_ROWS
    return sum(file.stat().st_size for path in paths for file in local_files(path, "input")) // BYTES_PER_ROW


def _reject(run: Run, checked: dict[str, DataFrame]) -> dict[str, Any]:
    """Write the unusable rows of all inputs; returns their counts by input and reason."""
    parts = [
        rows.where("reason IS NOT NULL").select(F.lit(name).alias("source"), "reason", "file", "content")
        for name, rows in checked.items()
    ]
    rejected = parts[0]
    for part in parts[1:]:
        rejected = rejected.union(part)
    if run.tables.write("rejected_rows", rejected) == 0:
        return {"rejected": {}}
    counts = run.tables.read("rejected_rows").groupBy("source", "reason").count().collect()  # one row per reason
    return {"rejected": {f"{row['source']}: {row['reason']}": row["count"] for row in sorted(counts)}}


def _usable(checked: dict[str, DataFrame]) -> tuple[DataFrame, DataFrame | None]:
    """The usable rows of the edges and, if they are given, of the nodes."""
    nodes = checked.get("nodes")
    return checked["edges"].where("reason IS NULL"), None if nodes is None else nodes.where("reason IS NULL")


def _numbers(run: Run, id_type: str) -> DataFrame:
    """(node_id, id) of the run's nodes, ids of their own type."""
    return run.tables.read("nodes").select("node_id", F.col("id").cast(KEY_TYPES[id_type]).alias("id"))


def _write_by_joins(run: Run, checked: dict[str, DataFrame], id_type: str) -> dict[str, Any]:
    """As `write_graph`, in as many tasks as the graph needs."""
    details: dict[str, Any] = {}
    details["nodes"], dense = _write_nodes(run, checked, id_type)
    nodes = _numbers(run, id_type)
    details["bipartite"], details["id_shift"] = _is_bipartite(run), _shift(nodes, id_type)
    if details["nodes"] == 0:
        return details
    details |= _write_edges(run, connect(checked["edges"].where("reason IS NULL"), nodes, details["id_shift"]))
    if run.config.holds_out:
        details |= draw_pairs(run, details["nodes"], dense, details["bipartite"])
    else:
        run.tables.drop_run("evaluation_pairs")  # from an earlier attempt with other settings
    return details


def _write_nodes(run: Run, checked: dict[str, DataFrame], id_type: str) -> tuple[int, bool]:
    """Number every id in the edges and the nodes; returns how many, and whether the numbers have no gaps."""
    known, first_free = _earlier_numbers(run, id_type)
    return run.tables.write("nodes", number_ids(with_sides(*_usable(checked)), known, first_free)), first_free == 0


def _earlier_numbers(run: Run, id_type: str) -> tuple[DataFrame, int]:
    """((id, node_id) from the published runs of this root, the first number that is free)."""
    published = (
        run.tables.all_runs("runs")
        .where(F.col("run_id") != run.run_id)
        .where(F.col("id_type") == id_type)
        .select("run_id", F.struct("published_at", "run_id").alias("age"))
    )
    earlier = (
        run.tables.all_runs("nodes")
        .join(published, on="run_id", how="inner")
        .select(F.col("id").cast(KEY_TYPES[id_type]).alias("id"), "node_id", "age")
    )
    highest = earlier.agg(F.max("node_id")).head()
    return newest_numbers(earlier), 0 if highest is None or highest[0] is None else highest[0] + 1


def _is_bipartite(run: Run) -> bool:
    """Whether no id occurs in both columns of the edges, so that edges join two kinds of nodes."""
    sides = run.tables.read("nodes").agg(F.count_if(F.col("side") == "both"), F.count("side")).head()
    return sides is not None and sides[0] == 0 and sides[1] > 0


def _shift(nodes: DataFrame, id_type: str) -> int | None:
    """What every integer id differs by from its number, as when ids count from 0 or 1; None if it is not one number.

    Saves the joins that replace ids by numbers, and numbers by ids. Cost: one pass over the nodes.
    """
    if id_type != "integer":
        return None
    shift = F.expr("try_subtract(node_id, id)")
    row = nodes.agg(F.min(shift), F.max(shift), F.count(shift) == F.count("*")).head()
    return row[0] if row is not None and row[2] and row[0] == row[1] else None


def _write_pairs(run: Run, rows: DataFrame, nodes: DataFrame) -> dict[str, Any]:
    """Write the pairs of two different known nodes; the other pairs are only counted."""
    pairs = rows.select("src", "dst").distinct()
    known = connect(pairs.withColumn("weight", F.lit(1.0)), nodes).where("src <> dst").select("src", "dst")
    kept = run.tables.write("candidate_pairs", known)
    return {"pairs": kept, "pairs_left_out": pairs.count() - kept}


def _write_edges(run: Run, rows: DataFrame) -> dict[str, Any]:
    """Write edges and holdout_edges. rows: the usable rows of the input, with node numbers as src and dst."""
    config, seed = run.config, derive_seed(run.config.run.seed, "holdout")
    run.tables.drop_run("holdout_edges")
    if config.input.split:
        return _write_given_split(run, rows)
    edges = merge(rows, config.input.directed, config.input.weighted)
    if not config.holds_out:
        return {"edges": run.tables.write("edges", edges), "holdout_edges": 0}
    with persisted(edges) as edges, persisted(mark_free(edges, seed)) as marked:
        num_edges, num_free = marked.agg(F.count("*"), F.count_if("free")).first() or (0, 0)
        split = hold_out(marked, config.evaluate.holdout, num_edges, num_free, seed)
        return {
            "edges": run.tables.write("edges", split.where("NOT held").drop("held")),
            "holdout_edges": run.tables.write("holdout_edges", split.where("held").drop("held")),
        }


def _write_given_split(run: Run, rows: DataFrame) -> dict[str, Any]:
    """Write edges and holdout_edges as the split column says; count the nodes that have only held-out edges."""
    config = run.config.input
    check_split(rows, run.config)
    with persisted(settle(rows.select(*EDGE, "held"))) as settled:
        embedded, held = (
            merge(settled.where(chosen), config.directed, config.weighted) for chosen in ("NOT held", "held")
        )
        counts = {
            "edges": run.tables.write("edges", embedded),
            "holdout_edges": run.tables.write("holdout_edges", held),
        }
    return {**counts, "nodes_held_out": stranded(run.tables.read("edges"), run.tables.read("holdout_edges"))}


def _write_labels(run: Run, rows: DataFrame, nodes: DataFrame) -> dict[str, Any]:
    """Write the labels of known nodes; labels of unknown nodes are only counted."""
    labels = rows.select(F.col("node").alias("id"), F.col("label").cast("string").alias("label")).distinct()
    run.tables.write("labels", labels.join(nodes, on="id", how="inner").select("node_id", "label"))
    unknown = labels.join(nodes, on="id", how="left_anti").count()
    kept = run.tables.read("labels").agg(F.count("*"), F.countDistinct("node_id"), F.countDistinct("label")).head()
    assert kept is not None  # an aggregate without groups has one row
    return {
        "label_rows": kept[0],
        "labelled_nodes": kept[1],
        "label_classes": kept[2],
        "labels_of_unknown_nodes": unknown,
    }
