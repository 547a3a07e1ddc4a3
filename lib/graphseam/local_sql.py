"""SQL over a small local root without Spark: DuckDB runs the query, which sqlglot has turned into its dialect.

To start Spark takes longer than any answer from such a root. A query that the two do not understand for certain, or
that fails, is None here and is left to Spark, so that what is refused and why is told in one place, `queries`.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from graphseam.files import has_table, is_remote, local_path, size_of
from graphseam.schemas import columns_ddl, table_names, view_names
from graphseam.views import DUCKDB_TYPES, empty_select, selects_of_views

SMALL_ROOT = 1 << 30  # bytes; what is larger may need more memory than Spark does
MEMORY_LIMIT = "2GB"
# What means the same in both engines, as sqlglot's expressions: casts, rounding and quantiles, for example, do not.
SAME = frozenset((
    "Select", "Union", "Subquery", "With", "CTE", "From", "Join", "Where", "Group", "Having", "Order", "Ordered",
    "Limit", "Offset", "Distinct", "Table", "TableAlias", "Alias", "Column", "Identifier", "Star", "Literal",
    "Boolean", "Null", "And", "Or", "Not", "Paren", "EQ", "NEQ", "GT", "GTE", "LT", "LTE", "Is", "In", "Between",
    "Like", "Tuple", "Exists", "Add", "Sub", "Mul", "Neg", "Abs", "Count", "CountIf", "Sum", "Avg", "Min", "Max",
    "Coalesce", "Case", "If", "Lower", "Upper", "Length", "Window", "RowNumber", "Rank", "DenseRank",
))  # fmt: skip


def query_here(root: str, text: str, limit: int) -> tuple[list[str], list[tuple[Any, ...]]] | None:
    """(column names, at most `limit` + 1 rows) of a query over the root's tables and views under their plain names.

    None if it is to be left to Spark. Cost: some tenths of a second; only columns that are asked for are read.
    """
    if is_remote(root) or size_of(root) > SMALL_ROOT:
        return None
    import duckdb
    from sqlglot.errors import SqlglotError

    try:
        asked = in_duckdb(text)
        if asked is None:
            return None
        sql, names = asked
        with duckdb.connect(config={"memory_limit": MEMORY_LIMIT}) as session:
            for name in names:
                _register(session, local_path(root), name)
            session.execute("SET enable_external_access = false")
            session.execute("SET python_enable_replacements = false")
            found = session.execute(f"SELECT * FROM ({sql}) LIMIT {limit + 1}")
            columns = [column[0] for column in found.description]
            rows = [tuple(_value(cell) for cell in row) for row in found.fetchall()]
    except (duckdb.Error, SqlglotError, DeltaError, OSError, RecursionError):
        return None
    return columns, rows


def in_duckdb(text: str, known: bool = False) -> tuple[str, set[str]] | None:
    """(the query in DuckDB's SQL, the tables and views that it reads), from Spark's SQL.

    None for anything but one query over plain names of tables and views, or, unless it is `known`, one with expressions
    that may mean something else there.
    """
    import sqlglot
    from sqlglot import exp

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    parsed = sqlglot.parse(text, read="spark")
    if len(parsed) != 1 or not isinstance(parsed[0], exp.Query):
        return None
    tree = parsed[0]
    named = {one.alias.lower() for one in tree.find_all(exp.CTE)}
    names = set()
    for table in tree.find_all(exp.Table):
        name = table.name.lower()
        if table.db or table.catalog or not isinstance(table.this, exp.Identifier):
            return None
        if name not in named:
            names.add(name)
    if not names or not names <= {*table_names(), *view_names()}:
        return None
    if not known and not _means_the_same(tree, text):
        return None
    for number in list(tree.find_all(exp.Literal)):
        if number.is_number and not number.is_int:  # else a FLOAT is compared in single precision
            number.replace(exp.cast(number.copy(), "double"))
    return tree.sql(dialect="duckdb", unsupported_level=sqlglot.ErrorLevel.RAISE), names


def _means_the_same(tree: Any, text: str) -> bool:
    """Whether the query has the same answer in both engines; names the columns as Spark would that have no name."""
    from sqlglot import exp

    if "\\" in text or {type(node).__name__ for node in tree.walk()} - SAME:
        return False
    for select in tree.find_all(exp.Select):
        for place, column in enumerate(select.expressions):
            if isinstance(column, (exp.Alias, exp.Column, exp.Star)):
                continue
            of = column.this if isinstance(column, (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max)) else None
            if not isinstance(of, (exp.Column, exp.Star)) or (isinstance(of, exp.Column) and of.table):
                return False
            name = "1" if isinstance(of, exp.Star) else of.name
            select.expressions[place].replace(exp.alias_(column.copy(), f"{column.key}({name})", quoted=True))
    return True


def _register(session: Any, root: str, name: str) -> None:
    """Give the session a table or view under its name, a view with what it stands on."""
    if name in view_names():
        select = selects_of_views()[name]
        asked = in_duckdb(select, known=True)
        if asked is None:
            raise OSError(f"the view {name} is for Spark only")
        sql, names = asked
        for other in names:
            _register(session, root, other)
        session.execute(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {sql}")
    elif has_table(root, name):
        table = DeltaTable(str(Path(root, name)))
        if missing := set(columns_ddl(name)) - {field.name for field in table.schema().fields}:
            raise OSError(f"{name} lacks {missing}")  # of an earlier version: Spark's reader adds them
        rows: ds.Dataset = table.to_pyarrow_dataset()
        session.register(name, rows)
    else:
        session.execute(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {empty_select(name, DUCKDB_TYPES)}")


def _value(cell: Any) -> Any:
    """As Spark's collect gives it: a moment in local time."""
    if isinstance(cell, datetime) and cell.tzinfo is not None:
        return cell.astimezone().replace(tzinfo=None)
    return cell
