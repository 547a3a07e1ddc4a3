CREATE TABLE IF NOT EXISTS ${table} (
  run_id             STRING NOT NULL        COMMENT 'run that wrote the row',
  model              INT NOT NULL           COMMENT '0 and 1 trained on the other half of the labelled nodes, 2 on all',
  label              STRING NOT NULL        COMMENT 'the label it recognises',
  intercept          DOUBLE NOT NULL        COMMENT 'score = vector . coefficients + intercept; it ranks the labels of a node',
  coefficients       ARRAY<DOUBLE> NOT NULL COMMENT 'one per dimension of the vector',
  calibration_slope  DOUBLE NOT NULL        COMMENT 'probability = 1 / (1 + exp(-(slope . score + shift))), divided by the sum over labels where a node has one label',
  calibration_shift  DOUBLE NOT NULL        COMMENT 'fitted on nodes the model has not trained on',
  num_examples       BIGINT NOT NULL        COMMENT 'nodes with the label that it trained on',
  multi_label        BOOLEAN NOT NULL       COMMENT 'whether a node may have several labels; else the probabilities of its labels add up to 1'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per model and label: what predicts labels, for nodes that arrive later too'
