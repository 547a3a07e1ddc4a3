CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL COMMENT 'run that wrote the row',
  model       STRING NOT NULL COMMENT 'candidates: ranks what the search finds; pairs: tells edges from drawn pairs',
  term        STRING NOT NULL COMMENT 'intercept, a feature, or a product of two',
  coefficient DOUBLE NOT NULL COMMENT 'of the term, made of standardised features; log-odds',
  mean        DOUBLE          COMMENT 'subtracted from the feature; null for the intercept and products',
  scale       DOUBLE          COMMENT 'the feature is divided by it; null for the intercept and products'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per term of the logistic regressions that score links'
