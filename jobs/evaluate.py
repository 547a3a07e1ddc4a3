"""evaluate: embeddings, evaluation_pairs, node_predictions, labels -> metrics."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("evaluate")
