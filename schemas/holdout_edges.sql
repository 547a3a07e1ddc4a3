CREATE TABLE IF NOT EXISTS ${table} (
  run_id STRING NOT NULL COMMENT 'run that wrote the row',
  src    BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst    BIGINT NOT NULL COMMENT 'nodes.node_id',
  weight DOUBLE NOT NULL COMMENT 'as in edges'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per edge set aside before anything saw it, to measure link prediction'
