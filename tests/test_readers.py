"""What SQL users see: every table opens in DuckDB, deltalake and polars; views and exports show the newest run."""

from __future__ import annotations

import duckdb
import polars
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from conftest import LASTFM, make_config, run_steps
from graphseam.errors import RunError
from graphseam.export import export_table
from graphseam.tables import Tables, table_names, view_names


@pytest.fixture(scope="module")
def root(spark, tmp_path_factory):
    """Two published runs of a part of LastFM Asia in one root."""
    folder = tmp_path_factory.mktemp("readers")
    edges = pq.read_table(LASTFM / "edges.parquet").slice(0, 600)
    pq.write_table(edges, folder / "edges.parquet")
    for name, seed in (("first", 1), ("second", 2)):
        config = make_config({"edges": str(folder / "edges.parquet"), "labels": str(LASTFM / "labels.parquet")},
                             folder / "tables", embed={"dim": 8}, run={"seed": seed}, evaluate={"holdout": 0.1},
                             predict={"links": {"top_k": 3}}, partition={"num_subgraphs": 2})
        run_steps(spark, config, name)
    return folder / "tables"


@pytest.fixture(scope="module")
def counts(spark, root):
    return {name: spark.read.format("delta").load(str(root / name)).count() for name in table_names()}


@pytest.mark.parametrize("name", table_names())
def test_every_table_reads_the_same_without_spark(root, counts, name):
    path = str(root / name)
    assert DeltaTable(path).to_pyarrow_table().num_rows == counts[name]
    assert polars.read_delta(path).height == counts[name]


def test_duckdb_reads_every_table(root, counts):
    connection = duckdb.connect()
    import duckdb_extensions

    duckdb_extensions.import_extension("delta")
    connection.execute("LOAD delta")
    for name in table_names():
        assert connection.execute(f"SELECT count(*) FROM delta_scan('{root / name}')").fetchone() == (counts[name],)


@pytest.mark.parametrize("name", table_names())
def test_every_table_keeps_the_oldest_reader_protocol_and_says_what_its_columns_mean(spark, root, name):
    detail = spark.sql(f"DESCRIBE DETAIL delta.`{root / name}`").head()
    assert detail["minReaderVersion"] == 1
    assert detail["description"]
    fields = spark.read.format("delta").load(str(root / name)).schema.fields
    assert [field.name for field in fields if "comment" not in field.metadata] == []
    assert fields[0].name == "run_id"


def open_tables(spark, root) -> Tables:
    from graphseam.sections import OutputConfig

    return Tables(spark, OutputConfig(root=str(root)))


def test_views_show_the_newest_published_run_alone(spark, root):
    tables = open_tables(spark, root)
    tables.register_views()
    for view in view_names():
        runs = {row[0] for row in spark.table(view).select("run_id").distinct().collect()}
        assert runs == {"second"}, view
    pairs = [frozenset((row["src"], row["dst"])) for row in spark.table("top_links").collect()]
    assert len(pairs) == len(set(pairs))
    assert spark.table("node_labels").count() == spark.table("current_embeddings").count()


def test_an_exported_embedding_is_what_the_referee_reads(spark, root, tmp_path):
    tables = open_tables(spark, root)
    count = export_table(tables, "embeddings", str(tmp_path / "x.parquet"), "first")
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


@pytest.mark.parametrize("name", ["embeddings", "link_predictions", "node_predictions", "metrics", "top_links", "runs"])
def test_public_tables_export_to_csv(spark, root, tmp_path, name):
    count = export_table(open_tables(spark, root), name, str(tmp_path / "x.csv"))
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


def test_metrics_agree_with_scikit_learn_on_the_stored_pairs(spark, root):
    """AUC from the tables alone: cosine of exported vectors over evaluation_pairs."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    where = "run_id = 'second'"
    vectors = {row["node_id"]: np.array(row["vector"]) for row in
               spark.read.format("delta").load(str(root / "embeddings")).where(where).collect()}
    pairs = spark.read.format("delta").load(str(root / "evaluation_pairs")).where(where).collect()
    metrics = {(row["metric"], row["variant"], row["scorer"]): row["value"] for row in
               spark.read.format("delta").load(str(root / "metrics")).where(where).collect()}

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
