CREATE TABLE IF NOT EXISTS ${table} (
  run_id  STRING NOT NULL       COMMENT 'run that wrote the row',
  node_id BIGINT NOT NULL       COMMENT 'nodes.node_id',
  id      STRING NOT NULL       COMMENT 'the id as it came',
  vector  ARRAY<FLOAT> NOT NULL COMMENT 'float32[dim]; zeros for a node without edges'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per node: the global embedding'
TBLPROPERTIES (
  'graphseam.public' = 'true',
  'graphseam.sort' = 'node_id',
  'graphseam.ids' = 'id',
  'graphseam.export' = 'id, vector'
)
