"""embed: subgraph_edges -> subgraph_embeddings."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("embed")
