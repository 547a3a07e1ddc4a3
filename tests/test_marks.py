"""What keeps `make check` quick: no test starts Spark unless it says so."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession

from conftest import may_start_spark
from graphseam.session import build_session


def test_a_test_that_takes_a_session_is_marked(request):
    """Also if it takes it through another fixture."""
    assert all(may_start_spark(item) for item in request.session.items if "spark" in item.fixturenames)


@pytest.mark.parametrize(
    "start",
    [build_session, lambda: SparkSession.builder.getOrCreate(), lambda: SparkContext.getOrCreate(), SparkContext],
)
def test_without_a_mark_a_test_has_no_session(start):
    """Not even one that another test has started."""
    with pytest.raises(pytest.fail.Exception, match="mark the test"):
        start()


def test_nor_has_a_process_that_it_begins():
    script = "from pyspark.sql import SparkSession; SparkSession.builder.getOrCreate()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no-spark-without-the-mark" in done.stderr
