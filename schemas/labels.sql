CREATE TABLE IF NOT EXISTS ${table} (
  run_id  STRING NOT NULL COMMENT 'run that wrote the row',
  node_id BIGINT NOT NULL COMMENT 'nodes.node_id',
  label   STRING NOT NULL COMMENT 'a label of the node'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per node and label of the input'
