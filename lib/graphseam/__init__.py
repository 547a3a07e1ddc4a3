"""Embeddings of graphs too large for one machine, on Spark."""

__version__ = "0.1.0"
