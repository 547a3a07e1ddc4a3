"""partition: nodes, edges -> assignments, subgraph_edges, partition_levels."""

from graphseam.pipeline import submit

if __name__ == "__main__":
    submit("partition")
