CREATE TABLE IF NOT EXISTS ${table} (
  run_id STRING NOT NULL COMMENT 'run that wrote the row',
  src    BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst    BIGINT NOT NULL COMMENT 'nodes.node_id; undirected: src < dst',
  weight DOUBLE NOT NULL COMMENT 'sum over the rows merged into the edge; 1 where the input has no weight'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per edge that the run embeds; loops are left out, duplicate edges merged'
TBLPROPERTIES (
  'delta.constraints.no_loop' = 'src <> dst',
  'delta.constraints.weight_positive' = 'weight > 0'
)
