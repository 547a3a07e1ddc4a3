"""predict: embeddings -> link_predictions, node_predictions, similar_nodes; each step has its own file."""
