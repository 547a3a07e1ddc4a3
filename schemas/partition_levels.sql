CREATE TABLE IF NOT EXISTS ${table} (
  run_id          STRING NOT NULL COMMENT 'run that wrote the row',
  level           INT NOT NULL    COMMENT '1 is the whole graph, each later one the border of the one before',
  kind            STRING NOT NULL COMMENT 'whole: all of it in one subgraph; cut: into subgraphs by nodes; core: split by edges, those between the nodes of highest degree in one subgraph, the others left over; kept: as in the base run (run.incremental), the edges between subgraphs left over',
  method          STRING NOT NULL COMMENT 'what cut it: multilevel, metis, hash; none where nothing was cut by nodes',
  num_subgraphs   INT NOT NULL    COMMENT 'subgraphs of the level',
  num_nodes       BIGINT NOT NULL COMMENT 'nodes of the level',
  num_edges       BIGINT NOT NULL COMMENT 'edges the level had to place',
  captured_edges  BIGINT NOT NULL COMMENT 'edges that lie inside a subgraph',
  largest_edges   BIGINT NOT NULL COMMENT 'edges inside the largest subgraph',
  cut_share       DOUBLE NOT NULL COMMENT 'edges not captured / num_edges',
  border_share    DOUBLE NOT NULL COMMENT 'nodes with a cut edge / num_nodes',
  imbalance       DOUBLE NOT NULL COMMENT 'largest subgraph / mean in what the budget bounds: edge ends, or bytes where memory binds',
  replication     DOUBLE NOT NULL COMMENT 'nodes placed so far, counted once per level / nodes of the graph',
  total_subgraphs INT NOT NULL    COMMENT 'subgraphs so far',
  total_captured  DOUBLE NOT NULL COMMENT 'share of all edges captured so far',
  seconds         DOUBLE NOT NULL COMMENT 'wall time of the level'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per level of the recursive partition'
TBLPROPERTIES (
  'graphseam.public' = 'true'
)
