"""predict: embeddings, edges, labels, evaluation_pairs -> link_predictions, node_predictions."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("predict_links", "predict_nodes")
