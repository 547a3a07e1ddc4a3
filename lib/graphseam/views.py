"""A script that registers the tables and views of a directory in other Spark sessions, such as spark-sql's."""

from __future__ import annotations

from graphseam.files import has_table
from graphseam.schemas import table_names
from graphseam.sections import OutputConfig
from graphseam.tables import identifier_of, view_selects


def view_statements(root: str) -> list[str]:
    """SQL statements that register the root's tables and views under their plain names; no session is needed.

    Paths are absolute. A table that no step has created yet is left out, and so are the views that read it.
    """
    output = OutputConfig(root=root)
    identifiers = {name: identifier_of(output, name) for name in table_names()}
    missing = {identifiers[name] for name in identifiers if not has_table(root, name)}
    selects = [(name, f"SELECT * FROM {table}") for name, table in identifiers.items() if table not in missing]
    selects += [(name, select) for name, select in view_selects(output) if not any(part in select for part in missing)]
    return [f"CREATE OR REPLACE TEMPORARY VIEW {name} AS {select.strip()};" for name, select in selects]
