CREATE TABLE IF NOT EXISTS ${table} (
  run_id      STRING NOT NULL COMMENT 'run that wrote the row',
  fold        INT NOT NULL    COMMENT 'half of the nodes it is used for, fitted on the other half; 2: fitted on all, for other runs',
  score       DOUBLE NOT NULL COMMENT 'log-odds of the link model',
  probability DOUBLE NOT NULL COMMENT 'share of the candidates of about this score that were edges; linear in between'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per point of the monotone curves from a score to a probability'
