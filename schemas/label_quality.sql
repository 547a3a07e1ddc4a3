CREATE TABLE IF NOT EXISTS ${table} (
  run_id           STRING NOT NULL COMMENT 'run that wrote the row',
  label            STRING NOT NULL COMMENT 'a label of the input',
  num_examples     BIGINT NOT NULL COMMENT 'nodes that have it',
  num_tested       BIGINT NOT NULL COMMENT 'of these, nodes predicted by a model that trained on the other half',
  num_predicted    BIGINT NOT NULL COMMENT 'tested nodes given the label, each node as many labels as it has',
  precision        DOUBLE          COMMENT 'share of num_predicted that have it; null where that is 0',
  recall           DOUBLE          COMMENT 'share of num_tested given it; null where that is 0',
  f1               DOUBLE          COMMENT 'harmonic mean of both; null where no node was tested',
  mean_probability DOUBLE          COMMENT 'of the label where it is among the top_labels of a tested node; null where it never is',
  observed_rate    DOUBLE          COMMENT 'share of those nodes that have it: what mean_probability should be',
  status           STRING NOT NULL COMMENT 'learnt, never predicted, or too few examples (fewer than 2, or none in one of the halves)'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per label: what there was to learn from, and how well it is predicted for nodes that were not trained on'
TBLPROPERTIES (
  'graphseam.public' = 'true',
  'graphseam.sort' = 'label'
)
