"""What a table is called, and what its SQL file says of its columns, as Spark needs it."""

from __future__ import annotations

from functools import cache

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from graphseam.errors import RunError, nearest
from graphseam.files import absolute
from graphseam.schemas import columns_ddl, table_names
from graphseam.sections import OutputConfig
from graphseam.spark_line import schema_of


def quoted(catalog: str) -> str:
    return ".".join(f"`{part}`" for part in catalog.split("."))


def identifier_of(output: OutputConfig, name: str) -> str:
    """A table's name in SQL: delta.`<root>/<name>`, or `<catalog>`.`<name>`."""
    if name not in table_names():
        raise RunError(f"there is no table {name!r}.{nearest(name, table_names())}")
    return f"{quoted(output.catalog)}.`{name}`" if output.catalog else f"delta.`{absolute(output.root)}/{name}`"


@cache
def stored_columns(name: str) -> StructType:
    """The columns of the table's SQL file, not to be changed. A session must have been started: it parses the types."""
    return schema_of(", ".join(columns_ddl(name, not_null=True).values()))


def missing_columns(name: str, columns: list[str]) -> list[str]:
    """Columns that the table's SQL file defines and are not among these."""
    there = {column.lower() for column in columns}
    return [column for column in columns_ddl(name) if column.lower() not in there]


def as_stored(field: StructField) -> Column:
    """The column as the table stores it; a task fails on NULL where the table's SQL file says NOT NULL."""
    value = F.col(field.name).cast(field.dataType)
    if not field.nullable:
        value = F.coalesce(value, F.raise_error(F.lit(f"column {field.name} has no value in a row, and is NOT NULL")))
    return value.alias(field.name)


def choose_run(known: list[tuple[str, str]], run_id: str | None, root: str) -> tuple[str, str]:
    """Of (run_id, id_type) of the published runs, newest first, the requested one. RunError if there is no such run."""
    if not known:
        raise RunError(f"no run is published under {root!r} yet")
    chosen = known[0] if run_id is None else next((one for one in known if one[0] == run_id), None)
    if chosen is None:
        raise RunError(f"there is no published run {run_id!r}.{nearest(str(run_id), [name for name, _ in known])}")
    return chosen
