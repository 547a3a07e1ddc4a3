"""predict: embeddings, edges, labels, evaluation_pairs -> link_predictions, label_models, label_quality,
node_predictions, similar_nodes."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("predict_links", "predict_nodes", "predict_similar")
