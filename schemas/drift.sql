CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL  COMMENT 'run that wrote the row',
  base_run_id STRING NOT NULL  COMMENT 'published run whose frame the vectors were brought into (run.base)',
  node_id     BIGINT NOT NULL  COMMENT 'nodes.node_id',
  id          STRING NOT NULL  COMMENT 'original id',
  change      STRING NOT NULL  COMMENT 'none: the same embedded edges as in the base; edges: others, or other weights; new: not in the base',
  degree      BIGINT NOT NULL  COMMENT 'embedded edges',
  cosine      DOUBLE           COMMENT 'of the vector and that of the base; NULL where one of them is zero or not there'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per node: how far its vector has moved since the base run; none without run.base'
TBLPROPERTIES (
  'graphseam.public' = 'true',
  'graphseam.sort' = 'node_id',
  'graphseam.ids' = 'id',
  'graphseam.export' = 'id, change, cosine'
)
