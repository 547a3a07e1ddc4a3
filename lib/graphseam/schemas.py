"""The SQL files of the tables and views: all facts about a table are defined in its own file and read from there.

Besides its columns, a table's file has properties in TBLPROPERTIES; a view's file, a SELECT, has them in its comments:
`graphseam.public` (a table that people query), `graphseam.sort` (columns that an export is sorted by), `graphseam.ids`
(columns of original ids) and `graphseam.export` (columns of an export, if not all).
"""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template

from graphseam.errors import RunError, nearest

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable

PARTITIONS = re.compile(r"\) USING delta PARTITIONED BY \(([^)]*)\)")
COMMENT = re.compile(r"\) USING delta[^\n]*\nCOMMENT '((?:[^']|'')*)'")
PROPERTY = re.compile(r"'graphseam\.(\w+)'\s*=\s*'([^']*)'")


def schema_dir() -> Traversable:
    """Where the SQL files are: in a wheel (installed or passed to spark-submit), or next to `lib/` in a checkout."""
    packaged = files("graphseam") / "_schemas"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "schemas"


@cache
def table_names() -> tuple[str, ...]:
    return _sql_files(schema_dir())


@cache
def view_names() -> tuple[str, ...]:
    return _sql_files(schema_dir() / "views")


def _sql_files(folder: Traversable) -> tuple[str, ...]:
    return tuple(sorted(entry.name.removesuffix(".sql") for entry in folder.iterdir() if entry.name.endswith(".sql")))


@cache
def sql_of(name: str) -> str:
    """The text of a table's or a view's SQL file. RunError if there is no such table or view."""
    if name in table_names():
        return schema_dir().joinpath(f"{name}.sql").read_text(encoding="utf-8")
    if name in view_names():
        return schema_dir().joinpath("views", f"{name}.sql").read_text(encoding="utf-8")
    raise RunError(f"there is no table {name!r}.{nearest(name, (*table_names(), *view_names()))}")


@cache
def public_names() -> tuple[str, ...]:
    """Tables that people query, in alphabetical order."""
    return tuple(name for name in table_names() if _property(name, "public") == "true")


def sort_columns(name: str) -> list[str]:
    """The columns that an export of the table or view is sorted by; empty if no order is preferable."""
    return _columns(name, "sort")


def id_columns(name: str) -> list[str]:
    """The columns that hold original ids."""
    return _columns(name, "ids")


def export_columns(name: str) -> list[str]:
    """The columns of an export; empty means all."""
    return _columns(name, "export")


def _columns(name: str, key: str) -> list[str]:
    return [column.strip() for column in _property(name, key).split(",") if column.strip()]


def _property(name: str, key: str) -> str:
    return dict(PROPERTY.findall(sql_of(name))).get(key, "")


def properties_of(name: str) -> dict[str, str]:
    """The table's properties, with their prefix."""
    return {f"graphseam.{key}": value for key, value in PROPERTY.findall(sql_of(name))}


@cache
def partition_columns(name: str) -> list[str]:
    found = PARTITIONS.search(sql_of(name))
    assert found is not None, name
    return [column.strip() for column in found[1].split(",")]


def comment_of(name: str) -> str:
    """What the table holds, in a line."""
    found = COMMENT.search(sql_of(name))
    assert found is not None, name
    return found[1].replace("''", "'")


def create_statement(name: str, identifier: str) -> str:
    """The statement that creates the table if it does not exist. identifier: its name in SQL."""
    return Template(sql_of(name)).substitute(table=identifier)


def columns_ddl(name: str, not_null: bool = False) -> dict[str, str]:
    """{column: "name TYPE … COMMENT …"} of a table, in the order of its file.

    not_null: with NOT NULL where the file has it. Without, for adding columns to a table that has rows: Delta fills
    them with NULL in the old rows.
    """
    statement = sql_of(name)
    inside = statement[statement.index("(") + 1 : statement.index(") USING delta")]
    lines = [line.strip().rstrip(",") for line in inside.splitlines() if line.strip()]
    said = lines if not_null else [re.sub(r"\s+NOT NULL\b(?=.*\bCOMMENT\b)", "", line, count=1) for line in lines]
    return {line.split()[0]: line for line in said}


def page_of_tables() -> str:
    """Every table and view with its columns as Markdown: the end of docs/tables.md."""
    lines: list[str] = []
    for name in table_names():
        lines += ["", f"### {name}", "", f"{comment_of(name)}{'' if name in public_names() else ' (internal)'}", ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        for column, ddl in columns_ddl(name).items():
            meaning = re.search(r"COMMENT '((?:[^']|'')*)'", ddl)
            told = meaning[1].replace("''", "'").replace("|", "\\|") if meaning else ""
            lines.append(f"| `{column}` | {ddl.split()[1]} | {told} |")
    for name in view_names():
        lines += ["", f"### {name} (view)", "", sql_of(name).splitlines()[0].removeprefix("-- ")]
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    print(page_of_tables(), end="")
