CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL       COMMENT 'run that wrote the row',
  level       INT NOT NULL          COMMENT 'level of the subgraph',
  subgraph_id INT NOT NULL          COMMENT 'subgraph the vector was trained in',
  node_id     BIGINT NOT NULL       COMMENT 'nodes.node_id',
  degree      DOUBLE NOT NULL       COMMENT 'weighted degree within the subgraph: the evidence behind the vector',
  vector      ARRAY<FLOAT> NOT NULL COMMENT 'float32[dim], not normalised'
) USING delta PARTITIONED BY (run_id, level)
COMMENT 'one row per node of a subgraph'
