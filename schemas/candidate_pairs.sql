CREATE TABLE IF NOT EXISTS ${table} (
  run_id STRING NOT NULL COMMENT 'run that wrote the row',
  src    BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst    BIGINT NOT NULL COMMENT 'nodes.node_id'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per pair that the user gave for link prediction (input.pairs)'
