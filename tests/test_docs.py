"""Every block of code in README.md and docs/: commands take what they are given, files are there, settings are known.

Queries run. What docs/recipes.md shows runs in test_recipes; commands of airflow, and those that build an environment
or ask a cluster, are checked for the files that they name.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from conftest import REPOSITORY
from graphseam.cli import app
from graphseam.config import config_of
from graphseam.errors import ConfigError
from graphseam.explain import explain
from graphseam.queries import query
from graphseam.sections import OutputConfig
from graphseam.tables import Tables

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
OURS = re.compile(
    r"(?:tests|jobs|conf|lib|airflow_dags)/[\w./]*\w\.(?:py|toml|conf|sh|lock|yaml)"
)  # files of the repository
FIRST = {"graphseam", "make", "spark-submit", "python3", "airflow", ".", "curl", "pip", "gcloud"}


@dataclass(frozen=True)
class Block:
    page: str
    kind: str  # as it is marked, or by what it begins with
    text: str


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fenced = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
        found += [Block(page.name, kind, body) for kind, body in fenced.findall(text)]
        for body in re.findall(r"(?:^    .*\n|^\n(?=    ))+", fenced.sub("", text), re.MULTILINE):
            found.append(Block(page.name, "", re.sub(r"^    ", "", body, flags=re.MULTILINE).strip("\n")))
    return found


def commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every command of a block."""
    found = []
    for block in blocks():
        if block.kind in ("", "bash", "sh"):
            for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
                try:
                    words = shlex.split(line, comments=True)
                except ValueError:  # a sentence, or a part of a longer text
                    continue
                while words and re.match(r"^[A-Z]\w*=", words[0]):
                    words = words[1:]
                if words and (words[0] in FIRST or words[0].endswith(("/python", "/graphseam", "/pytest", ".sh"))):
                    found.append((block.page, words))
    return found


def check_options(command: str, words: list[str]) -> None:
    """Let click read the words, and do nothing."""
    kind = typer.main.get_command(app).commands[command]
    until = next((at for at, word in enumerate(words) if word in (">", "|", "&&")), len(words))
    given = [word for word in words[:until] if word != "..."]  # more that depends on the reader
    kind.make_parser(kind.context_class(kind, info_name=command)).parse_args(given)


def test_commands_take_what_they_are_given():
    checked = 0
    for page, words in commands():
        if words[0].rsplit("/", 1)[-1] != "graphseam":
            continue
        assert words[1].startswith("-") or words[1] in typer.main.get_command(app).commands, (page, words)
        if not words[1].startswith("-"):
            check_options(words[1], words[2:])
            checked += 1
    assert checked > 20


def test_settings_are_known():
    keys = 0
    for page in PAGES:
        for key in re.findall(r"--set ([a-z_]+\.[\w.]+)=", page.read_text(encoding="utf-8")):
            if key != "section.key":
                assert explain(key), (page, key)
                keys += 1
    assert keys > 3


def test_files_are_there():
    targets = re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    named = 0
    for page, words in commands():
        for word in words:
            for path in OURS.findall(word):
                assert (REPOSITORY / path).exists() or path == "conf/mine.toml", (page, path)
                named += 1
        if words[0] == "make":
            assert words[1] in targets, (page, words)
    assert named > 20


@pytest.mark.parametrize(
    "block", [one for one in blocks() if re.match(r"^\[[\w.]+\]", one.text)], ids=lambda one: one.page
)
def test_settings_in_files_are_read(block):
    tree = tomllib.loads(block.text)
    tree.setdefault("input", {}).setdefault("edges", "edges.parquet")
    tree.setdefault("output", {"root": "tables"})
    if "graphframe" in tree["input"]:
        del tree["input"]["edges"]
    try:
        config_of(tree)
    except ConfigError as error:
        pytest.fail(f"{block.page}: {error}")


@pytest.mark.parametrize(
    "block",
    [one for one in blocks() if one.kind == "python" or one.text.startswith("import ")],
    ids=lambda one: one.page,
)
def test_python_is_python_and_names_what_is_there(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("graphseam"):
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name), (block.page, name.name)


def test_queries_run(spark, published):
    root = Path(published("lastfm").config.output.root)
    tables = Tables(spark, OutputConfig(root=str(root)), read_only=True)
    asked = [(page, words[2:]) for page, words in commands() if words[:2] == ["graphseam", "sql"]]
    queries = [(page, word) for page, words in asked for word in words if word.lower().startswith("select ")]
    assert len(queries) == len(asked)
    queries += [(one.page, one.text) for one in blocks() if one.text.startswith("select ")]
    assert len(queries) > 8
    for page, text in queries:
        for one in filter(str.strip, text.split(";")):
            assert query(tables, one, 5)[0], (page, one)


def test_what_platforms_are_handed_names_what_is_there():
    """The Spark operator's manifest and the step of EMR: files of the image and of the repository, our settings."""
    manifest = (REPOSITORY / "conf" / "spark-application.yaml").read_text(encoding="utf-8")
    folder = re.search(r"^WORKDIR (\S+)$", (REPOSITORY / "conf" / "Dockerfile").read_text(), re.MULTILINE)[1]
    (job,) = re.findall(rf"^  mainApplicationFile: local://{folder}/(\S+)$", manifest, re.MULTILINE)
    given = json.loads(re.search(r"^  arguments: (\[.*\])$", manifest, re.MULTILINE)[1])
    steps = [json.loads(one.text) for one in blocks() if one.kind == "json"]
    ((step,),) = steps
    for path, arguments in ((job, given), (step["Args"][10].removeprefix("s3://lake/"), step["Args"][11:])):
        assert (REPOSITORY / path).is_file()
        assert set(arguments[::2]) <= {"--config", "--run-id", "--set", "--resume"}
    ours = dict(
        line.split()
        for line in (REPOSITORY / "conf" / "spark-cluster.conf").read_text().splitlines()
        if line.startswith("spark.") and not line.startswith(("spark.jars", "spark.executor"))
    )
    assert dict(re.findall(r'^    "(spark\.[\w.]+)": "(.*)"$', manifest, re.MULTILINE)) == ours
