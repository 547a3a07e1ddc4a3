"""The command: errors are one line, quick and without Spark; five cases run as a real process.

A test without the mark `spark` fails if Spark would start, so every refusal here comes before Spark.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graphseam.cli import main

EDGES = "src,dst\n1,2\n2,3\n"
CONFIG = '[input]\nedges = "edges.csv"\n[output]\nroot = "tables"\n'
COMMAND = Path(sys.executable).with_name("graphseam")


@pytest.fixture
def folder(tmp_path):
    """A directory with c.toml and edges.csv, and an empty bin."""
    (tmp_path / "c.toml").write_text(CONFIG)
    (tmp_path / "edges.csv").write_text(EDGES)
    (tmp_path / "bin").mkdir()
    return tmp_path


@pytest.fixture
def command(folder, monkeypatch, capsys):
    """The command's entry point in this process, run from that directory; its output goes to a pipe 80 columns wide."""
    monkeypatch.chdir(folder)
    for key, value in (("COLUMNS", "80"), ("TERM", "dumb"), ("NO_COLOR", "1")):
        monkeypatch.setenv(key, value)

    def command(*arguments: str) -> subprocess.CompletedProcess:
        monkeypatch.setattr(sys, "argv", [str(COMMAND), *arguments])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
        return subprocess.CompletedProcess([*arguments], status, *capsys.readouterr())

    return command


@pytest.fixture
def process(folder):
    """The installed command as a real process, run from that directory; no Java is on its PATH."""
    environment = {key: value for key, value in os.environ.items() if key not in ("JAVA_HOME", "SPARK_HOME")}

    def process(*arguments: str) -> subprocess.CompletedProcess:
        begun = time.monotonic()
        done = subprocess.run(
            [COMMAND, *arguments],
            cwd=folder,
            text=True,
            timeout=300,
            capture_output=True,
            check=False,
            env={**environment, "PATH": str(folder / "bin")},
        )
        assert time.monotonic() - begun < 30  # seconds; a busy machine takes several for the imports
        return done

    return process


def assert_refused(done: subprocess.CompletedProcess, message: str) -> None:
    """One line on standard error, nothing on standard output, status 1, no stack trace."""
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("graphseam: ")
    assert message in done.stderr
    assert done.returncode == 1


def assert_usage(done: subprocess.CompletedProcess) -> None:
    """Status 2, and how the command is used on standard error."""
    assert done.returncode == 2
    assert "Usage: " in done.stderr
    assert "Traceback" not in done.stderr


def assert_help(done: subprocess.CompletedProcess) -> None:
    """Status 0, and how the command is used on standard output."""
    assert done.returncode == 0
    assert "Usage: " in done.stdout


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
def test_run_refuses_what_cannot_work(command, folder, arguments, message):
    """Configuration, run id and inputs are checked before Spark starts, and no table is created."""
    assert_refused(command("run", *arguments), message)
    assert not (folder / "tables").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty (0 bytes)"),
        (b"# nothing\n", "holds no data line"),
        (b"PAR1 and then nothing", "is not a readable Parquet file"),
        (gzip.compress(b"src,dst\n1,2\n", mtime=0), "is neither Parquet nor text"),
    ],
)
def test_run_refuses_files_that_hold_nothing(command, folder, content, message):
    """The format is recognised by the file's bytes, not by its name."""
    (folder / "edges.csv").write_bytes(content)
    assert_refused(command("run", "c.toml"), message)
    assert not (folder / "tables").exists()


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
def test_readers_refuse_what_cannot_work(command, folder, arguments, message):
    """A root without tables and an unwritable file are reported before Spark starts."""
    (folder / "tables").mkdir()
    (folder / "full.csv").mkdir()
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
    """Unknown arguments are answered with the usage."""
    assert_usage(command(*arguments))


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
    """The help of each command lists its arguments."""
    assert_help(command(*arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "c.toml", "--set", "input.edges=edgs.csv"], "there is no file or directory 'edgs.csv' (input.edges)."),
        (["run", "c.toml", "--run-id", "../x"], "run id '../x' cannot be used"),
        (["sql", "--root", "tabels", "SELECT 1"], "'tabels' holds no graphseam tables; give the output.root of a run."),
    ],
)
def test_a_process_of_its_own_refuses_the_same(process, arguments, message):
    """Within seconds and without Java; nothing that it imports prints anything."""
    assert_refused(process(*arguments), message)


def test_a_process_of_its_own_ends_with_the_same_status_and_help(process):
    """What a shell sees: 2 with the usage, 0 with the help."""
    assert_usage(process("run", "c.toml", "--nope"))
    assert_help(process("--help"))
