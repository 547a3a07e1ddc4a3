CREATE TABLE IF NOT EXISTS ${table} (
  run_id     STRING NOT NULL COMMENT 'run that wrote the row',
  src        BIGINT NOT NULL COMMENT 'nodes.node_id',
  dst        BIGINT NOT NULL COMMENT 'nodes.node_id',
  link_model DOUBLE NOT NULL COMMENT 'log-odds by the model of pairs'
) USING delta PARTITIONED BY (run_id)
COMMENT 'one row per pair of evaluation_pairs, or that the model trained on: its score by the link model'
