"""Embeddings of graphs too large for one machine, on Spark."""

from typing import Any

from graphseam.version import __version__ as __version__

__all__ = ["VertexEdges", "build_session", "embed", "with_results"]


def __getattr__(name: str) -> Any:
    """Load what notebooks call on first use, so that jobs and the command line need not wait for it."""
    if name == "build_session":
        from graphseam.session import build_session

        return build_session
    if name in __all__:
        from graphseam import graphframe

        return getattr(graphframe, name)
    raise AttributeError(f"module 'graphseam' has no attribute {name!r}")
