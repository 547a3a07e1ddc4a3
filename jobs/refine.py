"""refine: edges, nodes, fused_embeddings -> embeddings."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("refine")
