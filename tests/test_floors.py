"""Imports only go down: the rule stands here, and the imports are read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from conftest import REPOSITORY

PACKAGE = REPOSITORY / "lib" / "graphseam"
# From the ground up; a floor may import those below it. docs/architecture.md shows this as a picture.
FLOORS = {
    "ground": "version errors columns arrays arrow vectors seeds graph compiled linalg task measure methods files "
    "edges scratch parquet",
    "configuration": "sections config explain sources starter steps",
    "storage and Spark": "spark_line heap causes class_archive jars local_java entry session gpus folders gathered "
    "checkpoints schemas local_delta stored task_files local_writer tables queries usage views local_sql",
    "run": "ingested lease runs base_run costs room",
    "shared by steps": "blocks pairs whole_pairs label_hits rotation graphframes_jvm",
    "steps": "ingest partition embedding fuse refine predict evaluate gate publish",
    "on a run's results": "place",
    "pipeline": "progress preflight report summary whole_steps planned pipeline",
    "entrances": "__init__ cli doctor frames generate calibrate graphframe export prune show worker_daemon",
}
FLOOR_OF = {module: floor for floor, modules in enumerate(FLOORS.values()) for module in modules.split()}
# The partition depends on forecasts: the step asks the step that will do the work.
SHARED_FORECASTS = {("partition", "embedding"), ("partition", "refine")}
# Imported when needed, because they load torch or Spark: for speed, never to break a circle.
LOADED_LATE = {"linalg"}
LATE_LOADERS = {"__init__", "cli"}


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """(module of graphseam, whether at the top of the file) of each import in the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found += [(name, node in tree.body) for name in names if name.split(".")[0] == "graphseam"]
    return found


def module_of(name: str) -> str:
    """The module or package right below graphseam that a dotted name belongs to."""
    part = name.split(".")[1] if "." in name else "__init__"
    return part if (PACKAGE / f"{part}.py").exists() or (PACKAGE / part).is_dir() else "__init__"


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name, at_top in imports_of(path):
        other = module_of(name)
        if other == own:
            continue
        same_floor = FLOOR_OF[own] == FLOOR_OF[other] and not is_step(own)
        allowed = FLOOR_OF[other] < FLOOR_OF[own] or same_floor or (own, other) in SHARED_FORECASTS
        assert allowed, f"{path.name} imports {name}, which is not below it"
        assert at_top or other in LOADED_LATE or own in LATE_LOADERS, f"{path.name} imports {name} in a function"


def is_step(module: str) -> bool:
    return module in FLOORS["steps"].split()


def test_every_module_has_a_floor():
    modules = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert modules == set(FLOOR_OF)


def test_no_two_modules_import_each_other():
    """Also within a floor and within a package, wherever the import stands."""
    names = {".".join(("graphseam", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in FILES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    imported = {name: {closest(other, names) for other, _ in imports_of(path)} - {name} for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above[above.index(name) :], name))
        if name not in done:
            for other in sorted(imported[name]):
                visit(other, (*above, name))
            done.add(name)

    for name in sorted(set(names) - {"graphseam"}):
        visit(name, ())


def closest(name: str, names: dict[str, Path]) -> str:
    """The module that a dotted name, perhaps of something in it, stands for."""
    while name not in names:
        name = name.rpartition(".")[0]
    return name
