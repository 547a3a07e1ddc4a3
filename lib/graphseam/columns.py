"""The columns of an edge, named in one place; independent of Spark."""

from __future__ import annotations

ENDS = ("src", "dst")
TRIPLE = (*ENDS, "weight")  # the columns that algorithms get
EDGE = TRIPLE  # EDGES in docstrings; a column added here is carried into every table of edges
OPTIONAL = ("weight", "split", "time")  # keys of [input] that may name another column of the edges
