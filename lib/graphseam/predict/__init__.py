"""predict: embeddings -> link_predictions, node_predictions, similar_nodes."""

from __future__ import annotations

from graphseam.predict.indexes import INDEXES
from graphseam.predict.labels import predict_nodes
from graphseam.predict.links import predict_links

__all__ = ["CANDIDATES", "INDEXES", "predict_links", "predict_nodes"]

CANDIDATES = (*INDEXES, "two_hop")
