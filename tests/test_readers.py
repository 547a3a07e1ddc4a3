"""What SQL users see: every table opens in DuckDB, deltalake and polars; views and exports show the newest run."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path

import duckdb
import polars
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from rich.console import Console

from conftest import LASTFM
from graphseam.errors import RunError
from graphseam.export import export_table
from graphseam.local_sql import query_here
from graphseam.queries import query
from graphseam.schemas import public_names, table_names, view_names
from graphseam.sections import OutputConfig
from graphseam.show import print_rows, write_rows
from graphseam.summary import print_summary
from graphseam.tables import Tables
from graphseam.views import register_views, view_selects, view_statements


@pytest.fixture(scope="module")
def run(published):
    """The newer of two runs over a part of LastFM Asia in one root; one node was placed after it."""
    return published("lastfm")


@pytest.fixture(scope="module")
def root(run):
    return Path(run.config.output.root)


@pytest.fixture(scope="module")
def by_spark(spark, root):
    """{table: (its columns, its rows of all runs)}, as Spark reads them."""
    tables = {name: spark.read.format("delta").load(str(root / name)) for name in table_names()}
    return {name: (rows.columns, rows.collect()) for name, rows in tables.items()}


@pytest.fixture(scope="module")
def counts(by_spark):
    return {name: len(rows) for name, (_, rows) in by_spark.items()}


@pytest.mark.parametrize("name", table_names())
def test_every_table_reads_the_same_without_spark(root, counts, name):
    path = str(root / name)
    assert DeltaTable(path).to_pyarrow_table().num_rows == counts[name]
    assert polars.read_delta(path).height == counts[name]


@pytest.mark.parametrize("name", public_names())
def test_public_tables_hold_the_same_values_without_spark(by_spark, root, name):
    """Two other readers can read the types of every column, and find as many distinct values as Spark."""
    columns, rows = by_spark[name]
    by_polars = polars.read_delta(str(root / name))
    by_deltalake = DeltaTable(str(root / name)).to_pyarrow_table()
    assert by_polars.columns == by_deltalake.column_names == columns
    assert by_polars.height or name in ("rejected_rows", "edge_changes")
    for place, column in enumerate(columns):
        expected = len({str(row[place]) for row in rows if row[place] is not None})
        assert by_polars[column].drop_nulls().n_unique() == expected, column
        assert len(set(map(str, by_deltalake[column].drop_null().to_pylist()))) == expected, column


def test_duckdb_reads_every_table(root, counts):
    connection = duckdb.connect()
    import duckdb_extensions

    duckdb_extensions.import_extension("delta")
    connection.execute("LOAD delta")
    for name in table_names():
        assert connection.execute(f"SELECT count(*) FROM delta_scan('{root / name}')").fetchone() == (counts[name],)


def test_duckdb_has_the_views_too_and_empty_tables_for_those_that_are_missing(spark, run, root, tmp_path):
    import duckdb_extensions

    for table in (root / "x").parent.iterdir():  # a root without some of the tables, as an unlabelled run leaves it
        if table.name not in ("labels", "node_predictions", "label_quality"):
            (tmp_path / table.name).symlink_to(table)
    connection = duckdb.connect()
    duckdb_extensions.import_extension("delta")
    for statement in view_statements(str(tmp_path), "duckdb"):
        connection.execute(statement.removeprefix("INSTALL delta; "))
    assert connection.execute("SELECT count(*) FROM node_labels").fetchone() == (0,)
    register_views(run.tables)
    for view in ("top_links", "run_comparison", "current_embeddings"):
        expected = spark.sql(f"SELECT count(*) FROM {view}").head()[0]
        assert connection.execute(f"SELECT count(*) FROM {view}").fetchone() == (expected,)
    best = "SELECT src, dst, probability FROM top_links LIMIT 5"
    assert connection.execute(best).fetchall() == [tuple(row) for row in spark.sql(best).collect()]


def test_polars_has_the_tables(spark, root, counts):
    names: dict[str, object] = {}
    exec("\n".join(view_statements(str(root), "polars")), names)
    shown = names["tables"].execute("SELECT count(*) AS n FROM embeddings").collect()
    assert shown["n"][0] == counts["embeddings"]


def test_a_pair_has_one_probability_whichever_node_is_asked(run):
    links = run.tables.read("link_predictions").select("src", "dst", "probability").collect()
    probability = {(row["src"], row["dst"]): row["probability"] for row in links}
    both = [pair for pair in probability if pair[::-1] in probability]
    assert both
    assert all(probability[pair] == probability[pair[::-1]] for pair in both)


@pytest.mark.parametrize("name", table_names())
def test_every_table_keeps_the_oldest_reader_protocol_and_says_what_its_columns_mean(root, name):
    table = DeltaTable(str(root / name))
    assert table.protocol().min_reader_version == 1
    assert table.metadata().description
    fields = table.schema().fields
    assert [field.name for field in fields if "comment" not in field.metadata] == []
    assert fields[0].name == "run_id"


def open_tables(spark, root) -> Tables:
    from graphseam.sections import OutputConfig

    return Tables(spark, OutputConfig(root=str(root)))


def test_views_show_the_newest_published_run_alone(spark, root):
    tables = open_tables(spark, root)
    register_views(tables)
    for view in view_names():
        runs = {row[0] for row in spark.table(view).select("run_id").distinct().collect()}
        assert runs == {"second"}, view
    pairs = [frozenset((row["src"], row["dst"])) for row in spark.table("top_links").collect()]
    assert len(pairs) == len(set(pairs))
    assert spark.table("node_labels").count() == spark.table("current_embeddings").count()


def test_an_exported_embedding_is_what_the_referee_reads(spark, root, tmp_path):
    tables = open_tables(spark, root)
    count, _ = export_table(tables, "embeddings", str(tmp_path / "x.parquet"), "first")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column_names == ["node", "vector"]
    assert str(table.schema.field("node").type) == "int64"
    assert str(table.schema.field("vector").type.value_type) == "float"
    assert count == len(table) == len(set(table["node"].to_pylist()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.parquet"]


def test_the_referee_scores_the_export_and_no_node_lacks_a_vector(spark, root, tmp_path, evalkit):
    tables = open_tables(spark, root)
    export_table(tables, "embeddings", str(tmp_path / "x.parquet"))
    rows = evalkit.nc(str(LASTFM / "labels.parquet"), str(tmp_path / "x.parquet"), shuffles=1)
    assert rows[0]["missing"] == 7624 - len(pq.read_table(tmp_path / "x.parquet"))


@pytest.mark.parametrize(
    "name",
    [
        "embeddings",
        "link_predictions",
        "node_predictions",
        "metrics",
        "top_links",
        "runs",
        "placed_nodes",
        "placed_labels",
    ],
)
def test_public_tables_export_to_csv(spark, root, tmp_path, name):
    count, _ = export_table(open_tables(spark, root), name, str(tmp_path / "x.csv"))
    table = pacsv.read_csv(tmp_path / "x.csv", parse_options=pacsv.ParseOptions(newlines_in_values=True))
    assert len(table) == count > 0
    if name == "embeddings":
        assert len(table["vector"][0].as_py().split()) == 8
    if name == "link_predictions":
        assert str(table.schema.field("src").type) == "int64"


def test_export_names_what_it_does_not_know(spark, root, tmp_path):
    tables = open_tables(spark, root)
    with pytest.raises(RunError, match="Did you mean 'embeddings'"):
        export_table(tables, "embedings", str(tmp_path / "x.csv"))
    with pytest.raises(RunError, match="no published run 'third'"):
        export_table(tables, "embeddings", str(tmp_path / "x.csv"), "third")


@pytest.mark.parametrize(
    "text",
    [
        "select count(*) from top_links",
        "with a as (select * from nodes) select * from a where node_id in (select node_id from embeddings)",
        "describe nodes",
        "show tables",
    ],
)
def test_sql_answers_queries(spark, root, text):
    columns, rows = query(Tables(spark, OutputConfig(root=str(root)), read_only=True), text, limit=2)
    assert columns
    assert 0 < len(rows) <= 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("DELETE FROM nodes", r"a statement that acts \(DeleteFromTable\)"),
        ("UPDATE nodes SET id = 'x'", "a statement that acts"),
        ("DROP TABLE nodes", "a statement that acts"),
        ("CREATE TABLE t AS SELECT 1", "a statement that acts"),
        ("INSERT INTO nodes SELECT * FROM nodes", "a statement that acts"),
        ("WITH a AS (SELECT 1) INSERT INTO runs SELECT * FROM a", "a statement that acts"),
        ("FROM nodes INSERT INTO runs SELECT * INSERT INTO edges SELECT *", "a statement that acts"),
        ("INSERT OVERWRITE DIRECTORY '/tmp/never' USING csv SELECT 1", "a statement that acts"),
        ("EXECUTE IMMEDIATE 'DROP TABLE nodes'", "a statement that acts|PARSE_SYNTAX_ERROR"),  # Spark 3.5 has none
        ("SET spark.sql.ansi.enabled=false", "a statement that acts"),
        ("SELECT java_method('java.lang.System', 'getenv')", "java_method can do more than read tables"),
        ("SELECT * FROM csv.`/etc/passwd`", "'csv./etc/passwd' is none of the root's tables"),
        ("SELECT (SELECT count(*) FROM text.`/etc/passwd`) FROM nodes", "is none of the root's tables"),
        ("SELECT * FROM nodez", "NOT_FOUND.*Tables: .*nodes"),
        ("SELEC 1", "the query failed: .*PARSE_SYNTAX_ERROR"),
    ],
)
def test_sql_only_reads_and_only_the_roots_tables(spark, root, text, reason):
    with pytest.raises(RunError, match=reason):
        query(Tables(spark, OutputConfig(root=str(root)), read_only=True), text, limit=2)


REFUSED_HERE = (
    "DELETE FROM nodes", "SHOW TABLES", "SELECT 1", "SELECT * FROM runs; SELECT * FROM nodes", "SELECT * FROM nodez",
    "SELEC 1", "SELECT java_method('java.lang.System', 'getenv') FROM nodes", "SELECT * FROM csv.`/etc/hosts`",
    "SELECT * FROM read_csv('/etc/passwd')", "SELECT (SELECT count(*) FROM text.`/etc/passwd`) FROM nodes",
    "SELECT unknown FROM nodes", "SELECT round(score, 2) FROM top_links", "SELECT percentile(score, 0.5) FROM drift",
    "SELECT vector[0] FROM embeddings", "SELECT CAST(src AS INT) FROM top_links", "SELECT score / 0 FROM top_links",
    "SELECT * FROM nodes WHERE id LIKE '1\\_%'", "SELECT score + 1 FROM top_links",
)  # fmt: skip


@pytest.mark.parametrize("text", REFUSED_HERE)
def test_what_may_mean_something_else_without_spark_is_left_to_it(root, text):
    assert query_here(str(root), text, 10) is None


@pytest.mark.parametrize(
    "text",
    [
        *[f"select * from {name}" for name in ("runs", "run_steps", "edges", "embeddings", "placed_nodes", "drift")],
        *[f"select * from {view}" for view in view_names()],
        "select count(*), avg(score), max(probability) from top_links where score > 0.5",
        "select known, count(*) as n from (select size_of.src, true as known from top_links size_of) group by known",
        "with a as (select * from nodes) select id from a where node_id in (select src from edges) order by id",
        "select step, seconds, row_number() over (order by started_at desc) as place from run_steps order by place",
        "select n.id, count(e.dst) as degree from nodes n left join edges e on n.node_id = e.src group by n.id",
        "select coalesce(type, 'none') kind, case when side = 'src' then 1 else 0 end as one, lower(id) l from nodes",
        "select type, side from nodes order by type desc, id limit 3",
        "select * from run_metrics where stratum = 'all' and not metric between 'a' and 'b' or value is null",
    ],
)
def test_a_small_root_is_asked_without_spark_and_answers_the_same(spark, root, text):
    columns, rows = query(Tables(spark, OutputConfig(root=str(root)), read_only=True), text, limit=10_000)
    found = query_here(str(root), text, 10_000)
    assert found is not None
    assert found[0] == columns
    if "order by" not in text:
        rows, found = sorted(rows, key=repr), (columns, sorted(found[1], key=repr))
    assert len(rows) == len(found[1])
    for mine, spark_row in zip(found[1], rows, strict=True):
        for cell, other in zip(mine, spark_row, strict=True):
            assert type(cell) is type(other)
            assert cell == (pytest.approx(other, nan_ok=True) if isinstance(other, float) else other)


def test_readers_write_nothing(spark, published, tmp_path):
    """Not even the tables that a run of another version, or without labels, has not made: they are read as empty."""
    run = published.copied("planted", tmp_path)
    copy = Path(run.config.output.root)
    for name in ("label_quality", "placed_nodes", "link_predictions"):
        shutil.rmtree(copy / name)
    before = sorted(copy.rglob("*"))
    tables = Tables(spark, run.config.output, read_only=True)
    assert query(tables, "select * from top_links", 5) == ([*tables_columns(tables, "top_links")], [])
    assert query(tables, "select count(*) from label_quality", 5)[1] == [(0,)]
    query(tables, "show tables", 5)
    assert export_table(tables, "placed_nodes", str(tmp_path / "placed.csv"))[0] == 0
    count, columns = export_table(tables, "current_embeddings", str(tmp_path / "vectors.parquet"), keep_names=True)
    assert count > 0
    assert {"id", "node"} & set(columns) == {"id"}
    assert sorted(copy.rglob("*")) == before


def tables_columns(tables: Tables, name: str) -> list[str]:
    return tables.spark.table(name).columns


def test_metrics_agree_with_scikit_learn_on_the_stored_pairs(spark, root):
    """AUC from the tables alone: cosine of exported vectors over evaluation_pairs."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    where = "run_id = 'second'"
    vectors = {
        row["node_id"]: np.array(row["vector"])
        for row in spark.read.format("delta").load(str(root / "embeddings")).where(where).collect()
    }
    pairs = spark.read.format("delta").load(str(root / "evaluation_pairs")).where(where).collect()
    metrics = {
        (row["metric"], row["variant"], row["scorer"]): row["value"]
        for row in spark.read.format("delta")
        .load(str(root / "metrics"))
        .where(f"{where} AND stratum = 'all'")
        .collect()
    }

    def cosine(pair) -> float:
        left, right = vectors[pair["src"]], vectors[pair["dst"]]
        return float(left @ right / max(np.linalg.norm(left) * np.linalg.norm(right), 1e-300))

    for variant in ("uniform", "hard"):
        chosen = [pair for pair in pairs if pair["kind"] in ("positive", variant)]
        truth = [pair["kind"] == "positive" for pair in chosen]
        expected = roc_auc_score(truth, list(map(cosine, chosen)))
        assert metrics["auc", variant, "cosine"] == pytest.approx(expected, abs=1e-6)
        products = [pair["degree_product"] for pair in chosen]
        assert metrics["auc", variant, "degree_product"] == pytest.approx(roc_auc_score(truth, products), abs=1e-9)


def test_the_newest_run_is_compared_with_the_one_before(spark, root):
    """Each measure of either run once, with the other's value and the difference; NULL if a run lacks it."""
    tables = open_tables(spark, root)
    register_views(tables)
    key = ("task", "metric", "variant", "scorer", "stratum")
    by_run: dict[str, dict] = {"first": {}, "second": {}}
    for row in tables.all_runs("metrics").collect():
        by_run[row["run_id"]][tuple(row[name] for name in key)] = row["value"]
    rows = spark.table("run_comparison").collect()
    assert {(row["run_id"], row["previous_run_id"]) for row in rows} == {("second", "first")}
    found = {tuple(row[name] for name in key): row for row in rows}
    assert len(found) == len(rows) > 50
    assert found.keys() == by_run["first"].keys() | by_run["second"].keys()
    for measure, row in found.items():
        new, old = by_run["second"].get(measure), by_run["first"].get(measure)
        assert (row["value"], row["previous_value"]) == (new, old)
        assert row["change"] == (None if new is None or old is None else new - old)
    assert any(row["change"] for row in rows)


def test_a_first_run_is_compared_with_nothing_and_a_measure_may_be_on_one_side(spark, root):
    """The view over made-up tables: one run, then a second that measures something else."""
    _, select = next(view for view in view_selects(open_tables(spark, root).output) if view[0] == "run_comparison")
    spark.createDataFrame([("a", 1), ("b", 2)], "run_id STRING, published_at INT").createOrReplaceTempView("made_runs")
    spark.createDataFrame(
        [("a", "t", "auc", "v", "s", "all", 0.5, 1), ("b", "t", "ap", "v", "s", "all", 0.7, 1)],
        "run_id STRING, task STRING, metric STRING, variant STRING, scorer STRING, stratum STRING, "
        "value DOUBLE, support BIGINT",
    ).createOrReplaceTempView("made_metrics")
    select = re.sub(r"delta\.`[^`]*/(runs|metrics)`", r"made_\1", select)
    both = {row["metric"]: row for row in spark.sql(select).collect()}
    assert (both["auc"]["value"], both["auc"]["previous_value"], both["auc"]["change"]) == (None, 0.5, None)
    assert (both["ap"]["value"], both["ap"]["previous_value"], both["ap"]["run_id"]) == (0.7, None, "b")
    alone = spark.sql(select.replace("made_runs", "(SELECT * FROM made_runs WHERE run_id = 'a')")).collect()
    assert [(row["metric"], row["previous_value"], row["previous_run_id"]) for row in alone] == [("auc", None, None)]


@pytest.mark.parametrize("name", [*public_names(), *view_names()])
def test_wide_rows_stay_readable(spark, root, by_spark, name):
    """SELECT * of any table fits the screen; no word is broken, and a vector shows its length."""
    if name in by_spark:
        columns, rows = by_spark[name]
    else:
        register_views(open_tables(spark, root), name)
        view = spark.table(name)
        columns, rows = view.columns, view.limit(3).collect()
    rows = rows[:3]
    for width in (80, 200):
        console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
        print_rows(columns, rows, console)
        shown = console.file.getvalue().splitlines()
        assert max((len(line) for line in shown), default=0) <= width
        as_blocks = bool(rows) and shown[0].startswith("row 1 -")
        assert len(shown) == (len(rows) * (len(columns) + 1) if as_blocks else len(rows) + 4)
        assert all(any(column in line for line in shown) for column in columns)
        if "vector" in columns:
            assert sum("… 8 in all]" in line for line in shown) == len(rows)
    for kind, read in (
        ("csv", lambda text: list(csv.DictReader(text))),
        ("json", lambda text: list(map(json.loads, text))),
    ):
        stream = io.StringIO()
        write_rows(columns, rows, kind, stream)
        back = read(stream.getvalue().splitlines())
        assert [list(row) for row in back] == [columns] * len(rows)
        if "vector" in columns:
            whole = [row["vector"] if kind == "json" else row["vector"].split() for row in back]
            assert [list(map(float, vector)) for vector in whole] == [row["vector"] for row in rows]


def test_the_summary_tells_the_few_numbers_that_matter(run):
    """Not the hundred rows of metrics: one line per kind of negatives and scorer, one for the labels."""
    console = Console(file=io.StringIO(), width=110, highlight=False)
    print_summary(run, console)
    told = console.file.getvalue()
    links = told[told.index("How good it is: links") : told.index("How good it is: labels")]
    value = {
        (row["metric"], row["variant"], row["scorer"]): row["value"]
        for row in run.tables.read("metrics").where("stratum = 'all'").collect()
    }
    for variant in ("uniform", "hard"):
        line = next(line for line in links.splitlines() if f"{variant} negatives" in line and "cosine" in line)
        for metric in ("auc", "ap", "mrr_of_101", "hits@10_of_101"):
            assert f"{value[metric, variant, 'cosine']:.4f}" in line
    assert links.count(" negatives ") == 6
    assert "stratum" not in told
