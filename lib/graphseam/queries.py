"""SQL over the tables of a root: queries only, of its own tables and views only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from py4j.java_gateway import is_instance_of
from pyspark.errors import PySparkException
from pyspark.sql import Row

from graphseam.errors import RunError
from graphseam.schemas import table_names, view_names
from graphseam.tables import Tables
from graphseam.views import register_views

LOGICAL = "org.apache.spark.sql.catalyst.plans.logical"
ACTING = (f"{LOGICAL}.Command", f"{LOGICAL}.ParsedStatement")
ALSO_ACTING = re.compile("InsertInto|ExecuteImmediate")  # some of these are neither
TELLING = re.compile(
    r"^(Show(Tables|Views|Columns)|Describe\w+|Explain\w*)(Command|Statement)?$"
)  # commands that only tell
OUTSIDE = re.compile(r"\b(java_method|reflect|try_reflect)\(", re.IGNORECASE)  # functions that call any Java method


def query(tables: Tables, text: str, limit: int) -> tuple[list[str], list[Row]]:
    """(column names, at most `limit` + 1 rows) of a query over the tables and views under their plain names.

    Errors: RunError, with the reason, for what is not a query, for other tables than the root's, and where it fails.
    """
    try:
        check_query(tables, text)
        register_views(tables, text)
        found = tables.spark.sql(text)
        return found.columns, found.limit(limit + 1).collect()
    except PySparkException as error:
        message = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RunError(f"the query failed: {message}{_known() if 'NOT_FOUND' in message else ''}") from None


def check_query(tables: Tables, text: str) -> None:
    """RunError unless Spark's parser sees only a query, or a command that tells, over plain names."""
    session = tables.spark._jsparkSession
    plan = session.sessionState().sqlParser().parsePlan(text)
    gateway = tables.spark.sparkContext._gateway
    for node in _nodes(plan):
        kind = node.getClass().getSimpleName()
        acts = any(is_instance_of(gateway, node, name) for name in ACTING) or ALSO_ACTING.search(kind)
        if acts and not TELLING.match(kind):
            raise RunError(
                f"this is not a query but a statement that acts ({kind}); `graphseam sql` reads: give it a SELECT, "
                "SHOW TABLES or DESCRIBE"
            )
        if kind in ("UnresolvedRelation", "UnresolvedTableOrView"):
            parts = node.multipartIdentifier()
            if parts.size() != 1:
                raise RunError(f"{parts.mkString('.')!r} is none of the root's tables and views.{_known()}")
    called = OUTSIDE.search(plan.toString())
    if called:
        raise RunError(f"the function {called[1]} can do more than read tables; `graphseam sql` does without it")


def _nodes(plan: Any) -> Iterator[Any]:
    """The plan and everything below it, subqueries and common table expressions included."""
    yield plan
    for below in (plan.children(), plan.innerChildren()):
        for place in range(below.size()):
            yield from _nodes(below.apply(place))


def _known() -> str:
    return f" Tables: {', '.join(table_names())}. Views: {', '.join(view_names())}."
