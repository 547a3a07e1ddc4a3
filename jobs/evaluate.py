"""evaluate: embeddings, evaluation_pairs, link_predictions, node_predictions, labels -> metrics, reliability."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("evaluate")
