"""The columns of an edge, named once; nothing here knows of Spark."""

from __future__ import annotations

ENDS = ("src", "dst")
EDGE = (*ENDS, "weight")  # EDGES in docstrings; what is here goes along from `edges` to every step that reads it
OPTIONAL = ("weight", "split")  # keys of [input] that may name a further column of the edges
