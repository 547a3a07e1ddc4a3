CREATE TABLE IF NOT EXISTS ${table} (
  run_id  STRING NOT NULL COMMENT 'run that wrote the row',
  task    STRING NOT NULL COMMENT 'link_prediction or node_classification',
  metric  STRING NOT NULL COMMENT 'auc, ap, micro_f1, macro_f1, calibration_slope, ...',
  variant STRING NOT NULL COMMENT 'uniform or hard negatives, or the share trained on',
  scorer  STRING NOT NULL COMMENT 'cosine, degree_product or logistic_regression',
  value   DOUBLE NOT NULL COMMENT 'of the metric, a share unless its name says otherwise',
  support BIGINT NOT NULL COMMENT 'pairs or nodes measured'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row a measured number'
