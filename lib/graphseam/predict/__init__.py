"""predict: embeddings -> link_predictions, node_predictions, similar_nodes; a file for each of its steps."""
