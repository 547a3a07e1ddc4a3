"""Tables in a catalog's schema instead of a directory: same steps, kept views."""

from __future__ import annotations

import pytest

from conftest import run_steps, write_graph
from graphs import ZOO
from graphseam.config import Config, _build
from graphseam.schemas import table_names, view_names


@pytest.fixture
def schema(spark):
    yield "graphs_for_test"
    spark.sql("DROP SCHEMA IF EXISTS graphs_for_test CASCADE")


def test_a_run_in_a_catalog_keeps_its_tables_and_views_there(spark, schema, tmp_path):
    section = {"input": write_graph(ZOO[4], tmp_path), "output": {"catalog": schema}, "embed": {"dim": 4}}
    for run_id, top_k in (("one", 2), ("two", 0)):
        predict = {"links": {"top_k": top_k}, "similar": {"top_k": top_k}}
        run_steps(spark, _build(Config, {**section, "predict": predict}, prefix=""), run_id)
    names = {row["tableName"] for row in spark.sql(f"SHOW TABLES IN {schema}").collect()}
    assert set(table_names()) | set(view_names()) <= names
    assert spark.table(f"{schema}.embeddings").count() == 40
    assert {row[0] for row in spark.table(f"{schema}.current_embeddings").select("run_id").collect()} == {"two"}
