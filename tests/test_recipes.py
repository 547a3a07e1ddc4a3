"""The Python of README.md and docs/recipes.md, block by block, as a reader would paste it.

Blocks of one page share their names. A recipe of a package that is not installed is skipped by its name;
`make test-recipes` installs them all beside graphseam's own.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from conftest import LASTFM, REPOSITORY
from graphseam.export import export_table
from graphseam.sections import OutputConfig
from graphseam.tables import Tables

PACKAGES = REPOSITORY / "build" / "recipes"
PAGE = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^## (?P<title>[^\n]*)$|^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = {"PyTorch Geometric": "torch_geometric", "USearch": "usearch", "LanceDB": "lancedb", "MLflow": "mlflow"}


def blocks(text: str) -> dict[str, str]:
    """{heading, "" above the first: its Python}, in the page's order."""
    title, found = "", {}
    for match in BLOCK.finditer(text):
        if match["title"] is not None:
            title = match["title"].split(":")[0]
        else:
            found[title] = found.get(title, "") + match["code"]
    return found


@pytest.fixture(scope="module")
def folder(published, tmp_path_factory):
    """What a reader has after `make demo`, at the paths that the page gives."""
    place = tmp_path_factory.mktemp("recipes")
    (place / "demo_tables").symlink_to(published.copied("lastfm", place / "copy").config.output.root)
    (place / "tests").symlink_to(REPOSITORY / "tests")
    return place


@pytest.fixture(scope="module")
def names(folder):
    """The page's names so far, in a process that finds the packages of recipes after graphseam's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path, str(PACKAGES)])
        found: dict[str, object] = {}
        exec(compile(blocks(PAGE)[""], "docs/recipes.md", "exec"), found)
        yield found


@pytest.mark.parametrize("title", [title for title in blocks(PAGE) if title])
def test_a_recipe_runs(spark, names, title, capsys, tmp_path, monkeypatch):
    needed = NEEDS.get(title)
    if needed and find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed; make test-recipes installs it")
    exec(compile(blocks(PAGE)[title], f"docs/recipes.md, {title}", "exec"), names)
    assert capsys.readouterr().out or title == "MLflow"


def test_an_index_finds_the_node_itself(spark, names):
    if find_spec("usearch") is None:
        pytest.skip("usearch is not installed; make test-recipes installs it")
    assert names["found"].distances[0] < 1e-5  # or one with the same vector


def test_postgresql_reads_an_export(spark, names, tmp_path, monkeypatch):
    """The page's SQL in psql, by a real server, whose first answer is the node itself."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # else it warns, by a class that xdist does not find
    if find_spec("pgserver") is None:
        pytest.skip("pgserver is not installed; make test-recipes installs it")
    import pgserver

    export_table(Tables(spark, OutputConfig(root="demo_tables")), "embeddings", str(tmp_path / "vectors.csv"))
    (code,) = re.findall(r"^```sql\n(.*?)^```$", PAGE.partition("## PostgreSQL")[2], re.MULTILINE | re.DOTALL)
    code = code.replace("vector(128)", f"vector({names['vectors'].shape[1]})")
    code = code.replace("FROM vectors.csv", f"FROM '{tmp_path}/vectors.csv'")
    with pgserver.get_server(tmp_path / "server") as server:
        told = server.psql(code)
    assert f"COPY {len(names['ids'])}" in told
    assert told.split("id", 1)[1].split()[1] == "42"


@pytest.mark.thorough
def test_the_python_of_the_readme_runs(spark, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pa_csv.write_csv(pq.read_table(LASTFM / "edges.parquet").slice(0, 2000), "my_edges.csv")
    (code,) = [code for code in blocks((REPOSITORY / "README.md").read_text(encoding="utf-8")).values() if code]
    exec(compile(code, "README.md", "exec"), {})
    told = capsys.readouterr().out
    assert "link_prediction" in told
    assert Path(told.splitlines()[-1]).is_file()
