"""fuse: subgraph_embeddings -> fused_embeddings, alignments."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("fuse")
