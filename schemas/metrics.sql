CREATE TABLE IF NOT EXISTS ${table} (
  run_id  STRING NOT NULL COMMENT 'run that wrote the row',
  task    STRING NOT NULL COMMENT 'link_prediction, node_classification, or stability: against the run.base',
  metric  STRING NOT NULL COMMENT 'auc, ap; mrr_of_101, hits@k_of_101: rank of a positive among its own 100 negatives, ties half; ogb_hits@k: share of positives above the k-th best negative of one shared pool; micro_f1, macro_f1; ece: mean distance of probability and observed rate, see reliability; stability: mean cosine with the vectors of the base, see drift',
  variant STRING NOT NULL COMMENT 'of links the negatives, uniform or hard (degrees as those of positives), or predicted: the pairs of link_predictions; of labels the share trained on; of stability what has changed at the nodes',
  scorer  STRING NOT NULL COMMENT 'what ranks or tells the probability: cosine, dot_product, degree_product, link_model, logistic_regression',
  stratum STRING NOT NULL COMMENT 'all, or positives by the smaller degree of their two ends in the embedded graph, such as degree 3 to 7',
  value   DOUBLE NOT NULL COMMENT 'of the metric, from 0 to 1 unless its name says otherwise',
  support BIGINT NOT NULL COMMENT 'positives, predictions or nodes measured'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per measured number'
TBLPROPERTIES (
  'graphseam.public' = 'true'
)
