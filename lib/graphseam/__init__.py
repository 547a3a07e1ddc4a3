"""Embeddings of graphs too large for one machine, on Spark.

result = graphseam.embed(edges, root="tables")      # a frame of pandas, polars, Arrow or Spark, or a GraphFrame
ids, vectors = result.to_numpy()
graphseam.results("tables")                         # those of the newest published run
"""

from typing import TYPE_CHECKING, Any

from graphseam.version import __version__ as __version__

if TYPE_CHECKING:
    from graphseam.frames import Embedding, embed, results
    from graphseam.graphframe import VertexEdges, with_results
    from graphseam.session import build_session

__all__ = ["Embedding", "VertexEdges", "build_session", "embed", "results", "with_results"]


def __getattr__(name: str) -> Any:
    """Load what notebooks call on first use, so that jobs and the command line need not wait for it."""
    if name == "build_session":
        from graphseam.session import build_session

        return build_session
    if name in ("VertexEdges", "with_results"):
        from graphseam import graphframe

        return getattr(graphframe, name)
    if name in __all__:
        from graphseam import frames

        return getattr(frames, name)
    raise AttributeError(f"module 'graphseam' has no attribute {name!r}")
