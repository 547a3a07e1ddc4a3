CREATE TABLE IF NOT EXISTS ${table} (
  run_id         STRING NOT NULL COMMENT 'run that wrote the row',
  kind           STRING NOT NULL COMMENT 'positive (a held-out edge), uniform or hard (a pair that is no edge)',
  src            BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst            BIGINT NOT NULL COMMENT 'nodes.node_id',
  degree_product DOUBLE          COMMENT 'of the embedded graph: the floor any embedding has to beat'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row a pair that link prediction is measured on'
