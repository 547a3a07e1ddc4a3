"""The queries that README.md shows, by `graphseam sql` and by Spark's own command line."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conftest import REPOSITORY
from graphseam.cli import app
from graphseam.session import REQUIRED
from graphseam.views import register_views


@pytest.fixture(scope="module")
def run(published):
    return published("lastfm")


@pytest.fixture(scope="module")
def root(run):
    return Path(run.config.output.root)


def readme_queries() -> list[str]:
    """Every query that README.md shows: those of `graphseam sql`, and blocks of SQL."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    commands = [
        shlex.split(line, comments=True)[-1]
        for line in text.splitlines()
        if line.strip().startswith("graphseam sql --root demo_tables")
    ]
    blocks = [query for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL) for query in block.split(";")]
    return [query.strip() for query in (*commands, *blocks) if query.strip()]


def test_every_query_of_the_readme_runs(root):
    queries = readme_queries()
    assert queries
    for query in queries:
        told = CliRunner().invoke(app, ["sql", "--root", str(root), query])
        assert told.exit_code == 0, (query, told.exception)
        assert len(told.stdout.splitlines()) > 2


def test_every_query_of_the_readme_runs_over_the_names_that_views_registers(spark, root):
    told = CliRunner().invoke(app, ["views", "--root", str(root)])
    assert told.exit_code == 0
    fresh = spark.newSession()  # which has none of these names yet
    for statement in filter(str.strip, re.split(r";\s*$", told.stdout, flags=re.MULTILINE)):
        fresh.sql(statement)
    for query in readme_queries():
        assert fresh.sql(query.removesuffix(";")).count() > 0, query


@pytest.mark.thorough
def test_every_query_of_the_readme_runs_in_spark_sql(spark, run, root, tmp_path):
    """Spark's own command line, as a process, over the names that `graphseam views` registers."""
    told = CliRunner().invoke(app, ["views", "--root", str(root)])
    assert told.exit_code == 0
    (tmp_path / "views.sql").write_text(told.stdout)
    queries = [query.removesuffix(";") for query in readme_queries()]
    script = "".join(f"SELECT 'answer {at}';\n{query};\n" for at, query in enumerate(queries))
    (tmp_path / "queries.sql").write_text(script + "SELECT 'end';\n")
    settings = [f"--conf={key}={REQUIRED[key]}" for key in ("spark.sql.extensions", "spark.sql.catalog.spark_catalog")]
    command = [
        Path(sys.executable).with_name("spark-sql"),
        "--master",
        "local[1]",
        "--driver-memory",
        "1g",
        *settings,
        "--conf=spark.ui.enabled=false",
        "--conf=spark.sql.shuffle.partitions=2",  # few rows: the default of 200 partitions takes a minute
        "--conf=spark.sql.adaptive.enabled=false",
        "--conf=spark.sql.codegen.wholeStage=false",
        "-i",
        "views.sql",
        "-f",
        "queries.sql",
    ]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1500, check=False)
    assert shown.returncode == 0, shown.stderr[-3000:]
    answers = re.split(r"^answer \d+$", shown.stdout.split("\nend")[0], flags=re.MULTILINE)[1:]
    assert len(answers) == len(queries)
    register_views(run.tables)
    for query, answer in zip(queries, answers, strict=True):
        assert len(answer.strip().splitlines()) == spark.sql(query).count() > 0, query
