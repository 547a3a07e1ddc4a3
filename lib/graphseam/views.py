"""The tables and views under their plain names: in this session, in a catalog, and in other engines by a script."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from string import Template

from graphseam.errors import ConfigError, nearest
from graphseam.files import absolute, has_table
from graphseam.schemas import columns_ddl, sql_of, table_names, view_names
from graphseam.sections import OutputConfig
from graphseam.stored import identifier_of, quoted
from graphseam.tables import Tables

DUCKDB_TYPES = {"STRING": "VARCHAR", "ARRAY<FLOAT>": "FLOAT[]", "ARRAY<DOUBLE>": "DOUBLE[]", "ARRAY<INT>": "INTEGER[]"}


def view_selects(output: OutputConfig) -> Iterator[tuple[str, str]]:
    """(name, SELECT) of each view over the tables of an output."""
    names = {name: identifier_of(output, name) for name in table_names()}
    for view in view_names():
        yield view, Template(sql_of(view)).substitute(names)


def _words(sql: str) -> set[str]:
    return set(re.findall(r"\w+", sql.lower()))


def register_views(tables: Tables, query: str | None = None) -> None:
    """Register the tables and views in this session under their plain names, so that SQL can query them.

    query: register only the names that occur in it, and the tables behind views among them, since opening a table takes
    time; None or with SHOW: all.
    """
    words = _words(query) if query is not None else {"show"}
    views = [name for name in view_names() if "show" in words or name in words]
    for view in views:
        words |= _words(sql_of(view))
    for name in table_names():
        if "show" in words or name in words:
            tables.all_runs(name).createOrReplaceTempView(name)
    selects = selects_of_views()
    for view in views:
        tables.spark.sql(f"CREATE OR REPLACE TEMPORARY VIEW {view} AS {selects[view]}")


def create_catalog_views(tables: Tables) -> None:
    """Store the views in the catalog, if there is one; a directory cannot hold them: `graphseam sql` makes them."""
    if tables.output.catalog:
        schema = quoted(tables.output.catalog)
        for name in table_names():
            tables.ensure(name)
        for view, select in view_selects(tables.output):
            comment = select.splitlines()[0].removeprefix("-- ").replace("'", "\\'")
            tables.spark.sql(f"CREATE OR REPLACE VIEW {schema}.`{view}` COMMENT '{comment}' AS {select}")


def view_statements(root: str, dialect: str = "spark") -> list[str]:
    """Statements that register the root's tables and views under their plain names; no session is needed.

    dialect: spark, duckdb (with its delta extension), or polars, which gets the tables, as lines of Python. Paths are
    absolute. A table that no step has created yet is an empty one. Errors: ConfigError for another dialect.
    """
    if dialect not in DIALECTS:
        raise ConfigError(f"--dialect is {dialect!r}, which is not known.{nearest(dialect, DIALECTS)}")
    return DIALECTS[dialect](OutputConfig(root=root))


def _spark(output: OutputConfig) -> list[str]:
    selects = {
        name: f"SELECT * FROM {identifier_of(output, name)}" if has_table(output.root, name) else empty_select(name, {})
        for name in table_names()
    }
    return [
        f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {sql};" for name, sql in {**selects, **selects_of_views()}.items()
    ]


def _duckdb(output: OutputConfig) -> list[str]:
    selects = {
        name: f"SELECT * FROM delta_scan('{_place(output, name)}')"
        if has_table(output.root, name)
        else empty_select(name, DUCKDB_TYPES)
        for name in table_names()
    }
    views = [
        f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {sql};" for name, sql in {**selects, **selects_of_views()}.items()
    ]
    return ["INSTALL delta; LOAD delta;", *views]


def _polars(output: OutputConfig) -> list[str]:
    there = [name for name in table_names() if has_table(output.root, name)]
    scans = [f"    {name!r}: polars.scan_delta({_place(output, name)!r})," for name in there]
    return ["import polars", "", "tables = polars.SQLContext({", *scans, "})"]


DIALECTS: dict[str, Callable[[OutputConfig], list[str]]] = {"spark": _spark, "duckdb": _duckdb, "polars": _polars}


def _place(output: OutputConfig, name: str) -> str:
    return f"{absolute(output.root)}/{name}".replace("'", "''")


def selects_of_views() -> dict[str, str]:
    """{view: its SELECT over the plain names of the tables}."""
    names = {name: name for name in table_names()}
    return {view: Template(sql_of(view)).substitute(names).strip() for view in view_names()}


def empty_select(name: str, types: dict[str, str]) -> str:
    """A SELECT of no row with the table's columns. types: the names that other engines have for Spark's types."""
    kinds = {column: ddl.split()[1].rstrip(",") for column, ddl in columns_ddl(name).items()}
    columns = ", ".join(f"CAST(NULL AS {types.get(kind, kind)}) AS {column}" for column, kind in kinds.items())
    return f"SELECT {columns} WHERE 1 = 0"
