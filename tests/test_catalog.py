"""Tables in a catalog's schema instead of a directory: the same steps, and stored views."""

from __future__ import annotations

import pytest

from conftest import publish_row, run_steps, write_graph
from graphs import ZOO
from graphseam.config import Config, _build
from graphseam.schemas import table_names, view_names
from graphseam.tables import Tables
from graphseam.views import create_catalog_views


@pytest.fixture
def schema(spark):
    yield "graphs_for_test"
    spark.sql("DROP SCHEMA IF EXISTS graphs_for_test CASCADE")


def test_a_run_in_a_catalog_keeps_its_tables_and_views_there(spark, schema, tmp_path):
    section = {"input": write_graph(ZOO[4], tmp_path), "output": {"catalog": schema}, "embed": {"dim": 4}}
    predict = {"links": {"top_k": 2}, "similar": {"top_k": 2}}
    config = _build(Config, {**section, "predict": predict, "evaluate": {"holdout": 0.2}}, prefix="")
    run_steps(spark, config, "one")
    assert runs_shown(spark, f"{schema}.current_embeddings") == {"one"}
    newer = Tables(spark, config.output, "two")
    newer.write_rows("embeddings", [{"node_id": 0, "id": "0", "vector": [0.0] * 4}])
    publish_row(newer)
    create_catalog_views(newer)
    names = {row["tableName"] for row in spark.sql(f"SHOW TABLES IN {schema}").collect()}
    assert set(table_names()) | set(view_names()) <= names
    assert spark.table(f"{schema}.embeddings").count() == 20 + 1
    assert runs_shown(spark, f"{schema}.current_embeddings") == {"two"}


def runs_shown(spark, table: str) -> set[str]:
    return {row[0] for row in spark.table(table).select("run_id").collect()}
