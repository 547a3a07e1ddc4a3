"""The command in a process of its own: what is wrong is told in one line, quickly, and without Spark."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time

import pytest

EDGES = "src,dst\n1,2\n2,3\n"
CONFIG = '[input]\nedges = "edges.csv"\n[output]\nroot = "tables"\n'


@pytest.fixture
def command(tmp_path):
    """Run the command in a directory that holds c.toml and edges.csv; no Java is on its PATH, so Spark cannot start."""
    (tmp_path / "c.toml").write_text(CONFIG)
    (tmp_path / "edges.csv").write_text(EDGES)
    (tmp_path / "bin").mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in ("JAVA_HOME", "SPARK_HOME")}

    def command(*arguments: str) -> subprocess.CompletedProcess:
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "graphseam.cli", *arguments],
            cwd=tmp_path,
            text=True,
            timeout=300,
            capture_output=True,
            check=False,
            env={**environment, "PATH": str(tmp_path / "bin")},
        )
        assert time.monotonic() - begun < 15  # seconds; a busy machine takes three for the imports
        return done

    return command


def assert_refused(done: subprocess.CompletedProcess, message: str) -> None:
    """One line on standard error, nothing on standard output, status 1, no stack trace."""
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("graphseam: ")
    assert message in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.toml"], "there is no configuration file 'none.toml'"),
        (["."], "is a directory; give a TOML file"),
        (["edges.csv"], "is not valid TOML"),
        (["c.toml", "--set", "embed.dims=4"], "unknown key 'embed.dims' in the configuration. Did you mean 'dim'?"),
        (["c.toml", "--set", "embed=4"], "write section.key=value"),
        (["c.toml", "--set", "embed.dim=x"], "embed.dim is 'x'; give a whole number"),
        (["c.toml", "--set", "output.catalog=a.b"], "output.root and output.catalog are both set"),
        (["c.toml", "--run-id", "../x"], "run id '../x' cannot be used"),
        (["c.toml", "--run-id", "x" * 10_000], "cannot be used; give 1 to 128 letters"),
        (
            ["c.toml", "--set", "input.edges=edgs.csv"],
            "there is no file or directory 'edgs.csv' (input.edges). Did you mean 'edges.csv'?",
        ),
        (["c.toml", "--set", "input.src=source"], "edges.csv has no column 'source' (input.src)."),
        (["c.toml", "--set", "input.weight=w"], "edges.csv has no column 'w' (input.weight)."),
        (["c.toml", "--set", "input.labels=labels.csv"], "there is no file or directory 'labels.csv' (input.labels)"),
        (["c.toml", "--set", "input.edges=bin"], "the directory 'bin' (input.edges) holds no data file"),
        (["c.toml", "--set", "input.format=parquet"], "is not a readable Parquet file"),
        (["c.toml", "--set", "input.format=delta"], "is no Delta table"),
        (["c.toml", "--set", "input.format=orc"], "input.format is 'orc', which is not known"),
    ],
)
def test_run_refuses_what_cannot_work(command, arguments, message):
    """Configuration, run id and inputs are checked before Spark starts, and no table is begun."""
    assert_refused(command("run", *arguments), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (b"# nothing\n", "holds no data line"),
        (b"PAR1 and then nothing", "is not a readable Parquet file"),
        (gzip.compress(b"src,dst\n1,2\n", mtime=0), "is neither Parquet nor text"),
    ],
)
def test_run_refuses_files_that_hold_nothing(command, tmp_path, content, message):
    """The file's bytes are looked at, not its name."""
    (tmp_path / "edges.csv").write_bytes(content)
    assert_refused(command("run", "c.toml"), message)
    assert not (tmp_path / "tables").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sql", "--root", "tabels", "SELECT 1"], "'tabels' holds no graphseam tables; give the output.root of a run."),
        (["sql", "--root", "tabels", "SELECT 1"], "Did you mean 'tables'?"),
        (["sql", "--root", "edges.csv", "SELECT 1"], "'edges.csv' holds no graphseam tables"),
        (["sql", "--root", "", "SELECT 1"], "'' holds no graphseam tables"),
        (["export", "--root", "tables", "--output", "a.parquet"], "'tables' holds no graphseam tables"),
        (["export", "--root", "tables", "--output", "a.json"], "give a file that ends in .parquet or .csv"),
        (["export", "--root", "tables", "--output", "a"], "give a file that ends in .parquet or .csv"),
        (["export", "--root", "tables", "--output", "no/a.csv"], "and there is no directory"),
        (["similar", "--root", "tables", "--node", "1"], "'tables' holds no graphseam tables"),
        (["similar", "--root", "tables", "--node", " "], "--node is empty"),
        (["similar", "--root", "tables", "--node", "1", "--run-id", "../x"], "run id '../x' cannot be used"),
        (["place", "--root", "tables", "--edges", "edges.csv"], "'tables' holds no graphseam tables"),
        (["place", "--root", "tables", "--edges", "edgs.csv"], "'edgs.csv' (input.edges). Did you mean 'edges.csv'?"),
        (["place", "--root", "tables", "--edges", "edges.csv", "--batch", "a/b"], "--batch is 'a/b'; give 1 to 128"),
        (["place", "--root", "tables", "--edges", "edges.csv", "--set", "place.hops=1"], "unknown key 'place.hops'"),
        (["export", "--root", "tables", "--output", "full.csv"], "'full.csv', which is a directory; give a file"),
    ],
)
def test_readers_refuse_what_cannot_work(command, tmp_path, arguments, message):
    """A root without tables and a file that cannot be written are told before Spark starts."""
    (tmp_path / "tables").mkdir()
    (tmp_path / "full.csv").mkdir()
    assert_refused(command(*arguments), message)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "c.toml", "--nope"],
        ["run", "c.toml", "more"],
        ["walk"],
        ["sql", "SELECT 1"],
        ["sql", "--root", "tables"],
        ["sql", "--root", "tables", "--limit", "0", "SELECT 1"],
        ["export", "--root", "."],
        ["similar", "--root", "."],
        ["similar", "--root", ".", "--node", "1", "--top-k", "0"],
    ],
)
def test_wrong_usage_is_status_2(command, arguments):
    """Arguments that the command does not have are answered with its usage."""
    done = command(*arguments)
    assert done.returncode == 2
    assert "Usage: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["sql", "--help"],
        ["export", "--help"],
        ["similar", "--help"],
        ["place", "--help"],
    ],
)
def test_help_is_given(command, arguments):
    """Each command says what it takes."""
    done = command(*arguments)
    assert done.returncode == 0
    assert "Usage: " in done.stdout
