CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL COMMENT 'published run that holds dst',
  batch       STRING NOT NULL COMMENT 'placed_nodes.batch',
  src         STRING NOT NULL COMMENT 'original id of the placed node',
  dst         STRING NOT NULL COMMENT 'original id of a node of the run that the batch does not join it to',
  probability DOUBLE NOT NULL COMMENT 'that the pair is an edge, as in link_predictions',
  rank        INT NOT NULL    COMMENT '1 is the likeliest for this src',
  score       DOUBLE NOT NULL COMMENT 'log-odds that the link model gives, before calibration; it ranks',
  cosine      DOUBLE NOT NULL COMMENT 'of the two vectors',
  src_node_id BIGINT NOT NULL COMMENT 'placed_nodes.node_id',
  dst_node_id BIGINT NOT NULL COMMENT 'nodes.node_id'
) USING delta PARTITIONED BY (run_id, batch)
COMMENT 'the likeliest further edges of each placed node'
TBLPROPERTIES (
  'delta.constraints.probability_range' = 'probability >= 0 AND probability <= 1',
  'graphseam.public' = 'true',
  'graphseam.sort' = 'batch, src_node_id, rank',
  'graphseam.ids' = 'src, dst'
)
