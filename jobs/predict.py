"""predict: embeddings, edges, labels, pairs -> link_predictions, node_predictions, label_models, label_quality."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("predict_links", "predict_nodes")
