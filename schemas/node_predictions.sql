CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL COMMENT 'run that wrote the row',
  id          STRING NOT NULL COMMENT 'the id as it came',
  label       STRING NOT NULL COMMENT 'predicted label',
  probability DOUBLE NOT NULL COMMENT 'that the node has the label, calibrated on nodes the model has not trained on',
  rank        INT NOT NULL    COMMENT '1 is the likeliest for this node; by the score, which predict.nodes.class_weight = balanced tilts to rare labels',
  node_id     BIGINT NOT NULL COMMENT 'nodes.node_id',
  source      STRING NOT NULL COMMENT 'all_labels: from every labelled node; cross_fit: from those of the other half, as the node itself has labels',
  fold        INT             COMMENT 'half of the labelled nodes it lies in, 0 or 1; null where it has no label'
) USING delta PARTITIONED BY (run_id)
COMMENT 'the likeliest labels of each node'
TBLPROPERTIES (
  'delta.constraints.probability_range' = 'probability >= 0 AND probability <= 1',
  'graphseam.public' = 'true',
  'graphseam.sort' = 'node_id, rank',
  'graphseam.ids' = 'id',
  'graphseam.export' = 'id, label, probability, rank, source'
)
