"""The jars besides Spark's own: listed, copied from a folder, and named if they cannot be fetched."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from graphseam import jars
from graphseam.cli import app
from graphseam.errors import InputError
from graphseam.jars import PACKAGES, fetch, has_delta
from graphseam.spark_line import SPARK_LINE, delta_coordinate, graphframes_coordinate


def test_what_this_spark_needs_is_listed_without_starting_it():
    told = CliRunner().invoke(app, ["jars"])
    assert told.exit_code == 0
    assert told.output.startswith(f"Spark {SPARK_LINE}")
    assert f"delta  here  {delta_coordinate()}" in told.output
    assert graphframes_coordinate() in told.output
    assert has_delta()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fetch", "delt"], r"there are no jars 'delt'. Did you mean 'delta'\?"),
        (["--to", "x"], "say which by --fetch"),
        (["--fetch", "delta", "--from", "nowhere"], "'nowhere' holds no jar of io.delta:delta-spark_"),
    ],
)
def test_what_cannot_be_fetched_is_one_clear_line(arguments, message):
    failed = CliRunner().invoke(app, ["jars", *arguments])
    with pytest.raises(InputError, match=message):
        raise failed.exception


def test_jars_are_carried_in_a_folder(tmp_path, monkeypatch):
    """From a machine with a network to one without: all files of a package, and nothing else."""
    carried = tmp_path / "carried"
    carried.mkdir()
    names = ["graphframes-spark4_2.13-0.12.3.jar", "io.graphframes_graphframes-graphx-spark4_2.13-0.12.3.jar"]
    for name in (*names, "io.delta_delta-spark_4.2_2.13-4.4.0.jar", "other.jar"):  # by hand, through Spark's resolver
        (carried / name).write_bytes(name.encode())
    monkeypatch.setattr(jars, "spark_jars", lambda: tmp_path / "spark")
    assert not PACKAGES["graphframes"].is_here()
    found = fetch(PACKAGES["graphframes"], source=carried)
    assert sorted(jar.name for jar in found) == sorted(names)
    assert sorted(jar.name for jar in (tmp_path / "spark").iterdir()) == sorted(names)
    assert all(jar.read_bytes() == jar.name.encode() for jar in found)
    assert PACKAGES["graphframes"].is_here()
    assert not has_delta()


@pytest.mark.spark  # through Spark's resolver, in another JVM
def test_the_resolvers_own_words_and_the_way_out_are_told(tmp_path, monkeypatch):
    nowhere = jars.Package("nothing", "", lambda: "io.nowhere:nothing_2.13:0.0.1", "nothing_", ("nothing_",))
    with pytest.raises(InputError, match=r"nothing_2\.13:0\.0\.1 could not be fetched \(.*not found.*\); where there"):
        fetch(nowhere, tmp_path)
    assert list(tmp_path.iterdir()) == []
