"""ingest: input files -> nodes, edges, holdout_edges, evaluation_pairs, labels, rejected_rows."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("ingest")
