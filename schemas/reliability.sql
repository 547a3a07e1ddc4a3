CREATE TABLE IF NOT EXISTS ${table} (
  run_id           STRING NOT NULL COMMENT 'run that wrote the row',
  task             STRING NOT NULL COMMENT 'link_prediction: rows of link_predictions, true where the pair was held out; node_classification: rows of node_predictions with a fold, true where the node has the label',
  bin_low          DOUBLE NOT NULL COMMENT 'lowest probability in the bin',
  bin_high         DOUBLE NOT NULL COMMENT 'highest probability in the bin; about ten bins of equal counts per task',
  mean_probability DOUBLE NOT NULL COMMENT 'mean of the probabilities in the bin',
  observed_rate    DOUBLE NOT NULL COMMENT 'share of them that is true; where it equals mean_probability, a probability is what it says',
  support          BIGINT NOT NULL COMMENT 'predictions in the bin'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per task and bin of probability: whether predicted probabilities come true'
TBLPROPERTIES (
  'graphseam.public' = 'true'
)
