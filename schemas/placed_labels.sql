CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL COMMENT 'published run whose models were asked',
  batch       STRING NOT NULL COMMENT 'placed_nodes.batch',
  id          STRING NOT NULL COMMENT 'the id as it came',
  label       STRING NOT NULL COMMENT 'predicted label',
  probability DOUBLE NOT NULL COMMENT 'that the node has the label',
  rank        INT NOT NULL    COMMENT '1 is the likeliest for this node',
  node_id     BIGINT NOT NULL COMMENT 'placed_nodes.node_id'
) USING delta PARTITIONED BY (run_id, batch)
COMMENT 'the likeliest labels of each placed node'
TBLPROPERTIES (
  'delta.constraints.probability_range' = 'probability >= 0 AND probability <= 1',
  'graphseam.public' = 'true',
  'graphseam.sort' = 'batch, node_id, rank',
  'graphseam.ids' = 'id'
)
