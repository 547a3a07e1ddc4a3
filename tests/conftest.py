"""One Spark session for all tests, with at least three shuffle partitions; helpers to write inputs and run steps.

A test that takes the fixture `spark` is marked `spark` by itself; one that starts Spark in a process of its own says
`spark` or `slow`. Every other test fails where it would start Spark: `make check` runs those, in a minute or two.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graphs import SmallGraph

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
LASTFM = REPOSITORY / "tests" / "data" / "lastfm_asia"
NO_SPARK = REPOSITORY / "tests" / "no-spark-without-the-mark"  # a process finds no Spark there

# For all JVMs of the tests: they run thousands of plans over a few rows each, where optimised code pays off late.
# These save a third of the processor time (294 s to 209 s for two of the files).
os.environ.setdefault(
    "JAVA_TOOL_OPTIONS",
    "-XX:+UseSerialGC -XX:Tier4InvocationThreshold=20000 "
    "-XX:Tier4MinInvocationThreshold=2400 -XX:Tier4CompileThreshold=60000 "
    "-XX:Tier4BackEdgeThreshold=160000",
)

collect_ignore = ["airflow"]  # those run in an environment of their own: make test-airflow

WITHOUT_GRAPHFRAMES = "GraphFrames' jar is not in this Spark; make test-spark35 runs them"

# Two processes take the files in this order: a long file started last would leave one of them idle.
LONG_ONES_FIRST = (
    "test_submit",
    "test_levels",
    "test_link_predictions",
    "test_pipeline",
    "test_partition",
    "test_readers",
    "test_embed",
    "test_refine_step",
    "test_graphframes",
    "test_place",
    "test_ingest",
    "test_node_predictions",
    "test_resume",
    "test_readme",
    "test_heap",
    "test_evaluate",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if "spark" in item.fixturenames or item.get_closest_marker("graphframes"):
            item.add_marker("spark")
    last = len(LONG_ONES_FIRST)
    places = {name: place for place, name in enumerate(LONG_ONES_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, last))


def may_start_spark(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("spark", "slow"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Around a test and its fixtures: without the right mark, neither it nor its child processes have a Spark."""
    if may_start_spark(item):
        return (yield)
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    def refuse(*_, **__):
        pytest.fail("this test starts Spark: take the fixture `spark`, or mark the test `spark` or `slow`")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SparkContext, "_ensure_initialized", refuse)
        for kind in (SparkContext, SparkSession.Builder):  # which would return the session of another test
            patch.setattr(kind, "getOrCreate", refuse)
        patch.setenv("SPARK_HOME", str(NO_SPARK))
        return (yield)


@pytest.fixture(scope="session")
def spark():
    from graphseam.session import build_session, size_shuffles

    os.environ["GRAPHSEAM_DRIVER_MEMORY"] = "3g"
    session = build_session("graphseam tests", local=True)
    size_shuffles(session, 0)
    assert int(session.conf.get("spark.sql.shuffle.partitions")) >= 3
    yield session
    session.stop()


@pytest.fixture(scope="session")
def published(spark, tmp_path_factory):
    """Runs that test files share: published(name) to read, published.copied(name, tmp_path) to change."""
    from published import Published

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # each of its processes has a folder in that
    return Published(spark, folder / "published")


@pytest.fixture(autouse=True)
def graphframes_or_skip(request):
    if request.node.get_closest_marker("graphframes"):
        from graphseam.graphframes_jvm import has_graphframes

        if not has_graphframes(request.getfixturevalue("spark")):
            pytest.skip(WITHOUT_GRAPHFRAMES)


def pytest_sessionfinish(session):
    """The last lines say how much of GraphFrames a lane has run, so that skipped tests are noticed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    ran = sum("graphframes" in report.keywords for report in reporter.stats.get("passed", []))
    missed = sum(WITHOUT_GRAPHFRAMES in str(report.longrepr) for report in reporter.stats.get("skipped", []))
    if ran or missed:
        import pyspark

        session.config.add_cleanup(
            lambda: print(
                f"Spark {pyspark.__version__}: {ran} tests ran GraphFrames' own code"
                + (f", {missed} did NOT, as {WITHOUT_GRAPHFRAMES}" if missed else "")
            )
        )


@pytest.fixture(scope="module", autouse=True)
def forgotten_roots():
    """Delta caches each table's state for an hour, and a module opens hundreds of tables that no other opens."""
    yield
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is not None:
        session._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()


@pytest.fixture(scope="session")
def shared_data():
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data, which is not beside this checkout")
    return SHARED / "data"


@pytest.fixture(scope="session")
def evalkit():
    if not SHARED.is_dir():
        pytest.skip("needs the referee ../shared/evalkit, which is not beside this checkout")
    sys.path.insert(0, str(SHARED / "evalkit"))
    import evalkit

    return evalkit


def last_line_of(script: str, *arguments: str) -> str:
    """The last line printed by a script of the tests, run as a process with its own Spark session."""
    return printed_by(script, *arguments).stdout.strip().splitlines()[-1]


def printed_by(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a script of the tests prints, run as a process with its own Spark session."""
    path = Path(__file__).with_name(script)
    told = subprocess.run(
        [sys.executable, str(path), *arguments], capture_output=True, text=True, timeout=1500, check=False
    )
    assert told.returncode == 0, told.stderr[-3000:]
    return told


def arrow_of(rows) -> pa.Table:
    """DataFrame.toArrow, which Spark 3.5 lacks."""
    from pyspark.sql.pandas.types import to_arrow_schema

    return pa.Table.from_batches(rows._collect_as_arrow(), to_arrow_schema(rows.schema))


def write_graph(graph: SmallGraph, folder: Path) -> dict[str, object]:
    """Write the graph's files; returns its [input] section."""
    names = ["src", "dst", "weight"][: len(graph.edges[0])]
    columns = list(zip(*graph.edges, strict=True))
    pq.write_table(
        pa.table({name: list(column) for name, column in zip(names, columns, strict=True)}), folder / "edges.parquet"
    )
    section: dict[str, object] = {"edges": str(folder / "edges.parquet"), "directed": graph.directed}
    if graph.weighted:
        section["weight"] = "weight"
    if graph.nodes:
        pq.write_table(pa.table({"node": graph.nodes}), folder / "nodes.parquet")
        section["nodes"] = str(folder / "nodes.parquet")
    return section


def make_config(input_section: dict[str, object], root: Path, **sections: dict[str, object]):
    """A configuration from its sections, as the TOML reader would build it.

    A fifth of the default number of positives is ranked: ranking draws 300 pairs for each, most of a small run's rows.
    """
    from graphseam.config import Config, _build

    sections["evaluate"] = {"max_ranked": 200, **sections.get("evaluate", {})}
    return _build(Config, {"input": input_section, "output": {"root": str(root)}, **sections}, prefix="")


def run_steps(spark, config, run_id: str, last: str = "publish"):
    """Run the steps up to `last` in this session; returns the run."""
    from graphseam.pipeline import run_step
    from graphseam.progress import StepProgress
    from graphseam.runs import open_run
    from graphseam.steps import STEPS

    run = open_run(spark, config, run_id)
    progress = StepProgress(total=len(STEPS))
    for step in STEPS:
        run_step(run, step, progress)
        if step == last:
            break
    return run


def publish_row(tables, published_at: datetime | None = None, **columns: object) -> None:
    """The row of `runs` that publishes a run, for tests that write only the tables they need."""
    row = {
        "status": "published",
        "published_at": published_at or datetime.now(timezone.utc),
        "seed": 0,
        "config": "{}",
        "config_fingerprint": "",
        "input_fingerprint": "",
        "id_type": "integer",
        "num_nodes": 10,
        "num_edges": 20,
        "dim": 8,
        "view_widths": None,
        "window_weight": None,
        "durations": "{}",
        "versions": "{}",
    }
    tables.write_rows("runs", [{**row, **columns}])


def cut_into_six(run, method: str, max_levels: int = 4):
    """The run with its graph cut anew, by one method."""
    from graphseam.pipeline import run_step
    from graphseam.progress import StepProgress
    from graphseam.runs import open_run

    partition = replace(run.config.partition, method=method, num_subgraphs=6, max_levels=max_levels)
    run = open_run(run.spark, replace(run.config, partition=partition), run.run_id)
    run_step(run, "partition", StepProgress(total=1))
    return run


def check_levels(run, max_levels: int = 4) -> None:
    """Laws of a graph cut into six: the levels end in one core for the frame, no larger than the others."""
    num_edges, levels = run.details("ingest")["edges"], run.tables.read("partition_levels").sort("level").collect()
    assert levels[0]["num_subgraphs"] == 6
    assert len(levels) <= max_levels
    if max_levels > 1:
        assert levels[-1]["num_subgraphs"] == 1
        assert all(row["captured_edges"] <= 1.3 * num_edges / 6 for row in levels[1:] if row["num_subgraphs"] == 1)
    assert levels[-1]["total_captured"] == pytest.approx(run.details("partition")["captured_edges"] / num_edges)
