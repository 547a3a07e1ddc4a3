CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL       COMMENT 'run that wrote the row',
  node_id     BIGINT NOT NULL       COMMENT 'nodes.node_id',
  subgraph_id INT NOT NULL          COMMENT 'first-level subgraph the node was put in',
  degree      DOUBLE NOT NULL       COMMENT 'sum of the evidence behind the vector',
  vector      ARRAY<FLOAT> NOT NULL COMMENT 'float32[dim] in the common frame'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per node that some subgraph embedded, before refinement'
