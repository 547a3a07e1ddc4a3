"""place: edges of nodes that arrived after a run, embeddings -> placed_nodes, placed_links, placed_labels."""

from graphseam.place.submit import submit_place

if __name__ == "__main__":
    submit_place()
