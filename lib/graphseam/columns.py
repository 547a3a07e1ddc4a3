"""The columns of an edge, named once; nothing here knows of Spark."""

from __future__ import annotations

ENDS = ("src", "dst")
TRIPLE = (*ENDS, "weight")  # what an algorithm is given of an edge
EDGE = TRIPLE  # EDGES in docstrings; what is added here goes along into every table that holds edges
OPTIONAL = ("weight", "split")  # keys of [input] that may name a further column of the edges
